/* A primary and its synchronous standby, and the files that key stores on them need. */
#ifndef TG_TESTS_POSTGRES_PAIR_H
#define TG_TESTS_POSTGRES_PAIR_H

#include "tests/unit/key-store/rig.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/postgres/cluster.h"

struct pair {
    struct cluster primary, standby;
    int primary_port, standby_port;
    char conninfo[192];      /* both, over loopback; the one that takes writes is wanted */
    char password_file[128]; /* a copy that is ours */
};

static inline int pair_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline void pair_serve(struct cluster *c, int port)
{
    char option[32];
    snprintf(option, sizeof option, "port=%d", port);
    snprintf(c->conninfo, sizeof c->conninfo, "host=%s port=%d user=ticketgate dbname=postgres", c->dir,
             port);
    cluster_start(c, (const char *[]){"-c", option, "-c", "listen_addresses=127.0.0.1", "-c",
                                      "max_connections=30", "-c", "wal_receiver_status_interval=1", NULL});
}

/* Which standbys a commit waits for: '*' any, '' none, or the name of one that does not exist. */
static inline void pair_wait_for(const struct pair *p, const char *names)
{
    char sql[96];
    snprintf(sql, sizeof sql, "ALTER SYSTEM SET synchronous_standby_names = '%s'", names);
    cluster_run(&p->primary, sql);
    cluster_run(&p->primary, "SELECT pg_reload_conf()");
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_settings WHERE setting = '%s' AND name LIKE 'sync%%names'", names);
    EVENTUALLY(cluster_number(&p->primary, sql) == 1);
}

static inline void pair_open(struct pair *p, const struct scratch *s)
{
    char path[160];
    size_t len = 0;
    p->primary_port = pair_free_port();
    cluster_make(&p->primary);
    pair_serve(&p->primary, p->primary_port);
    cluster_copy(&p->standby, &p->primary);
    do
        p->standby_port = pair_free_port();
    while (p->standby_port == p->primary_port);
    pair_serve(&p->standby, p->standby_port);
    pair_wait_for(p, "*");
    EVENTUALLY(cluster_number(&p->primary,
                              "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1);
    snprintf(p->conninfo, sizeof p->conninfo,
             "host=127.0.0.1,127.0.0.1 port=%d,%d user=ticketgate dbname=postgres "
             "target_session_attrs=read-write",
             p->primary_port, p->standby_port);
    snprintf(path, sizeof path, "%s/password", p->primary.dir);
    snprintf(p->password_file, sizeof p->password_file, "%s/postgres.password", s->dir);
    struct tg_error err;
    uint8_t *bytes = read_file(path, &len);
    must(file_write_new(p->password_file, bytes, len, &err), &err);
    free(bytes);
}

static inline void pair_close(struct pair *p)
{
    cluster_remove(&p->standby);
    cluster_remove(&p->primary);
}

#endif
