#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/error.h"
#include "forked.h"

static void a_number_that_is_no_code_has_no_name(void **state)
{
    (void)state;
    assert_string_equal(tg_code_name(TG_CODE_COUNT), "INVALID");
    assert_string_equal(tg_code_name(UINT32_MAX), "INVALID");
}

/* The numbers are on the wire, so they must stay gRPC's. */
static void codes_have_the_numbers_and_names_of_grpc(void **state)
{
    (void)state;
    static const char *const names[] = {
        "OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED",
    };
    assert_int_equal(TG_CODE_COUNT, sizeof names / sizeof names[0]);
    for (unsigned i = 0; i < TG_CODE_COUNT; i++)
        assert_string_equal(tg_code_name(i), names[i]);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct tg_error err;
    char text[512];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(tg_fail(&err, TG_INTERNAL, "%s", text), TG_INTERNAL);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void nobody_need_listen(void **state)
{
    (void)state;
    assert_int_equal(tg_fail(NULL, TG_ABORTED, "%d", 3), TG_ABORTED);
}

static int cleaned;

static void count_cleanup(const int *value)
{
    cleaned += *value;
}

static enum tg_code guarded(enum tg_code first, bool condition, struct tg_error *err)
{
    TG_CLEANUP(count_cleanup) int value = 1;
    TG_TRY(first);
    TG_ENSURE(condition, err, TG_OUT_OF_RANGE, "value %d is not right", value);
    value = 100; // NOLINT(clang-analyzer-deadcode.DeadStores): the cleanup reads it
    return TG_OK;
}

static void guards_leave_early_and_clean_up(void **state)
{
    (void)state;
    struct tg_error err = {0};
    cleaned = 0;
    assert_int_equal(guarded(TG_UNAVAILABLE, true, &err), TG_UNAVAILABLE);
    assert_int_equal(cleaned, 1);
    assert_int_equal(guarded(TG_OK, false, &err), TG_OUT_OF_RANGE);
    assert_int_equal(err.code, TG_OUT_OF_RANGE);
    assert_string_equal(err.text, "value 1 is not right");
    assert_int_equal(cleaned, 2);
    assert_int_equal(guarded(TG_OK, true, &err), TG_OK);
    assert_int_equal(cleaned, 102);
}

/* What it says goes to the pipe whose end is *fd. */
static int break_an_invariant(void *fd)
{
    const int *end = fd;
    dup2(*end, STDERR_FILENO);
    TG_INVARIANT(*end < 0);
    return 0;
}

static void a_broken_invariant_says_where_and_stops(void **state)
{
    (void)state;
    int ends[2];
    char text[512] = "";
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(forked(break_an_invariant, &ends[1]), -SIGABRT);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_non_null(strstr(text, "\"event\":\"invariant.broken\""));
    assert_non_null(strstr(text, "test_error.c:"));
    assert_non_null(strstr(text, "*end < 0"));
    TG_INVARIANT(close(ends[0]) == 0 && close(ends[1]) == 0); /* and one that holds is silent */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_that_is_no_code_has_no_name),
        cmocka_unit_test(codes_have_the_numbers_and_names_of_grpc),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(nobody_need_listen),
        cmocka_unit_test(guards_leave_early_and_clean_up),
        cmocka_unit_test(a_broken_invariant_says_where_and_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
