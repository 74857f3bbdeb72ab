#include "services/audit/log/note.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"
#include "services/audit/log/note_key.h"

static const char dash[] = "\xe2\x80\x94 "; /* em dash, space */
enum { DASH_LEN = sizeof dash - 1, TIME_LEN = 8, BLOB_MAX = NOTE_ID_LEN + TIME_LEN + NOTE_SIGNATURE_MAX };

static void put_be64(uint8_t out[TIME_LEN], uint64_t value)
{
    for (int i = 0; i < TIME_LEN; i++)
        out[i] = (uint8_t)(value >> (8 * (TIME_LEN - 1 - i)));
}

static uint64_t get_be64(const uint8_t in[TIME_LEN])
{
    uint64_t value = 0;
    for (int i = 0; i < TIME_LEN; i++)
        value = value << 8 | in[i];
    return value;
}

/* ---- signing ---- */

static enum tg_code sign_line(const struct note_key *key, const char *text, FILE *out, struct tg_error *err)
{
    uint8_t blob[BLOB_MAX];
    char base64[(BLOB_MAX + 2) / 3 * 4 + 1];
    char *message = NULL;
    size_t message_len = 0;
    size_t head = NOTE_ID_LEN;
    uint64_t time_s = key->type == NOTE_ED25519 ? 0 : clock_unix_us() / 1000000;
    memcpy(blob, key->id, NOTE_ID_LEN);
    if (key->type != NOTE_ED25519) {
        put_be64(blob + head, time_s);
        head += TIME_LEN;
    }
    TG_TRY(note_message(key, text, strlen(text), time_s, &message, &message_len, err));
    size_t len = sizeof blob - head;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context != NULL && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
             EVP_DigestSign(context, blob + head, &len, (const uint8_t *)message, message_len) == 1;
    EVP_MD_CTX_free(context);
    free(message);
    TG_ENSURE(ok, err, TG_INTERNAL, "OpenSSL cannot sign with the key of %s", key->name);
    base64_encode(blob, head + len, base64);
    fprintf(out, "%s%s %s\n", dash, key->name, base64);
    return TG_OK;
}

enum tg_code note_sign(const char *text, const struct note_keys *keys, char **note, struct tg_error *err)
{
    size_t len = 0;
    FILE *out = open_memstream(note, &len);
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a signed note");
    enum tg_code code = TG_OK;
    fprintf(out, "%s\n", text);
    for (size_t i = 0; code == TG_OK && i < keys->count; i++)
        code = sign_line(keys->key[i], text, out, err);
    if (fclose(out) != 0 && code == TG_OK)
        code = tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a signed note");
    if (code != TG_OK) {
        free(*note);
        *note = NULL;
    }
    return code;
}

/* ---- verifying ---- */

/* One line: who says so, and what. */
struct signature {
    const char *name;
    size_t name_len;
    uint8_t blob[NOTE_MAX / 8];
    size_t len;
};

static bool parse_line(const char *line, size_t len, struct signature *signature)
{
    if (len <= DASH_LEN || memcmp(line, dash, DASH_LEN) != 0)
        return false;
    const char *name = line + DASH_LEN;
    const char *space = memchr(name, ' ', len - DASH_LEN);
    if (space == NULL || space == name)
        return false;
    long got =
        base64_decode(space + 1, (size_t)(line + len - space - 1), signature->blob, sizeof signature->blob);
    signature->name = name;
    signature->name_len = (size_t)(space - name);
    signature->len = got < 0 ? 0 : (size_t)got;
    return got > NOTE_ID_LEN;
}

static bool is_of(const struct signature *signature, const struct note_key *key)
{
    return signature->name_len == strlen(key->name) &&
           memcmp(signature->name, key->name, signature->name_len) == 0 &&
           memcmp(signature->blob, key->id, NOTE_ID_LEN) == 0;
}

static enum tg_code check_signature(const struct note_key *key, const struct signature *signature,
                                    const char *text, size_t text_len, struct tg_error *err)
{
    size_t head = NOTE_ID_LEN + (key->type == NOTE_ED25519 ? 0 : TIME_LEN);
    char *message = NULL;
    size_t message_len = 0;
    TG_ENSURE(signature->len > head, err, TG_DATA_LOSS, "the signature of %s is too short", key->name);
    uint64_t time_s = key->type == NOTE_ED25519 ? 0 : get_be64(signature->blob + NOTE_ID_LEN);
    TG_TRY(note_message(key, text, text_len, time_s, &message, &message_len, err));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good = context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
               EVP_DigestVerify(context, signature->blob + head, signature->len - head,
                                (const uint8_t *)message, message_len) == 1;
    EVP_MD_CTX_free(context);
    free(message);
    TG_ENSURE(good, err, TG_DATA_LOSS, "the signature of %s is wrong: this was altered", key->name);
    return TG_OK;
}

static enum tg_code check_line(const char *line, size_t len, const char *text, size_t text_len,
                               const struct note_keys *keys, size_t *signers, struct tg_error *err)
{
    struct signature signature;
    TG_ENSURE(parse_line(line, len, &signature), err, TG_DATA_LOSS,
              "not a signed note: a line of signatures is malformed");
    for (size_t i = 0; i < keys->count; i++) {
        if (!is_of(&signature, keys->key[i]))
            continue;
        TG_TRY(check_signature(keys->key[i], &signature, text, text_len, err));
        (*signers)++;
    }
    return TG_OK;
}

/* Where the last empty line is; NULL: there is none, or something that no note contains. */
static const char *find_signatures(const char *note, size_t len)
{
    const char *found = NULL;
    if (len == 0 || len > NOTE_MAX || note[len - 1] != '\n')
        return NULL;
    for (size_t i = 0; i < len; i++) {
        if ((uint8_t)note[i] < 0x20 && note[i] != '\n')
            return NULL;
        if (i > 0 && note[i] == '\n' && note[i - 1] == '\n')
            found = note + i + 1;
    }
    return found;
}

enum tg_code note_open(const char *note, size_t len, const struct note_keys *keys, size_t *text_len,
                       size_t *signers, struct tg_error *err)
{
    const char *at = find_signatures(note, len);
    const char *end = note + len;
    TG_ENSURE(at != NULL && at < end, err, TG_DATA_LOSS, "not a signed note");
    *text_len = (size_t)(at - note) - 1;
    *signers = 0;
    while (at < end) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        TG_ENSURE(feed != NULL, err, TG_DATA_LOSS, "not a signed note");
        TG_TRY(check_line(at, (size_t)(feed - at), note, *text_len, keys, signers, err));
        at = feed + 1;
    }
    TG_ENSURE(*signers > 0, err, TG_UNAUTHENTICATED, "signed by none of the keys that are known");
    return TG_OK;
}
