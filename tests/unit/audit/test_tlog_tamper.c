/* Ten thousand ways to alter a log: bytes flipped, files cut, taken away, put in each other's place, entries
 * swapped, the log rolled back, forked by whoever has its key. verify finds each of them. */
#include "tests/unit/audit/audit_fixture.h"

#include <fcntl.h>

#include "services/audit/log/tlog_check.h"

enum { FLIPS = 7000, CUTS = 1000, SWAPS = 1000, ROLL_BACKS = 500, FORKS = 500, FILES_MAX = 64, KEPT = 3 };

/* The log that all of them are done to, and what an auditor has kept of it. */
static struct {
    char directory[512];
    char files[FILES_MAX][600];
    size_t file_count;
    char *notes[KEPT];
    struct note_keys keys;
    uint64_t random;
} rig;

static uint64_t random_below(uint64_t limit)
{
    rig.random = rig.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (rig.random >> 33) % limit;
}

static int note_file(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)place;
    bool ours = strstr(path, "/tile/") != NULL || strstr(path, "/checkpoint") != NULL;
    if (type == FTW_F && ours && info->st_size > 0 && rig.file_count < FILES_MAX)
        snprintf(rig.files[rig.file_count++], sizeof rig.files[0], "%s", path);
    return 0;
}

static enum tg_code check(const char *directory, const char *older, struct tg_error *err)
{
    struct tlog_check check = {.directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                               .archive = -1,
                               .keys = &rig.keys,
                               .older = older,
                               .older_len = strlen(older)};
    assert_true(check.directory >= 0);
    enum tg_code code = tlog_check(&check, err);
    close(check.directory);
    return code;
}

static void assert_good(void)
{
    struct tg_error err = {0};
    if (check(rig.directory, rig.notes[KEPT - 1], &err) != TG_OK)
        fail_msg("%s", err.text);
}

static void assert_found(const char *what, const char *path)
{
    struct tg_error err = {0};
    enum tg_code code = check(rig.directory, rig.notes[KEPT - 1], &err);
    if (code != TG_DATA_LOSS && code != TG_UNAUTHENTICATED && code != TG_INVALID_ARGUMENT)
        fail_msg("%s %s: not found (%d)", what, path, (int)code);
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

/* Entries that say their number, but for the one that says something else. */
static void append_all(struct log_writer *log, unsigned count, uint64_t other)
{
    enum { TEXT_MAX = 64, ENTRIES_MAX = 256 };
    static char texts[ENTRIES_MAX][TEXT_MAX];
    struct log_entry entries[ENTRIES_MAX];
    uint64_t next = log->ops->next(log);
    assert_true(count <= ENTRIES_MAX);
    for (unsigned i = 0; i < count; i++) {
        int len = snprintf(texts[i], TEXT_MAX, "\"x\":0},\"event\":\"test.%llu\"}",
                           (unsigned long long)next + i + (next + i == other ? 1000 : 0));
        entries[i] = (struct log_entry){texts[i], (size_t)len};
    }
    assert_int_equal(log->ops->append(log, entries, count, &next, NULL), TG_OK);
}

/* With checkpoints in between, so that partial tiles are left. */
static void make(const char *directory, const unsigned *sizes, size_t count, uint64_t other, char **notes)
{
    struct tlog_io io = tlog_io_system;
    char vkey[NOTE_VKEY_MAX];
    io.sync = io.sync_directory = no_sync;
    struct log_writer *log = open_log_io(directory, &io);
    note_key_vkey(log->ops->keys(log)->key[0], vkey);
    if (rig.keys.count == 0)
        assert_int_equal(note_keys_add_public(&rig.keys, vkey, NULL), TG_OK);
    for (size_t i = 0; i < count; i++) {
        append_all(log, sizes[i], other);
        assert_intact(log, log->ops->next(log));
        if (notes != NULL)
            assert_int_equal(log->ops->checkpoint(log, &notes[i], NULL), TG_OK);
    }
    log->ops->close(log);
}

static int make_rig(void **state)
{
    static const unsigned sizes[KEPT] = {100, 160, 40};
    if (make_directory(state) != 0)
        return -1;
    rig.random = 7;
    snprintf(rig.directory, sizeof rig.directory, "%s", (const char *)*state);
    make(rig.directory, sizes, KEPT, UINT64_MAX, rig.notes);
    nftw(rig.directory, note_file, 16, FTW_PHYS);
    return rig.file_count >= 5 ? 0 : -1;
}

static int free_rig(void **state)
{
    for (size_t i = 0; i < KEPT; i++)
        free(rig.notes[i]);
    note_keys_free(&rig.keys);
    return remove_directory(state);
}

static char *load(const char *path, size_t *len)
{
    char *bytes = NULL;
    assert_int_equal(file_read(path, BUNDLE_MAX, &bytes, len, NULL), TG_OK);
    return bytes;
}

static void store(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FLIPS; i++) {
        const char *path = rig.files[random_below(rig.file_count)];
        struct stat info;
        char byte = 0;
        assert_int_equal(stat(path, &info), 0);
        off_t at = (off_t)random_below((uint64_t)info.st_size);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        char other = (char)(byte ^ (char)(1 + random_below(255)));
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        assert_found("flip", path);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_good();
}

/* Partial tiles that are no longer needed may go; what the checkpoint needs may not. */
static bool is_needed(const char *path)
{
    return strstr(path, ".p/") == NULL || strstr(path, "001.p/44") != NULL || strstr(path, "tile/1/") != NULL;
}

static void test_cut_and_missing_files(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CUTS; i++) {
        const char *path = rig.files[random_below(rig.file_count)];
        size_t len = 0;
        char *bytes = load(path, &len);
        if (i % 4 != 0 || !is_needed(path))
            assert_int_equal(truncate(path, (off_t)random_below(len)), 0);
        else
            assert_int_equal(unlink(path), 0);
        assert_found("cut", path);
        store(path, bytes, len);
        free(bytes);
    }
    assert_good();
}

static void swap_files(void)
{
    const char *one = rig.files[random_below(rig.file_count)];
    const char *other = rig.files[random_below(rig.file_count)];
    size_t one_len = 0;
    size_t other_len = 0;
    char *one_bytes = load(one, &one_len);
    char *other_bytes = load(other, &other_len);
    if (one_len != other_len || memcmp(one_bytes, other_bytes, one_len) != 0) {
        store(one, other_bytes, other_len);
        store(other, one_bytes, one_len);
        assert_found("swap", one);
        store(one, one_bytes, one_len);
        store(other, other_bytes, other_len);
    }
    free(one_bytes);
    free(other_bytes);
}

/* Two entries of a bundle, or two hashes of a tile, in each other's place. */
static void swap_within(void)
{
    const char *path = rig.files[random_below(rig.file_count)];
    size_t len = 0;
    char *bytes = load(path, &len);
    char *altered = load(path, &len);
    size_t step = MERKLE_HASH_LEN;
    if (strstr(path, "entries") != NULL)
        step = 2 + ((size_t)(uint8_t)bytes[0] << 8 | (uint8_t)bytes[1]); /* the first ten have that length */
    size_t count = strstr(path, "entries") != NULL ? 10 : len / step;
    size_t one = random_below(count > 0 ? count : 1);
    size_t other = random_below(count > 0 ? count : 1);
    if (one != other && (one + 1) * step <= len && (other + 1) * step <= len) {
        memcpy(altered + one * step, bytes + other * step, step);
        memcpy(altered + other * step, bytes + one * step, step);
        if (memcmp(altered, bytes, len) != 0) {
            store(path, altered, len);
            assert_found("swap within", path);
            store(path, bytes, len);
        }
    }
    free(bytes);
    free(altered);
}

static void test_swaps(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SWAPS; i++) {
        if (i % 2 == 0)
            swap_files();
        else
            swap_within();
    }
    assert_good();
}

/* The checkpoint of an earlier time, and with it perhaps the tiles of that time. */
static void test_roll_backs(void **state)
{
    char path[600];
    size_t len = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/checkpoint", rig.directory);
    char *now = load(path, &len);
    for (unsigned i = 0; i < ROLL_BACKS; i++) {
        const char *note = rig.notes[random_below(KEPT - 1)];
        struct tg_error err = {0};
        store(path, note, strlen(note));
        assert_found("roll-back", path);
        assert_int_equal(check(rig.directory, note, &err), TG_OK); /* by itself it is a good log */
    }
    store(path, now, len);
    free(now);
    assert_good();
}

/* Another history, signed with the same key: from a random entry on, shorter, as long, or longer. */
static void one_fork(void)
{
    char directory[] = "/tmp/tg-test-audit-XXXXXX";
    char from[600];
    char to[600];
    size_t len = 0;
    struct tg_error err = {0};
    assert_non_null(mkdtemp(directory));
    snprintf(from, sizeof from, "%s/log.key", rig.directory);
    snprintf(to, sizeof to, "%s/log.key", directory);
    char *key = load(from, &len);
    store(to, key, len);
    free(key);
    unsigned size = (unsigned)(95 + random_below(10));
    make(directory, &size, 1, random_below(95), NULL);
    enum tg_code code = check(directory, rig.notes[0], &err);
    if (code != TG_DATA_LOSS ||
        (strstr(err.text, "forked") == NULL && strstr(err.text, "rolled back") == NULL))
        fail_msg("a fork was not found: %s", err.text);
    nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_forks(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FORKS; i++)
        one_fork();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flipped_bytes), cmocka_unit_test(test_cut_and_missing_files),
        cmocka_unit_test(test_swaps),         cmocka_unit_test(test_roll_backs),
        cmocka_unit_test(test_forks),
    };
    return cmocka_run_group_tests(tests, make_rig, free_rig);
}
