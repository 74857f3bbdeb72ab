/* What we make, checked by an implementation that is not ours (tests/go/tlogcheck.go:
 * golang.org/x/mod/sumdb), and by tg-audit-verify, which is one static file. */
#include "tests/unit/audit/archive_fixture.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

/* PROGRAM stands beside this test. Its exit code; what it says goes to a file in the directory. */
static int run(const char *directory, const char *program, const char *const *arguments)
{
    char self[512] = {0};
    char path[600];
    char output[600];
    char *argv[12] = {path};
    int status = -1;
    pid_t pid = -1;
    posix_spawn_file_actions_t actions;
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    snprintf(path, sizeof path, "%s/%s", dirname(self), program);
    snprintf(output, sizeof output, "%s/output", directory);
    for (size_t i = 0; arguments[i] != NULL; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    int rc = posix_spawn(&pid, path, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == ENOENT && strcmp(program, "tlogcheck") == 0)
        skip(); /* no Go here */
    assert_int_equal(rc, 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
#define RUN(directory, program, ...) run(directory, program, (const char *const[]){__VA_ARGS__, NULL})

static const char *in(const char *directory, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, 512, "%.400s/%s", directory, name);
    return path;
}

/* What the last one said. */
static bool has_said(const char *directory, const char *text)
{
    char *output = NULL;
    size_t len = 0;
    assert_int_equal(file_read(in(directory, "output"), 65536, &output, &len, NULL), TG_OK);
    bool has = strstr(output, text) != NULL;
    free(output);
    return has;
}

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void get_vkey(struct log_writer *log, char vkey[NOTE_VKEY_MAX])
{
    note_key_vkey(log->ops->keys(log)->key[0], vkey);
}

/* The proof that the log now continues its tree of `old`, as base64 lines. */
static void put_consistency(struct log_writer *log, uint64_t old, const char *path)
{
    struct merkle_hash proof[MERKLE_PROOF_MAX];
    size_t count = 0;
    uint64_t size = 0;
    char line[64];
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(log->ops->consistency(log, old, &size, proof, &count, NULL), TG_OK);
    for (size_t i = 0; i < count; i++) {
        base64_encode(proof[i].bytes, MERKLE_HASH_LEN, line);
        fprintf(file, "%s\n", line);
    }
    assert_int_equal(fclose(file), 0);
}

static void put_checkpoint(struct log_writer *log, const char *path)
{
    char *note = NULL;
    assert_int_equal(log->ops->checkpoint(log, &note, NULL), TG_OK);
    put_file(path, note);
    free(note);
}

static void grow(struct log_writer *log, unsigned entries)
{
    append_many(log, entries);
    assert_intact(log, log->ops->next(log));
}

static void test_log_by_another_implementation(void **state)
{
    static const unsigned sizes[] = {1, 2, 252, 1, 1, 443, 1000, 65000};
    char vkey[NOTE_VKEY_MAX];
    struct log_writer *log = open_log(*state);
    get_vkey(log, vkey);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grow(log, sizes[i]);
        assert_int_equal(RUN(*state, "tlogcheck", "log", *state, vkey), 0);
        assert_int_equal(RUN(*state, "tg-audit-verify", "--key", vkey, *state), 0);
    }
    log->ops->close(log);
    FILE *file = fopen(in(*state, "tile/entries/001"), "r+");
    assert_non_null(file);
    fseek(file, 30, SEEK_SET);
    fputc('X', file);
    fclose(file);
    assert_int_equal(RUN(*state, "tlogcheck", "log", *state, vkey), 1);
    assert_int_equal(RUN(*state, "tg-audit-verify", "--key", vkey, *state), 1);
}

static void test_receipts_by_another_implementation(void **state)
{
    static const uint64_t numbers[] = {0, 1, 254, 255, 256, 511, 512, 640, 699};
    char vkey[NOTE_VKEY_MAX];
    const char *path = in(*state, "receipt");
    struct log_writer *log = open_log(*state);
    get_vkey(log, vkey);
    grow(log, 700);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char *text = NULL;
        assert_int_equal(log->ops->receipt(log, numbers[i], 0, &text, NULL), TG_OK);
        put_file(path, text);
        assert_int_equal(RUN(*state, "tlogcheck", "receipt", path, vkey), 0);
        assert_int_equal(RUN(*state, "tg-audit-verify", "--key", vkey, "--receipt", path), 0);
        char *index = strstr(text, "index ") + 6;
        *index = *index == '1' ? '2' : '1';
        put_file(path, text);
        assert_int_equal(RUN(*state, "tlogcheck", "receipt", path, vkey), 1);
        assert_int_equal(RUN(*state, "tg-audit-verify", "--key", vkey, "--receipt", path), 1);
        free(text);
    }
    log->ops->close(log);
}

static void test_consistency_by_another_implementation(void **state)
{
    static const unsigned sizes[] = {1, 1, 5, 248, 1, 1, 300, 143};
    char vkey[NOTE_VKEY_MAX];
    char name[32];
    struct log_writer *log = open_log(*state);
    get_vkey(log, vkey);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        grow(log, sizes[i]);
        snprintf(name, sizeof name, "note-%zu", i);
        put_checkpoint(log, in(*state, name));
    }
    put_checkpoint(log, in(*state, "note-now"));
    uint64_t old = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        old += sizes[i];
        snprintf(name, sizeof name, "note-%zu", i);
        put_consistency(log, old, in(*state, "proof"));
        assert_int_equal(RUN(*state, "tlogcheck", "consistency", in(*state, name), in(*state, "note-now"),
                             in(*state, "proof"), vkey),
                         0);
        put_consistency(log, old == 256 ? 257 : 256, in(*state, "proof"));
        assert_int_equal(RUN(*state, "tlogcheck", "consistency", in(*state, name), in(*state, "note-now"),
                             in(*state, "proof"), vkey),
                         1);
    }
    log->ops->close(log);
}

static void test_verifier_says_what_it_wants(void **state)
{
    char vkey[NOTE_VKEY_MAX];
    struct log_writer *log = open_log(*state);
    get_vkey(log, vkey);
    grow(log, 10);
    put_checkpoint(log, in(*state, "older"));
    grow(log, 10);
    log->ops->close(log);
    put_file(in(*state, "vkey"), vkey);
    const char *const program = "tg-audit-verify";
    assert_int_equal(RUN(*state, program, "--help"), 0);
    assert_int_equal(RUN(*state, program, "--version"), 0);
    assert_int_equal(RUN(*state, program, *state), 64); /* no key */
    assert_int_equal(RUN(*state, program, "--key", "log.test+nonsense", *state), 64);
    assert_int_equal(RUN(*state, program, "--key", vkey), 64);
    assert_int_equal(RUN(*state, program, "--key", vkey, *state, *state), 64);
    assert_int_equal(RUN(*state, program, "--key", vkey, in(*state, "not-there")), 66);
    assert_int_equal(RUN(*state, program, "--key", vkey, "--receipt", in(*state, "not-there")), 66);
    assert_int_equal(RUN(*state, program, "--key", in(*state, "vkey"), *state), 0);
    assert_int_equal(RUN(*state, program, "--key", vkey, "--checkpoint", in(*state, "older"), *state), 0);
    vkey[strlen(vkey) - 10] ^= 1; /* another key under the same number */
    assert_int_equal(RUN(*state, program, "--key", vkey, *state), 64);
}

static void test_verifier_with_and_without_the_archive(void **state)
{
    char vkey[NOTE_VKEY_MAX];
    const char *const program = "tg-audit-verify";
    struct log_writer *log = make_archived(*state);
    char place[512];
    char archive[512];
    snprintf(place, sizeof place, "%s", below(*state, "log"));
    snprintf(archive, sizeof archive, "%s", below(*state, "archive"));
    get_vkey(log, vkey);
    assert_intact(log, ENTRIES);
    char *receipt = NULL;
    assert_int_equal(log->ops->receipt(log, 3, 0, &receipt, NULL), TG_OK);
    put_file(in(*state, "receipt"), receipt);
    free(receipt);
    log->ops->close(log);

    assert_int_equal(RUN(*state, program, "--key", vkey, "--archive", in(*state, "no"), place), 66);
    assert_int_equal(RUN(*state, program, "--key", vkey, "--archive", *state, place),
                     1); /* has none of them */
    assert_true(has_said(*state, "tile/entries/000 is neither in the log nor in its archive"));
    assert_int_equal(
        RUN(*state, program, "--key", vkey, "--archive", archive, "--receipt", in(*state, "receipt")), 64);
    assert_int_equal(RUN(*state, program, "--key", vkey, "--archive", archive, place), 0);
    assert_true(has_said(*state, "1001 entries, all as signed"));
    assert_false(has_said(*state, "not looked at"));
    assert_int_equal(RUN(*state, program, "--key", vkey, place), 0);
    assert_true(has_said(*state, "not looked at: entries 0 to 767"));
    assert_int_equal(RUN(*state, program, "--key", vkey, "--receipt", in(*state, "receipt")), 0);

    FILE *file = fopen(in(archive, "tile/entries/001"), "r+");
    assert_non_null(file);
    fseek(file, 30, SEEK_SET);
    fputc('X', file);
    fclose(file);
    assert_int_equal(RUN(*state, program, "--key", vkey, "--archive", archive, place), 1);
    assert_int_equal(RUN(*state, program, "--key", vkey, place), 0);
    assert_int_equal(unlink(in(place, "tile/entries/003.p/233")), 0); /* and with it the announcement */
    assert_int_equal(RUN(*state, program, "--key", vkey, place), 1);
}

/* No program interpreter: nothing of the machine it runs on gets into it. */
static void test_verifier_is_static(void **state)
{
    char self[512] = {0};
    Elf64_Ehdr head;
    Elf64_Phdr segment;
    (void)state;
    assert_true(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    int fd = open(in(dirname(self), "tg-audit-verify"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &head, sizeof head, 0), sizeof head);
    assert_memory_equal(head.e_ident, ELFMAG, SELFMAG);
    assert_true(head.e_phnum > 0);
    for (unsigned i = 0; i < head.e_phnum; i++) {
        off_t at = (off_t)(head.e_phoff + i * (Elf64_Off)head.e_phentsize);
        assert_int_equal(pread(fd, &segment, sizeof segment, at), sizeof segment);
        assert_int_not_equal(segment.p_type, PT_INTERP);
        assert_int_not_equal(segment.p_type, PT_DYNAMIC);
    }
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log_by_another_implementation),
        TEST(test_receipts_by_another_implementation),
        TEST(test_consistency_by_another_implementation),
        TEST(test_verifier_says_what_it_wants),
        cmocka_unit_test_setup_teardown(test_verifier_with_and_without_the_archive, make_two_directories,
                                        remove_directory),
        cmocka_unit_test(test_verifier_is_static),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
