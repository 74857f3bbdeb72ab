/* The audit log as a C2SP tlog-tiles tree: a directory with `checkpoint`, `tile/…` and, for what is not yet
 * in tiles, `pending/…` (journal.h).
 *
 * append makes a batch durable in the journal, no more. A thread of its own takes what has come in, at most a
 * second later, into tiles and bundles, and then signs a checkpoint over it. What a checkpoint signs is
 * durable before it is signed, under its final name; and before it is signed it is read back from the tiles
 * that the tree begins with the one that was signed last. A file that is there already is never overwritten:
 * if it holds something else, nothing more is signed, and nothing more acknowledged.
 *
 * The start reads the checkpoint, the tiles at the right edge, and the journal: they must agree with each
 * other and with the keys. What is torn at the journal's end was never acknowledged: it is moved aside.
 * Anything else that disagrees stops the start: the log is evidence, nothing of it is overwritten. */
#ifndef TG_AUDIT_TLOG_H
#define TG_AUDIT_TLOG_H

#include <pthread.h>

#include "services/audit/log/checkpoint.h"
#include "services/audit/log/journal.h"
#include "services/audit/log/log_writer.h"
#include "services/audit/log/proof.h"
#include "services/audit/log/tree.h"

struct tlog_options {
    const char *directory;    /* must exist */
    const char *origin;       /* first line of its checkpoints, and the name of its keys */
    const char *const *keys;  /* files of private keys (note.h); each signs */
    size_t key_count;         /* 1 to NOTE_KEYS_MAX */
    const char *archive;      /* directory of what tlog_archive.h has moved; NULL: none */
    const struct tlog_io *io; /* NULL: the system's */
    off_t journal_size;       /* 0: 16 MiB; a journal's file is left for a new one at this size */
    unsigned integrate_ms;    /* 0: 300; how long entries wait for company before they go into tiles */
};

/* FAILED_PRECONDITION: another process has it, or the directory is not usable. DATA_LOSS: broken; the text
 * says where and what to do. UNAUTHENTICATED: signed with other keys. */
enum tg_code tlog_open(struct log_writer **log, const struct tlog_options *options,
                       struct tg_error *err) TG_MUST_CHECK;

/* ---- between tlog.c, tlog_archive.c, tlog_read.c, tlog_recover.c and tlog_integrate.c ---- */

/* A batch that is durable in the journal and not yet in tiles. */
struct tlog_batch {
    uint64_t first;
    uint32_t count;
    unsigned references; /* the log's and readers'; under the log's lock */
    struct tlog_batch *next;
    size_t len;
    uint8_t bytes[]; /* as in the journal, head included */
};

struct tlog {
    struct log_writer writer;
    const struct tlog_io *io;
    struct note_keys keys;
    char origin[NOTE_NAME_MAX + 1];
    char *archive; /* NULL: none */
    unsigned integrate_ms;
    int directory;
    int lock_fd;

    /* Of the integrating thread. */
    pthread_t thread;
    struct merkle *merkle;
    struct tree tree;       /* as signed */
    struct tree next_tree;  /* being built */
    struct tile_bytes tail; /* the bundle at the edge */
    struct checkpoint signed_last;

    pthread_mutex_t lock;   /* guards the rest */
    pthread_cond_t wake;    /* integrator: something has come in, somebody waits, or the end */
    pthread_cond_t done;    /* a round has ended, or the integrator */
    struct journal journal; /* the appending thread's, but for its list of files */
    struct tlog_batch *oldest;
    struct tlog_batch *newest;
    size_t waiting_bytes;      /* of all batches */
    uint64_t waiting_since_ms; /* of the oldest; 0: there is none */
    uint64_t next;
    uint64_t covered;  /* by the newest checkpoint; smaller sequences are in tiles */
    char *note;        /* the newest checkpoint */
    char trouble[256]; /* why the last round failed; "": it did not */
    enum tg_code trouble_code;
    bool started;
    bool hurry; /* somebody waits for a checkpoint */
    bool stopping;
    bool ended;
};

enum tg_code tlog_recover(struct tlog *log, struct tg_error *err) TG_MUST_CHECK;
/* A batch of the journal, new in memory; the lock is held, or nobody else has the log yet. */
struct tlog_batch *tlog_batch_new(size_t len);
void tlog_push(struct tlog *log, struct tlog_batch *batch);
void tlog_release(struct tlog *log, struct tlog_batch *batch); /* the lock is held */

/* Until a checkpoint covers all below `end`. False: not in time, or not wanted any longer. */
bool tlog_wait_covered(struct tlog *log, uint64_t end, uint64_t until_ms, bool (*go_on)(void *arg),
                       void *arg);
/* The archive's directory, to be closed; -1: there is none, or it is away. */
int tlog_open_archive(const struct tlog *log);
/* A bundle of entries, from the log or from its archive, and then checked. UNAVAILABLE: it lies in an archive
 * that is away; the text says which entries do. */
enum tg_code tlog_read_bundle(struct tlog *log, const struct tile *tile, struct tile_bytes *bytes,
                              struct tg_error *err) TG_MUST_CHECK;
/* The forms of a tile from when it was not full. */
void tlog_remove_partial(const struct tlog *log, const struct tile *tile);

/* Signs and publishes a checkpoint of log->next_tree. */
enum tg_code tlog_publish(struct tlog *log, char **note, struct checkpoint *checkpoint,
                          struct tg_error *err) TG_MUST_CHECK;
void *tlog_integrate_main(void *log);

/* As log_writer.h describes them. */
uint64_t tlog_next(struct log_writer *writer);
enum tg_code tlog_read(struct log_writer *writer, uint64_t from, log_visit *visit, void *arg,
                       struct tg_error *err) TG_MUST_CHECK;
enum tg_code tlog_checkpoint(struct log_writer *writer, char **note, struct tg_error *err) TG_MUST_CHECK;
enum tg_code tlog_receipt(struct log_writer *writer, uint64_t sequence, unsigned wait_ms, char **text,
                          struct tg_error *err) TG_MUST_CHECK;
enum tg_code tlog_tile(struct log_writer *writer, const struct tile *tile, struct tile_bytes *bytes,
                       struct tg_error *err) TG_MUST_CHECK;
enum tg_code tlog_consistency(struct log_writer *writer, uint64_t old, uint64_t *size,
                              struct merkle_hash proof[MERKLE_PROOF_MAX], size_t *count,
                              struct tg_error *err) TG_MUST_CHECK;
enum tg_code tlog_verify(struct log_writer *writer, const char *older, bool (*go_on)(void *arg), void *arg,
                         struct log_verdict *verdict, struct tg_error *err) TG_MUST_CHECK;

#endif
