#include "services/audit/chain_line.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "common/trace.h"

static const char seq_key[] = "{\"metadata\":{\"sequence\":";
static const char prev_key[] = ",\"prev\":\"";
static const char line_end[] = "\"}";

enum {
    SEQ_KEY_LEN = sizeof seq_key - 1,
    PREV_KEY_LEN = sizeof prev_key - 1,
    LINE_END_LEN = sizeof line_end - 1
};
enum { TAIL_LEN = PREV_KEY_LEN + CHAIN_HEX_LEN + LINE_END_LEN };

void chain_hash(const char *line, size_t len, uint8_t hash[CHAIN_HASH_LEN])
{
    int rc = EVP_Digest(line, len, hash, NULL, EVP_sha256(), NULL);
    TG_INVARIANT(rc == 1);
}

size_t chain_line_encode(struct chain_head *head, const char *body, size_t body_len, char *out)
{
    TG_INVARIANT(body_len > 0 && body_len <= CHAIN_BODY_MAX && body[body_len - 1] == '}');
    body_len--; /* prev goes before that brace */
    int start = sprintf(out, "%s%" PRIu64 ",", seq_key, head->next);
    char *at = out + start;
    memcpy(at, body, body_len);
    at += body_len;
    memcpy(at, prev_key, PREV_KEY_LEN);
    at += PREV_KEY_LEN;
    hex_encode(head->prev, CHAIN_HASH_LEN, at);
    at += CHAIN_HEX_LEN;
    memcpy(at, line_end, LINE_END_LEN);
    at += LINE_END_LEN;
    chain_hash(out, (size_t)(at - out), head->prev);
    head->next++;
    *at++ = '\n';
    return (size_t)(at - out);
}

/* Decimal digits without a leading zero, up to the comma. */
static bool sequence_decode(const char *at, const char *end, uint64_t *sequence)
{
    uint64_t value = 0;
    const char *start = at;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (value > (UINT64_MAX - 9) / 10)
            return false;
        value = value * 10 + (uint64_t)(*at - '0');
    }
    *sequence = value;
    return at > start && *start != '0' && at < end && *at == ',';
}

bool chain_line_decode(const char *line, size_t len, uint64_t *sequence, uint8_t prev[CHAIN_HASH_LEN])
{
    if (len < SEQ_KEY_LEN + 2 + TAIL_LEN || len >= CHAIN_LINE_MAX || memcmp(line, seq_key, SEQ_KEY_LEN) != 0)
        return false;
    const char *tail = line + len - TAIL_LEN;
    return memcmp(tail, prev_key, PREV_KEY_LEN) == 0 &&
           memcmp(tail + PREV_KEY_LEN + CHAIN_HEX_LEN, line_end, LINE_END_LEN) == 0 &&
           sequence_decode(line + SEQ_KEY_LEN, tail, sequence) &&
           hex_decode(tail + PREV_KEY_LEN, CHAIN_HASH_LEN, prev);
}

bool chain_line_follows(struct chain_head *head, const char *line, size_t len)
{
    uint64_t sequence = 0;
    uint8_t prev[CHAIN_HASH_LEN];
    if (!chain_line_decode(line, len, &sequence, prev) || sequence != head->next ||
        memcmp(prev, head->prev, CHAIN_HASH_LEN) != 0)
        return false;
    chain_hash(line, len, head->prev);
    head->next++;
    return true;
}
