#include "common/ticket.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

#include "common/protocol/suite.h"
#include "common/trace.h"

enum {
    VERSION = 1,
    KEY_ID_AT = 1,
    CENTRE_AT = KEY_ID_AT + TICKET_KEY_ID_LEN,
    EXPIRY_AT = CENTRE_AT + TICKET_CENTRE_LEN,
    MAC_AT = EXPIRY_AT + 8,
    PREFIX_LEN = 5,
    BASE64_LEN = (TICKET_LEN + 2) / 3 * 4 /* with padding */
};
_Static_assert(MAC_AT + TICKET_MAC_LEN == TICKET_LEN, "the fields fill the ticket");
_Static_assert(PREFIX_LEN + BASE64_LEN - 1 == TICKET_TEXT_LEN, "the last group has one '='");

static const char prefix[] = "tgt1.";

void ticket_new_key_id(uint8_t key_id[TICKET_KEY_ID_LEN])
{
    random_bytes(key_id, TICKET_KEY_ID_LEN);
    key_id[6] = (uint8_t)((key_id[6] & 0x0f) | 0x40); /* version 4 */
    key_id[8] = (uint8_t)((key_id[8] & 0x3f) | 0x80); /* variant of RFC 9562 4.1 */
}

static void put_u64(uint64_t value, uint8_t out[8])
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_u64(const uint8_t in[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

static bool mac_of(const uint8_t ticket[MAC_AT], const struct secret *ticket_key, uint8_t mac[TICKET_MAC_LEN])
{
    TG_INVARIANT(secret_len(ticket_key) == TICKET_KEY_LEN);
    return suite_mac(suite_find(SUITE_AES256_GCM_SHA256), ticket_key, &(struct suite_part){ticket, MAC_AT}, 1,
                     mac);
}

void ticket_encode(const struct ticket *ticket, const struct secret *ticket_key, uint8_t out[TICKET_LEN])
{
    out[0] = VERSION;
    memcpy(out + KEY_ID_AT, ticket->key_id, TICKET_KEY_ID_LEN);
    memcpy(out + CENTRE_AT, ticket->centre, TICKET_CENTRE_LEN);
    put_u64(ticket->expires_s, out + EXPIRY_AT);
    TG_INVARIANT(mac_of(out, ticket_key, out + MAC_AT));
}

enum tg_code ticket_peek(const void *in, size_t len, struct ticket *ticket, struct tg_error *err)
{
    const uint8_t *bytes = in;
    TG_ENSURE(len == TICKET_LEN, err, TG_INVALID_ARGUMENT, "a ticket has %d bytes, not %zu", TICKET_LEN, len);
    TG_ENSURE(bytes[0] == VERSION, err, TG_INVALID_ARGUMENT, "ticket version %u is unknown", bytes[0]);
    memcpy(ticket->key_id, bytes + KEY_ID_AT, TICKET_KEY_ID_LEN);
    memcpy(ticket->centre, bytes + CENTRE_AT, TICKET_CENTRE_LEN);
    ticket->expires_s = get_u64(bytes + EXPIRY_AT);
    return TG_OK;
}

enum tg_code ticket_decode(const void *in, size_t len, const struct secret *ticket_key, uint64_t now_s,
                           struct ticket *ticket, struct tg_error *err)
{
    struct ticket t;
    TG_TRY(ticket_peek(in, len, &t, err));
    uint8_t mac[TICKET_MAC_LEN];
    TG_ENSURE(mac_of(in, ticket_key, mac), err, TG_RESOURCE_EXHAUSTED,
              "no locked memory left to check a ticket: raise locked_memory");
    TG_ENSURE(CRYPTO_memcmp(mac, (const uint8_t *)in + MAC_AT, TICKET_MAC_LEN) == 0, err, TG_UNAUTHENTICATED,
              "ticket was not issued by this key centre, or was altered");
    *ticket = t;
    TG_ENSURE(now_s < t.expires_s, err, TG_FAILED_PRECONDITION,
              "ticket has expired: fill the shield with new keys");
    return TG_OK;
}

static void swap_chars(char *text, size_t len, const char from[2], const char to[2])
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == from[0])
            text[i] = to[0];
        else if (text[i] == from[1])
            text[i] = to[1];
    }
}

void ticket_to_text(const uint8_t in[TICKET_LEN], char out[TICKET_TEXT_LEN + 1])
{
    uint8_t base64[BASE64_LEN + 1];
    EVP_EncodeBlock(base64, in, TICKET_LEN);
    memcpy(out, prefix, PREFIX_LEN);
    memcpy(out + PREFIX_LEN, base64, BASE64_LEN - 1);
    out[TICKET_TEXT_LEN] = '\0';
    swap_chars(out + PREFIX_LEN, BASE64_LEN - 1, "+/", "-_"); /* RFC 4648 5 */
}

/* Whatever EVP_DecodeBlock lets through (blanks, the other alphabet, stray low bits) is caught by encoding
 * again: one ticket has one text. */
enum tg_code ticket_from_text(const char *text, uint8_t out[TICKET_LEN], struct tg_error *err)
{
    char base64[BASE64_LEN + 1];
    uint8_t bytes[TICKET_LEN + 1]; /* and the byte that the padding stands for */
    char again[TICKET_TEXT_LEN + 1];
    bool fits =
        strnlen(text, TICKET_TEXT_LEN + 1) == TICKET_TEXT_LEN && memcmp(text, prefix, PREFIX_LEN) == 0;
    TG_ENSURE(fits, err, TG_INVALID_ARGUMENT, "a ticket's text starts with \"%s\" and has %d characters",
              prefix, TICKET_TEXT_LEN);
    memcpy(base64, text + PREFIX_LEN, BASE64_LEN - 1);
    memcpy(base64 + BASE64_LEN - 1, "=", 2);
    swap_chars(base64, BASE64_LEN - 1, "-_", "+/");
    bool decoded = EVP_DecodeBlock(bytes, (const uint8_t *)base64, BASE64_LEN) == (int)sizeof bytes;
    if (decoded)
        ticket_to_text(bytes, again);
    TG_ENSURE(decoded && memcmp(again, text, TICKET_TEXT_LEN) == 0, err, TG_INVALID_ARGUMENT,
              "a ticket's text is base64url without padding; this one is not");
    struct ticket ignored;
    TG_TRY(ticket_peek(bytes, TICKET_LEN, &ignored, err));
    memcpy(out, bytes, TICKET_LEN);
    return TG_OK;
}

enum { KEY_ID_TEXT_LEN = 36, GROUPS = 5 };
static const size_t groups[GROUPS] = {8, 4, 4, 4, 12}; /* RFC 9562 4 */

void ticket_key_id_text(const uint8_t key_id[TICKET_KEY_ID_LEN], char out[KEY_ID_TEXT_LEN + 1])
{
    char hex[2 * TICKET_KEY_ID_LEN + 1];
    hex_encode(key_id, TICKET_KEY_ID_LEN, hex);
    const char *in = hex;
    for (size_t i = 0; i < GROUPS; i++) {
        memcpy(out, in, groups[i]);
        in += groups[i];
        out += groups[i];
        *out++ = i + 1 < GROUPS ? '-' : '\0';
    }
}

enum tg_code ticket_key_id_from_text(const char *text, uint8_t key_id[TICKET_KEY_ID_LEN],
                                     struct tg_error *err)
{
    char hex[2 * TICKET_KEY_ID_LEN];
    char *out = hex;
    bool good = strnlen(text, KEY_ID_TEXT_LEN + 1) == KEY_ID_TEXT_LEN;
    for (size_t i = 0; good && i < GROUPS; i++) {
        memcpy(out, text, groups[i]);
        text += groups[i];
        out += groups[i];
        good = *text++ == (i + 1 < GROUPS ? '-' : '\0');
    }
    TG_ENSURE(good && hex_decode(hex, TICKET_KEY_ID_LEN, key_id), err, TG_INVALID_ARGUMENT,
              "a key id is 32 lower-case hex digits in groups of 8-4-4-4-12; this one is not");
    return TG_OK;
}
