#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/log.h"

/* The log goes into an unlinked file, from which each test reads back what was written. */
static int log_fd = -1;

static int open_log(void **state)
{
    (void)state;
    char path[] = "/tmp/tg-test-log-XXXXXX";
    log_fd = mkstemp(path);
    if (log_fd < 0)
        return -1;
    unlink(path);
    log_open("unit", LOG_INFO, log_fd);
    return 0;
}

static int close_log(void **state)
{
    (void)state;
    log_open("unit", LOG_INFO, STDERR_FILENO);
    return close(log_fd);
}

static char *written(void)
{
    off_t len = lseek(log_fd, 0, SEEK_END);
    assert_true(len >= 0);
    char *text = calloc(1, (size_t)len + 1);
    assert_non_null(text);
    assert_int_equal(pread(log_fd, text, (size_t)len, 0), len);
    assert_int_equal(strlen(text), len);
    return text;
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

/* What was written must be exactly one line of valid JSON. */
static json_t *only_line(void)
{
    char *text = written();
    assert_int_equal(count_lines(text), 1);
    assert_int_equal(text[strlen(text) - 1], '\n');
    json_error_t why;
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    assert_non_null(line);
    free(text);
    return line;
}

static void expect_logged(const char *value, const char *expected)
{
    assert_int_equal(ftruncate(log_fd, 0), 0);
    assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
    LOG(LOG_INFO, NULL, "test.value", LOG_TEXT("value", value));
    json_t *line = only_line();
    assert_string_equal(json_string_value(json_object_get(line, "value")), expected);
    assert_int_equal(json_object_size(line), 5);
    json_decref(line);
}

static void hostile_text_cannot_forge_a_line(void **state)
{
    (void)state;
    const char *forged = "x\"}\n{\"level\":\"info\",\"event\":\"login.granted\"}\r\n";
    expect_logged(forged, forged);
    expect_logged("\\\",\"user\":\"root", "\\\",\"user\":\"root");
    expect_logged("\x01\x1b[2J\x7f\t\b", "\x01\x1b[2J\x7f\t\b");
}

static void nothing_that_steers_a_terminal_is_written_raw(void **state)
{
    (void)state;
    /* ESC, C1 CSI, DEL, line separator, right-to-left override, isolate */
    LOG(LOG_INFO, NULL, "test.raw",
        LOG_TEXT("value", "\x1b[1m \xc2\x9b"
                          "1m \x7f \u2028 \u202e \u2066"));
    char *text = written();
    for (const char *c = text; *c != '\0'; c++)
        assert_true((*c >= 0x20 && *c < 0x7f) || *c == '\n');
    assert_non_null(strstr(text, "\\u001b[1m \\u009b1m \\u007f \\u2028 \\u202e \\u2066"));
    free(text);
}

static void bytes_that_are_not_utf8_are_replaced(void **state)
{
    (void)state;
    expect_logged("a\xff\xfe"
                  "b",
                  "a\ufffd\ufffdb");
    expect_logged("\xc0\xaf", "\ufffd\ufffd");                     /* overlong slash */
    expect_logged("\xed\xa0\x80", "\ufffd\ufffd\ufffd");           /* surrogate */
    expect_logged("\xf4\x90\x80\x80", "\ufffd\ufffd\ufffd\ufffd"); /* above U+10FFFF */
    expect_logged("cut \xe9\x87", "cut \ufffd\ufffd");
    expect_logged("\xe9"
                  "a",
                  "\ufffd"
                  "a");
    expect_logged("量子 \U0001f511", "量子 \U0001f511");
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char value[2000];
    char expected[2000];
    memset(value, 'x', sizeof value);
    value[1024] = '\0';
    expect_logged(value, value);
    value[1024] = 'x';
    value[1025] = '\0';
    memset(expected, 'x', sizeof expected);
    memcpy(expected + 1024, "\u2026", sizeof "\u2026");
    expect_logged(value, expected);

    /* A character that lies across the limit is left out whole. */
    memcpy(value + 1023, "\U0001f511", sizeof "\U0001f511");
    memcpy(expected + 1023, "\u2026", sizeof "\u2026");
    expect_logged(value, expected);
}

static void a_line_too_long_is_still_whole_and_says_so(void **state)
{
    (void)state;
    char control[1025];
    memset(control, '\x01', sizeof control - 1);
    control[sizeof control - 1] = '\0';
    LOG(LOG_INFO, NULL, "test.long", LOG_TEXT("a", control), LOG_TEXT("b", control), LOG_TEXT("c", control),
        LOG_NUMBER("after", 1));
    json_t *line = only_line();
    assert_string_equal(json_string_value(json_object_get(line, "b")), control);
    assert_null(json_object_get(line, "c"));
    assert_null(json_object_get(line, "after"));
    assert_true(json_is_true(json_object_get(line, "cut")));
    json_decref(line);
}

static void below_the_level_nothing_is_written(void **state)
{
    (void)state;
    LOG(LOG_DEBUG, NULL, "test.debug");
    log_set_level(LOG_ERROR);
    LOG(LOG_WARNING, NULL, "test.warning");
    char *text = written();
    assert_string_equal(text, "");
    free(text);
    LOG(LOG_ERROR, NULL, "test.error");
    json_decref(only_line());
}

static void a_wrong_level_is_refused_by_name(void **state)
{
    (void)state;
    enum log_level level = LOG_INFO;
    struct tg_error err;
    assert_int_equal(log_level_parse("", &level, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(log_level_parse("INFO", &level, &err), TG_INVALID_ARGUMENT);
    assert_int_equal(log_level_parse("verbose", &level, &err), TG_INVALID_ARGUMENT);
    assert_string_equal(err.text, "log level \"verbose\": use error, warning, info or debug");
    assert_int_equal(level, LOG_INFO);
    assert_int_equal(log_level_parse("debug", &level, &err), TG_OK);
    assert_int_equal(level, LOG_DEBUG);
}

static void a_line_holds_what_was_given(void **state)
{
    (void)state;
    struct tg_error err;
    (void)tg_fail(&err, TG_UNAVAILABLE, "no route");
    LOG(LOG_WARNING, "00112233445566778899aabbccddeeff", "test.line", LOG_TEXT("user", "alice"),
        LOG_NUMBER("streams", -3), LOG_TEXT("nothing", (const char *)NULL), LOG_ERR(&err));
    json_t *line = only_line();
    static const char *const expected[][2] = {
        {"level", "warning"},    {"service", "unit"},   {"event", "test.line"},
        {"user", "alice"},       {"nothing", ""},       {"trace", "00112233445566778899aabbccddeeff"},
        {"code", "UNAVAILABLE"}, {"error", "no route"},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_string_equal(json_string_value(json_object_get(line, expected[i][0])), expected[i][1]);
    assert_int_equal(json_integer_value(json_object_get(line, "streams")), -3);
    /* A digit wherever the pattern has one. */
    static const char pattern[] = "0000-00-00T00:00:00.000000Z";
    const char *time = json_string_value(json_object_get(line, "time"));
    assert_int_equal(strlen(time), strlen(pattern));
    for (size_t i = 0; pattern[i] != '\0'; i++)
        assert_true(pattern[i] == '0' ? time[i] >= '0' && time[i] <= '9' : time[i] == pattern[i]);
    json_decref(line);
}

enum { WRITERS = 4, LINES_EACH = 200 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES_EACH; i++)
        LOG(LOG_INFO, NULL, "test.thread", LOG_TEXT("who", (const char *)arg), LOG_NUMBER("n", i));
    return NULL;
}

static void lines_of_several_threads_stay_whole(void **state)
{
    (void)state;
    static char names[WRITERS][600];
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        memset(names[i], 'a' + i, sizeof names[i] - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    char *text = written();
    assert_int_equal(count_lines(text), WRITERS * LINES_EACH);
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        json_t *parsed = json_loads(line, 0, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
    }
    free(text);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_log, close_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(hostile_text_cannot_forge_a_line),
        LOG_TEST(nothing_that_steers_a_terminal_is_written_raw),
        LOG_TEST(bytes_that_are_not_utf8_are_replaced),
        LOG_TEST(long_text_is_cut_between_characters),
        LOG_TEST(a_line_too_long_is_still_whole_and_says_so),
        LOG_TEST(below_the_level_nothing_is_written),
        LOG_TEST(a_wrong_level_is_refused_by_name),
        LOG_TEST(a_line_holds_what_was_given),
        LOG_TEST(lines_of_several_threads_stay_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
