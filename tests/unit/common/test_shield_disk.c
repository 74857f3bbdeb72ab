/* The file shield on a disk that fails, and in a process that is killed, at every single call to the disk
 * (tests/faulty/disk.c is linked in). */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/common/shield_file_fixture.h"

static void fault(const char *call, unsigned nth, const char *action)
{
    static unsigned serial; /* another text each time */
    char text[96];
    snprintf(text, sizeof text, "%s %u %s %u", call, nth, action, serial++);
    setenv("TG_TEST_DISK_FAULT", text, 1);
}

static void no_fault(void)
{
    unsetenv("TG_TEST_DISK_FAULT");
}

/* What a test does to a shield; the number of tickets that it got out or in, or an error. */
typedef enum tg_code work(const struct fixture *f, struct shield *shield);

static enum tg_code take_one(const struct fixture *f, struct shield *shield)
{
    (void)f;
    struct shield_key *key = NULL;
    enum tg_code code = shield_take(shield, NOW, &key, NULL);
    shield_key_free(key);
    return code;
}

static enum tg_code remove_two(const struct fixture *f, struct shield *shield)
{
    uint8_t ids[2][TICKET_KEY_ID_LEN];
    struct ticket t;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ticket_peek(f->e.tickets[i], TICKET_LEN, &t, NULL), TG_OK);
        memcpy(ids[i], t.key_id, sizeof ids[i]);
    }
    return shield_remove(shield, (const uint8_t(*)[TICKET_KEY_ID_LEN])ids, 2, NULL);
}

static enum tg_code add_two(const struct fixture *f, struct shield *shield)
{
    (void)f;
    static const uint64_t expires[] = {5000, 6000};
    struct entries more;
    entries_init(&more, expires, 2);
    enum tg_code code = shield_add(shield, more.list, 2, NULL);
    entries_fini(&more);
    return code;
}

static const struct {
    work *act;
    size_t before, after; /* keys that are ready */
} works[] = {{take_one, 3, 2}, {remove_two, 3, 1}, {add_two, 3, 5}};
enum { WORKS = sizeof works / sizeof works[0] };

static void remove_drafts(const struct fixture *f)
{
    char command[96];
    snprintf(command, sizeof command, "rm -f %s/shield.??????", f->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): our own fresh directory */
}

static size_t count_ready(const struct fixture *f)
{
    struct shield *shield = must_open(f, f->path); /* it opens, whatever happened */
    size_t n = ready(shield);
    shield_close(shield);
    return n;
}

static void restore(const struct fixture *f, const struct bytes *full)
{
    assert_int_equal(unlink(f->path), 0);
    store(f->path, full, full->len);
}

/* Each call fails once, with each error: the operation fails, and what is on the disk is the old or the new
 * whole; once the directory has the new one, no key that is in it can be had from the old. */
static void every_failing_call_is_survived(void **state)
{
    struct fixture *f = *state;
    struct bytes full = load(f->path);
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EROFS};
    for (size_t w = 0; w < WORKS; w++) {
        bool through = false;
        for (unsigned n = 1; !through; n++) {
            char number[16];
            restore(f, &full);
            struct shield *shield = must_open(f, f->path);
            snprintf(number, sizeof number, "%d", errors[n % 4]);
            fault("any", n, number);
            enum tg_code code = works[w].act(f, shield);
            no_fault();
            through = code == TG_OK;
            shield_close(shield);
            size_t left = count_ready(f);
            assert_true(left == works[w].after || (!through && left == works[w].before));
            assert_true(n < 20);
        }
    }
}

/* Goes on with the shield that has just failed: it works, or says that it must be opened anew; it never gives
 * out what the disk no longer has. */
static void after_a_failure_it_goes_on_or_says_no(void **state)
{
    struct fixture *f = *state;
    struct bytes full = load(f->path);
    for (unsigned n = 1; n <= 5; n++) {
        restore(f, &full);
        struct shield *shield = must_open(f, f->path);
        struct shield_key *key = NULL;
        fault("any", n, "5");
        enum tg_code failed = shield_take(shield, NOW, &key, NULL);
        no_fault();
        assert_int_not_equal(failed, TG_OK);
        enum tg_code again = shield_take(shield, NOW, &key, NULL);
        assert_true(again == TG_OK || again == TG_UNAVAILABLE);
        if (again == TG_OK)
            assert_memory_equal(shield_key_ticket(key), f->e.tickets[0], TICKET_LEN);
        shield_key_free(key);
        shield_close(shield);
        assert_true(count_ready(f) == 2); /* one is gone, given out or lost; none twice */
    }
}

static bool killed_at(const struct fixture *f, work *act, unsigned n, const char *action)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        struct shield *shield = NULL;
        if (shield_file_open(f->path, f->pin, &shield, NULL) != TG_OK)
            _exit(1);
        fault("any", n, action);
        _exit(act(f, shield) == TG_OK ? 0 : 2);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

/* kill -9 before, after and in the middle of each call: the shield opens, and is as it was before or after.
 */
static void every_kill_leaves_the_old_or_the_new_whole(void **state)
{
    struct fixture *f = *state;
    struct bytes full = load(f->path);
    static const char *const actions[] = {"kill", "killed", "half"};
    for (size_t i = 0; i < WORKS * 3; i++) {
        bool killed = true;
        for (unsigned n = 1; killed; n++) {
            restore(f, &full);
            killed = killed_at(f, works[i / 3].act, n, actions[i % 3]);
            size_t left = count_ready(f);
            assert_true(left == works[i / 3].after || (killed && left == works[i / 3].before));
            assert_true(n < 20);
        }
    }
    remove_drafts(f);
}

/* A container that is damaged, at each byte: refused, and not a bit of it changes, whoever tries what. */
static void what_is_damaged_stays_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct bytes b = load(f->path);
    struct shield *shield = NULL;
    for (size_t i = 0; i < b.len; i++) {
        struct bytes damaged = b;
        struct tg_error err = {0};
        damaged.data[i] ^= 0x10;
        restore(f, &damaged);
        assert_int_not_equal(shield_file_open(f->path, f->pin, &shield, &err), TG_OK);
        assert_int_equal(shield_file_create_cost(f->path, "shield-7", f->pin, CONTAINER_LOG2_N_MIN, NULL),
                         TG_ALREADY_EXISTS);
        struct bytes after = load(f->path);
        assert_int_equal(after.len, damaged.len);
        assert_memory_equal(after.data, damaged.data, after.len);
    }
}

/* The names of what is refused, and what to do, are in the text. */
static void a_damaged_container_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t at;
        const char *says;
    } damages[] = {
        {0, "not a shield container"}, {8, "version"}, {9, "damaged"}, {41, "damaged"}, {60, "altered"}};
    struct bytes b = load(f->path);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct bytes damaged = b;
        struct tg_error err = {0};
        struct shield *shield = NULL;
        damaged.data[damages[i].at] ^= 0x80;
        restore(f, &damaged);
        assert_int_not_equal(shield_file_open(f->path, f->pin, &shield, &err), TG_OK);
        bool what_to_do = err.code == TG_UNAUTHENTICATED || strstr(err.text, "fill a new shield") != NULL;
        if (strstr(err.text, damages[i].says) == NULL || strstr(err.text, f->path) == NULL || !what_to_do)
            fail_msg("byte %zu: %s", damages[i].at, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_failing_call_is_survived),
        TEST(after_a_failure_it_goes_on_or_says_no),
        TEST(every_kill_leaves_the_old_or_the_new_whole),
        TEST(what_is_damaged_stays_as_it_is),
        TEST(a_damaged_container_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
