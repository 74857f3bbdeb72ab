/* Bodies of ETSI GS QKD 014: the first byte says which one the rest is read as. */
#include <stdint.h>
#include <string.h>

#include "common/etsi014/message.h"

static void read_keys(const char *body, size_t len)
{
    struct etsi014_keys keys = {0};
    size_t size = 0;
    if (etsi014_keys_decode(body, len, 2, 32, &keys, NULL) != TG_OK)
        return;
    char *again = etsi014_keys_encode(&keys, &size);
    TG_INVARIANT(keys.count == 2 && again != NULL && strlen(again) == size);
    etsi014_body_free(again, size);
    etsi014_keys_fini(&keys);
}

static void read_ids(const char *body, size_t len)
{
    uint8_t ids[4][TICKET_KEY_ID_LEN];
    size_t count = 0;
    if (etsi014_key_ids_decode(body, len, 4, ids, &count, NULL) == TG_OK)
        TG_INVARIANT(count >= 1 && count <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct etsi014_status status;
    struct etsi014_request request;
    char text[64];
    if (size == 0)
        return 0;
    const char *body = (const char *)data + 1;
    size_t len = size - 1;
    if (data[0] == 'k')
        read_keys(body, len);
    else if (data[0] == 'i')
        read_ids(body, len);
    else if (data[0] == 's')
        (void)!etsi014_status_decode(body, len, &status, NULL);
    else if (data[0] == 'r')
        (void)!etsi014_request_decode(body, len, &request, NULL);
    else
        etsi014_error_decode(body, len, text, sizeof text);
    return 0;
}
