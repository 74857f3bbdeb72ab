/* tgctl audit export: events to a file or to a syslog collector, from where the last export left off. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "tools/tgctl/audit_reader.h"
#include "tools/tgctl/export/sink.h"

/* What is durable in --position: all below `sequence` has been exported. */
struct position {
    uint64_t sequence;
    uint64_t mark; /* the sink's */
};

struct export
{
    const char *position_file; /* NULL: nothing is remembered */
    struct position reached;   /* handed over, but perhaps not arrived */
    struct audit_reader reader;
    struct sink *sink;
};

/* A file that is not there means: from the start. */
static enum tg_code read_position(const char *path, struct position *position, struct tg_error *err)
{
    char *text = NULL;
    size_t len = 0;
    *position = (struct position){.mark = SINK_NO_MARK};
    if (path == NULL)
        return TG_OK;
    enum tg_code code = file_read(path, 128, &text, &len, err);
    if (code == TG_NOT_FOUND)
        return TG_OK;
    TG_TRY(code);
    int end = 0;
    // NOLINTNEXTLINE(cert-err34-c): what is not exactly of this form is refused
    int fields = sscanf(text, "%" SCNu64 " %" SCNu64 "\n%n", &position->sequence, &position->mark, &end);
    bool good = fields == 2 && (size_t)end == len && text[0] >= '0' && text[0] <= '9';
    free(text);
    TG_ENSURE(good, err, TG_DATA_LOSS, "%s does not hold a position: remove it to export all once more",
              path);
    return TG_OK;
}

static enum tg_code keep_position(const struct export *export, const struct position *position,
                                  struct tg_error *err)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 "\n", position->sequence, position->mark);
    return export->position_file == NULL ? TG_OK
                                         : file_replace(export->position_file, text, (size_t)len, err);
}

static enum tg_code put(void *arg, const char *line, struct tg_error *err)
{
    struct export *export = arg;
    return export->sink->ops->put(export->sink, line, err);
}

/* Where nobody confirms, a page counts once the next one has been handed over. */
static enum tg_code one_page(struct export *export, struct tg_error *err)
{
    bool settled = false;
    struct position before = export->reached;
    TG_TRY(audit_reader_page(&export->reader, put, export, err));
    TG_TRY(export->sink->ops->flush(export->sink, &settled, err));
    export->reached =
        (struct position){export->reader.request.from_sequence, export->sink->ops->mark(export->sink)};
    return keep_position(export, settled ? &export->reached : &before, err);
}

/* The position is there before anything is written: whatever the end of the first page, it is known where the
 * file stood. */
static enum tg_code run(struct export *export, struct tg_error *err)
{
    export->reached.mark = export->sink->ops->mark(export->sink);
    TG_TRY(keep_position(export, &export->reached, err));
    while (audit_reader_more(&export->reader))
        TG_TRY(one_page(export, err));
    TG_TRY(export->sink->ops->finish(export->sink, err));
    return keep_position(export, &export->reached, err);
}

static enum tgctl_exit end_of(enum tg_code code, const struct tg_error *err)
{
    if (code == TG_OK)
        return EXIT_DONE;
    enum tgctl_exit end = tgctl_failed(err);
    return code == TG_INVALID_ARGUMENT ? EXIT_USAGE : end;
}

static enum tgctl_exit audit_export(struct tgctl *ctl, const struct tgctl_arguments *arguments)
{
    struct export export = {.position_file = arguments_option(arguments, "position")};
    struct sink_options options = {.to = arguments->positional[0],
                                   .ca = arguments_option(arguments, "ca"),
                                   .cert = arguments_option(arguments, "cert"),
                                   .key = arguments_option(arguments, "key")};
    struct tg_error err;
    enum tg_code code = read_position(export.position_file, &export.reached, &err);
    options.mark = export.reached.mark;
    if (code == TG_OK)
        code = audit_reader_open(ctl, arguments, &export.reader, &err);
    if (code != TG_OK)
        return end_of(code, &err);
    export.reader.request.from_sequence = export.reached.sequence;
    audit_reader_follow(&export.reader, arguments_option(arguments, "follow") != NULL);
    code = sink_open(&options, &export.sink, &err);
    if (code == TG_OK) {
        code = run(&export, &err);
        export.sink->ops->close(export.sink);
    }
    audit_reader_close(&export.reader);
    return end_of(code, &err);
}

static const struct tgctl_option export_options[] = {
    {"position", "FILE", "remember here how far it got, and go on from there"},
    {"follow", NULL, "go on as events happen, until interrupted"},
    {"ca", "FILE", "for tls: the CA of the collector's certificate (PEM)"},
    {"cert", "FILE", "for tls: our certificate (PEM)"},
    {"key", "FILE", "for tls: its private key (PEM)"},
    AUDIT_READER_OPTIONS,
    {NULL, NULL, NULL},
};

const struct tgctl_command export_commands[] = {
    {"audit",
     "export",
     {"TO"},
     export_options,
     "events to a file (JSON lines), unix:SOCKET or tls:HOST:PORT (syslog, RFC 5424)",
     audit_export},
    {.group = NULL},
};
