/* Where in the log to look: a file beside it, `index`, that says of every 256 entries what may be among them.
 * A search skips what cannot hold what it looks for, and so finds a user's few events among ten million in
 * well under a second.
 *
 * One record of 4,096 bytes for each bundle: 16 bytes of SHA-256 over the rest; 16 of SHA-256 over the
 * entries; time of the oldest and the newest (Unix milliseconds, 64 bit, big endian); and a Bloom filter of
 * their terms (terms.h), 7 bits a term.
 *
 * It is made from the log and from nothing else: who removes it gets it made again. A record that is missing,
 * damaged or of another log hides nothing: its bundle is read. It need not be durable. */
#ifndef TG_AUDIT_INDEX_H
#define TG_AUDIT_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "services/audit/log/log_writer.h"
#include "services/audit/search/terms.h"

struct index;

/* What is looked for. */
struct index_probe {
    uint64_t hashes[TERM_HASHES_MAX];
    size_t count;
    uint64_t since_ms; /* 0: from the start */
    uint64_t until_ms; /* 0: to the end */
};

/* Of one thread. Opens or makes DIRECTORY/index; `log` is borrowed. A file that cannot be used is logged, and
 * searches read the whole log. NULL: no memory. */
struct index *index_open(const char *directory, struct log_writer *log);
void index_close(struct index *index); /* NULL is fine */

/* Files up to `bundles` more; true: there are more. */
bool index_advance(struct index *index, unsigned bundles);
/* How many entries it knows; for tests and benchmarks. */
uint64_t index_entries(const struct index *index);
/* The first sequence from `sequence` on at which there may be something; it may be past the log's end. */
uint64_t index_skip(const struct index *index, const struct index_probe *probe, uint64_t sequence);

#endif
