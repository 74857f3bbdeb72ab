/* The one type for secrets: quantum keys, derived keys, passwords, PINs.
 *
 * Opaque, so that it cannot be copied by assignment; its bytes live in OpenSSL's secure heap (locked, guard
 * pages, not in core dumps) and are wiped when freed. There is no function that prints one. All functions may
 * be called from any thread; one secret belongs to one thread at a time. */
#ifndef TG_COMMON_SECRET_H
#define TG_COMMON_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct secret;

/* Sets up the locked heap of `bytes` (a power of two); once per process, before the first secret. Fails with
 * RESOURCE_EXHAUSTED when memory cannot be locked (RLIMIT_MEMLOCK): the text says which limit to raise. */
enum tg_code secret_heap_open(size_t bytes, struct tg_error *err) TG_MUST_CHECK;
void secret_heap_close(void);
/* Bytes of it in use, rounded up as they are handed out. */
size_t secret_heap_used(void);

/* New secret of len bytes (1 to 65536), zeroed, or a copy of `bytes`. NULL when the locked heap is full.
 * Without secret_heap_open (unit tests) memory comes from the ordinary heap; still wiped. */
struct secret *secret_new(size_t len);
struct secret *secret_copy(const void *bytes, size_t len);
/* Fresh random bytes from OpenSSL's private DRBG; NULL when that fails or memory is out. */
struct secret *secret_random(size_t len);

/* Wipes and frees; NULL is fine. */
void secret_free(struct secret *s);
/* For TG_CLEANUP(secret_cleanup) struct secret *s = NULL; */
void secret_cleanup(struct secret **s);

/* Borrowed; valid until secret_free. */
uint8_t *secret_bytes(struct secret *s);
const uint8_t *secret_view(const struct secret *s);
size_t secret_len(const struct secret *s);

/* Constant time in the content. Different lengths are unequal. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Wipes plain memory that held something secret for a moment. */
void secret_wipe(void *bytes, size_t len);

#endif
