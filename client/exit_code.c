#include "client/exit_code.h"

#include <stddef.h>

const struct exit_row exit_table[] = {
    {EXIT_OK, "ok", "ended as asked: by you or, with -W, by the target", NULL},
    {EXIT_USAGE, "usage", "wrong arguments, or a secret was needed and there is no terminal", "see --help"},
    {EXIT_BAD_INPUT, "bad-input",
     "something holds what it must not: damaged shield, token without PIN or id, unreadable CA, empty "
     "password",
     NULL},
    {EXIT_NO_INPUT, "no-input", "a file that was named is not there: shield, CA, password, PIN",
     "is the shield plugged in, and is the path right?"},
    {EXIT_GATEWAY_UNREACHABLE, "unreachable",
     "the gateway (for tg-charger: the key store) cannot be reached, or fell silent",
     "check the address and your network, then try again"},
    {EXIT_INTERNAL, "internal", "an error of our own, or memory is out", "report it to your operator"},
    {EXIT_CANNOT_CREATE, "cannot-create", "the shield could not be created", NULL},
    {EXIT_IO, "io", "a disk or terminal failed", NULL},
    {EXIT_TRY_LATER, "try-later",
     "the gateway cannot take the login now, another program has the shield open, or the shield was pulled; "
     "for "
     "tg-charger also: the KME gives no keys",
     "try again in a while"},
    {EXIT_PROTOCOL, "protocol", "the other side broke the protocol", "report it to your operator"},
    {EXIT_REFUSED, "refused", "the login was refused",
     "check user name and password; if they are right, tell your operator when it was, and the trace id"},
    {EXIT_CONFIG, "config",
     "a setting does not fit: file permissions, a token that cannot do it, suites, sealing, a local port in "
     "use",
     NULL},
    {EXIT_WRONG_PIN, "wrong-pin", "wrong PIN (or the shield was altered)", "try again with the right PIN"},
    {EXIT_SHIELD_EMPTY, "shield-empty", "the shield has no usable key left", NULL},
    {EXIT_GATEWAY_UNPROVEN, "gateway-unproven", "the gateway could not prove that it holds the quantum key",
     NULL},
    {EXIT_CERTIFICATE, "certificate", "the gateway's certificate is not trusted", NULL},
    {EXIT_TIMED_OUT, "timed-out", "the session's time, or its idle time, ran out", NULL},
    {EXIT_ENDED_BY_OPERATOR, "ended-by-operator", "an operator ended the session", NULL},
    {EXIT_CONNECTION_LOST, "connection-lost", "the connection broke in the middle of the session",
     "log in again"},
    {EXIT_TARGET, "target", "with -W: the target was refused or cannot be reached", NULL},
    {EXIT_PIN_LOCKED, "pin-locked", "the token's PIN is locked after too many wrong ones", NULL},
    {EXIT_SHIELD_PULLED, "shield-pulled", "the shield was pulled, and that ended the session",
     "insert it and log in again; --when-shield-pulled stay goes on without it"},
    {EXIT_OK, NULL, NULL, NULL},
};

static const struct exit_row *find(enum client_exit code)
{
    const struct exit_row *row = exit_table;
    while (row->name != NULL && row->code != code)
        row++;
    return row;
}

const char *exit_name(enum client_exit code)
{
    const char *name = find(code)->name;
    return name != NULL ? name : "unknown";
}

const char *exit_remedy(enum client_exit code)
{
    return find(code)->remedy;
}

void exit_print_table(FILE *out)
{
    fputs("\nExit status:\n", out);
    for (const struct exit_row *row = exit_table; row->name != NULL; row++)
        fprintf(out, "  %-3d  %s\n", row->code, row->meaning);
    fputs("  130  interrupted before the login was done\n", out);
}

enum client_exit exit_for_refusal(unsigned code)
{
    switch (code) {
    case TG_UNAVAILABLE:
    case TG_RESOURCE_EXHAUSTED:
    case TG_DEADLINE_EXCEEDED:
    case TG_ABORTED:
    case TG_CANCELLED:
    case TG_INTERNAL:
        return EXIT_TRY_LATER;
    case TG_INVALID_ARGUMENT:
    case TG_OUT_OF_RANGE:
    case TG_UNIMPLEMENTED:
        return EXIT_PROTOCOL;
    default: /* UNAUTHENTICATED, PERMISSION_DENIED, FAILED_PRECONDITION, and what we do not know */
        return EXIT_REFUSED;
    }
}

enum client_exit exit_for_bye(unsigned code)
{
    switch (code) {
    case TG_OK:
        return EXIT_OK;
    case TG_DEADLINE_EXCEEDED:
        return EXIT_TIMED_OUT;
    case TG_CANCELLED:
    case TG_ABORTED:
    case TG_PERMISSION_DENIED:
    case TG_UNAUTHENTICATED:
        return EXIT_ENDED_BY_OPERATOR;
    case TG_UNAVAILABLE:
    case TG_RESOURCE_EXHAUSTED:
        return EXIT_TRY_LATER;
    default:
        return EXIT_PROTOCOL;
    }
}

enum client_exit exit_for_shield(enum tg_code code)
{
    switch ((unsigned)code) {
    case TG_NOT_FOUND:
        return EXIT_NO_INPUT;
    case TG_PERMISSION_DENIED:
    case TG_UNIMPLEMENTED:
        return EXIT_CONFIG;
    case TG_UNAUTHENTICATED:
        return EXIT_WRONG_PIN;
    case TG_OUT_OF_RANGE:
        return EXIT_PIN_LOCKED;
    case TG_DATA_LOSS:
    case TG_INVALID_ARGUMENT:
    case TG_ALREADY_EXISTS:
        return EXIT_BAD_INPUT;
    case TG_UNAVAILABLE:
    case TG_ABORTED:
        return EXIT_TRY_LATER;
    case TG_FAILED_PRECONDITION:
        return EXIT_SHIELD_EMPTY;
    case TG_RESOURCE_EXHAUSTED:
        return EXIT_INTERNAL;
    default:
        return EXIT_IO;
    }
}

enum client_exit exit_for_file(enum tg_code code)
{
    switch ((unsigned)code) {
    case TG_NOT_FOUND:
        return EXIT_NO_INPUT;
    case TG_PERMISSION_DENIED:
        return EXIT_CONFIG;
    case TG_INVALID_ARGUMENT:
        return EXIT_BAD_INPUT;
    case TG_RESOURCE_EXHAUSTED:
        return EXIT_INTERNAL;
    default:
        return EXIT_IO;
    }
}

enum client_exit exit_for_secret(enum tg_code code)
{
    return code == TG_CANCELLED || code == TG_UNAVAILABLE ? EXIT_USAGE : exit_for_file(code);
}
