/* Tickets in both forms, and ticket info as the gateway opens it. A text that is accepted is the one text of
 * its bytes. */
#include <stdlib.h>
#include <string.h>

#include "common/ticket_info.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct secret *key;

static void binary(const uint8_t *data, size_t size)
{
    struct ticket ticket;
    struct tg_error err;
    uint8_t again[TICKET_LEN];
    char text[TICKET_TEXT_LEN + 1];
    char id[37];
    if (ticket_peek(data, size, &ticket, &err) == TG_OK) {
        ticket_to_text(data, text);
        TG_INVARIANT(ticket_from_text(text, again, &err) == TG_OK && memcmp(again, data, TICKET_LEN) == 0);
        ticket_key_id_text(ticket.key_id, id);
        TG_INVARIANT(strlen(id) == 36);
    }
    if (ticket_decode(data, size, key, 0, &ticket, &err) == TG_OK) {
        ticket_encode(&ticket, key, again);
        TG_INVARIANT(memcmp(again, data, TICKET_LEN) == 0);
    }
}

static void as_text(const uint8_t *data, size_t size)
{
    uint8_t bytes[TICKET_LEN];
    char again[TICKET_TEXT_LEN + 1];
    struct tg_error err;
    char *text = malloc(size + 1); /* exactly as long as it is, so that reading on would be seen */
    if (text == NULL)
        return;
    memcpy(text, data, size);
    text[size] = '\0';
    if (ticket_from_text(text, bytes, &err) == TG_OK) {
        ticket_to_text(bytes, again);
        TG_INVARIANT(strcmp(again, text) == 0);
    }
    free(text);
}

static void info(const uint8_t *data, size_t size)
{
    static const uint8_t ticket[TICKET_LEN] = {1};
    static const uint8_t request_id[REQUEST_ID_LEN] = {2};
    struct ticket_info out;
    struct secret *quantum_key = NULL;
    struct tg_error err;
    if (ticket_info_open(data, size, key, "q", ticket, request_id, &out, &quantum_key, &err) == TG_OK)
        secret_free(quantum_key);
    else
        TG_INVARIANT(quantum_key == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (key == NULL)
        key = secret_new(TICKET_KEY_LEN);
    binary(data, size);
    as_text(data, size);
    info(data, size);
    return 0;
}
