#include "client/charger/drawn.h"

#include <stdlib.h>
#include <string.h>

#include "common/pb.h"
#include "common/ticket_info.h"

enum tg_code drawn_init(struct drawn *drawn, struct etsi014_client *kme, const char *slave_sae,
                        uint32_t count, uint64_t deadline_ms, Tg__FillRequest *message, struct tg_error *err)
{
    TG_TRY(etsi014_enc_keys(kme, slave_sae, count, 8 * QUANTUM_KEY_LEN, deadline_ms, &drawn->keys, err));
    drawn->ids = calloc(count, sizeof *drawn->ids);
    TG_ENSURE(drawn->ids != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for %u key ids", count);
    for (uint32_t i = 0; i < count; i++)
        drawn->ids[i] = pb_bytes(drawn->keys.ids[i], TICKET_KEY_ID_LEN);
    message->key_ids = drawn->ids;
    message->n_key_ids = count;
    return TG_OK;
}

static bool is_for(const Tg__FillEntry *entry, const uint8_t id[TICKET_KEY_ID_LEN])
{
    struct ticket ticket;
    return entry->key.len == 0 &&
           ticket_peek(entry->ticket.data, entry->ticket.len, &ticket, NULL) == TG_OK &&
           memcmp(ticket.key_id, id, TICKET_KEY_ID_LEN) == 0;
}

enum tg_code drawn_join(const struct drawn *drawn, Tg__FillResponse *response, struct tg_error *err)
{
    TG_ENSURE(response->n_entries == drawn->keys.count, err, TG_DATA_LOSS,
              "the key store sent %zu tickets for %zu keys", response->n_entries, drawn->keys.count);
    for (size_t i = 0; i < response->n_entries; i++) {
        TG_ENSURE(is_for(response->entries[i], drawn->keys.ids[i]), err, TG_DATA_LOSS,
                  "the key store sent a ticket that is not for the key we drew");
        response->entries[i]->key =
            pb_bytes(secret_view(drawn->keys.bytes) + i * QUANTUM_KEY_LEN, QUANTUM_KEY_LEN);
    }
    return TG_OK;
}

void drawn_fini(struct drawn *drawn)
{
    etsi014_keys_fini(&drawn->keys);
    free(drawn->ids);
    *drawn = (struct drawn){0};
}
