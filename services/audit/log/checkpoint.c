#include "services/audit/log/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/audit/log/note_key.h"

enum { HASH_BASE64_LEN = 44, TIME_LEN = 8 };

/* Decimal digits without a leading zero, up to `end`. */
static bool parse_number(const char *at, const char *end, uint64_t *value)
{
    if (at == end || (*at == '0' && at + 1 != end))
        return false;
    for (*value = 0; at < end; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (digit > 9 || *value > (UINT64_MAX - digit) / 10)
            return false;
        *value = *value * 10 + digit;
    }
    return true;
}

static bool parse_hash(const char *at, const char *end, struct merkle_hash *hash)
{
    return end - at == HASH_BASE64_LEN &&
           base64_decode(at, HASH_BASE64_LEN, hash->bytes, MERKLE_HASH_LEN) == MERKLE_HASH_LEN;
}

/* The line at *at without its feed; moves on behind it. False: no line is left. */
static bool next_line(const char **at, const char *end, const char **line, const char **line_end)
{
    const char *feed = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;
    if (feed == NULL)
        return false;
    *line = *at;
    *line_end = feed;
    *at = feed + 1;
    return true;
}

enum tg_code checkpoint_parse(const char *text, size_t len, struct checkpoint *checkpoint,
                              struct tg_error *err)
{
    const char *at = text;
    const char *line = NULL;
    const char *end = NULL;
    bool good = next_line(&at, text + len, &line, &end) && end > line && end - line <= NOTE_NAME_MAX;
    if (good)
        snprintf(checkpoint->origin, sizeof checkpoint->origin, "%.*s", (int)(end - line), line);
    good = good && next_line(&at, text + len, &line, &end) && parse_number(line, end, &checkpoint->size) &&
           next_line(&at, text + len, &line, &end) && parse_hash(line, end, &checkpoint->root);
    while (good && at < text + len) /* extensions: not empty, of no meaning here */
        good = next_line(&at, text + len, &line, &end) && end > line;
    TG_ENSURE(good, err, TG_INVALID_ARGUMENT, "not a checkpoint: origin, size and root are expected");
    return TG_OK;
}

static enum tg_code write_text(const struct checkpoint *checkpoint, char **text, struct tg_error *err)
{
    char root[HASH_BASE64_LEN + 1];
    base64_encode(checkpoint->root.bytes, MERKLE_HASH_LEN, root);
    int len = asprintf(text, "%s\n%" PRIu64 "\n%s\n", checkpoint->origin, checkpoint->size, root);
    TG_ENSURE(len > 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a checkpoint");
    return TG_OK;
}

enum tg_code checkpoint_sign(const struct checkpoint *checkpoint, const struct note_keys *keys, char **note,
                             struct tg_error *err)
{
    char *text = NULL;
    TG_TRY(write_text(checkpoint, &text, err));
    enum tg_code code = note_sign(text, keys, note, err);
    free(text);
    return code;
}

enum tg_code checkpoint_open(const char *note, size_t len, const struct note_keys *keys,
                             struct checkpoint *checkpoint, struct tg_error *err)
{
    size_t text_len = 0;
    size_t signers = 0;
    TG_TRY(note_open(note, len, keys, &text_len, &signers, err));
    TG_TRY(checkpoint_parse(note, text_len, checkpoint, err));
    TG_ENSURE(strcmp(checkpoint->origin, note_key_name(keys->key[0])) == 0, err, TG_UNAUTHENTICATED,
              "this is a checkpoint of %s, not of %s", checkpoint->origin, note_key_name(keys->key[0]));
    return TG_OK;
}

/* ---- what each type of signature signs ---- */

static void put_number(FILE *out, uint64_t value)
{
    for (int i = TIME_LEN - 1; i >= 0; i--)
        fputc((int)(value >> (8 * i) & 0xff), out);
}

static void put_name(FILE *out, const char *name)
{
    fputc((int)strlen(name), out);
    fputs(name, out);
}

/* c2sp.org/tlog-cosignature: struct cosigned_message */
static void put_subtree(FILE *out, const char *signer, const struct checkpoint *checkpoint, uint64_t time_s)
{
    fwrite("subtree/v1\n\0", 1, 12, out);
    put_name(out, signer);
    put_number(out, time_s);
    put_name(out, checkpoint->origin);
    put_number(out, 0);
    put_number(out, checkpoint->size);
    fwrite(checkpoint->root.bytes, 1, MERKLE_HASH_LEN, out);
}

enum tg_code note_message(const struct note_key *key, const char *text, size_t text_len, uint64_t time_s,
                          char **message, size_t *len, struct tg_error *err)
{
    struct checkpoint checkpoint = {0};
    if (key->type == NOTE_ML_DSA_44)
        TG_TRY(checkpoint_parse(text, text_len, &checkpoint, err));
    FILE *out = open_memstream(message, len);
    TG_ENSURE(out != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a message to sign");
    if (key->type == NOTE_COSIGNATURE)
        fprintf(out, "cosignature/v1\ntime %" PRIu64 "\n", time_s);
    if (key->type == NOTE_ML_DSA_44)
        put_subtree(out, key->name, &checkpoint, time_s);
    else
        fwrite(text, 1, text_len, out);
    TG_ENSURE(fclose(out) == 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a message to sign");
    return TG_OK;
}

/* ---- receipts ---- */

static const char receipt_head[] = "c2sp.org/tlog-proof@v1\n";

void receipt_free(struct receipt *receipt)
{
    free(receipt->entry);
    receipt->entry = NULL;
}

enum tg_code receipt_write(const struct receipt *receipt, const char *note, char **text, struct tg_error *err)
{
    size_t len = 0;
    char hash[HASH_BASE64_LEN + 1];
    char *entry = malloc((receipt->entry_len + 2) / 3 * 4 + 1);
    FILE *out = entry == NULL ? NULL : open_memstream(text, &len);
    if (out == NULL) {
        free(entry);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no memory for a receipt");
    }
    base64_encode(receipt->entry, receipt->entry_len, entry);
    fprintf(out, "%sextra %s\nindex %" PRIu64 "\n", receipt_head, entry, receipt->index);
    free(entry);
    for (size_t i = 0; i < receipt->count; i++) {
        base64_encode(receipt->proof[i].bytes, MERKLE_HASH_LEN, hash);
        fprintf(out, "%s\n", hash);
    }
    fprintf(out, "\n%s", note);
    TG_ENSURE(fclose(out) == 0, err, TG_RESOURCE_EXHAUSTED, "no memory for a receipt");
    return TG_OK;
}

static bool parse_extra(const char *line, const char *end, struct receipt *receipt)
{
    static const char word[] = "extra ";
    if (end - line < (int)sizeof word || strncmp(line, word, sizeof word - 1) != 0)
        return false;
    line += sizeof word - 1;
    size_t room = (size_t)(end - line);
    receipt->entry = malloc(room);
    long len = receipt->entry == NULL ? -1 : base64_decode(line, room, receipt->entry, room);
    receipt->entry_len = len < 0 ? 0 : (size_t)len;
    return len > 0;
}

/* Up to the empty line, behind which the checkpoint begins. */
static bool parse_receipt(const char **at, const char *end, struct receipt *receipt)
{
    static const char word[] = "index ";
    const char *line = NULL;
    const char *line_end = NULL;
    if (end - *at < (int)sizeof receipt_head || memcmp(*at, receipt_head, sizeof receipt_head - 1) != 0)
        return false;
    *at += sizeof receipt_head - 1;
    if (!next_line(at, end, &line, &line_end) || !parse_extra(line, line_end, receipt) ||
        !next_line(at, end, &line, &line_end) || line_end - line < (int)sizeof word ||
        strncmp(line, word, sizeof word - 1) != 0 ||
        !parse_number(line + sizeof word - 1, line_end, &receipt->index))
        return false;
    for (receipt->count = 0; next_line(at, end, &line, &line_end); receipt->count++) {
        if (line == line_end)
            return true;
        if (receipt->count == MERKLE_PROOF_MAX ||
            !parse_hash(line, line_end, &receipt->proof[receipt->count]))
            return false;
    }
    return false;
}

static enum tg_code check_receipt(const struct receipt *receipt, const struct checkpoint *checkpoint,
                                  struct tg_error *err)
{
    struct merkle_hash leaf;
    struct merkle *merkle = merkle_new();
    TG_ENSURE(merkle != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory to check a receipt");
    merkle_leaf(merkle, receipt->entry, receipt->entry_len, &leaf);
    bool good = merkle_included(merkle, receipt->index, checkpoint->size, &leaf, receipt->proof,
                                receipt->count, &checkpoint->root);
    merkle_free(merkle);
    TG_ENSURE(good, err, TG_DATA_LOSS, "the receipt does not prove that this entry is number %" PRIu64,
              receipt->index);
    return TG_OK;
}

enum tg_code receipt_open(const char *text, size_t len, const struct note_keys *keys, struct receipt *receipt,
                          struct checkpoint *checkpoint, struct tg_error *err)
{
    const char *at = text;
    *receipt = (struct receipt){0};
    enum tg_code code = parse_receipt(&at, text + len, receipt)
                            ? TG_OK
                            : tg_fail(err, TG_DATA_LOSS, "not a receipt (c2sp.org/tlog-proof@v1)");
    if (code == TG_OK)
        code = checkpoint_open(at, (size_t)(text + len - at), keys, checkpoint, err);
    if (code == TG_OK)
        code = check_receipt(receipt, checkpoint, err);
    if (code != TG_OK)
        receipt_free(receipt);
    return code;
}
