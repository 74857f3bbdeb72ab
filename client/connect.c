/* `ticketgate connect`: shield and secrets, the login (steps 1 to 13), then the session (step 14). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/commands.h"
#include "client/connect_options.h"
#include "client/connect_say.h"
#include "client/shield_watch.h"
#include "client/terminal.h"

struct connection {
    struct connect_options options;
    struct say say;
    struct login_tls *tls;
    struct secret *password;
    struct shield *shield;
    struct shield_watch watch; /* during the session */
    size_t keys_left;
};

static enum tg_code ask_user(void *arg, const char *question, bool echo, struct secret **answer,
                             struct tg_error *err)
{
    (void)arg;
    return terminal_ask(question, echo, answer, err);
}

static enum client_exit count_keys(struct connection *c, struct tg_error *err)
{
    struct shield_status status;
    enum tg_code code = shield_get_status(c->shield, (uint64_t)time(NULL), &status, err);
    c->keys_left = code == TG_OK ? status.ready : 0;
    return code == TG_OK ? EXIT_OK : exit_for_shield(code);
}

static enum client_exit open_shield(struct connection *c, struct tg_error *err)
{
    char question[128];
    snprintf(question, sizeof question, "PIN of the shield %.90s", c->options.shield.name);
    TG_CLEANUP(secret_cleanup) struct secret *pin = NULL;
    enum tg_code code = secret_source_read(&c->options.pin, "PIN", question, &pin, err);
    if (code != TG_OK)
        return exit_for_secret(code);
    code = shield_place_open(&c->options.shield, pin, &c->shield, err);
    return code == TG_OK ? count_keys(c, err) : exit_for_shield(code);
}

/* Of the suites to offer, those that the shield's keys can do. */
static enum client_exit choose_suites(struct connection *c, struct tg_error *err)
{
    struct connect_options *options = &c->options;
    size_t kept = 0;
    for (size_t i = 0; i < options->suite_count; i++) {
        if (shield_can(c->shield, options->suites[i]))
            options->suites[kept++] = options->suites[i];
    }
    options->suite_count = kept;
    if (kept > 0)
        return EXIT_OK;
    tg_fail(err, TG_UNIMPLEMENTED,
            "tokens have HMAC-SHA-256 only: leave out --suite, or use a shield in a file");
    return EXIT_CONFIG;
}

static enum client_exit read_password(struct connection *c, struct tg_error *err)
{
    char question[200];
    snprintf(question, sizeof question, "Password of %s", c->options.user);
    enum tg_code code = secret_source_read(&c->options.password, "password", question, &c->password, err);
    return code == TG_OK ? EXIT_OK : exit_for_secret(code);
}

/* Everything that can be wrong on this side, before the gateway is troubled and a key is spent. */
static enum client_exit prepare(struct connection *c, struct tg_error *err)
{
    enum tg_code code = login_tls_open(c->options.ca, &c->tls, err);
    if (code != TG_OK)
        return exit_for_file(code);
    enum client_exit how = open_shield(c, err);
    if (how == EXIT_OK)
        how = choose_suites(c, err);
    if (how == EXIT_OK && c->keys_left == 0) {
        tg_fail(err, TG_FAILED_PRECONDITION,
                "the shield has no keys left: have it filled at the charger (tg-charger fill)");
        how = EXIT_SHIELD_EMPTY;
    }
    return how == EXIT_OK ? read_password(c, err) : how;
}

static enum client_exit log_in(struct connection *c, struct login_session *session, struct tg_error *err)
{
    const struct connect_options *options = &c->options;
    const struct login_request request = {.tls = c->tls,
                                          .host = options->gateway.host,
                                          .port = options->gateway.port,
                                          .user = options->user,
                                          .password = c->password,
                                          .shield = c->shield,
                                          .suites = options->suites,
                                          .suite_count = options->suite_count,
                                          .qkud_id = options->qkud_id,
                                          .plain_login = options->plain_login,
                                          .ask = ask_user};
    enum client_exit how = login_run(&request, session, err);
    if (how == EXIT_OK)
        how = count_keys(c, err);
    /* Neither is needed again, and another login may want the shield: it is only watched. */
    secret_free(c->password);
    c->password = NULL;
    if (how == EXIT_OK && !options->stay_when_pulled)
        shield_watch_start(&c->watch, &options->shield, c->shield);
    else
        shield_close(c->shield);
    c->shield = NULL;
    return how;
}

static bool is_pulled(void *arg)
{
    return shield_watch_pulled(&((struct connection *)arg)->watch);
}

static enum client_exit work(struct connection *c, struct login_session *session, struct tg_error *err)
{
    const struct session_options options = {.say = &c->say,
                                            .forwards = c->options.forwards,
                                            .forward_count = c->options.forward_count,
                                            .stdio_target =
                                                c->options.has_stdio_target ? &c->options.stdio_target : NULL,
                                            .keep_alive_ms = c->options.keep_alive_ms,
                                            .shield_pulled = is_pulled,
                                            .shield_arg = c};
    say_connected(&c->say, &c->options, session, c->keys_left);
    return session_run(session, &options, err);
}

static enum client_exit run(struct connection *c, struct tg_error *err)
{
    enum client_exit how = prepare(c, err);
    if (how != EXIT_OK)
        return how;
    struct login_session session = {.fd = -1};
    how = log_in(c, &session, err);
    if (how == EXIT_OK)
        how = work(c, &session, err);
    login_session_close(&session);
    return how;
}

static void connection_fini(struct connection *c)
{
    secret_free(c->password);
    shield_close(c->shield);
    shield_watch_stop(&c->watch);
    login_tls_close(c->tls);
}

int connect_command(int argc, char **argv)
{
    struct connection c = {0};
    struct tg_error err = {0};
    enum tg_code code = connect_options_parse(argc, argv, &c.options, &err);
    c.say = (struct say){.program = "ticketgate", .quiet = c.options.quiet, .json = c.options.json};
    say_open(&c.say);
    if (code == TG_OK && c.options.help) {
        connect_help(stdout);
        return EXIT_OK;
    }
    enum client_exit how = code == TG_OK ? run(&c, &err) : EXIT_USAGE;
    connection_fini(&c);
    say_end(&c.say, how, &err);
    return (int)how;
}
