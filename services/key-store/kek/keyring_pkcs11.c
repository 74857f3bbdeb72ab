/* A KEK in a PKCS#11 token: it never comes out, the token does the one HMAC that HKDF-Expand is
 * (RFC 5869 2.3: T(1) = HMAC(KEK, label ‖ 0x01)). */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/log.h"
#include "common/pkcs11/token.h"
#include "services/key-store/kek/keyring_place.h"

enum { LABEL_MAX = 128 };

struct token_kek {
    char *uri;
    struct secret *pin;   /* NULL: the token has a keypad, or none is needed */
    pthread_mutex_t lock; /* of the rest: a token belongs to one thread at a time */
    struct token *token;  /* NULL: lost, to be opened again */
    token_object key;
    bool refused; /* it has refused the PIN that it once took: another try might lock it */
};

static enum tg_code find(struct token_kek *kek, struct tg_error *err)
{
    TG_TRY(token_open(&(struct token_where){.uri = kek->uri, .read_only = true}, kek->pin, &kek->token, err));
    enum tg_code code = token_find_key(kek->token, NULL, &kek->key, err);
    if (code != TG_OK) {
        token_close(kek->token);
        kek->token = NULL;
    }
    return code;
}

static void close_kek(void *key)
{
    struct token_kek *kek = key;
    token_close(kek->token);
    pthread_mutex_destroy(&kek->lock);
    secret_free(kek->pin);
    free(kek->uri);
    free(kek);
}

static enum tg_code fill_in(struct token_kek *kek, const struct kek_config *config, struct tg_error *err)
{
    kek->uri = strdup(config->pkcs11);
    TG_ENSURE(kek->uri != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    if (config->pin_file != NULL)
        TG_TRY(file_read_line_secret(config->pin_file, &kek->pin, err));
    return find(kek, err);
}

static enum tg_code open_kek(const struct kek_config *config, void **key, struct tg_error *err)
{
    struct token_kek *kek = calloc(1, sizeof *kek);
    TG_ENSURE(kek != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory");
    pthread_mutex_init(&kek->lock, NULL);
    enum tg_code code = fill_in(kek, config, err);
    if (code == TG_OK)
        *key = kek;
    else
        close_kek(kek);
    return code;
}

/* ---- deriving ---- */

static enum tg_code open_again(struct token_kek *kek, struct tg_error *err)
{
    TG_ENSURE(!kek->refused, err, TG_UNAVAILABLE,
              "the token has refused the PIN: correct pin_file and restart the key store");
    enum tg_code code = find(kek, err);
    kek->refused = code == TG_UNAUTHENTICATED || code == TG_OUT_OF_RANGE;
    return code;
}

static enum tg_code hmac(struct token_kek *kek, const char *info, size_t len, struct secret **out,
                         struct tg_error *err)
{
    if (kek->token == NULL)
        TG_TRY(open_again(kek, err));
    enum tg_code code = token_hmac(kek->token, kek->key, info, len, out, err);
    if (code == TG_OK || code == TG_RESOURCE_EXHAUSTED)
        return code;
    token_close(kek->token);
    kek->token = NULL;
    return code;
}

/* A session that has ended (an HSM that was restarted, a token that was pulled and put back) is opened again,
 * once in a call. Whatever else a token says, the database is not at fault: callers may come again. */
static enum tg_code derive(void *key, const char *label, struct secret **out, struct tg_error *err)
{
    struct token_kek *kek = key;
    struct tg_error why;
    char info[LABEL_MAX + 2];
    int len = snprintf(info, sizeof info, "%s\x01", label);
    TG_INVARIANT((size_t)len < sizeof info);
    pthread_mutex_lock(&kek->lock);
    enum tg_code code = hmac(kek, info, (size_t)len, out, &why);
    if (code != TG_OK && code != TG_RESOURCE_EXHAUSTED && !kek->refused)
        code = hmac(kek, info, (size_t)len, out, &why);
    pthread_mutex_unlock(&kek->lock);
    if (code == TG_OK)
        return TG_OK;
    LOG(LOG_ERROR, NULL, "kek.token_failed", LOG_TEXT("uri", kek->uri), LOG_ERR(&why));
    return tg_fail(err, code == TG_RESOURCE_EXHAUSTED ? code : TG_UNAVAILABLE, "KEK in a token: %s",
                   why.text);
}

const struct kek_place kek_in_token = {.name = "pkcs11",
                                       .setting = offsetof(struct kek_config, pkcs11),
                                       .open = open_kek,
                                       .derive = derive,
                                       .close = close_kek};
