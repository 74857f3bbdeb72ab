/* A generator behind a device, a FIFO or a file: real ones, well and ill. */
#include "scratch.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "services/key-store/source/health_tests.h"
#include "services/key-store/source/source_device.h"

struct rig {
    char dir[64], path[96];
    struct source_fetch fetch;
    struct secret *out;
    size_t len;
    struct tg_error err;
    uint8_t bytes[64 * 1024];
};

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    (void)snprintf(rig->dir, sizeof rig->dir, "/tmp/tg-test-noise-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    (void)snprintf(rig->path, sizeof rig->path, "%s/noise", rig->dir);
    rig->out = secret_new(SOURCE_FETCH_MAX);
    assert_int_equal(RAND_bytes(rig->bytes, sizeof rig->bytes), 1);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    struct rig *rig = *state;
    if (rig->fetch.arg != NULL)
        rig->fetch.close(rig->fetch.arg);
    secret_free(rig->out);
    (void)unlink(rig->path);
    int rc = rmdir(rig->dir);
    free(rig);
    return rc;
}

static void open_device(struct rig *rig, unsigned min_entropy, bool conditioned, unsigned timeout_ms)
{
    const struct source_device_options options = {rig->path, min_entropy, conditioned, timeout_ms};
    must(source_device_open(&options, &rig->fetch, &rig->err), &rig->err);
}

static void write_file(const struct rig *rig, size_t len, mode_t mode)
{
    int fd = open(rig->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, rig->bytes, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static off_t file_size(const struct rig *rig)
{
    struct stat st;
    assert_int_equal(stat(rig->path, &st), 0);
    return st.st_size;
}

static enum tg_code fetch(struct rig *rig)
{
    rig->err = (struct tg_error){0};
    return rig->fetch.fetch(rig->fetch.arg, rig->out, &rig->len, &rig->err);
}

static void says(const struct rig *rig, const char *text)
{
    if (strstr(rig->err.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", rig->err.text, text);
}

/* ---- what is not there, or ends ---- */

static void a_missing_path_is_named(void **state)
{
    struct rig *rig = *state;
    open_device(rig, 8000, false, 1000);
    assert_int_equal(fetch(rig), TG_NOT_FOUND);
    says(rig, rig->path);
    write_file(rig, 8192, 0600); /* and found once it is there */
    assert_int_equal(fetch(rig), TG_OK);
}

static void what_others_can_touch_is_refused(void **state)
{
    struct rig *rig = *state;
    open_device(rig, 8000, false, 1000);
    write_file(rig, 8192, 0644);
    assert_int_equal(fetch(rig), TG_PERMISSION_DENIED);
    says(rig, "chmod 0600");
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(mkfifo(rig->path, 0600), 0);
    assert_int_equal(chmod(rig->path, 0622), 0);
    assert_int_equal(fetch(rig), TG_PERMISSION_DENIED);
    says(rig, "chmod go-w");
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(mkdir(rig->path, 0700), 0);
    assert_int_equal(fetch(rig), TG_INVALID_ARGUMENT);
    assert_int_equal(rmdir(rig->path), 0);
}

static void a_file_that_ends_is_dry(void **state)
{
    struct rig *rig = *state;
    write_file(rig, HEALTH_STARTUP + 40, 0600);
    open_device(rig, 8000, false, 1000);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(rig->len, 32);
    assert_int_equal(fetch(rig), TG_RESOURCE_EXHAUSTED);
    says(rig, rig->path);
    says(rig, "used up");
    assert_int_equal(file_size(rig), 0);
    write_file(rig, HEALTH_STARTUP + 39, 0600); /* a byte too few for a key */
    assert_int_equal(fetch(rig), TG_RESOURCE_EXHAUSTED);
}

static void a_file_that_is_removed_is_named(void **state)
{
    struct rig *rig = *state;
    write_file(rig, 4096, 0600);
    open_device(rig, 8000, true, 1000);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(unlink(rig->path), 0);
    assert_int_equal(fetch(rig), TG_RESOURCE_EXHAUSTED);
    assert_int_equal(fetch(rig), TG_NOT_FOUND);
    says(rig, rig->path);
}

/* ---- files ---- */

/* A restart must not read again what has been used: it is gone from the file before it is given out. */
static void bytes_of_a_file_are_used_once(void **state)
{
    struct rig *rig = *state;
    size_t end = sizeof rig->bytes;
    write_file(rig, end, 0600);
    for (int i = 0; i < 4; i++) {
        open_device(rig, 8000, true, 1000);
        assert_int_equal(fetch(rig), TG_OK);
        assert_int_equal(rig->len, 4096 - HEALTH_STARTUP);
        end -= 4096;
        assert_int_equal(file_size(rig), end);
        assert_memory_equal(secret_view(rig->out), rig->bytes + end + HEALTH_STARTUP, rig->len);
        rig->fetch.close(rig->fetch.arg);
        rig->fetch.arg = NULL;
    }
}

static void a_file_serves_one_key_store(void **state)
{
    struct rig *rig = *state;
    struct rig other = *rig;
    write_file(rig, 32768, 0600);
    open_device(rig, 8000, true, 1000);
    assert_int_equal(fetch(rig), TG_OK);
    open_device(&other, 8000, true, 1000);
    assert_int_equal(fetch(&other), TG_UNAVAILABLE);
    says(&other, "in use");
    other.fetch.close(other.fetch.arg);
}

/* 256 bits out of 320 bits of entropy: with 4 bits a byte that is SHA-256 over 80 bytes. */
static void raw_bytes_are_conditioned(void **state)
{
    struct rig *rig = *state;
    uint8_t expected[32];
    size_t at = 0;
    for (size_t i = 0; i < 4096; i++)
        rig->bytes[i] &= 0x1f;
    write_file(rig, 4096, 0600);
    open_device(rig, 4000, false, 1000);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(rig->len, (4096 - HEALTH_STARTUP) / 80 * 32);
    for (const uint8_t *raw = rig->bytes + HEALTH_STARTUP; at < rig->len; at += 32, raw += 80) {
        assert_int_equal(EVP_Digest(raw, 80, expected, NULL, EVP_sha256(), NULL), 1);
        assert_memory_equal(secret_view(rig->out) + at, expected, 32);
    }
}

static void conditioned_bytes_claim_full_entropy(void **state)
{
    struct rig *rig = *state;
    const struct source_device_options options = {rig->path, 7999, true, 1000};
    assert_int_equal(source_device_open(&options, &rig->fetch, &rig->err), TG_INVALID_ARGUMENT);
    says(rig, "8000");
}

/* ---- health ---- */

static void stuck_bytes_are_an_alarm(void **state)
{
    struct rig *rig = *state;
    memset(rig->bytes + 4096, 0x55, 8);
    write_file(rig, 3 * 4096, 0600); /* read from its end: the second read meets them */
    open_device(rig, 8000, true, 1000);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(fetch(rig), TG_DATA_LOSS);
    says(rig, "repetition count test");
    says(rig, rig->path);
}

static void stuck_bytes_at_the_start_are_an_alarm(void **state)
{
    struct rig *rig = *state;
    memset(rig->bytes, 0, 4096);
    write_file(rig, 4096, 0600);
    open_device(rig, 1000, false, 1000);
    assert_int_equal(fetch(rig), TG_DATA_LOSS);
}

static void biased_bytes_are_an_alarm(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof rig->bytes; i += 4)
        rig->bytes[i] = 0x80;
    write_file(rig, sizeof rig->bytes, 0600);
    open_device(rig, 8000, false, 1000);
    enum tg_code code = TG_OK;
    while (code == TG_OK)
        code = fetch(rig);
    assert_int_equal(code, TG_DATA_LOSS);
    says(rig, "adaptive proportion test");
}

/* ---- streams ---- */

struct feeder {
    const char *path;
    const uint8_t *bytes;
    size_t len;
};

static void *feed(void *arg)
{
    const struct feeder *feeder = arg;
    int fd = open(feeder->path, O_WRONLY | O_CLOEXEC);
    TG_INVARIANT(fd >= 0 && write(fd, feeder->bytes, feeder->len) == (ssize_t)feeder->len);
    close(fd);
    return NULL;
}

static void a_fifo_gives_what_is_written(void **state)
{
    struct rig *rig = *state;
    struct feeder feeder = {rig->path, rig->bytes, HEALTH_STARTUP + 40};
    pthread_t thread;
    assert_int_equal(mkfifo(rig->path, 0600), 0);
    open_device(rig, 8000, false, 60000);
    assert_int_equal(pthread_create(&thread, NULL, feed, &feeder), 0);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(rig->len, 32);
    pthread_join(thread, NULL);
    assert_int_equal(fetch(rig), TG_RESOURCE_EXHAUSTED);
    says(rig, "has ended");
}

static void a_fifo_that_stalls_is_named(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(mkfifo(rig->path, 0600), 0);
    int fd = open(rig->path, O_RDWR | O_CLOEXEC); /* a writer that writes nothing */
    open_device(rig, 8000, false, 50);
    assert_int_equal(fetch(rig), TG_UNAVAILABLE);
    says(rig, "gave nothing for 50 ms");
    assert_int_equal(write(fd, rig->bytes, 512), 512); /* and one that stops half-way */
    assert_int_equal(fetch(rig), TG_UNAVAILABLE);
    close(fd);
}

static void *interrupt_soon(void *arg)
{
    struct rig *rig = arg;
    rig->fetch.interrupt(rig->fetch.arg);
    return NULL;
}

static void a_read_under_way_can_be_ended(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    assert_int_equal(mkfifo(rig->path, 0600), 0);
    int fd = open(rig->path, O_RDWR | O_CLOEXEC);
    open_device(rig, 8000, false, 3600000);
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, rig), 0);
    assert_int_equal(fetch(rig), TG_CANCELLED);
    pthread_join(thread, NULL);
    close(fd);
}

static void a_character_device_is_read(void **state)
{
    struct rig *rig = *state;
    (void)snprintf(rig->path, sizeof rig->path, "/dev/urandom");
    open_device(rig, 8000, true, 10000);
    assert_int_equal(fetch(rig), TG_OK);
    assert_int_equal(rig->len, 4096 - HEALTH_STARTUP);
    rig->fetch.close(rig->fetch.arg);
    (void)snprintf(rig->path, sizeof rig->path, "/dev/zero");
    open_device(rig, 8000, true, 10000);
    assert_int_equal(fetch(rig), TG_DATA_LOSS);
    rig->path[0] = '\0';
}

/* ---- with its stock ---- */

static void the_stock_follows_the_file(void **state)
{
    struct rig *rig = *state;
    struct source *source = NULL;
    struct source_status status;
    struct secret *key = secret_new(32);
    write_file(rig, 32768, 0600);
    open_device(rig, 8000, true, 1000);
    const struct source_stock_options options = {SOURCE_STOCK_MIN, 4096, NULL, NULL};
    must(source_stock_open(&rig->fetch, &options, &source, &rig->err), &rig->err);
    rig->fetch.arg = NULL;
    must(source->start(source, &rig->err), &rig->err);
    do
        source->status(source, &status);
    while (status.stock < 4097);
    while (source->draw(source, key, &rig->err) == TG_OK)
        ;
    assert_int_equal(rig->err.code, TG_RESOURCE_EXHAUSTED);
    says(rig, "key source conditioned device is dry");
    source->close(source);
    secret_free(key);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_missing_path_is_named),       T(what_others_can_touch_is_refused),
        T(a_file_that_ends_is_dry),       T(a_file_that_is_removed_is_named),
        T(bytes_of_a_file_are_used_once), T(a_file_serves_one_key_store),
        T(raw_bytes_are_conditioned),     T(conditioned_bytes_claim_full_entropy),
        T(stuck_bytes_are_an_alarm),      T(stuck_bytes_at_the_start_are_an_alarm),
        T(biased_bytes_are_an_alarm),     T(a_fifo_gives_what_is_written),
        T(a_fifo_that_stalls_is_named),   T(a_read_under_way_can_be_ended),
        T(a_character_device_is_read),    T(the_stock_follows_the_file),
    };
    quiet();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
