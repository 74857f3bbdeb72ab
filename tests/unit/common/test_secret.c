/* The locked heap has 64 KiB here, so that the last test can fill it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/crypto.h>

#include "common/secret.h"
#include "forked.h"

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

static int ask_for(void *len)
{
    secret_free(secret_new(*(const size_t *)len));
    return 0;
}

static void impossible_lengths_stop_the_process(void **state)
{
    (void)state;
    size_t lengths[] = {0, 65537, SIZE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(forked(ask_for, &lengths[i]), -SIGABRT);
}

/* Root may lock whatever the limit says. */
static int open_beyond_the_limit(void *unused)
{
    (void)unused;
    const struct rlimit limit = {4096, 4096};
    struct tg_error err = {0};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && setuid(65534) != 0))
        return 2;
    enum tg_code code = secret_heap_open(HEAP_BYTES, &err);
    return code == TG_RESOURCE_EXHAUSTED && strstr(err.text, "RLIMIT_MEMLOCK") != NULL ? 0 : 1;
}

static void memory_that_cannot_be_locked_is_refused(void **state)
{
    (void)state;
    assert_int_equal(CRYPTO_secure_malloc_initialized(), 0);
    assert_int_equal(forked(open_beyond_the_limit, NULL), 0);
}

/* Memory that OpenSSL gives back to the ordinary heap is looked at on the way. */
static struct {
    const void *block;
    bool freed;
    size_t marked;
} watched;

static void *watched_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return malloc(size);
}

static void *watched_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    return realloc(block, size);
}

static void watched_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    if (block != NULL && block == watched.block) {
        const uint8_t *bytes = block;
        watched.freed = true;
        for (size_t i = 0; i < 512; i++)
            watched.marked += bytes[i] == 0xa5;
    }
    free(block);
}

static void without_the_heap_freed_bytes_are_wiped_too(void **state)
{
    (void)state;
    struct secret *s = secret_new(512);
    assert_false(CRYPTO_secure_allocated(s));
    memset(secret_bytes(s), 0xa5, 512);
    watched.block = s;
    secret_free(s);
    assert_true(watched.freed);
    assert_int_equal(watched.marked, 0);
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
    if (CRYPTO_set_mem_functions(watched_malloc, watched_realloc, watched_free) != 1)
        return 1;
    const struct CMUnitTest before[] = {
        cmocka_unit_test(memory_that_cannot_be_locked_is_refused),
        cmocka_unit_test(impossible_lengths_stop_the_process),
        cmocka_unit_test(without_the_heap_freed_bytes_are_wiped_too),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_is_of_length_and_content),
        cmocka_unit_test(a_copy_is_its_own),
        cmocka_unit_test(new_ones_are_zero_and_random_ones_differ),
        cmocka_unit_test(freed_bytes_are_wiped),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(a_full_heap_gives_null),
    };
    int failed = cmocka_run_group_tests_name("before the heap is open", before, NULL, NULL);
    return failed + cmocka_run_group_tests_name("in the heap", tests, open_heap, close_heap);
}
