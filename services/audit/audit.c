#include "services/audit/audit.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/file.h"
#include "common/log.h"
#include "common/pb.h"
#include "common/trace.h"
#include "services/audit/log/tlog.h"
#include "services/audit/record.h"

enum { RETRY_MS = 500, WITNESS_INTERVAL_MS = 1000, WITNESS_TIMEOUT_MS = 5000, WITNESS_PATIENCE_MS = 60000 };

#define FIELD(name) offsetof(struct audit_config, name)
const struct config_row audit_config_rows[] = {
    {.key = "directory",
     .type = CONFIG_PATH,
     .offset = FIELD(directory),
     .min = 1,
     .max = 256,
     .help = "Directory of the log; it must exist and belong to the service alone."},
    {.key = "ticket_key",
     .type = CONFIG_PATH,
     .offset = FIELD(ticket_key),
     .help = "File of 32 raw bytes, mode 0400: tickets stand in the log as HMAC-SHA-256 under this key."},
    {.key = "origin",
     .type = CONFIG_STRING,
     .offset = FIELD(origin),
     .min = 1,
     .max = NOTE_NAME_MAX,
     .help =
         "The log's name, as it stands in its checkpoints, like a URL without https://; it never changes."},
    {.key = "signing_keys",
     .type = CONFIG_STRINGS,
     .offset = FIELD(signing_keys),
     .min = 1,
     .max = NOTE_KEYS_MAX,
     .help =
         "Files of private keys (PEM, mode 0400; Ed25519, and ML-DSA-44 where OpenSSL has it): each signs "
         "every checkpoint. A new key is listed beside the old one for a while."},
    {.key = "queue_events",
     .type = CONFIG_INT,
     .offset = FIELD(queue_events),
     .fallback = "65536",
     .min = 256,
     .max = 1 << 24,
     .help = "Events that may wait for the disk; more are refused."},
    {.key = "disk_timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(disk_timeout),
     .fallback = "1500ms",
     .min = 100,
     .max = 60000,
     .help = "Callers are refused when one write to the disk takes longer."},
    READING_ROWS("reading.", struct audit_config, reading),
    ARCHIVER_ROWS("archive.", struct audit_config, archive),
    {.key = "witnesses",
     .type = CONFIG_TABLES,
     .offset = FIELD(witnesses),
     .fallback = CONFIG_OPTIONAL,
     .max = WITNESSES_MAX,
     .item_rows = witness_rows,
     .item_size = sizeof(struct witness_config),
     .help = "Witnesses (c2sp.org/tlog-witness) that are asked to cosign each checkpoint"},
    {.key = "witness_quorum",
     .type = CONFIG_INT,
     .offset = FIELD(witness_quorum),
     .fallback = "1",
     .min = 1,
     .max = WITNESSES_MAX,
     .help = "So many of them must cosign a checkpoint before it becomes checkpoint.witnessed"},
    {0},
};
#undef FIELD

static void wake_queries(void *arg)
{
    struct audit *audit = arg;
    query_wake(audit->queries);
}

static void witnesses_report(void *arg, const char *event, const char *reason)
{
    audit_own_event(arg, event, reason, "");
}

static enum tg_code open_witnesses(struct audit *audit, const struct audit_config *config,
                                   struct tg_error *err)
{
    const struct witnesses_options options = {.directory = config->directory,
                                              .list = &config->witnesses,
                                              .quorum = (unsigned)config->witness_quorum,
                                              .interval_ms = WITNESS_INTERVAL_MS,
                                              .timeout_ms = WITNESS_TIMEOUT_MS,
                                              .patience_ms = WITNESS_PATIENCE_MS,
                                              .log = audit->log,
                                              .report = witnesses_report,
                                              .arg = audit};
    return witnesses_open(&audit->witnesses, &options, err);
}

/* An event of our own. */
static void submit(void *arg, Tg__Event *event, commit_done *done, void *done_arg)
{
    struct audit *audit = arg;
    struct tg_error err = {0};
    struct log_entry entry = {0};
    uint8_t id[REQUEST_ID_LEN];
    event->service = pb_string("audit");
    random_bytes(id, sizeof id);
    if (record_encode(event, audit->ticket_key, &entry.body, &entry.len, &err) != TG_OK)
        done(done_arg, err.code, err.text, 0);
    else
        committer_submit(audit->committer, id, &entry, 1, done, done_arg);
}

static enum tg_code open_archiver(struct audit *audit, const struct archiver_config *config,
                                  struct tg_error *err)
{
    const struct archiver_options options = {
        .log = audit->log, .after_ms = (uint64_t)config->after, .report = submit, .arg = audit};
    return archiver_open(&audit->archiver, &options, err);
}

static enum tg_code open_parts(struct audit *audit, const struct audit_config *config, struct tg_error *err)
{
    TG_TRY(file_read_secret(config->ticket_key, RECORD_KEY_LEN, &audit->ticket_key, err));
    struct tlog_options log_options = {.directory = config->directory,
                                       .archive = config->archive.directory,
                                       .origin = config->origin,
                                       .keys = config->signing_keys.items,
                                       .key_count = config->signing_keys.count};
    TG_TRY(tlog_open(&audit->log, &log_options, err));
    struct committer_options options = {
        .log = audit->log,
        .ticket_key = audit->ticket_key,
        .queue_events = (size_t)config->queue_events,
        .disk_timeout_ms = (unsigned)config->disk_timeout,
        .retry_ms = RETRY_MS,
        .grown = wake_queries,
        .grown_arg = audit,
    };
    TG_TRY(committer_open(&audit->committer, &options, err));
    TG_TRY(query_engine_open(&audit->queries, config->directory, audit->log, err));
    TG_TRY(verifier_open(&audit->verifier, audit->log, err));
    if (config->witnesses.count > 0)
        TG_TRY(open_witnesses(audit, config, err));
    if (config->archive.directory != NULL)
        TG_TRY(open_archiver(audit, &config->archive, err));
    return config->reading.listen != NULL
               ? reading_open(&audit->reading, &config->reading, audit->log, audit->queries, err)
               : TG_OK;
}

enum tg_code audit_open(const void *config, void **state, struct tg_error *err)
{
    struct audit *audit = calloc(1, sizeof *audit);
    TG_ENSURE(audit != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory");
    enum tg_code code = open_parts(audit, config, err);
    if (code != TG_OK) {
        audit_close(audit);
        return code;
    }
    *state = audit;
    return TG_OK;
}

static void own_event_done(void *arg, enum tg_code status, const char *text, uint64_t first_sequence)
{
    (void)arg;
    (void)first_sequence;
    if (status != TG_OK)
        LOG(LOG_ERROR, NULL, "audit.own_event_failed", LOG_CODE(status), LOG_TEXT("error", text));
}

void audit_own_event(struct audit *audit, const char *name, const char *reason, const char *detail)
{
    Tg__Event event = TG__EVENT__INIT;
    event.event = pb_string(name);
    event.outcome = reason == NULL ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event.reason = pb_string(reason);
    event.detail = pb_string(detail);
    submit(audit, &event, own_event_done, NULL);
}

enum tg_code audit_start(void *state, struct tg_error *err)
{
    struct audit *audit = state;
    TG_TRY(query_engine_start(audit->queries, err));
    TG_TRY(verifier_start(audit->verifier, err));
    TG_TRY(audit->log->ops->start(audit->log, err));
    TG_TRY(committer_start(audit->committer, err));
    if (audit->reading != NULL)
        TG_TRY(reading_start(audit->reading, err));
    if (audit->witnesses != NULL)
        TG_TRY(witnesses_start(audit->witnesses, err));
    if (audit->archiver != NULL)
        TG_TRY(archiver_start(audit->archiver, err));
    audit->started = true;
    audit_own_event(audit, "audit.started", NULL, "version " TG_VERSION);
    return TG_OK;
}

const char *audit_not_serving(void *state)
{
    const struct audit *audit = state;
    return committer_trouble(audit->committer);
}

/* What the other services report while they end must still be taken; only those who wait for news are sent
 * away. */
void audit_drain(void *state, unsigned timeout_ms)
{
    struct audit *audit = state;
    (void)timeout_ms;
    archiver_stop(audit->archiver);
    reading_stop(audit->reading);
    query_engine_stop(audit->queries);
    verifier_stop(audit->verifier);
}

void audit_close(void *state)
{
    struct audit *audit = state;
    if (audit == NULL)
        return;
    witnesses_close(audit->witnesses);
    reading_close(audit->reading);
    verifier_close(audit->verifier);
    bool archived = archiver_close(audit->archiver);
    if (audit->started) {
        audit_own_event(audit, "audit.stopped", NULL, "");
        committer_drain(audit->committer, 1000);
    }
    bool ended = archived && committer_close(audit->committer);
    if (!ended) {
        LOG(LOG_ERROR, NULL, "audit.disk_hangs",
            LOG_TEXT("error", archived ? "the disk does not answer; ending without it"
                                       : "the archive does not answer; ending without it"));
        return; /* who waits for it still uses the rest, until the process has ended */
    }
    query_engine_close(audit->queries);
    if (audit->log != NULL)
        audit->log->ops->close(audit->log);
    secret_free(audit->ticket_key);
    free(audit);
}
