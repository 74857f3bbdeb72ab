# Warnings are errors, hardening is on, in every build type. Generated code opts out through tg_flags' absence.
add_library(tg_flags INTERFACE)
target_compile_definitions(tg_flags INTERFACE _GNU_SOURCE TG_VERSION="${PROJECT_VERSION}")
target_include_directories(tg_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(tg_flags INTERFACE
    -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wswitch-enum
    # clang also blames us for casts in the macros of OpenSSL and protobuf-c, and for TG_INVARIANT(!"why").
    $<$<C_COMPILER_ID:GNU>:-Wcast-qual> $<$<C_COMPILER_ID:Clang>:-Wno-string-conversion>)

add_compile_options(-fstack-protector-strong -fno-omit-frame-pointer -fno-strict-aliasing)
add_link_options(-Wl,-z,relro,-z,now -Wl,-z,noexecstack)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fstack-clash-protection)
endif()
if(TG_SANITIZE)
    add_compile_options(-fsanitize=${TG_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${TG_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "Rel")
    add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
