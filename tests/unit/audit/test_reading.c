/* The log over HTTP, asked by the real curl. */
#include "tests/unit/audit/audit_fixture.h"

#include <sys/wait.h>
#include <sysexits.h>

#include "services/audit/search/reading.h"
#include "tests/unit/client/pki.h"

#define TOKEN "0123456789abcdef-token"

static char *directory;
static struct log_writer *log_now;
static struct query_engine *engine;
static struct reading *reading;

static char *write_secret(const char *name, const char *text)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path);
    assert_int_equal(file_write_new(path, text, strlen(text), NULL), TG_OK);
    return path;
}

static enum tg_code open_reading(struct reading_config *config, struct tg_error *err)
{
    return reading_open(&reading, config, log_now, engine, err);
}

static int open_all(void **state)
{
    struct tg_error err = {0};
    if (make_directory(state) != 0)
        return -1;
    directory = *state;
    log_now = open_log(directory);
    append_many(log_now, 700);
    assert_int_equal(query_engine_open(&engine, directory, log_now, NULL), TG_OK);
    assert_int_equal(query_engine_start(engine, NULL), TG_OK);
    assert_intact(log_now, 700); /* waits until a checkpoint covers all */
    char listen[] = "127.0.0.1:0";
    struct reading_config config = {.listen = listen, .token_file = write_secret("token", TOKEN "\n")};
    if (open_reading(&config, &err) != TG_OK || reading_start(reading, &err) != TG_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int close_all(void **state)
{
    reading_close(reading);
    query_engine_close(engine);
    log_now->ops->close(log_now);
    return remove_directory(state);
}

/* The status; the body is left in DIRECTORY/body. */
static int ask(const char *path, const char *token, const char *more)
{
    char command[1024], status[16] = "";
    snprintf(command, sizeof command,
             "curl -s --path-as-is -m 60 -o %s/body -w '%%{http_code}' %s -H 'Authorization: Bearer %s' "
             "'http://127.0.0.1:%u%s'",
             directory, more, token, reading_port(reading), path);
    FILE *curl = popen(command, "r"); // NOLINT(cert-env33-c): a test's own words
    assert_non_null(curl);
    assert_non_null(fgets(status, sizeof status, curl));
    (void)pclose(curl);
    return atoi(status); // NOLINT(cert-err34-c)
}

static int get(const char *path)
{
    return ask(path, TOKEN, "");
}

static char *body(void)
{
    char path[512];
    char *text = NULL;
    size_t len = 0;
    snprintf(path, sizeof path, "%s/body", directory);
    assert_int_equal(file_read(path, 1 << 20, &text, &len, NULL), TG_OK);
    return text;
}

static void assert_body_is_file(const char *name)
{
    char command[1024];
    snprintf(command, sizeof command, "cmp %s/body %s/%s", directory, directory, name);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c)
}

static void refuse(struct reading_config config, const char *why)
{
    struct reading *kept = reading;
    struct tg_error err = {0};
    reading = NULL;
    assert_int_equal(open_reading(&config, &err), TG_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, why));
    reading = kept;
}

static void test_configurations_that_would_show_it_to_strangers(void **state)
{
    char any[] = "127.0.0.1:0", outside[] = "0.0.0.0:0", file[] = "/nowhere";
    char *token = write_secret("long", TOKEN "\n");
    (void)state;
    refuse((struct reading_config){.listen = any}, "strangers");
    refuse((struct reading_config){.listen = any, .tls = {.certificate = file}}, "go together");
    refuse((struct reading_config){.listen = outside, .token_file = token}, "loopback");
    refuse((struct reading_config){.listen = any, .token_file = write_secret("short", "secret\n")},
           "16 to 256");
}

static void test_nobody_without_the_token(void **state)
{
    (void)state;
    assert_int_equal(ask("/checkpoint", "", ""), 401);
    assert_int_equal(ask("/checkpoint", TOKEN "x", ""), 401);
    assert_int_equal(ask("/tile/0/000", "0123456789abcdef-tokem", ""), 401);
    assert_int_equal(ask("/search", "wrong", ""), 401);
    char *text = body();
    assert_null(strstr(text, "test"));
    free(text);
}

static void test_what_is_not_there(void **state)
{
    static const char *const paths[] = {"/",
                                        "/tile/0/003",
                                        "/tile/0/002.p/255",
                                        "/tile/entries/x",
                                        "/tile/9/000",
                                        "/tile/0/0",
                                        "/tile/0/001/",
                                        "/tile/../checkpoint",
                                        "/tile/entries/..%2f..%2ftoken",
                                        "/pending/0",
                                        "/tile/entries/-01",
                                        "/lock",
                                        "/index",
                                        "/token",
                                        "/tile/0/000.p/256",
                                        "/tile/0/x000/000/000"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (get(paths[i]) != 404)
            fail_msg("%s is there", paths[i]);
}

static void test_reading_only(void **state)
{
    (void)state;
    assert_int_equal(ask("/checkpoint", TOKEN, "-X POST -d x"), 405);
    assert_int_equal(ask("/checkpoint", TOKEN, "-I"), 200);
    assert_int_equal(ask("/tile/0/000", TOKEN, "-X DELETE"), 405);
    assert_int_equal(ask("/search", TOKEN, "-X PUT -d x"), 405);
}

static void test_checkpoint_and_tiles_are_the_files(void **state)
{
    (void)state;
    assert_int_equal(get("/checkpoint"), 200);
    assert_body_is_file("checkpoint");
    assert_int_equal(get("/tile/0/001"), 200);
    assert_body_is_file("tile/0/001");
    assert_int_equal(get("/tile/entries/000"), 200);
    assert_body_is_file("tile/entries/000");
    assert_int_equal(get("/tile/0/002.p/188"), 200);
    assert_body_is_file("tile/0/002.p/188");
    assert_int_equal(get("/tile/1/000.p/2"), 200);
}

static void test_search(void **state)
{
    (void)state;
    assert_int_equal(get("/search?limit=2&from=5"), 200);
    char *text = body();
    assert_non_null(strstr(text, "{\"events\":[{\"metadata\":{\"sequence\":5,"));
    assert_non_null(strstr(text, "},{\"metadata\":{\"sequence\":6,"));
    assert_non_null(strstr(text, "],\"next_sequence\":7,\"more\":true}"));
    free(text);
    assert_int_equal(get("/search?user=nobody"), 200);
    text = body();
    assert_string_equal(text, "{\"events\":[],\"next_sequence\":700,\"more\":false}\n");
    free(text);
}

static void test_bad_searches(void **state)
{
    static const char *const bad[] = {"limit=0",   "limit=501",         "limit=x",     "from=-1",
                                      "from=1x",   "limit=99999999999", "event=a%20b", "status=perhaps",
                                      "since_us=", "from=701"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "/search?%s", bad[i]);
        if (get(path) != 400)
            fail_msg("%s is taken", bad[i]);
    }
}

/* ---- a copy, as an auditor makes one ---- */

/* The exit code of tg-audit-verify, copying to DIRECTORY/<copy>. */
static int mirror_from(const char *url, const char *options, const char *vkey, const char *copy)
{
    char self[512], command[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(len > 0);
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(command, sizeof command, "%s/tg-audit-verify --key '%s' %s --mirror %s/%s %s >%s/said 2>&1",
             self, vkey, options, directory, copy, url, directory);
    int status = system(command); // NOLINT(cert-env33-c)
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int mirror(const char *token_name, const char *vkey, const char *copy)
{
    char url[64], options[600];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", reading_port(reading));
    snprintf(options, sizeof options, "--token-file %s/%s", directory, token_name);
    return mirror_from(url, options, vkey, copy);
}

static void test_a_copy_is_made_and_kept_up(void **state)
{
    char vkey[NOTE_VKEY_MAX], path[1024];
    (void)state;
    note_key_vkey(log_now->ops->keys(log_now)->key[0], vkey);
    (void)write_secret("wrong-token", TOKEN "x\n");
    assert_int_equal(mirror("wrong-token", vkey, "copy"), EX_NOINPUT);
    assert_int_equal(mirror("token", vkey, "copy"), 0);
    append_many(log_now, 600);
    assert_intact(log_now, 1300);
    assert_int_equal(mirror("token", vkey, "copy"), 0); /* the rest */
    snprintf(path, sizeof path, "%s/said", directory);
    char *said = NULL;
    size_t len = 0;
    assert_int_equal(file_read(path, 4096, &said, &len, NULL), TG_OK);
    assert_non_null(strstr(said, "1300 entries, all as signed"));
    free(said);
}

static void test_a_copy_that_does_not_continue_is_found(void **state)
{
    static const char other[] = "log.test/audit+00000000+AAAA";
    char vkey[NOTE_VKEY_MAX], path[512];
    (void)state;
    note_key_vkey(log_now->ops->keys(log_now)->key[0], vkey);
    assert_int_equal(mirror("token", other, "copy"), EX_USAGE);
    assert_int_equal(mirror("token", vkey, "copy"), 0);
    snprintf(path, sizeof path, "%s/copy/tile/entries/001", directory);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 100, SEEK_SET);
    fputc('!', file);
    fclose(file);
    assert_int_equal(mirror("token", vkey, "copy"), 1); /* an entry that was altered there */
    /* The log as it was before, served as if it were today's: the copy knows better. */
    assert_int_equal(mirror("token", vkey, "copy2"), 0);
    snprintf(path, sizeof path, "%s/copy2/checkpoint", directory);
    char *newer = NULL;
    size_t len = 0;
    append_many(log_now, 5);
    assert_intact(log_now, log_now->ops->next(log_now));
    snprintf(path, sizeof path, "%s/checkpoint", directory);
    assert_int_equal(file_read(path, NOTE_MAX, &newer, &len, NULL), TG_OK);
    snprintf(path, sizeof path, "%s/copy2/checkpoint", directory);
    newer[strchr(newer, '\n') + 1 - newer] ^= 1; /* another size than it was signed for */
    assert_int_equal(file_replace(path, newer, len, NULL), TG_OK);
    free(newer);
    assert_int_equal(mirror("token", vkey, "copy2"), 1);
}

static void test_a_copy_over_tls(void **state)
{
    struct pki pki;
    struct tg_error err = {0};
    struct reading *plain = reading;
    char vkey[NOTE_VKEY_MAX], url[64], options[512], listen[] = "127.0.0.1:0";
    (void)state;
    pki_make(&pki);
    assert_int_equal(chmod(pki.key, 0400), 0);
    struct reading_config config = {.listen = listen, .tls = {pki.certificate, pki.key, pki.ca}};
    if (open_reading(&config, &err) != TG_OK || reading_start(reading, &err) != TG_OK)
        fail_msg("%s", err.text);
    note_key_vkey(log_now->ops->keys(log_now)->key[0], vkey);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", reading_port(reading));
    assert_int_equal(mirror_from(url, "", vkey, "copy3"), EX_USAGE); /* no CA */
    snprintf(options, sizeof options, "--ca %s", pki.ca);
    assert_int_equal(mirror_from(url, options, vkey, "copy3"), EX_NOINPUT); /* who are you? */
    snprintf(options, sizeof options, "--ca %s --cert %s --cert-key %s", pki.other_ca, pki.certificate,
             pki.key);
    assert_int_equal(mirror_from(url, options, vkey, "copy3"), EX_NOINPUT); /* and who is that? */
    snprintf(options, sizeof options, "--ca %s --cert %s --cert-key %s", pki.ca, pki.certificate, pki.key);
    assert_int_equal(mirror_from(url, options, vkey, "copy3"), 0);
    reading_close(reading);
    reading = plain;
    pki_remove(&pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configurations_that_would_show_it_to_strangers),
        cmocka_unit_test(test_nobody_without_the_token),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_reading_only),
        cmocka_unit_test(test_checkpoint_and_tiles_are_the_files),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_bad_searches),
        cmocka_unit_test(test_a_copy_is_made_and_kept_up),
        cmocka_unit_test(test_a_copy_that_does_not_continue_is_found),
        cmocka_unit_test(test_a_copy_over_tls),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
