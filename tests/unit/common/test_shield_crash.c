/* Two programs at one shield, copies, kills, full disks and pulled sticks: a ticket once taken is gone for
 * good. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/common/shield_file_fixture.h"

static void each_writing_has_its_own_nonce(void **state)
{
    struct fixture *f = *state;
    struct bytes before = load(f->path);
    store(f->other, &before, before.len);
    struct shield *a = must_open(f, f->path);
    struct shield *b = must_open(f, f->other); /* a copy that goes its own way */
    assert_next_is(a, &f->e, 0);
    assert_next_is(b, &f->e, 0); /* the key store, not the shield, refuses the second */
    struct bytes from_a = load(f->path);
    struct bytes from_b = load(f->other);
    assert_memory_not_equal(from_a.data + 28, before.data + 28, GCM_NONCE_LEN);
    assert_memory_not_equal(from_a.data + 28, from_b.data + 28, GCM_NONCE_LEN);
    shield_close(a);
    shield_close(b);
}

/* A child that runs until the parent kills it, or until it has done `count` takes. It reports each ticket as
 * soon as it has it, and before it would be used. */
static pid_t start_taker(const struct fixture *f, const char *path, int count, int *from_child)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        struct shield *shield = NULL;
        struct shield_key *key = NULL;
        if (shield_file_open(path, f->pin, &shield, NULL) != TG_OK)
            _exit(1);
        for (int i = 0; i < count; i++)
            if (shield_take(shield, NOW, &key, NULL) != TG_OK ||
                write(ends[1], shield_key_ticket(key), TICKET_LEN) != TICKET_LEN)
                _exit(2);
        pause();
        _exit(3);
    }
    close(ends[1]);
    *from_child = ends[0];
    return pid;
}

static void kill_child(pid_t pid)
{
    int status;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void another_process_is_locked_out(void **state)
{
    struct fixture *f = *state;
    int from_child;
    uint8_t ticket[TICKET_LEN];
    pid_t pid = start_taker(f, f->path, 1, &from_child);
    assert_int_equal(read(from_child, ticket, sizeof ticket), TICKET_LEN);
    /* The child has replaced the container since it locked it: the lock must have outlived that. */
    assert_int_equal(try_open(f->path, f->pin), TG_UNAVAILABLE);
    assert_int_equal(symlink(f->path, f->other), 0); /* nor under another name */
    assert_int_equal(try_open(f->other, f->pin), TG_UNAVAILABLE);
    kill_child(pid);
    close(from_child);
    assert_int_equal(try_open(f->path, f->pin), TG_OK);
}

static void a_second_handle_is_locked_out(void **state)
{
    struct fixture *f = *state;
    struct shield *shield = must_open(f, f->path);
    assert_int_equal(try_open(f->path, f->pin), TG_UNAVAILABLE);
    shield_close(shield);
    assert_int_equal(try_open(f->path, f->pin), TG_OK);
}

/* Killed between taking a key and using it: the ticket is gone for good. */
static void a_taken_ticket_is_gone_before_it_can_be_used(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 3; i++) {
        int from_child;
        uint8_t ticket[TICKET_LEN];
        pid_t pid = start_taker(f, f->path, 1, &from_child);
        assert_int_equal(read(from_child, ticket, sizeof ticket), TICKET_LEN);
        kill_child(pid);
        close(from_child);
        assert_memory_equal(ticket, f->e.tickets[i], TICKET_LEN);
        struct shield *shield = must_open(f, f->path);
        assert_int_equal(ready(shield), 2 - i);
        shield_close(shield);
    }
}

static void remove_drafts(const struct fixture *f)
{
    char command[96];
    snprintf(command, sizeof command, "rm -f %s/shield.??????", f->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): our own fresh directory */
}

/* Killed anywhere: the container always opens, and no ticket that the child reported is seen again. */
static void a_kill_at_any_moment_loses_at_most_the_key_in_hand(void **state)
{
    struct fixture *f = *state;
    struct bytes full = load(f->path);
    for (unsigned round = 0; round < 20; round++) {
        assert_int_equal(unlink(f->path), 0);
        store(f->path, &full, full.len);
        int from_child;
        uint8_t ticket[TICKET_LEN];
        size_t reported = 0;
        pid_t pid = start_taker(f, f->path, 3, &from_child);
        usleep(round * 700); /* scatters the kill over opening and the three takes; any moment will do */
        kill_child(pid);
        while (read(from_child, ticket, sizeof ticket) == TICKET_LEN)
            assert_memory_equal(ticket, f->e.tickets[reported++], TICKET_LEN);
        close(from_child);
        struct shield *shield = must_open(f, f->path);
        assert_true(ready(shield) <= 3 - reported && ready(shield) + reported + 1 >= 3);
        if (ready(shield) > 0)
            assert_next_is(shield, &f->e, 3 - ready(shield));
        shield_close(shield);
    }
    remove_drafts(f);
}

/* RLIMIT_FSIZE stands for a full disk: writing fails half way. */
static void a_full_disk_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct shield *shield = must_open(f, f->path);
    struct bytes before = load(f->path);
    struct rlimit old;
    struct shield_key *key = NULL;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {.rlim_cur = 64, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum tg_code code = shield_take(shield, NOW, &key, NULL);
    enum tg_code created = shield_file_create_cost(f->other, "shield-8", f->pin, CONTAINER_LOG2_N_MIN, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(code, TG_RESOURCE_EXHAUSTED);
    assert_int_equal(created, TG_RESOURCE_EXHAUSTED);
    assert_null(key);
    struct bytes after = load(f->path);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.data, before.data, before.len);
    assert_next_is(shield, &f->e, 0); /* and all is well once there is room */
    shield_close(shield);
    assert_int_equal(access(f->other, F_OK), -1);
}

static void a_pulled_or_swapped_shield_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct shield *shield = must_open(f, f->path);
    struct bytes b = load(f->path);
    struct shield_key *key = NULL;
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_UNAVAILABLE);
    assert_int_equal(access(f->path, F_OK), -1); /* nothing was written where the stick was */
    store(f->path, &b, b.len);
    assert_int_equal(shield_take(shield, NOW, &key, NULL), TG_UNAVAILABLE);
    assert_int_equal(shield_add(shield, NULL, 0, NULL), TG_UNAVAILABLE);
    shield_close(shield);
    shield = must_open(f, f->path);
    assert_next_is(shield, &f->e, 0);
    shield_close(shield);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_writing_has_its_own_nonce),
        TEST(another_process_is_locked_out),
        TEST(a_second_handle_is_locked_out),
        TEST(a_taken_ticket_is_gone_before_it_can_be_used),
        TEST(a_kill_at_any_moment_loses_at_most_the_key_in_hand),
        TEST(a_full_disk_changes_nothing),
        TEST(a_pulled_or_swapped_shield_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
