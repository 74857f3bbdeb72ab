#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "common/shield/file_internal.h"
#include "tests/unit/common/shield_fixture.h"

struct fixture {
    char dir[32];
    char path[64], other[64];
    struct secret *pin;
    struct entries e;
};

static int setup(void **state)
{
    static const uint64_t expires[] = {2000, 3000, 4000, NOW};
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->dir, "/tmp/tg-shield-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/shield", f->dir);
    snprintf(f->other, sizeof f->other, "%s/other", f->dir);
    f->pin = secret_copy("135790", 6);
    entries_init(&f->e, expires, 4);
    assert_int_equal(shield_file_create_cost(f->path, "shield-7", f->pin, CONTAINER_LOG2_N_MIN, NULL), TG_OK);
    struct shield *shield = NULL;
    assert_int_equal(shield_file_open(f->path, f->pin, &shield, NULL), TG_OK);
    assert_int_equal(shield_add(shield, f->e.list, 4, NULL), TG_OK);
    shield_close(shield);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"shield", "shield.lock", "other", "other.lock"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%s", f->dir, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0); /* nothing else was left behind */
    secret_free(f->pin);
    entries_fini(&f->e);
    free(f);
    return 0;
}

static enum tg_code try_open(const char *path, const struct secret *pin)
{
    struct shield *shield = NULL;
    struct tg_error err = {0};
    enum tg_code code = shield_file_open(path, pin, &shield, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(code == TG_OK, shield != NULL);
    shield_close(shield);
    return code;
}

static struct shield *must_open(const struct fixture *f, const char *path)
{
    struct shield *shield = NULL;
    struct tg_error err;
    if (shield_file_open(path, f->pin, &shield, &err) != TG_OK)
        fail_msg("%s", err.text);
    return shield;
}

static struct bytes load(const char *path)
{
    struct bytes b;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, b.data, sizeof b.data);
    assert_true(n >= 0 && (size_t)n < sizeof b.data);
    b.len = (size_t)n;
    close(fd);
    return b;
}

static void store(const char *path, const struct bytes *b, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b->data, len), (ssize_t)len);
    close(fd);
}

static void a_wrong_pin_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const pins[] = {"135791", "13579", "1357900", "x"};
    for (size_t i = 0; i < sizeof pins / sizeof pins[0]; i++) {
        struct secret *wrong = secret_copy(pins[i], strlen(pins[i]));
        assert_int_equal(try_open(f->path, wrong), TG_UNAUTHENTICATED);
        secret_free(wrong);
    }
    assert_int_equal(try_open(f->path, f->pin), TG_OK);
}

static void pins_too_short_or_long_are_refused(void **state)
{
    struct fixture *f = *state;
    char digits[66];
    memset(digits, '7', sizeof digits);
    struct secret *brief = secret_copy(digits, 5);
    struct secret *lengthy = secret_copy(digits, 65);
    assert_int_equal(shield_file_create(f->other, "shield-8", brief, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(shield_file_create(f->other, "shield-8", lengthy, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(access(f->other, F_OK), -1);
    secret_free(brief);
    secret_free(lengthy);
}

static void every_flipped_byte_is_refused(void **state)
{
    struct fixture *f = *state;
    struct bytes b = load(f->path);
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] ^= (uint8_t)(1 << i % 8);
        store(f->other, &b, b.len);
        enum tg_code code = try_open(f->other, f->pin);
        if (code != TG_UNAUTHENTICATED && code != TG_DATA_LOSS)
            fail_msg("byte %zu flipped: %s", i, tg_code_name(code));
        b.data[i] ^= (uint8_t)(1 << i % 8);
        struct bytes after = load(f->other); /* left as it was */
        assert_int_equal(after.len, b.len);
    }
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    struct bytes b = load(f->path);
    for (size_t len = 0; len < b.len; len++) {
        store(f->other, &b, len);
        enum tg_code code = try_open(f->other, f->pin);
        assert_true(code == TG_DATA_LOSS || code == TG_UNAUTHENTICATED);
    }
    memset(b.data + b.len, 0, sizeof(struct slot));
    store(f->other, &b, b.len + sizeof(struct slot)); /* longer by what an entry takes */
    assert_int_equal(try_open(f->other, f->pin), TG_UNAUTHENTICATED);
}

static void what_is_no_container_is_told_apart(void **state)
{
    struct fixture *f = *state;
    struct bytes text = {.data = "hello", .len = 5};
    store(f->other, &text, text.len);
    assert_int_equal(try_open(f->other, f->pin), TG_DATA_LOSS);
    assert_int_equal(unlink(f->other), 0);
    assert_int_equal(try_open(f->other, f->pin), TG_NOT_FOUND);
    assert_int_equal(try_open(f->dir, f->pin), TG_DATA_LOSS);
    assert_int_equal(mkfifo(f->other, 0600), 0);
    assert_int_equal(try_open(f->other, f->pin), TG_DATA_LOSS);
    char lock[64];
    snprintf(lock, sizeof lock, "%s.lock", f->dir);
    assert_int_equal(access(lock, F_OK), -1); /* no litter beside what is no shield */
}

static void one_that_others_can_touch_is_refused(void **state)
{
    struct fixture *f = *state;
    char id[SHIELD_ID_LEN + 1];
    static const mode_t modes[] = {0640, 0620, 0610, 0604, 0602, 0601};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(f->path, modes[i]), 0);
        assert_int_equal(try_open(f->path, f->pin), TG_PERMISSION_DENIED);
        assert_int_equal(shield_file_peek(f->path, id, NULL), TG_PERMISSION_DENIED);
    }
    assert_int_equal(chmod(f->path, 0600), 0);
    assert_int_equal(try_open(f->path, f->pin), TG_OK);
}

/* Parameters that would take gigabytes or hours are refused before scrypt runs. */
static void hostile_costs_are_refused(void **state)
{
    struct fixture *f = *state;
    struct bytes b = load(f->path);
    static const uint8_t costs[][3] = {{63, 8, 1},   {255, 255, 255}, {18, 8, 1}, {9, 8, 1},    {0, 8, 1},
                                       {15, 255, 1}, {15, 0, 1},      {15, 8, 5}, {15, 8, 255}, {15, 8, 0}};
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        memcpy(b.data + 9, costs[i], 3);
        store(f->other, &b, b.len);
        assert_int_equal(try_open(f->other, f->pin), TG_DATA_LOSS);
    }
}

static void nothing_is_overwritten(void **state)
{
    struct fixture *f = *state;
    struct bytes before = load(f->path);
    assert_int_equal(shield_file_create_cost(f->path, "shield-7", f->pin, CONTAINER_LOG2_N_MIN, NULL),
                     TG_ALREADY_EXISTS);
    struct bytes after = load(f->path);
    assert_int_equal(before.len, after.len);
    assert_memory_equal(before.data, after.data, before.len);
}

static void real_shields_cost_what_they_should(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(shield_file_create(f->other, "shield-8", f->pin, NULL), TG_OK);
    struct bytes b = load(f->other);
    assert_hex(b.data + 8, 4, "010f0801");
    assert_int_equal(stat(f->other, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(try_open(f->other, f->pin), TG_OK);
}

static void the_id_can_be_read_without_pin(void **state)
{
    struct fixture *f = *state;
    char id[SHIELD_ID_LEN + 1];
    struct shield *shield = must_open(f, f->path);
    assert_int_equal(shield_file_peek(f->path, id, NULL), TG_OK); /* also while it is in use */
    assert_string_equal(id, "shield-7");
    shield_close(shield);
    assert_int_equal(shield_file_peek("/nonexistent/shield", id, NULL), TG_NOT_FOUND);
}

static void neither_keys_nor_tickets_can_be_seen(void **state)
{
    struct fixture *f = *state;
    struct bytes b = load(f->path);
    for (size_t i = 0; i < 4; i++) {
        assert_null(memmem(b.data, b.len, secret_view(f->e.keys[i]), 8));
        assert_null(memmem(b.data, b.len, f->e.tickets[i] + 1, 8));
    }
}

static void what_is_added_can_be_taken_later(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 3; i++) {
        struct shield *shield = must_open(f, f->path);
        assert_int_equal(ready(shield), 3 - i);
        assert_next_is(shield, &f->e, i);
        shield_close(shield);
    }
    struct shield *shield = must_open(f, f->path);
    struct shield_key *key = NULL;
    assert_int_equal(shield_take(shield, NOW, &key, NULL),
                     TG_FAILED_PRECONDITION); /* one is left, but expired */
    shield_close(shield);
}

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_pin_is_refused),
        TEST(pins_too_short_or_long_are_refused),
        TEST(every_flipped_byte_is_refused),
        TEST(every_truncation_is_refused),
        TEST(what_is_no_container_is_told_apart),
        TEST(one_that_others_can_touch_is_refused),
        TEST(hostile_costs_are_refused),
        TEST(nothing_is_overwritten),
        TEST(real_shields_cost_what_they_should),
        TEST(the_id_can_be_read_without_pin),
        TEST(neither_keys_nor_tickets_can_be_seen),
        TEST(what_is_added_can_be_taken_later),
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
