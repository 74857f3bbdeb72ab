/* The container: what is refused, and what comes back out of it. */
#include <sys/stat.h>

#include "tests/unit/common/shield_file_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
