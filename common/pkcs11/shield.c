/* Opening a token as a shield, and using its keys. */
#include "common/pkcs11/shield.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/names.h"
#include "common/pkcs11/shield_internal.h"

struct token_key {
    struct shield_key base;
    struct token *token; /* the shield's */
    token_object object;
};

/* False: not one of ours, or another program has just taken it. */
static enum tg_code look_at(struct token *token, token_object object, struct held *out, bool *ours,
                            struct tg_error *err)
{
    char label[TOKEN_OBJECT_LABEL_MAX + 1];
    enum tg_code code = token_get_label(token, object, label, err);
    *ours = code == TG_OK && ticket_from_text(label, out->bytes, NULL) == TG_OK &&
            ticket_peek(out->bytes, TICKET_LEN, &out->ticket, NULL) == TG_OK;
    out->object = object;
    return code == TG_NOT_FOUND || code == TG_UNIMPLEMENTED ? TG_OK : code;
}

static enum tg_code look_at_all(struct token *token, const token_object *objects, size_t found,
                                struct held *held, size_t *count, struct tg_error *err)
{
    *count = 0;
    for (size_t i = 0; i < found; i++) {
        bool ours = false;
        TG_TRY(look_at(token, objects[i], &held[*count], &ours, err));
        *count += ours;
    }
    return TG_OK;
}

enum tg_code held_list(struct token *token, struct held **held, size_t *count, struct tg_error *err)
{
    token_object *objects = NULL;
    size_t found = 0;
    TG_TRY(token_find(token, TOKEN_KEY, &(struct token_name){0}, &objects, &found, err));
    struct held *list = calloc(found + 1, sizeof *list);
    enum tg_code code = list != NULL
                            ? look_at_all(token, objects, found, list, count, err)
                            : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for the shield's entries");
    free(objects);
    if (code != TG_OK) {
        free(list);
        return code;
    }
    *held = list;
    return TG_OK;
}

static enum tg_code status(struct shield *shield, uint64_t now_s, struct shield_status *out,
                           struct tg_error *err)
{
    struct token *token = ((struct token_shield *)shield)->token;
    struct held *held = NULL;
    size_t count = 0;
    TG_TRY(held_list(token, &held, &count, err));
    *out = (struct shield_status){0};
    snprintf(out->shield_id, sizeof out->shield_id, "%s", token_label(token));
    for (size_t i = 0; i < count; i++) {
        uint64_t expires_s = held[i].ticket.expires_s;
        if (expires_s <= now_s) {
            out->expired++;
            continue;
        }
        out->ready++;
        if (out->next_expiry_s == 0 || expires_s < out->next_expiry_s)
            out->next_expiry_s = expires_s;
    }
    free(held);
    return TG_OK;
}

/* Who does not get to destroy the key gets no root: so one program at most ever has it. */
static enum tg_code derive(struct shield_key *base, const struct suite *suite, const void *input, size_t len,
                           struct secret **root, struct tg_error *err)
{
    struct token_key *key = (struct token_key *)base;
    TG_CLEANUP(secret_cleanup) struct secret *mac = NULL;
    TG_ENSURE(suite_number(suite) == SUITE_AES256_GCM_SHA256, err, TG_UNIMPLEMENTED,
              "token %s: tokens have HMAC-SHA-256 only, and suite %s needs another", token_label(key->token),
              suite_name(suite));
    enum tg_code code = token_hmac(key->token, key->object, input, len, &mac, err);
    if (code == TG_OK)
        code = token_destroy(key->token, key->object, err);
    TG_ENSURE(code != TG_NOT_FOUND, err, TG_ABORTED,
              "token %s: another program has used this key: take the next", token_label(key->token));
    TG_TRY(code);
    *root = mac;
    mac = NULL;
    return TG_OK;
}

static void free_key(struct shield_key *key)
{
    free(key);
}

/* The one that expires first, of several the one with the smallest key id; count: none. */
static size_t find_next(const struct held *held, size_t count, uint64_t now_s)
{
    size_t next = count;
    for (size_t i = 0; i < count; i++) {
        const struct ticket *t = &held[i].ticket, *best = next < count ? &held[next].ticket : NULL;
        if (t->expires_s <= now_s)
            continue;
        if (best == NULL || t->expires_s < best->expires_s ||
            (t->expires_s == best->expires_s && memcmp(t->key_id, best->key_id, sizeof t->key_id) < 0))
            next = i;
    }
    return next;
}

static enum tg_code take(struct shield *shield, uint64_t now_s, struct shield_key **key, struct tg_error *err)
{
    static const struct shield_key_ops ops = {.derive = derive, .free = free_key};
    struct token *token = ((struct token_shield *)shield)->token;
    struct held *held = NULL;
    size_t count = 0;
    TG_TRY(held_list(token, &held, &count, err));
    size_t next = find_next(held, count, now_s);
    struct token_key *k = calloc(1, sizeof *k);
    enum tg_code code = TG_OK;
    if (next == count)
        code = tg_fail(err, TG_FAILED_PRECONDITION,
                       "no quantum key is left on token %s: fill it at the charger", token_label(token));
    else if (k == NULL)
        code = tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a key");
    if (code == TG_OK) {
        k->base.ops = &ops;
        k->token = token;
        k->object = held[next].object;
        memcpy(k->base.ticket, held[next].bytes, TICKET_LEN);
        *key = &k->base;
        k = NULL;
    }
    free(k);
    free(held);
    return code;
}

static enum tg_code check(struct shield *shield, struct tg_error *err)
{
    return token_check(((struct token_shield *)shield)->token, err);
}

static bool can(const struct shield *shield, const struct suite *suite)
{
    (void)shield;
    return suite_number(suite) == SUITE_AES256_GCM_SHA256;
}

static void close_token(struct shield *shield)
{
    token_close(((struct token_shield *)shield)->token);
    free(shield);
}

static enum tg_code check_label(const struct token *token, struct tg_error *err)
{
    TG_ENSURE(name_check_id("shield id", token_label(token), NULL) == TG_OK, err, TG_INVALID_ARGUMENT,
              "the token's label \"%s\" is no shield id (letters, digits, '.', '_', '-'): initialise it with "
              "one, by "
              "its vendor's tool",
              token_label(token));
    return TG_OK;
}

enum tg_code shield_token_open(const struct token_where *where, const struct secret *pin,
                               struct shield **shield, struct tg_error *err)
{
    static const struct shield_ops ops = {.status = status,
                                          .take = take,
                                          .can = can,
                                          .check = check,
                                          .add = token_shield_add,
                                          .has = token_shield_has,
                                          .remove = token_shield_remove,
                                          .put_note = token_shield_put_note,
                                          .get_note = token_shield_get_note,
                                          .close = close_token};
    struct token *token = NULL;
    TG_TRY(token_open(where, pin, &token, err));
    struct token_shield *s = calloc(1, sizeof *s);
    enum tg_code code =
        s != NULL ? check_label(token, err) : tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a shield");
    if (code != TG_OK) {
        token_close(token);
        free(s);
        return code;
    }
    s->base.ops = &ops;
    s->token = token;
    *shield = &s->base;
    return TG_OK;
}
