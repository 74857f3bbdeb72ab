/* The entries that are durable but perhaps not yet in tiles: pending/<sequence of the first, 20 digits>. One
 * append is one batch, one write and one fdatasync:
 *
 *   sequence of its first entry (64 bit), number of entries (32 bit), bytes of the entries (32 bit), all big
 *   endian; SHA-256 over these 16 bytes and the entries; the entries, each after its length (16 bit)
 *
 * A batch that could not be written, or not be synced, is truncated away before anything else is appended. A
 * new file is begun when the last has grown; a file goes when all of its entries are in tiles. There is
 * always at least one. */
#ifndef TG_AUDIT_JOURNAL_H
#define TG_AUDIT_JOURNAL_H

#include <pthread.h>
#include <stdint.h>

#include "services/audit/log/tlog_io.h"

enum { JOURNAL_HASH_LEN = 32, JOURNAL_HEAD = 8 + 4 + 4 + JOURNAL_HASH_LEN, JOURNAL_NAME_MAX = 32 };

struct journal {
    const struct tlog_io *io;
    int directory;               /* borrowed */
    int fd;                      /* of the last file */
    off_t durable;               /* its length */
    bool suspect;                /* it may be longer */
    off_t rotate;                /* at this length a new one is begun */
    char name[JOURNAL_NAME_MAX]; /* of the last file */

    pthread_mutex_t lock; /* guards the rest */
    uint64_t *first;      /* of each file */
    size_t count;
};

/* A batch, with its head; borrowed. */
typedef enum tg_code journal_visit(void *arg, uint64_t first, uint32_t count, const uint8_t *batch,
                                   size_t len, struct tg_error *err);

/* `directory` is borrowed. journal_close afterwards, whatever happens. */
void journal_init(struct journal *journal, const struct tlog_io *io, int directory, off_t rotate);
/* A new one, durable, whose first entry will be `next`. */
enum tg_code journal_begin(struct journal *journal, uint64_t next, struct tg_error *err) TG_MUST_CHECK;
/* Finds the files, visits all batches in order; *next is then the next entry's sequence. What is torn at the
 * very end was acknowledged to nobody: it is moved aside. DATA_LOSS: anything else is amiss. NOT_FOUND: there
 * is no file at all. */
enum tg_code journal_recover(struct journal *journal, journal_visit *visit, void *arg, uint64_t *next,
                             struct tg_error *err) TG_MUST_CHECK;
void journal_close(struct journal *journal);

/* Fills in the head of a batch whose entries stand behind it. */
void journal_digest(const uint8_t *batch, size_t len, uint8_t digest[JOURNAL_HASH_LEN]);
void journal_seal(uint8_t *batch, uint64_t first, uint32_t count, size_t len);
/* Durable on TG_OK; otherwise nothing of it will ever show. */
enum tg_code journal_append(struct journal *journal, const uint8_t *batch, size_t len,
                            struct tg_error *err) TG_MUST_CHECK;
/* True: it is time for journal_rotate. */
bool journal_is_large(const struct journal *journal);
/* Begins another file. */
enum tg_code journal_rotate(struct journal *journal, uint64_t next, struct tg_error *err) TG_MUST_CHECK;
/* Removes the files whose entries are all below `kept`. May run beside the rest. */
void journal_forget(struct journal *journal, uint64_t kept);

#endif
