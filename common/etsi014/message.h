/* The JSON bodies of ETSI GS QKD 014 V1.1.1 (clause 6), encode and decode side by side: a client and a server
 * share them. Hostile input is an error, never more: members that are unknown are passed over, optional ones
 * that are null count as absent, everything else must have its type and its bounds.
 *
 * Bodies with keys are plain memory, since HTTP libraries know no other: etsi014_body_free wipes them, and
 * JSON that holds keys lives in memory that is wiped when freed (json.h). */
#ifndef TG_COMMON_ETSI014_MESSAGE_H
#define TG_COMMON_ETSI014_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/names.h"
#include "common/secret.h"
#include "common/ticket.h"

enum etsi014_limits {
    ETSI014_KEYS_MAX = 1000,       /* in one container */
    ETSI014_KEY_BYTES_MAX = 64,    /* of one key */
    ETSI014_BODY_MAX = 512 * 1024, /* of an answer: a full container with extensions nobody asked for */
    ETSI014_ID_TEXT_LEN = 36       /* of a key id: a UUID */
};

/* The texts that the standard prescribes with status 400 (clauses 5.4, 6.2). */
#define ETSI014_KEYS_NOT_FOUND "one or more keys specified are not found on KME"
#define ETSI014_SIZE_NOT_BYTES "size shall be a multiple of 8"
#define ETSI014_EXTENSION_UNSUPPORTED "not all extension_mandatory parameters are supported"

/* Clause 6.1. Numbers that a KME leaves out are 0, texts "". Sizes in bits. */
struct etsi014_status {
    char source_kme[NAME_TEXT_MAX + 1], target_kme[NAME_TEXT_MAX + 1];
    char master_sae[NAME_TEXT_MAX + 1], slave_sae[NAME_TEXT_MAX + 1];
    uint32_t key_size, min_key_size, max_key_size;
    uint32_t stored_key_count, max_key_count, max_key_per_request;
    uint32_t max_sae_id_count;
};

/* Clause 6.2. */
struct etsi014_request {
    uint32_t number;
    uint32_t size; /* bits */
    uint32_t additional_slaves;
};

/* Clause 6.3: count keys of key_len bytes each, one after the other in `bytes`. etsi014_keys_fini. */
struct etsi014_keys {
    size_t count;
    size_t key_len;
    uint8_t (*ids)[TICKET_KEY_ID_LEN];
    struct secret *bytes;
};

/* Room for count keys (1 to ETSI014_KEYS_MAX), zeroed. RESOURCE_EXHAUSTED; then there is nothing to free. */
enum tg_code etsi014_keys_init(struct etsi014_keys *keys, size_t count, size_t key_len,
                               struct tg_error *err) TG_MUST_CHECK;
void etsi014_keys_fini(struct etsi014_keys *keys); /* wipes; a zeroed struct is fine */

/* Encoders: a new NUL-terminated body of *len bytes, which is the caller's (etsi014_body_free), or NULL when
 * memory is out. Any thread, as all here. */
char *etsi014_status_encode(const struct etsi014_status *status, size_t *len);
char *etsi014_request_encode(const struct etsi014_request *request, size_t *len);
char *etsi014_keys_encode(const struct etsi014_keys *keys, size_t *len);
char *etsi014_key_ids_encode(const uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t count, size_t *len);
char *etsi014_error_encode(const char *message, size_t *len);
void etsi014_body_free(char *body, size_t len); /* wipes; NULL is fine */

/* What a KME answers. DATA_LOSS: it is not what the standard says; the text names the member. */
enum tg_code etsi014_status_decode(const char *body, size_t len, struct etsi014_status *out,
                                   struct tg_error *err) TG_MUST_CHECK;
/* Exactly `count` keys of key_len bytes with different ids; *out is the caller's. Also RESOURCE_EXHAUSTED. */
enum tg_code etsi014_keys_decode(const char *body, size_t len, size_t count, size_t key_len,
                                 struct etsi014_keys *out, struct tg_error *err) TG_MUST_CHECK;
/* The message of an error body as one line of harmless text, or "" when it is none (HTML, for one). */
void etsi014_error_decode(const char *body, size_t len, char *out, size_t size);

/* What an SAE asks. INVALID_ARGUMENT: the text is the message of the 400 that it gets. Of a request, what is
 * not given stays in *out as it is. */
enum tg_code etsi014_request_decode(const char *body, size_t len, struct etsi014_request *out,
                                    struct tg_error *err) TG_MUST_CHECK;
/* 1 to `max` ids into ids[max], *count of them, none twice. */
enum tg_code etsi014_key_ids_decode(const char *body, size_t len, size_t max,
                                    uint8_t (*ids)[TICKET_KEY_ID_LEN], size_t *count,
                                    struct tg_error *err) TG_MUST_CHECK;
/* A key id as it stands in a body or a URL: a UUID, capitals too. False: it is none. */
bool etsi014_id_decode(const char *text, uint8_t id[TICKET_KEY_ID_LEN]) TG_MUST_CHECK;

#endif
