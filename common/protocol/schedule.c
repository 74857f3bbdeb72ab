#include "common/protocol/schedule.h"

#include <openssl/crypto.h>
#include <string.h>

#include "common/protocol/labels.h"

enum { ROOT_LABEL_LEN = sizeof LABEL_ROOT - 1 };
_Static_assert(SCHEDULE_ROOT_INPUT_LEN == ROOT_LABEL_LEN + SUITE_HASH_LEN + SCHEDULE_EXPORTER_LEN,
               "the header counts the label's characters");

void schedule_root_input(const uint8_t th_ticket[SUITE_HASH_LEN],
                         const uint8_t exporter[SCHEDULE_EXPORTER_LEN], uint8_t out[SCHEDULE_ROOT_INPUT_LEN])
{
    memcpy(out, LABEL_ROOT, ROOT_LABEL_LEN);
    memcpy(out + ROOT_LABEL_LEN, th_ticket, SUITE_HASH_LEN);
    memcpy(out + ROOT_LABEL_LEN + SUITE_HASH_LEN, exporter, SCHEDULE_EXPORTER_LEN);
}

enum tg_code schedule_derive(const struct suite *suite, const struct secret *root, struct schedule *out,
                             struct tg_error *err)
{
    struct schedule s = {
        .random = suite_expand(suite, root, LABEL_RANDOM),
        .confirm = suite_expand(suite, root, LABEL_CONFIRM),
        .login = suite_expand(suite, root, LABEL_LOGIN),
        .psk = suite_expand(suite, root, LABEL_CHANNEL),
    };
    if (s.random == NULL || s.confirm == NULL || s.login == NULL || s.psk == NULL) {
        schedule_wipe(&s);
        return tg_fail(err, TG_RESOURCE_EXHAUSTED, "no locked memory left for keys: raise locked_memory");
    }
    *out = s;
    return TG_OK;
}

void schedule_wipe(struct schedule *schedule)
{
    secret_free(schedule->random);
    secret_free(schedule->confirm);
    secret_free(schedule->login);
    secret_free(schedule->psk);
    *schedule = (struct schedule){0};
}

enum tg_code schedule_proof(const struct suite *suite, const struct schedule *schedule,
                            const uint8_t th[SUITE_HASH_LEN], uint8_t proof[SUITE_HASH_LEN],
                            struct tg_error *err)
{
    TG_ENSURE(suite_mac(suite, schedule->confirm, &(struct suite_part){th, SUITE_HASH_LEN}, 1, proof), err,
              TG_RESOURCE_EXHAUSTED, "no locked memory left for keys: raise locked_memory");
    return TG_OK;
}

enum tg_code schedule_check_proof(const struct suite *suite, const struct schedule *schedule,
                                  const uint8_t th[SUITE_HASH_LEN], const void *proof, size_t proof_len,
                                  struct tg_error *err)
{
    uint8_t expected[SUITE_HASH_LEN];
    TG_TRY(schedule_proof(suite, schedule, th, expected, err));
    TG_ENSURE(proof_len == SUITE_HASH_LEN && CRYPTO_memcmp(proof, expected, SUITE_HASH_LEN) == 0, err,
              TG_UNAUTHENTICATED,
              "the gateway did not prove that it holds the quantum key: it may be an impostor");
    return TG_OK;
}
