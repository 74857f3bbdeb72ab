/* Which files the SQLite store refuses, and that it leaves them as they are. */
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "scratch.h"

/* Refused with `code`, named, and not one byte changed. */
static void refused(const struct scratch *s, enum tg_code code, const char *word)
{
    size_t len = 0;
    size_t after_len = 0;
    struct tg_error err = {0};
    struct store *store = NULL;
    uint8_t *before = read_file(s->database, &len);
    assert_int_equal(store_sqlite_open(s->database, &store, &err), code);
    assert_null(store);
    if (strstr(err.text, s->database) == NULL || strstr(err.text, word) == NULL)
        fail_msg("%s", err.text);
    uint8_t *after = read_file(s->database, &after_len);
    assert_int_equal(len, after_len);
    if (len > 0)
        assert_memory_equal(before, after, len);
    free(before);
    free(after);
}

/* As another program would. */
static void tamper(const struct scratch *s, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* As one that is killed: what it changed is in the log. */
static void change_and_die(const struct scratch *s, const char *sql)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db = NULL;
        bool done = sqlite3_open(s->database, &db) == SQLITE_OK &&
                    sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
        _exit(done ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

static void make(struct scratch *s)
{
    scratch_open(s);
    struct store *store = open_store(s);
    struct store_fill fill;
    struct store_new_key keys[200];
    begin(store);
    add_shield(store, "s1");
    add_fill(store, "s1", &fill, keys, 200);
    commit(store);
    store->ops->close(store);
}

static void overwrite(const struct scratch *s, off_t at, const void *bytes, size_t len)
{
    int fd = open(s->database, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void garbage_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    uint8_t noise[4096];
    random_bytes(noise, sizeof noise);
    overwrite(&s, 0, noise, sizeof noise);
    refused(&s, TG_DATA_LOSS, "damaged");
    scratch_close(&s);
}

static void a_page_gone_bad_is_noticed_at_the_start(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    uint8_t noise[512];
    struct stat st;
    random_bytes(noise, sizeof noise);
    assert_int_equal(stat(s.database, &st), 0);
    overwrite(&s, st.st_size - 4096, noise, sizeof noise);
    refused(&s, TG_DATA_LOSS, "damaged");
    scratch_close(&s);
}

static void a_file_cut_off_is_noticed_at_the_start(void **state)
{
    (void)state;
    struct scratch s;
    struct stat st;
    make(&s);
    assert_int_equal(stat(s.database, &st), 0);
    assert_int_equal(truncate(s.database, st.st_size / 2 / 4096 * 4096), 0);
    refused(&s, TG_DATA_LOSS, "damaged");
    scratch_close(&s);
}

/* ---- too big to be checked whole at the start ---- */

/* Where `needle` first lies at or after `from`; the file's size when nowhere. */
static off_t find_bytes(const struct scratch *s, const void *needle, size_t len, off_t from)
{
    size_t have = 0;
    uint8_t *bytes = read_file(s->database, &have);
    const uint8_t *at = memmem(bytes + from, have - (size_t)from, needle, len);
    off_t found = at != NULL ? at - bytes : (off_t)have;
    free(bytes);
    return found;
}

static void make_big(struct scratch *s, struct store_new_key keys[200])
{
    scratch_open(s);
    struct store *store = open_store(s);
    struct store_fill fill;
    begin(store);
    add_qkud(store, "q1");
    add_shield(store, "s1");
    add_fill(store, "s1", &fill, keys, 200);
    commit(store);
    store->ops->close(store);
    tamper(s, "INSERT INTO notes VALUES ('padding', zeroblob(20000000))");
}

/* Upkeep until it has nothing left to do. */
static enum tg_code keep_up(struct store *store, struct tg_error *err)
{
    bool more = true;
    enum tg_code code = TG_OK;
    while (more && code == TG_OK) {
        begin(store);
        code = store->ops->upkeep(store, &(struct store_upkeep){.now_s = 1001}, &more, err);
        if (code == TG_OK)
            commit(store);
        else
            store->ops->rollback(store);
    }
    return code;
}

/* Opens, finds the damage piece by piece, and from then on neither serves nor writes, not even when it is
 * opened again. */
static void found_while_serving(struct scratch *s)
{
    struct tg_error err;
    struct store *store = open_store(s);
    begin(store);
    add_shield(store, "s2");
    commit(store);
    assert_int_equal(keep_up(store, &err), TG_DATA_LOSS);
    assert_non_null(strstr(err.text, s->database));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store->ops->begin(store, &err), TG_DATA_LOSS);
        assert_non_null(strstr(err.text, "damaged"));
    }
    store->ops->tidy(store, true);
    store->ops->close(store);
    refused(s, TG_DATA_LOSS, "damaged");
    refused(s, TG_DATA_LOSS, "damaged");
}

static void a_big_file_that_is_whole_is_found_so(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    struct store_new_key keys[200];
    make_big(&s, keys);
    struct store *store = open_store(&s);
    must(keep_up(store, &err), &err);
    must(keep_up(store, &err), &err);
    store->ops->close(store);
    scratch_close(&s);
}

static void a_page_gone_bad_in_a_big_file_is_found_while_serving(void **state)
{
    (void)state;
    struct scratch s;
    struct store_new_key keys[200];
    uint8_t noise[4096];
    make_big(&s, keys);
    random_bytes(noise, sizeof noise);
    off_t at = find_bytes(&s, keys[100].key.wrapped, AT_REST_WRAPPED_LEN, 0);
    overwrite(&s, at / 4096 * 4096, noise, sizeof noise);
    found_while_serving(&s);
    scratch_close(&s);
}

/* An index entry gone astray: its key cannot be found any more, though the row is there. */
static void an_index_gone_bad_in_a_big_file_is_found_while_serving(void **state)
{
    (void)state;
    struct scratch s;
    struct store_new_key keys[200];
    make_big(&s, keys);
    for (int occurrence = 0; occurrence < 2; occurrence++) { /* one is the row, the other the index */
        off_t at = find_bytes(&s, keys[100].key_id, TICKET_KEY_ID_LEN, 0);
        if (occurrence == 1)
            at = find_bytes(&s, keys[100].key_id, TICKET_KEY_ID_LEN, at + 1);
        size_t len = 0;
        uint8_t *whole = read_file(s.database, &len);
        uint8_t changed = keys[100].key_id[0] ^ 0xff;
        overwrite(&s, at, &changed, 1);
        found_while_serving(&s);

        /* put right again, it starts: the mark makes it look at everything first */
        char log[128];
        snprintf(log, sizeof log, "%s-wal", s.database);
        unlink(log);
        overwrite(&s, 0, whole, len);
        free(whole);
        assert_int_equal(truncate(s.database, (off_t)len), 0);
        struct store *store = open_store(&s);
        struct tg_error err;
        must(keep_up(store, &err), &err);
        store->ops->close(store);
    }
    scratch_close(&s);
}

static void a_big_file_cut_off_is_noticed_at_the_start(void **state)
{
    (void)state;
    struct scratch s;
    struct store_new_key keys[200];
    struct stat st;
    make_big(&s, keys);
    assert_int_equal(stat(s.database, &st), 0);
    assert_int_equal(truncate(s.database, st.st_size - 4096), 0);
    refused(&s, TG_DATA_LOSS, "damaged");
    assert_int_equal(truncate(s.database, st.st_size), 0);  /* it was a page of zeroes */
    change_and_die(&s, "UPDATE shields SET owner = 'bob'"); /* SQLite does not look when there is a log */
    assert_int_equal(truncate(s.database, st.st_size - 100 * 4096), 0);
    refused(&s, TG_DATA_LOSS, "cut off");
    scratch_close(&s);
}

static void an_empty_file_is_damage_and_no_first_start(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    assert_int_equal(truncate(s.database, 0), 0);
    refused(&s, TG_DATA_LOSS, "empty");
    scratch_close(&s);
}

/* What the second version added goes, and what is left is the first one. */
static const char back_to_1[] = "DROP INDEX keys_of_kek; DROP TABLE sae_keys; PRAGMA user_version = 1;";

static void an_older_version_is_brought_forward(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    uint64_t rows = 0;
    make(&s);
    tamper(&s, back_to_1);
    for (int i = 0; i < 2; i++) { /* the second time it is of the newest version already */
        struct store *store = open_store(&s);
        begin(store);
        must(store->ops->kek_rows(store, 1, &rows, &err), &err);
        assert_int_equal(rows, 200);
        must(store->ops->sae_key_count(store, "a", "b", &rows, &err), &err);
        assert_int_equal(rows, 0);
        commit(store);
        store->ops->close(store);
    }
    scratch_close(&s);
}

static void an_older_version_that_is_damaged_is_not_brought_forward(void **state)
{
    (void)state;
    struct scratch s;
    uint8_t noise[512];
    struct stat st;
    make(&s);
    tamper(&s, back_to_1);
    random_bytes(noise, sizeof noise);
    assert_int_equal(stat(s.database, &st), 0);
    overwrite(&s, st.st_size - 4096, noise, sizeof noise);
    refused(&s, TG_DATA_LOSS, "damaged");
    scratch_close(&s);
}

/* A step that fails half way: all of it is undone. */
static void an_older_version_stays_whole_when_it_cannot_be_brought_forward(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    struct store *store = NULL;
    make(&s);
    tamper(&s, back_to_1);
    tamper(&s, "CREATE TABLE sae_keys (x)");
    assert_int_equal(store_sqlite_open(s.database, &store, &err), TG_INTERNAL);
    tamper(&s, "CREATE INDEX keys_of_kek ON keys (kek); DROP INDEX keys_of_kek; DROP TABLE sae_keys;");
    store = open_store(&s);
    store->ops->close(store);
    scratch_close(&s);
}

static void a_newer_version_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    tamper(&s, "PRAGMA journal_mode = DELETE; PRAGMA user_version = 3");
    refused(&s, TG_FAILED_PRECONDITION, "version 3");
    tamper(&s, "PRAGMA user_version = 0");
    refused(&s, TG_DATA_LOSS, "version 0");
    scratch_close(&s);
}

/* A newer key store was killed: what it wrote last is in the log alone, and stays there. */
static void a_newer_version_with_a_log_is_left_as_it_is(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    change_and_die(&s, "PRAGMA user_version = 3");
    refused(&s, TG_FAILED_PRECONDITION, "version 3");
    scratch_close(&s);
}

static void another_programs_database_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    scratch_open(&s);
    write_key(s.database); /* mode 0600 */
    assert_int_equal(truncate(s.database, 0), 0);
    tamper(&s, "CREATE TABLE cats (name); PRAGMA user_version = 1");
    refused(&s, TG_FAILED_PRECONDITION, "another program");
    scratch_close(&s);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    make(&s);
    assert_int_equal(chmod(s.database, 0640), 0);
    refused(&s, TG_PERMISSION_DENIED, "chmod 0600");
    scratch_close(&s);
}

static void a_directory_that_is_missing_is_named(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    struct store *store = NULL;
    scratch_open(&s);
    char path[128];
    snprintf(path, sizeof path, "%s/no/keys.db", s.dir);
    assert_int_equal(store_sqlite_open(path, &store, &err), TG_UNAVAILABLE);
    assert_non_null(strstr(err.text, path));
    scratch_close(&s);
}

static void a_second_store_in_this_process_is_refused(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    struct store *second = NULL;
    scratch_open(&s);
    struct store *first = open_store(&s);
    assert_int_equal(store_sqlite_open(s.database, &second, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "in use"));
    first->ops->close(first);
    second = open_store(&s);
    second->ops->close(second);
    scratch_close(&s);
}

static void a_second_store_in_another_process_is_refused_until_the_first_is_killed(void **state)
{
    (void)state;
    struct scratch s;
    struct tg_error err;
    struct store *second = NULL;
    int up[2];
    char byte = 0;
    scratch_open(&s);
    assert_int_equal(pipe(up), 0);
    pid_t first = fork();
    if (first == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct store *store = NULL;
        bool opened = store_sqlite_open(s.database, &store, NULL) == TG_OK;
        if (!opened || write(up[1], "!", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(up[1]);
    assert_int_equal(read(up[0], &byte, 1), 1);
    assert_int_equal(store_sqlite_open(s.database, &second, &err), TG_FAILED_PRECONDITION);
    assert_non_null(strstr(err.text, "in use"));
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    close(up[0]);
    second = open_store(&s);
    second->ops->close(second);
    scratch_close(&s);
}

static void a_new_database_is_private_whole_and_alone(void **state)
{
    (void)state;
    struct scratch s;
    struct stat st;
    scratch_open(&s);
    mode_t old = umask(0);
    struct store *store = open_store(&s);
    umask(old);
    assert_int_equal(stat(s.database, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store->ops->close(store);
    DIR *dir = opendir(s.dir);
    int files = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        files += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(files, 3); /* database and two keys: nothing temporary is left */
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(garbage_is_refused),
        cmocka_unit_test(a_page_gone_bad_is_noticed_at_the_start),
        cmocka_unit_test(a_file_cut_off_is_noticed_at_the_start),
        cmocka_unit_test(a_big_file_that_is_whole_is_found_so),
        cmocka_unit_test(a_page_gone_bad_in_a_big_file_is_found_while_serving),
        cmocka_unit_test(an_index_gone_bad_in_a_big_file_is_found_while_serving),
        cmocka_unit_test(a_big_file_cut_off_is_noticed_at_the_start),
        cmocka_unit_test(an_empty_file_is_damage_and_no_first_start),
        cmocka_unit_test(an_older_version_is_brought_forward),
        cmocka_unit_test(an_older_version_that_is_damaged_is_not_brought_forward),
        cmocka_unit_test(an_older_version_stays_whole_when_it_cannot_be_brought_forward),
        cmocka_unit_test(a_newer_version_is_refused),
        cmocka_unit_test(a_newer_version_with_a_log_is_left_as_it_is),
        cmocka_unit_test(another_programs_database_is_refused),
        cmocka_unit_test(a_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_directory_that_is_missing_is_named),
        cmocka_unit_test(a_second_store_in_this_process_is_refused),
        cmocka_unit_test(a_second_store_in_another_process_is_refused_until_the_first_is_killed),
        cmocka_unit_test(a_new_database_is_private_whole_and_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
