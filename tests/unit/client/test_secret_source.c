/* Passwords and PINs: from private files, descriptors and the terminal, whose state must be as before
 * whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "client/secret_source.h"
#include "client/terminal.h"

static char path[] = "/tmp/tg-secret-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret\nnot this\n", 16), 16);
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static bool is(const struct secret *secret, const char *text)
{
    return secret_len(secret) == strlen(text) && memcmp(secret_view(secret), text, strlen(text)) == 0;
}

static void files_that_others_can_read_are_refused(void **state)
{
    (void)state;
    const struct secret_source source = {.file = path, .fd = -1};
    struct secret *secret = NULL;
    struct tg_error err;
    chmod(path, 0644);
    assert_int_equal(secret_source_read(&source, "PIN", "", &secret, &err), TG_PERMISSION_DENIED);
    assert_non_null(strstr(err.text, "PIN: "));
    assert_null(secret);
}

static void files_give_their_first_line(void **state)
{
    (void)state;
    const struct secret_source source = {.file = path, .fd = -1};
    struct secret *secret = NULL;
    chmod(path, 0600);
    assert_int_equal(secret_source_read(&source, "PIN", "", &secret, NULL), TG_OK);
    assert_true(is(secret, "secret"));
    secret_free(secret);
}

static void missing_and_empty_files_are_told_apart(void **state)
{
    (void)state;
    struct secret_source source = {.file = "/nonexistent/pin", .fd = -1};
    struct secret *secret = NULL;
    assert_int_equal(secret_source_read(&source, "PIN", "", &secret, NULL), TG_NOT_FOUND);
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "\n", 1), 1);
    close(fds[1]);
    source = (struct secret_source){.fd = fds[0]};
    assert_int_equal(secret_source_read(&source, "PIN", "", &secret, NULL), TG_INVALID_ARGUMENT);
    close(fds[0]);
}

static void one_descriptor_gives_pin_and_password(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "123456\nsecret\n", 14), 14);
    const struct secret_source source = {.fd = fds[0]};
    struct secret *pin = NULL, *password = NULL;
    assert_int_equal(secret_source_read_new(&source, "PIN", "", &pin, NULL), TG_OK);
    assert_int_equal(secret_source_read(&source, "password", "", &password, NULL), TG_OK);
    assert_true(is(pin, "123456"));
    assert_true(is(password, "secret"));
    secret_free(pin);
    secret_free(password);
    close(fds[0]);
    close(fds[1]);
}

static void descriptors_are_numbers(void **state)
{
    (void)state;
    int fd = -1;
    assert_int_equal(secret_source_parse_fd("7", &fd, NULL), TG_OK);
    assert_int_equal(fd, 7);
    static const char *const bad[] = {"", "x", "7x", " 7", "-1", "99999999999999999999", "1048577"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(secret_source_parse_fd(bad[i], &fd, NULL), TG_INVALID_ARGUMENT);
}

/* ---- the terminal: a child on a pseudo-terminal of its own ---- */

enum { CHILD_RIGHT = 0, CHILD_WRONG = 1, CHILD_CANCELLED = 2 };

static int child_asks(bool echo)
{
    struct secret *answer = NULL;
    enum tg_code code = terminal_ask("PIN", echo, &answer, NULL);
    int result = code == TG_CANCELLED ? CHILD_CANCELLED : CHILD_WRONG;
    if (code == TG_OK && is(answer, "1234 567"))
        result = CHILD_RIGHT;
    secret_free(answer);
    return result;
}

static int child_asks_twice(bool echo)
{
    (void)echo;
    const struct secret_source source = {.fd = -1};
    struct secret *answer = NULL;
    enum tg_code code = secret_source_read_new(&source, "PIN", "PIN", &answer, NULL);
    int result = code == TG_CANCELLED ? CHILD_CANCELLED : code == TG_OK ? CHILD_RIGHT : CHILD_WRONG;
    secret_free(answer);
    return result;
}

struct terminal {
    int master;
    pid_t child;
    char shown[512];
    size_t len;
};

static void terminal_start(struct terminal *t, int (*ask)(bool echo), bool echo)
{
    *t = (struct terminal){0};
    t->child = forkpty(&t->master, NULL, NULL, NULL);
    assert_true(t->child >= 0);
    if (t->child == 0)
        _exit(ask(echo));
}

/* Reads until `text` was shown: the child is then waiting for input. */
static void terminal_wait_for(struct terminal *t, const char *text)
{
    while (strstr(t->shown, text) == NULL) {
        ssize_t n = read(t->master, t->shown + t->len, sizeof t->shown - 1 - t->len);
        if (n <= 0)
            fail_msg("the terminal ended without \"%s\", after \"%s\"", text, t->shown);
        t->len += (size_t)n;
    }
}

static void terminal_type(const struct terminal *t, const char *text)
{
    assert_int_equal(write(t->master, text, strlen(text)), strlen(text));
}

static bool terminal_echoes(const struct terminal *t)
{
    struct termios state;
    assert_int_equal(tcgetattr(t->master, &state), 0);
    return (state.c_lflag & ECHO) != 0;
}

/* Waits for the child's end; the terminal must echo again. Returns wait()'s status. */
static int terminal_end(struct terminal *t)
{
    int status = 0;
    assert_int_equal(waitpid(t->child, &status, 0), t->child);
    ssize_t n;
    while (t->len < sizeof t->shown - 1 &&
           (n = read(t->master, t->shown + t->len, sizeof t->shown - 1 - t->len)) > 0)
        t->len += (size_t)n;
    close(t->master);
    return status;
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    struct terminal t;
    terminal_start(&t, child_asks, false);
    terminal_wait_for(&t, "PIN: ");
    assert_false(terminal_echoes(&t));
    terminal_type(&t, "1234 567\n");
    terminal_wait_for(&t, "\n");
    assert_true(terminal_echoes(&t));
    int status = terminal_end(&t);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CHILD_RIGHT);
    assert_null(strstr(t.shown, "1234"));
}

static void answers_are_shown_where_the_gateway_says_so(void **state)
{
    (void)state;
    struct terminal t;
    terminal_start(&t, child_asks, true);
    terminal_wait_for(&t, "PIN: ");
    assert_true(terminal_echoes(&t));
    terminal_type(&t, "1234 567\n");
    assert_int_equal(WEXITSTATUS(terminal_end(&t)), CHILD_RIGHT);
    assert_non_null(strstr(t.shown, "1234 567"));
}

static void nothing_typed_is_a_no(void **state)
{
    (void)state;
    static const char *const typed[] = {"\n", "\004"};
    for (size_t i = 0; i < 2; i++) {
        struct terminal t;
        terminal_start(&t, child_asks, false);
        terminal_wait_for(&t, "PIN: ");
        terminal_type(&t, typed[i]);
        assert_int_equal(WEXITSTATUS(terminal_end(&t)), CHILD_CANCELLED);
    }
}

static void interrupting_restores_the_terminal(void **state)
{
    (void)state;
    struct terminal t;
    terminal_start(&t, child_asks, false);
    terminal_wait_for(&t, "PIN: ");
    terminal_type(&t, "\003"); /* control-C */
    terminal_wait_for(&t, "\n");
    assert_true(terminal_echoes(&t));
    int status = terminal_end(&t);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

static void a_new_pin_is_asked_twice(void **state)
{
    (void)state;
    static const struct {
        const char *again;
        int expected;
    } cases[] = {{"123456\n", CHILD_RIGHT}, {"123457\n", CHILD_CANCELLED}};
    for (size_t i = 0; i < 2; i++) {
        struct terminal t;
        terminal_start(&t, child_asks_twice, false);
        terminal_wait_for(&t, "PIN: ");
        terminal_type(&t, "123456\n");
        terminal_wait_for(&t, "The same again: ");
        terminal_type(&t, cases[i].again);
        assert_int_equal(WEXITSTATUS(terminal_end(&t)), cases[i].expected);
    }
}

static void without_a_terminal_there_is_nobody_to_ask(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setsid(); /* no controlling terminal any more */
        struct secret *answer = NULL;
        _exit(terminal_ask("PIN", false, &answer, NULL) == TG_UNAVAILABLE ? CHILD_RIGHT : CHILD_WRONG);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), CHILD_RIGHT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_others_can_read_are_refused),
        cmocka_unit_test(files_give_their_first_line),
        cmocka_unit_test(missing_and_empty_files_are_told_apart),
        cmocka_unit_test(one_descriptor_gives_pin_and_password),
        cmocka_unit_test(descriptors_are_numbers),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(answers_are_shown_where_the_gateway_says_so),
        cmocka_unit_test(nothing_typed_is_a_no),
        cmocka_unit_test(interrupting_restores_the_terminal),
        cmocka_unit_test(a_new_pin_is_asked_twice),
        cmocka_unit_test(without_a_terminal_there_is_nobody_to_ask),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
