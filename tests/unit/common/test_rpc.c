/* One call, one answer: every status, roles, bounds, and what travels with a call. Over inproc and ipc. */
#include "rpc_fixture.h"

static void every_status_arrives_with_its_text(void **state)
{
    for (int code = TG_CANCELLED; code < TG_CODE_COUNT; code++) {
        char script[32];
        struct tg_error err = {0};
        snprintf(script, sizeof script, "fail %d", code);
        assert_int_equal(ask(*state, script, 5000, NULL, &err), code);
        assert_int_equal(err.code, code);
        assert_string_equal(err.text, "test service: as asked");
    }
}

static void the_answer_arrives(void **state)
{
    assert_int_equal(ask(*state, "echo hello", 5000, "hello", NULL), TG_OK);
    assert_int_equal(ask(*state, "echo ", 5000, "", NULL), TG_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_status_arrives_with_its_text, rig_setup_ipc, rig_teardown),
        cmocka_unit_test_setup_teardown(the_answer_arrives, rig_setup_ipc, rig_teardown),
        cmocka_unit_test_setup_teardown(every_status_arrives_with_its_text, rig_setup_inproc, rig_teardown),
        cmocka_unit_test_setup_teardown(the_answer_arrives, rig_setup_inproc, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
