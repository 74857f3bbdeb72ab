#include "services/key-store/kek/rotation.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/monotonic.h"
#include "common/pb.h"
#include "common/ticket.h"
#include "common/trace.h"
#include "services/key-store/await.h"

enum { AUDIT_WAIT_MS = 2000 };
/* Holds the id of the KEK that all is to lie under (32 bit, big endian); 0: no rotation is under way. */
static const char note[] = "kek rotation";
enum { NOTE_LEN = 4 };

/* Rows on their way; good: wrapped anew. */
struct piece {
    uint32_t newest;
    uint32_t wanted; /* at least; 0: no rotation is under way */
    size_t count, good;
    struct {
        struct store_at_rest row;
        struct at_rest after;
        bool good;
    } rows[ROTATION_PIECE];
};

struct rotation {
    struct writer *writer;
    const struct keyring *ring;
    struct audit_client *audit;
    pthread_t thread;
    pthread_mutex_t lock; /* of the rest, but for the piece */
    pthread_cond_t changed;
    bool stopping, wanted;
    struct rotation_status status;
    bool counted; /* the rotation that status.rewrapped counts is over */
    bool audited; /* the audit service has answered */
    struct tg_error audit_result;
    struct piece piece; /* the thread's */
};

/* ---- the note ---- */

enum tg_code rotation_requested(struct store *store, uint32_t *kek, struct tg_error *err)
{
    uint8_t value[STORE_NOTE_MAX];
    size_t len = 0;
    enum tg_code code = store->ops->note_find(store, note, value, &len, err);
    *kek = 0;
    for (size_t i = 0; code == TG_OK && len == NOTE_LEN && i < len; i++)
        *kek = *kek << 8 | value[i];
    return code == TG_NOT_FOUND ? TG_OK : code;
}

static enum tg_code set_note(struct store *store, uint32_t kek, struct tg_error *err)
{
    const uint8_t value[NOTE_LEN] = {(uint8_t)(kek >> 24), (uint8_t)(kek >> 16), (uint8_t)(kek >> 8),
                                     (uint8_t)kek};
    return store->ops->note_set(store, note, value, sizeof value, err);
}

static void wake(struct rotation *r)
{
    pthread_mutex_lock(&r->lock);
    r->wanted = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* What the thread reads next is queued behind this transaction. */
enum tg_code rotation_request(struct rotation *r, struct store *store, struct tg_error *err)
{
    TG_TRY(set_note(store, keyring_newest(r->ring), err));
    wake(r);
    return TG_OK;
}

/* ---- one piece ---- */

static void keep_row(void *arg, const struct store_at_rest *row)
{
    struct piece *piece = arg;
    TG_INVARIANT(piece->count < ROTATION_PIECE);
    piece->rows[piece->count].good = false;
    piece->rows[piece->count++].row = *row;
}

static enum tg_code read_piece(void *arg, struct store *store, struct tg_error *err)
{
    struct piece *piece = arg;
    piece->count = 0;
    piece->good = 0;
    TG_TRY(rotation_requested(store, &piece->wanted, err));
    if (piece->wanted == 0 || piece->wanted > piece->newest)
        return TG_OK;
    return store->ops->rewrap_list(store, piece->newest, ROTATION_PIECE, keep_row, piece, err);
}

/* "key 0b7c…: tgctl key revoke …": what an operator can do about it. */
static void name_row(const struct store_at_rest *row, char out[160])
{
    char id[2 * AT_REST_ID_MAX + 1];
    if (row->kind == AT_REST_QKUD_KEY) {
        snprintf(out, 160, "QKUD %.*s (revoke it and register it anew)", (int)row->id_len,
                 (const char *)row->id);
    } else if (row->kind == AT_REST_QUANTUM_KEY && row->id_len == TICKET_KEY_ID_LEN) {
        ticket_key_id_text(row->id, id);
        snprintf(out, 160, "key %s (tgctl key revoke)", id);
    } else {
        hex_encode(row->id, row->id_len, id);
        snprintf(out, 160, "key %.100s", id);
    }
}

/* Outside every transaction: nobody waits for this. A row that was altered, or that another key store has put
 * under a KEK of its own, is left alone: `bad` keeps the first of them. Other failures end the piece. */
static enum tg_code rewrap_piece(const struct keyring *ring, struct piece *piece,
                                 char bad[ROTATION_PROBLEM_MAX], struct tg_error *err)
{
    bad[0] = '\0';
    for (size_t i = 0; i < piece->count; i++) {
        const struct store_at_rest *row = &piece->rows[i].row;
        const struct at_rest_name name = {row->kind, row->id, row->id_len};
        struct tg_error why = {0};
        enum tg_code code = TG_OUT_OF_RANGE;
        if (keyring_place(ring, row->key.kek) != NULL)
            code = at_rest_rewrap(ring, &name, &row->key, &piece->rows[i].after, &why);
        if (code != TG_OK && code != TG_DATA_LOSS && code != TG_OUT_OF_RANGE)
            return tg_fail(err, code, "%s", why.text);
        piece->rows[i].good = code == TG_OK;
        piece->good += code == TG_OK;
        if (code == TG_OK || bad[0] != '\0')
            continue;
        char text[160];
        name_row(row, text);
        snprintf(bad, ROTATION_PROBLEM_MAX,
                 code == TG_DATA_LOSS ? "%s does not open: its row was altered"
                                      : "%s lies under a KEK that is not in keks",
                 text);
    }
    return TG_OK;
}

/* One that has been spent, revoked or rewrapped meanwhile is as it should be. */
static enum tg_code write_piece(void *arg, struct store *store, struct tg_error *err)
{
    const struct piece *piece = arg;
    for (size_t i = 0; i < piece->count; i++) {
        const struct store_at_rest *row = &piece->rows[i].row;
        if (!piece->rows[i].good)
            continue;
        struct tg_error why;
        enum tg_code code = store->ops->rewrap_set(store, row->kind, row->id, row->id_len, &row->key,
                                                   &piece->rows[i].after, &why);
        if (code != TG_OK && code != TG_ABORTED)
            return tg_fail(err, code, "%s", why.text);
    }
    return TG_OK;
}

/* ---- the end of a rotation ---- */

static void audited(void *arg, enum tg_code status, const char *text)
{
    struct rotation *r = arg;
    pthread_mutex_lock(&r->lock);
    r->audit_result.code = status;
    if (status != TG_OK)
        (void)tg_fail(&r->audit_result, status, "%s", text);
    r->audited = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* Durably, so that no rotation ends without auditors knowing. */
static enum tg_code report(struct rotation *r, struct tg_error *err)
{
    char detail[96];
    snprintf(detail, sizeof detail, "KEK %" PRIu32 " wraps all keys, %" PRIu64 " rewrapped", r->piece.newest,
             r->counted ? 0 : r->status.rewrapped);
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string("kek.rotated");
    event.outcome = TG__EVENT__OUTCOME__SUCCESS;
    event.detail = detail;
    r->audited = false;
    audit_report(r->audit, &event, AUDIT_WAIT_MS, audited, r);
    pthread_mutex_lock(&r->lock);
    while (!r->audited)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
    TG_ENSURE(r->audit_result.code == TG_OK, err, r->audit_result.code,
              "all is rewrapped, but the audit log does not have it yet: %s", r->audit_result.text);
    return TG_OK;
}

static enum tg_code clear_note(void *arg, struct store *store, struct tg_error *err)
{
    (void)arg;
    return set_note(store, 0, err);
}

static enum tg_code finish(struct rotation *r, struct tg_error *err)
{
    TG_TRY(report(r, err));
    TG_TRY(writer_await(r->writer, clear_note, NULL, err));
    r->counted = true;
    LOG(LOG_INFO, NULL, "kek.rotated", LOG_NUMBER("kek", r->piece.newest),
        LOG_NUMBER("rewrapped", r->status.rewrapped));
    return TG_OK;
}

/* ---- the thread ---- */

static void count(struct rotation *r, size_t rewrapped)
{
    pthread_mutex_lock(&r->lock);
    r->status.rewrapped = (r->counted ? 0 : r->status.rewrapped) + rewrapped;
    r->counted = false;
    pthread_mutex_unlock(&r->lock);
}

/* OK: again at once, or wait until wanted (*idle). */
static enum tg_code step(struct rotation *r, bool *idle, struct tg_error *err)
{
    struct piece *piece = &r->piece;
    char bad[ROTATION_PROBLEM_MAX];
    piece->newest = keyring_newest(r->ring);
    TG_TRY(writer_await(r->writer, read_piece, piece, err));
    *idle = piece->wanted == 0;
    if (*idle)
        return TG_OK;
    /* Another key store has it. To us, who do not know it, all seems to be done. */
    TG_ENSURE(piece->wanted <= piece->newest, err, TG_FAILED_PRECONDITION,
              "KEK %" PRIu32 " is to wrap all keys, and this key store does not have it: add it to keks and "
              "reload (SIGHUP)",
              piece->wanted);
    if (piece->count == 0)
        return finish(r, err);
    TG_TRY(rewrap_piece(r->ring, piece, bad, err));
    TG_ENSURE(piece->good > 0, err, TG_FAILED_PRECONDITION, "%s", bad);
    TG_TRY(writer_await(r->writer, write_piece, piece, err));
    count(r, piece->good);
    return TG_OK;
}

/* State changes are logged here. */
static void set_problem(struct rotation *r, const char *problem)
{
    if (strcmp(r->status.problem, problem) == 0)
        return;
    if (problem[0] != '\0')
        LOG(LOG_ERROR, NULL, "kek.rotation_held_up", LOG_TEXT("reason", problem));
    pthread_mutex_lock(&r->lock);
    snprintf(r->status.problem, sizeof r->status.problem, "%s", problem);
    pthread_mutex_unlock(&r->lock);
}

/* Until then, or something new is asked for. False: the end. */
static bool wait_until(struct rotation *r, uint64_t at_ms)
{
    pthread_mutex_lock(&r->lock);
    while (!r->stopping && !r->wanted && monotonic_wait(&r->changed, &r->lock, at_ms))
        ;
    r->wanted = false;
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return !stopping;
}

/* It rests for as long as each piece took: half of the writer's time at most is its own. */
static void *run(void *arg)
{
    struct rotation *r = arg;
    uint64_t next_ms = 0;
    while (wait_until(r, next_ms)) {
        struct tg_error err = {0};
        bool idle = false;
        uint64_t began_ms = clock_now_ms();
        bool failed = step(r, &idle, &err) != TG_OK;
        uint64_t now_ms = clock_now_ms();
        set_problem(r, failed ? err.text : "");
        next_ms = idle ? UINT64_MAX : failed ? now_ms + ROTATION_RETRY_MS : now_ms + (now_ms - began_ms);
    }
    return NULL;
}

static void rotation_free(struct rotation *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

enum tg_code rotation_start(struct writer *writer, const struct keyring *ring, struct audit_client *audit,
                            struct rotation **rotation, struct tg_error *err)
{
    struct rotation *r = calloc(1, sizeof *r);
    TG_ENSURE(r != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for the rotation of KEKs");
    r->writer = writer;
    r->ring = ring;
    r->audit = audit;
    pthread_mutex_init(&r->lock, NULL);
    monotonic_cond_init(&r->changed);
    if (pthread_create(&r->thread, NULL, run, r) != 0) {
        rotation_free(r);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED,
                       "no thread for the rotation of KEKs: raise the limit of processes");
    }
    *rotation = r;
    return TG_OK;
}

void rotation_stop(struct rotation *r)
{
    if (r == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    rotation_free(r);
}

void rotation_status(struct rotation *r, struct rotation_status *out)
{
    pthread_mutex_lock(&r->lock);
    *out = r->status;
    pthread_mutex_unlock(&r->lock);
}
