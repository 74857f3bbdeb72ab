/* A copy of a log that is served over HTTP (services/audit/search/reading.h, or any other C2SP tlog-tiles
 * server), to be checked like any directory. What is there already is not fetched again: tiles never change.
 */
#ifndef TG_TOOLS_AUDIT_VERIFY_MIRROR_H
#define TG_TOOLS_AUDIT_VERIFY_MIRROR_H

#include <stdbool.h>

#include "services/audit/log/checkpoint.h"

struct mirror_options {
    const char *url;       /* "https://host:port", "http://127.0.0.1:port" */
    const char *directory; /* of the copy; made if it is not there */
    const char *ca;        /* for https: who signs the server's certificate (PEM) */
    const char *cert;      /* for https: ours and its key (PEM); NULL: none */
    const char *cert_key;
    const char *token_file; /* NULL: none */
};

/* Is this such an address, rather than a directory's name? */
bool mirror_is_url(const char *text);

/* Fetches all that the newest checkpoint covers, and the checkpoint last. If the copy had one, *older (the
 * caller's to free()) is that one, which the log must continue. INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE;
 * DATA_LOSS and UNAUTHENTICATED as checkpoint_open. */
enum tg_code mirror_fetch(const struct mirror_options *options, const struct note_keys *keys, char **older,
                          size_t *older_len, struct tg_error *err) TG_MUST_CHECK;

#endif
