/* AES-256-GCM with the caller's nonce (NIST SP 800-38D): the one place that calls it. Every (key, nonce) is
 * used once: the caller's duty. Any thread, as all here. */
#ifndef TG_COMMON_GCM_H
#define TG_COMMON_GCM_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/secret.h"

enum gcm_sizes { GCM_KEY_LEN = 32, GCM_NONCE_LEN = 12, GCM_TAG_LEN = 16 };

/* out gets len + GCM_TAG_LEN bytes, ciphertext first. aad may be NULL with aad_len 0. INTERNAL only if
 * OpenSSL fails. */
enum tg_code gcm_seal(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                      size_t aad_len, const void *plain, size_t len, uint8_t *out,
                      struct tg_error *err) TG_MUST_CHECK;

/* Opens what holds a secret: *plain is the caller's. INVALID_ARGUMENT: shorter than a tag and one byte, or
 * over 64 KiB. UNAUTHENTICATED: altered, or another key, nonce or aad. RESOURCE_EXHAUSTED: locked heap full.
 */
enum tg_code gcm_open(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                      size_t aad_len, const void *sealed, size_t sealed_len, struct secret **plain,
                      struct tg_error *err) TG_MUST_CHECK;

/* The same for what is no secret by itself: out gets sealed_len - GCM_TAG_LEN bytes, wiped on failure. At
 * least a tag, at most 2 GiB. */
enum tg_code gcm_open_plain(const struct secret *key, const uint8_t nonce[GCM_NONCE_LEN], const void *aad,
                            size_t aad_len, const void *sealed, size_t sealed_len, uint8_t *out,
                            struct tg_error *err) TG_MUST_CHECK;

#endif
