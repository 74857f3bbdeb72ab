#include "client/session/session.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/session/state.h"
#include "common/pb.h"

enum { FAREWELL_MS = 2000, SILENT_TURNS_MAX = 2, WATCH_MS = 1000 };

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP};
_Static_assert(sizeof ending_signals / sizeof *ending_signals ==
                   sizeof((struct session *)0)->signals / sizeof(uv_signal_t),
               "a handle for each signal");

static void send_bye(struct session *session, enum tg_code code, const char *text)
{
    Tg__Bye bye = TG__BYE__INIT;
    bye.code = code;
    bye.text = pb_string(text);
    link_send(&session->link, FRAME_BYE, 0, &bye.base);
}

static void on_farewell_over(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

void session_end(struct session *session, enum client_exit how, enum tg_code code, const char *text)
{
    if (session->ending)
        return;
    session->ending = true;
    session->exit = how;
    tg_fail(&session->why, code, "%s", text);
    tunnels_cut_all(session);
    listeners_close(session);
    uv_timer_stop(&session->keep_alive);
    uv_timer_stop(&session->watch);
    if (session->link.dead) {
        uv_stop(&session->loop);
        return;
    }
    send_bye(session, code, text);
    uv_timer_start(&session->farewell, on_farewell_over, FAREWELL_MS, 0);
}

static void on_batch_end(void *context)
{
    tunnel_flush_gathered(context);
}

/* All that was queued is with the kernel: at the end this was the BYE. */
static void on_room(void *context)
{
    struct session *session = context;
    if (!session->ending)
        tunnels_room(session);
    else if (link_finish(&session->link))
        uv_stop(&session->loop);
    listeners_resume(session);
}

static void on_lost(void *context, const struct tg_error *why)
{
    struct session *session = context;
    if (session->ending)
        uv_stop(&session->loop);
    bool breach = why->code != TG_UNAVAILABLE && why->code != TG_RESOURCE_EXHAUSTED;
    session_end(session, breach ? EXIT_PROTOCOL : EXIT_CONNECTION_LOST, why->code, why->text);
}

static const struct link_events link_events = {
    .frame = session_frame, .batch_end = on_batch_end, .room = on_room, .lost = on_lost};

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    session_end(handle->data, EXIT_OK, TG_OK, "ended by the user");
}

/* A silent gateway is asked whether it is there; if it stays silent, it is not. */
static void on_keep_alive(uv_timer_t *timer)
{
    struct session *session = timer->data;
    listeners_resume(session);
    session->silent_turns = session->link.heard ? 0 : session->silent_turns + 1;
    session->link.heard = false;
    if (session->silent_turns > SILENT_TURNS_MAX) {
        link_fail(&session->link, TG_UNAVAILABLE, "the gateway does not answer any more");
        return;
    }
    Tg__Ping ping = TG__PING__INIT;
    if (session->silent_turns > 0)
        link_send(&session->link, FRAME_PING, 0, &ping.base);
}

static void on_watch(uv_timer_t *timer)
{
    struct session *session = timer->data;
    if (session->options->shield_pulled(session->options->shield_arg))
        session_end(session, EXIT_SHIELD_PULLED, TG_CANCELLED, "the shield was pulled");
}

static void handles_open(struct session *session)
{
    uv_timer_init(&session->loop, &session->keep_alive);
    uv_timer_init(&session->loop, &session->farewell);
    uv_timer_init(&session->loop, &session->watch);
    session->keep_alive.data = session->watch.data = session;
    if (session->options->shield_pulled != NULL)
        uv_timer_start(&session->watch, on_watch, WATCH_MS, WATCH_MS);
    uv_timer_start(&session->keep_alive, on_keep_alive, session->options->keep_alive_ms,
                   session->options->keep_alive_ms);
    for (size_t i = 0; i < sizeof ending_signals / sizeof *ending_signals; i++) {
        uv_signal_init(&session->loop, &session->signals[i]);
        session->signals[i].data = session;
        uv_signal_start(&session->signals[i], on_signal, ending_signals[i]);
    }
}

static void handles_close(struct session *session)
{
    uv_close((uv_handle_t *)&session->keep_alive, NULL);
    uv_close((uv_handle_t *)&session->farewell, NULL);
    uv_close((uv_handle_t *)&session->watch, NULL);
    for (size_t i = 0; i < sizeof ending_signals / sizeof *ending_signals; i++)
        uv_close((uv_handle_t *)&session->signals[i], NULL);
}

static enum client_exit run(struct session *session, struct tg_error *err)
{
    const struct host_port *target = session->options->stdio_target;
    if (listeners_open(session, err) != TG_OK)
        session_end(session, EXIT_CONFIG, err->code, err->text);
    else if (target != NULL && tunnel_open(session, STDIN_FILENO, STDOUT_FILENO, target) == NULL)
        session_end(session, EXIT_INTERNAL, TG_RESOURCE_EXHAUSTED, "out of memory");
    uv_run(&session->loop, UV_RUN_DEFAULT);
    if (err != NULL)
        *err = session->why;
    return session->exit;
}

static enum client_exit run_on_loop(struct session *session, struct tg_error *err)
{
    struct login_session *login = session->login;
    if (link_open(&session->link, &session->loop, login->ssl, login->fd, &link_events, session, err) != TG_OK)
        return EXIT_INTERNAL;
    handles_open(session);
    enum client_exit how = run(session, err);
    tunnels_cut_all(session);
    listeners_close(session);
    handles_close(session);
    link_close(&session->link);
    return how;
}

enum client_exit session_run(struct login_session *login, const struct session_options *options,
                             struct tg_error *err)
{
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL || uv_loop_init(&session->loop) != 0) {
        free(session);
        tg_fail(err, TG_RESOURCE_EXHAUSTED, "out of memory or descriptors");
        return EXIT_INTERNAL;
    }
    session->options = options;
    session->login = login;
    enum client_exit how = run_on_loop(session, err);
    uv_run(&session->loop, UV_RUN_DEFAULT); /* the close callbacks */
    TG_INVARIANT(uv_loop_close(&session->loop) == 0);
    link_fini(&session->link);
    free(session);
    return how;
}
