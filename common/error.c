#include "common/error.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[TG_CODE_COUNT] = {
    [TG_OK] = "OK",
    [TG_CANCELLED] = "CANCELLED",
    [TG_UNKNOWN] = "UNKNOWN",
    [TG_INVALID_ARGUMENT] = "INVALID_ARGUMENT",
    [TG_DEADLINE_EXCEEDED] = "DEADLINE_EXCEEDED",
    [TG_NOT_FOUND] = "NOT_FOUND",
    [TG_ALREADY_EXISTS] = "ALREADY_EXISTS",
    [TG_PERMISSION_DENIED] = "PERMISSION_DENIED",
    [TG_RESOURCE_EXHAUSTED] = "RESOURCE_EXHAUSTED",
    [TG_FAILED_PRECONDITION] = "FAILED_PRECONDITION",
    [TG_ABORTED] = "ABORTED",
    [TG_OUT_OF_RANGE] = "OUT_OF_RANGE",
    [TG_UNIMPLEMENTED] = "UNIMPLEMENTED",
    [TG_INTERNAL] = "INTERNAL",
    [TG_UNAVAILABLE] = "UNAVAILABLE",
    [TG_DATA_LOSS] = "DATA_LOSS",
    [TG_UNAUTHENTICATED] = "UNAUTHENTICATED",
};

const char *tg_code_name(unsigned code)
{
    return code < TG_CODE_COUNT ? names[code] : "INVALID";
}

enum tg_code(tg_fail)(struct tg_error *err, enum tg_code code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return code;
}

_Noreturn void tg_panic(const char *file, int line, const char *what)
{
    fprintf(stderr,
            "{\"level\":\"fatal\",\"event\":\"invariant.broken\",\"where\":\"%s:%d\",\"what\":\"%s\"}\n",
            file, line, what);
    abort();
}
