/* A held listener is bound but takes no call until the server serves. */
#include "rpc_fixture.h"

static struct rig *held_rig(void)
{
    struct rig *rig = rig_new("ipc");
    struct tg_error err = {0};
    assert_int_equal(rpc_server_open(&rig->server, script_methods, &rig->script, 4, &err), TG_OK);
    rpc_server_hold(rig->server);
    assert_int_equal(rig_listen(rig, 0, &err), TG_OK);
    rig_connect(rig);
    return rig;
}

static void a_held_server_answers_nothing(void **state)
{
    (void)state;
    struct rig *rig = held_rig();
    enum tg_code code = ask(rig, "echo early", 200, NULL, NULL);
    assert_true(code == TG_DEADLINE_EXCEEDED || code == TG_UNKNOWN);
    assert_int_equal(rig->script.handled, 0);
    rig_free(rig);
}

static void what_was_sent_early_is_answered_once_it_serves(void **state)
{
    (void)state;
    struct rig *rig = held_rig();
    struct pending early;
    ask_later(rig, "echo early", 20000, false, &early);
    rpc_server_serve(rig->server);
    assert_int_equal(pending_wait(&early), TG_OK);
    assert_int_equal(ask(rig, "echo later", 20000, "later", NULL), TG_OK);
    assert_int_equal(rig->script.handled, 2);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_server_answers_nothing),
        cmocka_unit_test(what_was_sent_early_is_answered_once_it_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
