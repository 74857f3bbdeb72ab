/* The key-encryption keys (KEKs), each with an id that is stored beside everything wrapped under it. New
 * things are wrapped under the newest. Today the ring holds one, from a file. */
#ifndef TG_KEY_STORE_KEYRING_H
#define TG_KEY_STORE_KEYRING_H

#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

enum keyring_sizes { KEK_LEN = 32, KEK_CHECK_LEN = 32 };

struct keyring;

/* Reads KEK 1 from a file of KEK_LEN raw bytes that only its owner can read. Errors as of file_read_secret.
 */
enum tg_code keyring_open(const char *kek_file, struct keyring **ring, struct tg_error *err) TG_MUST_CHECK;
void keyring_close(struct keyring *ring); /* wipes; NULL is fine */

uint32_t keyring_newest(const struct keyring *ring);
/* Borrowed; NULL: no such KEK. Any thread. */
const struct secret *keyring_find(const struct keyring *ring, uint32_t id);

/* A value that tells one KEK from another and nothing else about it, to be kept in the database.
 * RESOURCE_EXHAUSTED. */
enum tg_code keyring_check_value(const struct keyring *ring, uint32_t id, uint8_t out[KEK_CHECK_LEN],
                                 struct tg_error *err) TG_MUST_CHECK;

#endif
