/* How the client's programs end: one number for each reason that a script may want to tell apart
 * (docs/client.md). Where sysexits.h has a number for it, that one; our own from 80 on. */
#ifndef TG_CLIENT_EXIT_CODE_H
#define TG_CLIENT_EXIT_CODE_H

#include <stdio.h>

#include "common/error.h"

enum client_exit {
    EXIT_OK = 0,
    EXIT_USAGE = 64,
    EXIT_BAD_INPUT = 65,
    EXIT_NO_INPUT = 66,
    EXIT_GATEWAY_UNREACHABLE = 69,
    EXIT_INTERNAL = 70,
    EXIT_CANNOT_CREATE = 73,
    EXIT_IO = 74,
    EXIT_TRY_LATER = 75,
    EXIT_PROTOCOL = 76,
    EXIT_REFUSED = 77,
    EXIT_CONFIG = 78,
    EXIT_WRONG_PIN = 80,
    EXIT_SHIELD_EMPTY = 81,
    EXIT_GATEWAY_UNPROVEN = 82,
    EXIT_CERTIFICATE = 83,
    EXIT_TIMED_OUT = 84,
    EXIT_ENDED_BY_OPERATOR = 85,
    EXIT_CONNECTION_LOST = 86,
    EXIT_TARGET = 87,
    EXIT_PIN_LOCKED = 88,
    EXIT_SHIELD_PULLED = 89
};

struct exit_row {
    enum client_exit code;
    const char *name;    /* for --json: "refused" */
    const char *meaning; /* for --help */
    const char *remedy;  /* what the user can do, where the message itself does not say it; NULL */
};
/* Ended by a row whose name is NULL. */
extern const struct exit_row exit_table[];

/* "refused" and so on; "unknown" for a number that is not in the table. Static string. */
const char *exit_name(enum client_exit code);
/* What the user can do about it; NULL: the message says it, or there is nothing to do. Static string. */
const char *exit_remedy(enum client_exit code);
/* The table as a section of --help. */
void exit_print_table(FILE *out);

/* What a REFUSED with this code (enum tg_code, as it came from the gateway) means for the user. */
enum client_exit exit_for_refusal(unsigned code);
/* What a BYE with this code means. */
enum client_exit exit_for_bye(unsigned code);
/* What a failed shield operation means: opening, taking a key, adding some. */
enum client_exit exit_for_shield(enum tg_code code);
/* What a file or descriptor that could not be read as it should means. */
enum client_exit exit_for_file(enum tg_code code);
/* The same for a password or PIN: at the terminal the user gave up, or there is no terminal. */
enum client_exit exit_for_secret(enum tg_code code);

#endif
