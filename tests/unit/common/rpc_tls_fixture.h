/* Certificates made at run time, and rigs that speak TLS. */
#ifndef TG_TESTS_RPC_TLS_FIXTURE_H
#define TG_TESTS_RPC_TLS_FIXTURE_H

#include "rpc_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

__attribute__((format(printf, 1, 2))) static inline void run(const char *fmt, ...)
{
    char command[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/* DIR/NAME-ca.crt and .key */
static inline void make_ca(const char *dir, const char *name)
{
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=%s CA' "
        "-keyout %s/%s-ca.key -out %s/%s-ca.crt 2>/dev/null",
        name, dir, name, dir, name);
}

/* DIR/NAME.crt and .key, signed by CA, for the given DNS name. */
static inline void make_certificate(const char *dir, const char *ca, const char *name, const char *dns)
{
    run("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=%s' -keyout "
        "%s.key "
        "-out %s.csr 2>/dev/null && echo 'subjectAltName=DNS:%s' >%s.ext && openssl x509 -req -in %s.csr "
        "-CA %s-ca.crt -CAkey %s-ca.key -CAcreateserial -days 2 -extfile %s.ext -out %s.crt 2>/dev/null && "
        "chmod 0600 %s.key",
        dir, name, name, name, dns, name, name, ca, ca, name, name, name);
}

static inline char *path_in(const char *dir, const char *file)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, file) > 0);
    return path;
}

static inline struct rpc_tls tls_files(const char *dir, const char *certificate, const char *key,
                                       const char *ca)
{
    return (struct rpc_tls){path_in(dir, certificate), path_in(dir, key), path_in(dir, ca)};
}

static inline void tls_files_free(struct rpc_tls *tls)
{
    free(tls->certificate);
    free(tls->key);
    free(tls->ca);
    *tls = (struct rpc_tls){0};
}

static inline int free_port(void)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    close(fd);
    return ntohs(sa.sin_port);
}

/* A rig whose server and client have good certificates of two CAs: nothing is open yet. */
static inline struct rig *rig_new_tls(void)
{
    struct rig *rig = rig_new("ipc");
    make_ca(rig->dir, "server");
    make_ca(rig->dir, "client");
    make_certificate(rig->dir, "server", "server", "localhost");
    make_certificate(rig->dir, "client", "client", "gateway");
    rig->server_tls = tls_files(rig->dir, "server.crt", "server.key", "client-ca.crt");
    rig->client_tls = tls_files(rig->dir, "client.crt", "client.key", "server-ca.crt");
    snprintf(rig->address, sizeof rig->address, "tls+tcp://localhost:%d", free_port());
    return rig;
}

static inline int rig_setup_tls(void **state)
{
    struct rig *rig = rig_new_tls();
    rig_serve(rig, 16);
    rig_connect(rig);
    *state = rig;
    return 0;
}

static inline int rig_teardown_tls(void **state)
{
    struct rig *rig = *state;
    struct rpc_tls server = rig->server_tls, client = rig->client_tls;
    rig_free(rig);
    tls_files_free(&server);
    tls_files_free(&client);
    return 0;
}

#endif
