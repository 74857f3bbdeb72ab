/* Witnesses: real HTTP, and a witness that checks consistency by itself (RFC 9162, section 2.1.4.2). */
#include "tests/unit/audit/audit_fixture.h"

#include <inttypes.h>
#include <pthread.h>

#include "common/http/http.h"
#include "common/trace.h"
#include "services/audit/log/checkpoint.h"
#include "services/audit/log/note_key.h"
#include "services/audit/witness/witness.h"

enum { WITNESSES = 3, PATIENCE_MS = 60000 };

enum mood { HONEST, AWAY, GARBAGE, FORGED, ANOTHER_SIZE, REDIRECTS, ENDLESS, SIGNS_MORE };

struct test_witness {
    struct http_server *http;
    struct note_keys cosigner, log;
    char vkey[NOTE_VKEY_MAX];
    char url[64];
    pthread_mutex_t lock; /* guards the rest */
    enum mood mood;
    uint64_t size;
    struct merkle_hash root;
    unsigned asked, cosigned, broken;
};

static struct test_witness witness[WITNESSES];
static struct log_writer *log_now;
static struct witnesses *witnesses_now;
static struct witness_config configs[WITNESSES];
static const char *directory;
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned told_behind, told_again;
static char told_reason[512];

/* ---- the witness ---- */

/* RFC 9162, section 2.1.4.2, step by step. */
static bool is_consistent(uint64_t first, const struct merkle_hash *first_root, uint64_t second,
                          const struct merkle_hash *second_root, const struct merkle_hash *path, size_t count)
{
    struct merkle *merkle = merkle_new();
    uint64_t fn = first - 1, sn = second - 1;
    size_t at = 0;
    struct merkle_hash fr, sr;
    bool power = (first & (first - 1)) == 0, good = count + power > 0;
    fr = sr = power || count == 0 ? *first_root : path[at++];
    for (; (fn & 1) != 0; fn >>= 1)
        sn >>= 1;
    for (; good && at < count; at++) {
        good = sn != 0;
        if ((fn & 1) != 0 || fn == sn) {
            merkle_node(merkle, &path[at], &fr, &fr);
            merkle_node(merkle, &path[at], &sr, &sr);
            for (; (fn & 1) == 0 && fn != 0; fn >>= 1)
                sn >>= 1;
        } else {
            merkle_node(merkle, &sr, &path[at], &sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    good = good && sn == 0 && merkle_equal(&fr, first_root) && merkle_equal(&sr, second_root);
    merkle_free(merkle);
    return good;
}

struct asked {
    uint64_t old;
    struct merkle_hash proof[MERKLE_PROOF_MAX];
    size_t count;
    const char *note;
    struct checkpoint checkpoint;
};

static bool parse(const struct test_witness *w, const char *body, struct asked *asked)
{
    int used = 0;
    if (sscanf(body, "old %" SCNu64 "%n", &asked->old, &used) != 1 || body[used] != '\n')
        return false;
    for (body += used + 1; *body != '\n' && asked->count < MERKLE_PROOF_MAX; asked->count++) {
        const char *end = strchr(body, '\n');
        if (end == NULL || base64_decode(body, (size_t)(end - body), asked->proof[asked->count].bytes,
                                         MERKLE_HASH_LEN) != MERKLE_HASH_LEN)
            return false;
        body = end + 1;
    }
    asked->note = body + 1;
    return *body == '\n' &&
           checkpoint_open(asked->note, strlen(asked->note), &w->log, &asked->checkpoint, NULL) == TG_OK;
}

static void cosign(struct http_request *request, struct test_witness *w, const struct asked *asked)
{
    char text[512], *note = NULL;
    snprintf(text, sizeof text, "%.*s", (int)(strstr(asked->note, "\n\n") + 1 - asked->note), asked->note);
    if (w->mood == FORGED)
        text[0] ^= 1;
    assert_int_equal(note_sign(text, &w->cosigner, &note, NULL), TG_OK);
    const char *lines = strstr(note, "\n\n") + 2;
    w->cosigned++;
    w->size = asked->checkpoint.size;
    w->root = asked->checkpoint.root;
    http_reply(request, 200, "text/plain", lines, strlen(lines), NULL, NULL);
    free(note);
}

static void answer_honestly(struct http_request *request, struct test_witness *w, const char *body)
{
    struct asked asked = {0};
    char size[32];
    if (!parse(w, body, &asked) || asked.old > asked.checkpoint.size) {
        w->broken++;
        http_reply_text(request, 400, "no");
    } else if (asked.old != w->size) {
        int len = snprintf(size, sizeof size, "%" PRIu64 "\n", w->size);
        http_reply(request, 409, "text/x.tlog.size", size, (size_t)len, NULL, NULL);
    } else if (w->size > 0 && asked.checkpoint.size == w->size) { /* once more the same */
        assert_true(merkle_equal(&asked.checkpoint.root, &w->root));
        cosign(request, w, &asked);
    } else if (w->size > 0 && !is_consistent(w->size, &w->root, asked.checkpoint.size, &asked.checkpoint.root,
                                             asked.proof, asked.count)) {
        w->broken++;
        http_reply_text(request, 422, "no");
    } else {
        cosign(request, w, &asked);
    }
}

/* Signed well, but it is the checkpoint with all its signatures that it has signed, as if they were text. */
static void cosign_more(struct http_request *request, struct test_witness *w, const char *body)
{
    struct asked asked = {0};
    char *note = NULL;
    assert_true(parse(w, body, &asked));
    assert_int_equal(note_sign(asked.note, &w->cosigner, &note, NULL), TG_OK);
    const char *lines = note + strlen(asked.note);
    http_reply(request, 200, "text/plain", lines, strlen(lines), NULL, NULL);
    free(note);
}

static void add_checkpoint(struct http_request *request)
{
    struct test_witness *w = http_request_context(request);
    size_t len = 0;
    const char *body = http_request_body(request, &len);
    static char endless[64 * 1024];
    memset(endless, 'x', sizeof endless);
    pthread_mutex_lock(&w->lock);
    w->asked++;
    if (w->mood == AWAY)
        http_reply_text(request, 503, "away");
    else if (w->mood == GARBAGE)
        http_reply_text(request, 200, "<html>welcome</html>");
    else if (w->mood == ANOTHER_SIZE)
        http_reply_text(request, 409, "18446744073709551616");
    else if (w->mood == REDIRECTS)
        http_reply_text(request, 302, "elsewhere");
    else if (w->mood == ENDLESS)
        http_reply(request, 200, "text/plain", endless, sizeof endless, NULL, NULL);
    else if (w->mood == SIGNS_MORE)
        cosign_more(request, w, body);
    else
        answer_honestly(request, w, body);
    pthread_mutex_unlock(&w->lock);
}

static const struct http_route routes[] = {{HTTP_POST, "/prefix/add-checkpoint", add_checkpoint},
                                           {0, NULL, NULL}};

static void witness_start(struct test_witness *w, int number)
{
    struct note_key *key = NULL;
    char name[32], log_vkey[NOTE_VKEY_MAX];
    snprintf(name, sizeof name, "witness.test/w%d", number);
    pthread_mutex_init(&w->lock, NULL);
    assert_int_equal(note_key_new(&w->cosigner, name, &key, NULL), TG_OK);
    key->type = NOTE_COSIGNATURE;
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    key->public_len = sizeof key->public;
    assert_int_equal(EVP_PKEY_get_raw_public_key(key->pkey, key->public, &key->public_len), 1);
    note_key_make_id(key);
    note_key_vkey(key, w->vkey);
    note_key_vkey(log_now->ops->keys(log_now)->key[0], log_vkey);
    assert_int_equal(note_keys_add_public(&w->log, log_vkey, NULL), TG_OK);
    const struct http_options options = {.address = "127.0.0.1:0", .routes = routes, .context = w};
    assert_int_equal(http_server_open(&w->http, &options, NULL), TG_OK);
    assert_int_equal(http_server_start(w->http, NULL), TG_OK);
    snprintf(w->url, sizeof w->url, "http://127.0.0.1:%u/prefix%s", http_server_port(w->http),
             number % 2 == 0 ? "/" : "");
    configs[number] = (struct witness_config){.url = w->url, .key = w->vkey};
}

static void set_mood(int number, enum mood mood)
{
    pthread_mutex_lock(&witness[number].lock);
    witness[number].mood = mood;
    pthread_mutex_unlock(&witness[number].lock);
}

static unsigned read_count(int number, const unsigned *count)
{
    pthread_mutex_lock(&witness[number].lock);
    unsigned now = *count;
    pthread_mutex_unlock(&witness[number].lock);
    return now;
}

/* ---- the rest of the rig ---- */

static void told(void *arg, const char *event, const char *reason)
{
    (void)arg;
    pthread_mutex_lock(&told_lock);
    if (strcmp(event, "audit.witnesses_behind") == 0) {
        told_behind++;
        snprintf(told_reason, sizeof told_reason, "%s", reason);
    } else {
        assert_string_equal(event, "audit.witnessed_again");
        assert_null(reason);
        told_again++;
    }
    pthread_mutex_unlock(&told_lock);
}

static unsigned read_told(const unsigned *count)
{
    pthread_mutex_lock(&told_lock);
    unsigned now = *count;
    pthread_mutex_unlock(&told_lock);
    return now;
}

static enum tg_code open_witnesses(unsigned quorum, unsigned patience_ms, size_t count, struct tg_error *err)
{
    static struct config_list list;
    list = (struct config_list){configs, count};
    const struct witnesses_options options = {.directory = directory,
                                              .list = &list,
                                              .quorum = quorum,
                                              .interval_ms = 10,
                                              .timeout_ms = 20000,
                                              .patience_ms = patience_ms,
                                              .log = log_now,
                                              .report = told};
    return witnesses_open(&witnesses_now, &options, err);
}

static void start(unsigned quorum, unsigned patience_ms)
{
    struct tg_error err = {0};
    if (open_witnesses(quorum, patience_ms, WITNESSES, &err) != TG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(witnesses_start(witnesses_now, NULL), TG_OK);
}

static int setup(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    directory = *state;
    log_now = open_log(directory);
    told_behind = told_again = 0;
    for (int i = 0; i < WITNESSES; i++)
        witness_start(&witness[i], i);
    return 0;
}

static int teardown(void **state)
{
    witnesses_close(witnesses_now);
    witnesses_now = NULL;
    for (int i = 0; i < WITNESSES; i++) {
        (void)http_server_stop(witness[i].http, 1000);
        assert_int_equal(witness[i].broken, 0);
        note_keys_free(&witness[i].cosigner);
        note_keys_free(&witness[i].log);
        witness[i] = (struct test_witness){0};
    }
    log_now->ops->close(log_now);
    return remove_directory(state);
}

#define AWAIT(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t until_ms_ = clock_now_ms() + 60000;                                                         \
        while (!(condition)) {                                                                               \
            if (clock_now_ms() > until_ms_)                                                                  \
                fail_msg("not within a minute: %s", #condition);                                             \
            usleep(2000);                                                                                    \
        }                                                                                                    \
    } while (0)

/* How many known witnesses have signed checkpoint.witnessed; its size. */
static unsigned witnessed(uint64_t *size)
{
    char path[512], *text = NULL;
    struct note_keys keys = {0};
    struct checkpoint checkpoint;
    size_t len = 0, text_len = 0, signers = 0;
    snprintf(path, sizeof path, "%s/checkpoint.witnessed", directory);
    *size = 0;
    if (file_read(path, 1 << 20, &text, &len, NULL) != TG_OK)
        return 0;
    for (int i = 0; i < WITNESSES; i++)
        assert_int_equal(note_keys_add_public(&keys, witness[i].vkey, NULL), TG_OK);
    assert_int_equal(note_open(text, len, &keys, &text_len, &signers, NULL), TG_OK);
    assert_int_equal(checkpoint_open(text, len, &witness[0].log, &checkpoint, NULL), TG_OK);
    *size = checkpoint.size;
    note_keys_free(&keys);
    free(text);
    return (unsigned)signers;
}

static bool has_witnessed(uint64_t wanted, unsigned by)
{
    uint64_t size;
    unsigned signers = witnessed(&size);
    return size == wanted && signers == by;
}

/* ---- tests ---- */

static void test_bad_configurations(void **state)
{
    struct witness_config kept = configs[0];
    static char bad_key[] = "witness+00000000+AAAA", ftp[] = "ftp://127.0.0.1/";
    static char clear[][40] = {"http://witness.example/", "http://127.example/", "http://localhost.example/",
                               "http://localhost:1@witness.example/"};
    (void)state;
    configs[0].key = bad_key;
    assert_int_equal(open_witnesses(1, PATIENCE_MS, WITNESSES, NULL), TG_INVALID_ARGUMENT);
    configs[0] = kept;
    for (size_t i = 0; i < sizeof clear / sizeof clear[0]; i++) {
        configs[0].url = clear[i]; /* in the clear, over a network */
        assert_int_equal(open_witnesses(1, PATIENCE_MS, WITNESSES, NULL), TG_INVALID_ARGUMENT);
    }
    configs[0].url = ftp;
    assert_int_equal(open_witnesses(1, PATIENCE_MS, WITNESSES, NULL), TG_INVALID_ARGUMENT);
    configs[0] = kept;
    assert_int_equal(open_witnesses(WITNESSES + 1, PATIENCE_MS, WITNESSES, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(open_witnesses(0, PATIENCE_MS, WITNESSES, NULL), TG_INVALID_ARGUMENT);
    assert_int_equal(open_witnesses(1, PATIENCE_MS, 0, NULL), TG_INVALID_ARGUMENT);
}

/* None of these makes a checkpoint count as witnessed, and none of them stops the others. */
static void test_witnesses_that_are_none(void **state)
{
    static const enum mood moods[] = {AWAY, GARBAGE, FORGED, ANOTHER_SIZE, REDIRECTS, ENDLESS, SIGNS_MORE};
    uint64_t size;
    (void)state;
    set_mood(0, AWAY);
    set_mood(1, AWAY);
    start(2, PATIENCE_MS);
    for (size_t i = 0; i < sizeof moods / sizeof moods[0]; i++) {
        unsigned before = read_count(1, &witness[1].asked);
        set_mood(1, moods[i]);
        append_many(log_now, 7);
        AWAIT(read_count(1, &witness[1].asked) >= before + 3);
        assert_int_equal(witnessed(&size), 0);
    }
    pthread_mutex_lock(&witness[1].lock);
    witness[1].mood = HONEST;
    witness[1].size = 0; /* what it cosigned when it forged was no checkpoint of this log */
    pthread_mutex_unlock(&witness[1].lock);
    AWAIT(has_witnessed(log_now->ops->next(log_now), 2));
}

static void test_all_cosign_a_growing_log(void **state)
{
    (void)state;
    start(3, PATIENCE_MS);
    for (unsigned i = 1; i < 12; i++) {
        append_many(log_now, i * 37);
        AWAIT(has_witnessed(log_now->ops->next(log_now), 3));
    }
    assert_true(witness[0].cosigned >= 11);
    assert_intact(log_now, log_now->ops->next(log_now));
}

/* After a restart on our side we do not know what they have cosigned; they say it (409). */
static void test_a_new_start(void **state)
{
    (void)state;
    start(3, PATIENCE_MS);
    append_many(log_now, 300);
    AWAIT(has_witnessed(300, 3));
    witnesses_close(witnesses_now);
    start(3, PATIENCE_MS);
    append_many(log_now, 300);
    AWAIT(has_witnessed(600, 3));
}

static void test_a_quorum_is_enough_and_its_lack_is_told(void **state)
{
    (void)state;
    set_mood(2, AWAY);
    start(2, 50);
    append_many(log_now, 10);
    AWAIT(has_witnessed(10, 2));
    assert_int_equal(read_told(&told_behind), 0);
    set_mood(1, AWAY);
    append_many(log_now, 10);
    AWAIT(read_told(&told_behind) == 1);
    pthread_mutex_lock(&told_lock);
    assert_non_null(strstr(told_reason, "1 of 2 cosign"));
    assert_non_null(strstr(told_reason, "witness.test/w1: status 503"));
    pthread_mutex_unlock(&told_lock);
    assert_true(has_witnessed(10, 2)); /* the last that was */
    set_mood(2, HONEST);
    AWAIT(read_told(&told_again) == 1);
    assert_true(has_witnessed(20, 2));
    assert_int_equal(read_told(&told_behind), 1); /* once, not each time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_configurations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_witnesses_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_cosign_a_growing_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_new_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_quorum_is_enough_and_its_lack_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
