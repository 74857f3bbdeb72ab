/* In this program the locked heap is open: 64 KiB, all of it ours, so that the last test can fill it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/crypto.h>

#include "common/secret.h"

enum { HEAP_BYTES = 65536 };

static size_t used_at_start;

/* OpenSSL's generators live in the same heap, from their first use on. */
static int open_heap(void **state)
{
    (void)state;
    struct tg_error err;
    if (secret_heap_open(HEAP_BYTES, &err) != TG_OK)
        return -1;
    secret_free(secret_random(1));
    used_at_start = CRYPTO_secure_used();
    return 0;
}

static int close_heap(void **state)
{
    (void)state;
    int leaked = CRYPTO_secure_used() != used_at_start;
    secret_heap_close();
    return leaked;
}

static bool dies_by_abort(void (*act)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        act();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void ask_for_nothing(void)
{
    secret_free(secret_new(0));
}

static void ask_for_too_much(void)
{
    secret_free(secret_new(65537));
}

static void impossible_lengths_stop_the_process(void **state)
{
    (void)state;
    assert_true(dies_by_abort(ask_for_nothing));
    assert_true(dies_by_abort(ask_for_too_much));
}

static void memory_that_cannot_be_locked_is_refused(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit limit = {4096, 4096};
        struct tg_error err = {0};
        secret_heap_close();
        /* Root may lock whatever the limit says. */
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && setuid(65534) != 0))
            _exit(2);
        enum tg_code code = secret_heap_open(HEAP_BYTES, &err);
        _exit(code == TG_RESOURCE_EXHAUSTED && strstr(err.text, "RLIMIT_MEMLOCK") != NULL ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void equality_is_of_length_and_content(void **state)
{
    (void)state;
    TG_CLEANUP(secret_cleanup) struct secret *a = secret_copy("0123456789abcdef", 16);
    TG_CLEANUP(secret_cleanup) struct secret *same = secret_copy("0123456789abcdef", 16);
    TG_CLEANUP(secret_cleanup) struct secret *prefix = secret_copy("0123456789abcdef", 15);
    TG_CLEANUP(secret_cleanup) struct secret *first = secret_copy("1123456789abcdef", 16);
    TG_CLEANUP(secret_cleanup) struct secret *last = secret_copy("0123456789abcdeg", 16);
    TG_CLEANUP(secret_cleanup) struct secret *zeros = secret_new(16);
    assert_false(secret_equal(a, prefix));
    assert_false(secret_equal(prefix, a));
    assert_false(secret_equal(a, first));
    assert_false(secret_equal(a, last));
    assert_false(secret_equal(a, zeros));
    assert_true(secret_equal(a, same));
    assert_true(secret_equal(a, a));
}

static void a_copy_is_its_own(void **state)
{
    (void)state;
    char bytes[] = "password";
    TG_CLEANUP(secret_cleanup) struct secret *s = secret_copy(bytes, 8);
    secret_wipe(bytes, sizeof bytes);
    assert_memory_equal(bytes, "\0\0\0\0\0\0\0\0", 9);
    assert_int_equal(secret_len(s), 8);
    assert_memory_equal(secret_view(s), "password", 8);
    secret_bytes(s)[0] = 'P';
    assert_memory_equal(secret_view(s), "Password", 8);
}

static void new_ones_are_zero_and_random_ones_differ(void **state)
{
    (void)state;
    static const uint8_t zeros[64];
    TG_CLEANUP(secret_cleanup) struct secret *fresh = secret_new(64);
    TG_CLEANUP(secret_cleanup) struct secret *a = secret_random(64);
    TG_CLEANUP(secret_cleanup) struct secret *b = secret_random(64);
    assert_memory_equal(secret_view(fresh), zeros, 64);
    assert_memory_not_equal(secret_view(a), zeros, 64);
    assert_false(secret_equal(a, b));
}

/* The heap's memory stays mapped and ours, so its freed blocks may still be looked at. */
static void freed_bytes_are_wiped(void **state)
{
    (void)state;
    static const uint8_t zeros[512];
    struct secret *s = secret_new(512);
    volatile const uint8_t *bytes = secret_view(s);
    memset(secret_bytes(s), 0xa5, 512);
    assert_int_equal(bytes[0], 0xa5);
    assert_true(CRYPTO_secure_allocated(s));
    secret_free(s);
    /* The heap's free list keeps two pointers at the block's start, where the length stood. */
    size_t marked = 0;
    for (size_t i = 16; i < sizeof zeros; i++)
        marked += bytes[i] == 0xa5;
    assert_int_equal(marked, 0);
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    struct secret *s = NULL;
    secret_free(NULL);
    secret_cleanup(&s);
    s = secret_new(1);
    assert_non_null(s);
    secret_cleanup(&s);
    assert_null(s);
}

/* Takes secrets of this length until there is no room for another; *count goes on from where it was. */
static void fill(struct secret **all, size_t room, size_t *count, size_t len)
{
    for (struct secret *s = secret_new(len); s != NULL; s = secret_new(len)) {
        assert_true(*count < room);
        all[(*count)++] = s;
    }
}

static void a_full_heap_gives_null(void **state)
{
    (void)state;
    static struct secret *all[HEAP_BYTES / 64];
    size_t count = 0;
    fill(all, HEAP_BYTES / 64, &count, 1000);
    assert_true(count > HEAP_BYTES / 1024 / 2);
    fill(all, HEAP_BYTES / 64, &count, 10); /* OpenSSL's own have left odd ends */
    assert_null(secret_new(1));
    assert_null(secret_copy("0123456789", 10));
    assert_null(secret_random(32));
    secret_free(all[0]);
    all[0] = secret_copy("0123456789", 10);
    assert_non_null(all[0]);
    for (size_t i = 0; i < count; i++)
        secret_free(all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(impossible_lengths_stop_the_process),
        cmocka_unit_test(memory_that_cannot_be_locked_is_refused),
        cmocka_unit_test(equality_is_of_length_and_content),
        cmocka_unit_test(a_copy_is_its_own),
        cmocka_unit_test(new_ones_are_zero_and_random_ones_differ),
        cmocka_unit_test(freed_bytes_are_wiped),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(a_full_heap_gives_null),
    };
    return cmocka_run_group_tests(tests, open_heap, close_heap);
}
