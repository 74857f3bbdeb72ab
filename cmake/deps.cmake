# All of these are Debian packages; deploy/install-deps.sh installs them.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(nng REQUIRED CONFIG)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
find_program(PROTOC_C protoc-c REQUIRED)
# Statically: until 1.5.0 rc_destroy keeps the TLS session, some 50 KiB and a descriptor, and the function that frees it
# is hidden in the shared library.
find_library(RADCLI_ARCHIVE libradcli.a REQUIRED)
pkg_check_modules(RADCLI_NEEDS REQUIRED IMPORTED_TARGET gnutls nettle)
add_library(tg_radcli INTERFACE)
target_link_libraries(tg_radcli INTERFACE ${RADCLI_ARCHIVE} PkgConfig::RADCLI_NEEDS)
