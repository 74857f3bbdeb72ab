/* tgctl, the operator's program. A row of the command table is a command: its names, what it takes, its help
 * and the function that does it (main.c looks it up, options.c reads its arguments). Each file beside this
 * one brings the rows of one service. */
#ifndef TG_TOOLS_TGCTL_H
#define TG_TOOLS_TGCTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/rpc/rpc.h"

/* Documented in --help and docs/operations.md; sysexits.h where it has a number. */
enum tgctl_exit {
    EXIT_DONE = 0,
    EXIT_NO = 1,           /* answered, and the answer is no: not serving, log not intact, refused */
    EXIT_USAGE = 64,       /* bad arguments */
    EXIT_UNREACHABLE = 69, /* the service did not answer */
    EXIT_OUTPUT = 74,      /* a file or the output could not be written */
    EXIT_CONFIG = 78       /* bad configuration */
};

/* The five services in the order in which they are shown. */
enum tgctl_service {
    SERVICE_GATEWAY,
    SERVICE_RESOLVER,
    SERVICE_KEY_STORE,
    SERVICE_BRIDGE,
    SERVICE_AUDIT,
    SERVICES
};
extern const char *const tgctl_service_names[SERVICES];

struct tgctl_config {
    struct rpc_tls tls;
    int64_t timeout; /* ms */
    struct config_list endpoints[SERVICES];
};
extern const struct config_row tgctl_config_rows[];

struct tgctl {
    struct tgctl_config config;
    bool json;
    FILE *out; /* stdout */
    FILE *in;  /* stdin: who answers questions; may be NULL: nobody */
};

#define TGCTL_CONFIG_DEFAULT "/etc/ticketgate/tgctl.yaml"

enum { TGCTL_OPTIONS_MAX = 16, TGCTL_ARGUMENTS_MAX = 2 };

struct tgctl_option {
    const char *name;  /* "owner" for --owner */
    const char *value; /* "USER"; NULL: it takes none */
    const char *help;
};

/* What stood on the command line, all borrowed from argv. */
struct tgctl_arguments {
    const char *positional[TGCTL_ARGUMENTS_MAX];
    const struct tgctl_option *options;
    const char *values[TGCTL_OPTIONS_MAX]; /* of options, by place; NULL: not given; "": given, takes none */
    bool json;
    bool help;
};

struct tgctl_command {
    const char *group;                          /* "qkud" */
    const char *verb;                           /* "add"; NULL: the group is the command */
    const char *arguments[TGCTL_ARGUMENTS_MAX]; /* names of what must be given, in order */
    const struct tgctl_option *options;         /* ended by name NULL; may be NULL */
    const char *help;                           /* one line */
    enum tgctl_exit (*run)(struct tgctl *ctl, const struct tgctl_arguments *arguments);
};

/* Ended by group NULL. */
extern const struct tgctl_command health_commands[];
extern const struct tgctl_command keystore_commands[];
extern const struct tgctl_command key_commands[];
extern const struct tgctl_command source_commands[];
extern const struct tgctl_command kek_commands[];
extern const struct tgctl_command gateway_commands[];
extern const struct tgctl_command audit_commands[];
extern const struct tgctl_command evidence_commands[];
extern const struct tgctl_command export_commands[];
extern const struct tgctl_command *const tgctl_commands[]; /* of those; ended by NULL */

/* ---- options.c ---- */

/* The row that the first of `count` words name, or NULL; *used says how many words that took. */
const struct tgctl_command *tgctl_find(int count, char **words, int *used);

/* Reads argv (argc of them, after the command's names). INVALID_ARGUMENT: the text says what is wrong. */
enum tg_code arguments_read(const struct tgctl_command *command, int argc, char **argv,
                            struct tgctl_arguments *arguments, struct tg_error *err) TG_MUST_CHECK;
/* The value of --name ("": it takes none), or NULL: not given. The command must have that option. */
const char *arguments_option(const struct tgctl_arguments *arguments, const char *name);
/* --name as a number from 1 to max; 0 in *out when it was not given. */
enum tg_code arguments_number(const struct tgctl_arguments *arguments, const char *name, uint32_t max,
                              uint32_t *out, struct tg_error *err) TG_MUST_CHECK;
/* --name as a time: "2026-11-22T20:14:11Z", "2026-11-22", or how long ago ("90s", "15m", "2h", "7d"). Unix
 * microseconds; 0 when it was not given. */
enum tg_code arguments_time(const struct tgctl_arguments *arguments, const char *name, uint64_t *out_us,
                            struct tg_error *err) TG_MUST_CHECK;
/* The same for times to come: "7d" is in seven days. Unix seconds. */
enum tg_code arguments_deadline(const struct tgctl_arguments *arguments, const char *name, uint64_t *out_s,
                                struct tg_error *err) TG_MUST_CHECK;
/* The sequence of an event, as a command takes it. INVALID_ARGUMENT. */
enum tg_code sequence_read(const char *text, uint64_t *out, struct tg_error *err) TG_MUST_CHECK;
void tgctl_help(FILE *out);
void tgctl_command_help(const struct tgctl_command *command, FILE *out);

/* ---- call.c ---- */

/* Opens a client for the service's operator listener; errors name the service. */
enum tg_code tgctl_open(const struct tgctl *ctl, enum tgctl_service service, struct rpc_client **client,
                        struct tg_error *err) TG_MUST_CHECK;
/* One call from open to close, waiting ctl->config.timeout (or more, if wait_ms says so). *response is the
 * caller's: rpc_free_response. */
enum tg_code tgctl_call(const struct tgctl *ctl, enum tgctl_service service,
                        const ProtobufCServiceDescriptor *descriptor, const char *method,
                        const ProtobufCMessage *request, ProtobufCMessage **response,
                        struct tg_error *err) TG_MUST_CHECK;
/* Says on stderr what went wrong and picks the exit code for it. */
enum tgctl_exit tgctl_failed(const struct tg_error *err);

#endif
