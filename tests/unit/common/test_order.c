/* Every (state, sender, type) triple against a list written from docs/protocol.md, not from the table. */
#include "common/protocol/order.h"
#include "tests/unit/common/hex.h"

struct legal {
    enum order_state state;
    enum order_sender sender;
    const char *types; /* names, separated by blanks */
    enum order_state next;
};

static const struct legal list[] = {
    {ORDER_HELLO, ORDER_CLIENT, "HELLO", ORDER_IDENTITY},
    {ORDER_HELLO, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_IDENTITY, ORDER_GATEWAY, "IDENTITY", ORDER_AUTHENTICATE},
    {ORDER_IDENTITY, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_AUTHENTICATE, ORDER_CLIENT, "AUTHENTICATE", ORDER_AUTHENTICATED},
    {ORDER_AUTHENTICATE, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_AUTHENTICATED, ORDER_GATEWAY, "AUTHENTICATED", ORDER_CHANNEL},
    {ORDER_AUTHENTICATED, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_TLS, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_CHANNEL, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_LOGIN, ORDER_CLIENT, "LOGIN", ORDER_VERDICT},
    {ORDER_LOGIN, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_VERDICT, ORDER_GATEWAY, "WELCOME", ORDER_SESSION},
    {ORDER_VERDICT, ORDER_GATEWAY, "CHALLENGE", ORDER_ANSWER},
    {ORDER_VERDICT, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_ANSWER, ORDER_CLIENT, "ANSWER", ORDER_VERDICT},
    {ORDER_ANSWER, ORDER_GATEWAY, "REFUSED", ORDER_CLOSED},
    {ORDER_SESSION, ORDER_CLIENT, "OPEN DATA WINDOW CLOSE PING PONG", ORDER_SESSION},
    {ORDER_SESSION, ORDER_GATEWAY, "OPENED DATA WINDOW CLOSE PING PONG", ORDER_SESSION},
    {ORDER_SESSION, ORDER_CLIENT, "BYE", ORDER_CLOSED},
    {ORDER_SESSION, ORDER_GATEWAY, "BYE", ORDER_CLOSED},
};

static bool names(const char *types, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = types; (at = strstr(at, name)) != NULL; at += len)
        if ((at == types || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
            return true;
    return false;
}

static const struct legal *expected(enum order_state state, enum order_sender sender, unsigned type)
{
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i].state == state && list[i].sender == sender && names(list[i].types, frame_name(type)))
            return &list[i];
    return NULL;
}

static void whatever_is_not_listed_is_illegal(void **unused)
{
    (void)unused;
    unsigned legal = 0;
    for (enum order_state state = ORDER_TLS; state <= ORDER_CLOSED; state++)
        for (enum order_sender sender = ORDER_CLIENT; sender <= ORDER_GATEWAY; sender++)
            for (unsigned type = 1; type < 256; type++) {
                const struct order_row *row = order_find(state, sender, (uint8_t)type);
                const struct legal *want = expected(state, sender, type);
                if ((row != NULL) != (want != NULL))
                    fail_msg("%s: %s from %s", order_state_name(state), frame_name(type),
                             sender == ORDER_CLIENT ? "client" : "gateway");
                if (row == NULL || want == NULL)
                    continue;
                assert_int_equal(row->type, type);
                assert_int_equal(row->sender, sender);
                assert_int_equal(row->next, want->next);
                legal++;
            }
    assert_int_equal(legal, 8 + 9 + 6 + 6 + 2);
}

static void tls_handshakes_stand_in_two_states_only(void **unused)
{
    (void)unused;
    for (enum order_state state = ORDER_TLS; state <= ORDER_CLOSED; state++) {
        const struct order_row *row = order_find(state, ORDER_CLIENT, 0);
        assert_int_equal(row != NULL, state == ORDER_TLS || state == ORDER_CHANNEL);
        assert_null(order_find(state, ORDER_GATEWAY, 0));
    }
    assert_int_equal(order_find(ORDER_TLS, ORDER_CLIENT, 0)->next, ORDER_HELLO);
    assert_int_equal(order_find(ORDER_CHANNEL, ORDER_CLIENT, 0)->next, ORDER_LOGIN);
}

static void every_state_before_the_session_ends_in_time(void **unused)
{
    (void)unused;
    for (enum order_state state = ORDER_TLS; state < ORDER_SESSION; state++) {
        assert_in_range(order_deadline_ms(state), 1000, 120000);
        for (unsigned i = 0; i < order_table_len; i++)
            if (order_table[i].state == state)
                assert_int_equal(order_table[i].deadline_ms, order_deadline_ms(state));
    }
    assert_int_equal(order_deadline_ms(ORDER_SESSION), 0);
    assert_int_equal(order_deadline_ms(ORDER_CLOSED), 0);
}

static void states_have_distinct_names(void **unused)
{
    (void)unused;
    for (enum order_state a = ORDER_TLS; a <= ORDER_CLOSED; a++)
        for (enum order_state b = a + 1; b <= ORDER_CLOSED; b++)
            assert_string_not_equal(order_state_name(a), order_state_name(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_is_not_listed_is_illegal),
        cmocka_unit_test(tls_handshakes_stand_in_two_states_only),
        cmocka_unit_test(every_state_before_the_session_ends_in_time),
        cmocka_unit_test(states_have_distinct_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
