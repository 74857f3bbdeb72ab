/* A file shield in a directory of its own, and what a thief or a bad disk would do to it. */
#ifndef TG_TESTS_UNIT_COMMON_SHIELD_FILE_FIXTURE_H
#define TG_TESTS_UNIT_COMMON_SHIELD_FILE_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/shield/file_internal.h"
#include "tests/unit/common/shield_fixture.h"

struct fixture {
    char dir[32];
    char path[64], other[64];
    struct secret *pin;
    struct entries e;
};

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

static inline enum tg_code try_open(const char *path, const struct secret *pin)
{
    struct shield *shield = NULL;
    struct tg_error err = {0};
    enum tg_code code = shield_file_open(path, pin, &shield, &err);
    assert_int_equal(code, err.code);
    assert_int_equal(code == TG_OK, shield != NULL);
    shield_close(shield);
    return code;
}

static inline struct shield *must_open(const struct fixture *f, const char *path)
{
    struct shield *shield = NULL;
    struct tg_error err;
    if (shield_file_open(path, f->pin, &shield, &err) != TG_OK)
        fail_msg("%s", err.text);
    return shield;
}

static inline struct bytes load(const char *path)
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

static inline void store(const char *path, const struct bytes *b, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b->data, len), (ssize_t)len);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
