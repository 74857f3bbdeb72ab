/* Where the entries lie: in the log, and the oldest of them perhaps in an archive, under the same names
 * (tile/entries/…). The tiles of their hashes never leave the log, so that what comes from the archive can be
 * checked. */
#ifndef TG_AUDIT_BUNDLE_H
#define TG_AUDIT_BUNDLE_H

#include "services/audit/log/tile.h"

/* Directories; borrowed. */
struct bundle_places {
    int log;
    int archive; /* -1: there is none, or it is away */
};

/* Reads a bundle as tile_read, from the archive when the log has it no more. NOT_FOUND: neither has the
 * whole bundle, and the text says so; other codes as tile_read. */
enum tg_code bundle_read(const struct bundle_places *places, const struct tile *tile,
                         struct tile_bytes *bytes, bool *archived, struct tg_error *err) TG_MUST_CHECK;
/* Whether that directory has the whole bundle, or cannot say. */
bool bundle_is_in(int directory, uint64_t index);
/* Whether there are forms of it from when it was not full. */
bool bundle_has_partials(int directory, uint64_t index);
/* The first from which on the log has them; `end` when there is none below it. */
uint64_t bundle_first(int log, uint64_t end);

/* The entries hash to the tile that the log keeps of them, number by number. DATA_LOSS: they do not. */
enum tg_code bundle_check(int log, const struct tile *tile, const struct tile_bytes *bytes,
                          struct tg_error *err) TG_MUST_CHECK;

/* Of the event audit.archived, in which the log announces which entries leave it ("events 0 to 511 …"): the
 * first sequence after those. 0: it is another event. */
uint64_t bundle_announced(const char *entry, size_t len);

#endif
