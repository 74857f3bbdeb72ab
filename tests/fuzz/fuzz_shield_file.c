/* A shield container from a disk that somebody else had. scrypt is left out (its cost is bounded, its input
 * is not parsed): the keys are fixed instead, so that a container made under them opens and its slots are
 * looked at, too. */
#include <stdlib.h>
#include <string.h>

#include "common/shield/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void fixed_keys(struct container *container)
{
    container->body_key = secret_new(GCM_KEY_LEN);
    container->seal_key = secret_new(GCM_KEY_LEN);
    TG_INVARIANT(container->body_key != NULL && container->seal_key != NULL);
}

static void seal_again(const struct container *container, const struct slots *slots, size_t size)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct container header;
    struct tg_error err;
    TG_INVARIANT(container_seal(container, slots, &bytes, &len, &err) == TG_OK && len == size);
    TG_INVARIANT(container_peek(bytes, len, &header, &err) == TG_OK);
    TG_INVARIANT(strcmp(header.shield_id, container->shield_id) == 0);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct container container;
    struct slots slots;
    struct tg_error err;
    if (size > CONTAINER_MAX || container_peek(data, size, &container, &err) != TG_OK)
        return 0;
    fixed_keys(&container);
    if (container_open(&container, data, size, &slots, &err) == TG_OK) {
        TG_INVARIANT(slots.count <= KEYCHAIN_MAX);
        seal_again(&container, &slots, size);
        free(slots.at);
    }
    container_fini(&container);
    return 0;
}

/* Every fourth input is a genuine container around the mutated bytes: chance would never find the tag. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 4 != 0)
        return size;
    struct container container = {
        .log2_n = CONTAINER_LOG2_N, .r = CONTAINER_R, .p = 1, .shield_id = "shield"};
    struct slots slots = {.count = size / sizeof(struct slot)};
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct slot *at = calloc(slots.count + 1, sizeof *at);
    if (at == NULL || slots.count > KEYCHAIN_MAX) {
        free(at);
        return size;
    }
    memcpy(at, data, slots.count * sizeof *at);
    slots.at = at;
    fixed_keys(&container);
    TG_INVARIANT(container_seal(&container, &slots, &bytes, &len, NULL) == TG_OK);
    if (len <= max_size) {
        memcpy(data, bytes, len);
        size = len;
    }
    free(bytes);
    free(at);
    container_fini(&container);
    return size;
}
