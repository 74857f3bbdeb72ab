#include "services/audit/witness/witness.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/monotonic.h"
#include "common/trace.h"
#include "services/audit/log/checkpoint.h"
#include "services/audit/witness/witness_post.h"

enum { HASH_TEXT = 48, ASKS_MAX = 2 /* once more after a 409 */ };

const struct config_row witness_rows[] = {
    {.key = "url",
     .type = CONFIG_STRING,
     .offset = offsetof(struct witness_config, url),
     .min = 8,
     .max = 512,
     .help = "Its submission prefix (c2sp.org/tlog-witness): https://…"},
    {.key = "key",
     .type = CONFIG_STRING,
     .offset = offsetof(struct witness_config, key),
     .min = 8,
     .max = NOTE_VKEY_MAX - 1,
     .help = "Its public key: name+number+base64"},
    {.key = "ca",
     .type = CONFIG_PATH,
     .offset = offsetof(struct witness_config, ca),
     .fallback = CONFIG_OPTIONAL,
     .help = "The CA that signs its certificate (PEM), if it is not one that the system knows"},
    {.key = NULL},
};

struct witness {
    struct note_keys key; /* one */
    struct post post;
    uint64_t old;  /* the size that it has cosigned last, as far as we know */
    unsigned asks; /* in this round */
    char *lines;   /* its cosignatures of this round's checkpoint; NULL: none */
    bool failing;  /* as logged */
    char why[160];
};

struct witnesses {
    struct witnesses_options options;
    char path[4096]; /* of checkpoint.witnessed */
    struct witness witness[WITNESSES_MAX];
    size_t count;
    CURLM *multi;
    pthread_t thread;
    bool started;

    /* Of the thread: this round's checkpoint, and how it goes. */
    char *note;
    struct checkpoint checkpoint;
    uint64_t witnessed; /* size that a quorum has cosigned last */
    uint64_t lacking_since_ms;
    bool reported;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t wake;
    bool stopping;
};

static bool is_stopping(struct witnesses *w)
{
    pthread_mutex_lock(&w->lock);
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

/* ---- one request ---- */

/* NULL: the log has grown meanwhile, or fails: next time. */
static char *request_for(const struct witnesses *w, const struct witness *witness)
{
    struct merkle_hash proof[MERKLE_PROOF_MAX];
    size_t count = 0;
    uint64_t size = w->checkpoint.size;
    char *text = NULL;
    size_t len = 0;
    if (witness->old > 0 && witness->old < size &&
        (w->options.log->ops->consistency(w->options.log, witness->old, &size, proof, &count, NULL) !=
             TG_OK ||
         size != w->checkpoint.size))
        return NULL;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return NULL;
    fprintf(out, "old %" PRIu64 "\n", witness->old);
    for (size_t i = 0; i < count; i++) {
        char hash[HASH_TEXT];
        base64_encode(proof[i].bytes, MERKLE_HASH_LEN, hash);
        fprintf(out, "%s\n", hash);
    }
    fprintf(out, "\n%s", w->note);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static bool ask(struct witnesses *w, struct witness *witness)
{
    char *body = witness->old <= w->checkpoint.size ? request_for(w, witness) : NULL;
    if (body == NULL || !post_prepare(&witness->post, body, w->options.timeout_ms))
        return false;
    witness->asks++;
    return curl_multi_add_handle(w->multi, witness->post.curl) == CURLM_OK;
}

/* ---- one answer ---- */

/* The state of a witness is logged where it changes, and only then. */
static void note_state(const struct witnesses *w, struct witness *witness, bool failing)
{
    const struct witness_config *configs = w->options.list->items;
    const char *url = configs[witness - w->witness].url;
    if (failing && !witness->failing)
        LOG(LOG_WARNING, NULL, "audit.witness_failed", LOG_TEXT("witness", url),
            LOG_TEXT("error", witness->why));
    if (!failing && witness->failing)
        LOG(LOG_INFO, NULL, "audit.witness_works", LOG_TEXT("witness", url));
    witness->failing = failing;
}

/* The note with the answer's lines behind it must carry this witness's signature, and nothing malformed. */
static bool take_lines(struct witnesses *w, struct witness *witness)
{
    char *whole = NULL;
    size_t text_len = 0, signers = 0;
    struct tg_error err = {0};
    witness->post.answer[witness->post.answer_len] = '\0';
    int len = asprintf(&whole, "%s%s", w->note, witness->post.answer);
    if (len < 0)
        return false;
    enum tg_code code = note_open(whole, (size_t)len, &witness->key, &text_len, &signers, &err);
    if (code == TG_OK &&
        text_len >= strlen(w->note)) /* an empty line makes our signatures part of the text */
        code = tg_fail(&err, TG_DATA_LOSS, "it has signed another text");
    if (code == TG_OK)
        witness->lines = strdup(witness->post.answer);
    else
        snprintf(witness->why, sizeof witness->why, "%.150s", err.text);
    free(whole);
    return code == TG_OK && witness->lines != NULL;
}

/* "123\n": what it has cosigned last. */
static bool take_size(struct witness *witness)
{
    const char *text = witness->post.answer;
    size_t len = witness->post.answer_len;
    uint64_t size = 0;
    if (len < 2 || len > 20 || text[len - 1] != '\n')
        return false;
    for (size_t i = 0; i + 1 < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        size = size * 10 + (uint64_t)(text[i] - '0');
    }
    bool other = size != witness->old;
    witness->old = size;
    return other;
}

static void take_answer(struct witnesses *w, struct witness *witness, CURLcode rc)
{
    long status = rc == CURLE_OK ? post_status(&witness->post) : 0;
    curl_multi_remove_handle(w->multi, witness->post.curl);
    if (status == 200 && take_lines(w, witness)) {
        witness->old = w->checkpoint.size;
        note_state(w, witness, false);
        return;
    }
    if (status == 409 && witness->asks < ASKS_MAX && take_size(witness) && ask(w, witness))
        return;
    if (status != 200)
        snprintf(witness->why, sizeof witness->why, "status %ld%s%.100s", status, status == 0 ? ": " : "",
                 status == 0 ? witness->post.why : "");
    note_state(w, witness, true);
}

static void await_answers(struct witnesses *w)
{
    int running = 1, left;
    for (bool more = true; more;) {
        const CURLMsg *message;
        if (curl_multi_perform(w->multi, &running) != CURLM_OK)
            break;
        while ((message = curl_multi_info_read(w->multi, &left)) != NULL) {
            struct post *post = NULL;
            CURLcode rc = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &post);
            take_answer(w, (struct witness *)((char *)post - offsetof(struct witness, post)), rc);
            running = 1; /* it may have been asked again */
        }
        more = running > 0 && !is_stopping(w);
        if (more)
            (void)curl_multi_poll(w->multi, NULL, 0, 100, NULL);
    }
    for (size_t i = 0; i < w->count; i++)
        curl_multi_remove_handle(w->multi, w->witness[i].post.curl);
}

/* ---- one round ---- */

static bool keep_witnessed(struct witnesses *w)
{
    char *text = NULL;
    size_t len = 0;
    struct tg_error err = {0};
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        return false;
    fputs(w->note, out);
    for (size_t i = 0; i < w->count; i++)
        if (w->witness[i].lines != NULL)
            fputs(w->witness[i].lines, out);
    bool good = fclose(out) == 0 && file_replace(w->path, text, len, &err) == TG_OK;
    if (!good)
        LOG(LOG_WARNING, NULL, "audit.witnessed_not_kept", LOG_ERR(&err));
    free(text);
    return good;
}

static unsigned cosigned(const struct witnesses *w)
{
    unsigned count = 0;
    for (size_t i = 0; i < w->count; i++)
        count += w->witness[i].lines != NULL;
    return count;
}

/* An own event makes a new checkpoint: only changes are reported. */
static void note_quorum(struct witnesses *w, bool reached)
{
    char reason[512] = "";
    uint64_t now_ms = clock_now_ms();
    if (reached && w->reported)
        w->options.report(w->options.arg, "audit.witnessed_again", NULL);
    if (reached) {
        w->lacking_since_ms = 0;
        w->reported = false;
        return;
    }
    if (w->lacking_since_ms == 0)
        w->lacking_since_ms = now_ms;
    if (w->reported || now_ms - w->lacking_since_ms < w->options.patience_ms)
        return;
    size_t len = (size_t)snprintf(reason, sizeof reason, "%u of %u cosign", cosigned(w), w->options.quorum);
    for (size_t i = 0; i < w->count && len < sizeof reason; i++)
        if (w->witness[i].failing)
            len += (size_t)snprintf(reason + len, sizeof reason - len, "; %s: %s",
                                    note_key_name(w->witness[i].key.key[0]), w->witness[i].why);
    w->options.report(w->options.arg, "audit.witnesses_behind", reason);
    w->reported = true;
}

/* False: there is nothing new. */
static bool take_checkpoint(struct witnesses *w)
{
    char *note = NULL;
    struct checkpoint checkpoint;
    const struct note_keys *keys = w->options.log->ops->keys(w->options.log);
    if (w->options.log->ops->checkpoint(w->options.log, &note, NULL) != TG_OK)
        return false;
    bool good = checkpoint_open(note, strlen(note), keys, &checkpoint, NULL) == TG_OK &&
                checkpoint.size > w->witnessed;
    if (!good) {
        free(note);
        return false;
    }
    free(w->note);
    w->note = note;
    w->checkpoint = checkpoint;
    return true;
}

static void one_round(struct witnesses *w)
{
    if (!take_checkpoint(w))
        return;
    for (size_t i = 0; i < w->count; i++) {
        struct witness *witness = &w->witness[i];
        free(witness->lines);
        witness->lines = NULL;
        witness->asks = 0;
        (void)ask(w, witness);
    }
    await_answers(w);
    bool reached = cosigned(w) >= w->options.quorum && keep_witnessed(w);
    if (reached)
        w->witnessed = w->checkpoint.size;
    if (!is_stopping(w))
        note_quorum(w, reached);
}

static void *witnesses_main(void *arg)
{
    struct witnesses *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        uint64_t next_ms = clock_now_ms() + w->options.interval_ms;
        pthread_mutex_unlock(&w->lock);
        one_round(w);
        pthread_mutex_lock(&w->lock);
        while (!w->stopping && monotonic_wait(&w->wake, &w->lock, next_ms))
            ;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- from open to close ---- */

static enum tg_code open_witness(struct witness *witness, const struct witness_config *config,
                                 struct tg_error *err)
{
    TG_TRY(note_keys_add_public(&witness->key, config->key, err));
    return post_open(&witness->post, config, err);
}

static enum tg_code open_all(struct witnesses *w, const struct witnesses_options *options,
                             struct tg_error *err)
{
    const struct witness_config *configs = options->list->items;
    TG_ENSURE(options->list->count >= 1 && options->list->count <= WITNESSES_MAX, err, TG_INVALID_ARGUMENT,
              "1 to %d witnesses, not %zu", WITNESSES_MAX, options->list->count);
    TG_ENSURE(options->quorum >= 1 && options->quorum <= options->list->count, err, TG_INVALID_ARGUMENT,
              "witness_quorum: %u of %zu witnesses cannot be", options->quorum, options->list->count);
    snprintf(w->path, sizeof w->path, "%s/checkpoint.witnessed", options->directory);
    for (; w->count < options->list->count; w->count++)
        TG_TRY(open_witness(&w->witness[w->count], &configs[w->count], err));
    w->multi = curl_multi_init();
    TG_ENSURE(w->multi != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for witnesses");
    return TG_OK;
}

enum tg_code witnesses_open(struct witnesses **out, const struct witnesses_options *options,
                            struct tg_error *err)
{
    struct witnesses *w = calloc(1, sizeof *w);
    TG_ENSURE(w != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for witnesses");
    w->options = *options;
    pthread_mutex_init(&w->lock, NULL);
    monotonic_cond_init(&w->wake);
    enum tg_code code = open_all(w, options, err);
    if (code == TG_OK)
        *out = w;
    else
        witnesses_close(w);
    return code;
}

enum tg_code witnesses_start(struct witnesses *w, struct tg_error *err)
{
    int rc = pthread_create(&w->thread, NULL, witnesses_main, w);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "cannot start the thread for witnesses: %s", strerror(rc));
    w->started = true;
    return TG_OK;
}

void witnesses_stop(struct witnesses *w)
{
    if (w == NULL || !w->started)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void witnesses_close(struct witnesses *w)
{
    if (w == NULL)
        return;
    witnesses_stop(w);
    for (size_t i = 0; i < WITNESSES_MAX; i++) {
        free(w->witness[i].lines);
        post_close(&w->witness[i].post);
        note_keys_free(&w->witness[i].key);
    }
    curl_multi_cleanup(w->multi);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->note);
    free(w);
}
