/* Results and errors, the same everywhere: gRPC's status codes by their names, and a text for people.
 *
 * A function that can fail returns enum tg_code and takes `struct tg_error *err` last (may be NULL). On
 * failure it has filled in err->code and err->text: what was wrong and what to do, never a secret. */
#ifndef TG_COMMON_ERROR_H
#define TG_COMMON_ERROR_H

#include <stdarg.h>

/* https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
enum tg_code {
    TG_OK = 0,
    TG_CANCELLED = 1,
    TG_UNKNOWN = 2, /* sent, but no answer came: may or may not have been processed */
    TG_INVALID_ARGUMENT = 3,
    TG_DEADLINE_EXCEEDED = 4,
    TG_NOT_FOUND = 5,
    TG_ALREADY_EXISTS = 6,
    TG_PERMISSION_DENIED = 7,
    TG_RESOURCE_EXHAUSTED = 8,
    TG_FAILED_PRECONDITION = 9,
    TG_ABORTED = 10,
    TG_OUT_OF_RANGE = 11,
    TG_UNIMPLEMENTED = 12,
    TG_INTERNAL = 13,
    TG_UNAVAILABLE = 14, /* never processed: may be tried again */
    TG_DATA_LOSS = 15,
    TG_UNAUTHENTICATED = 16,
    TG_CODE_COUNT
};

struct tg_error {
    enum tg_code code;
    char text[256];
};

#define TG_MUST_CHECK __attribute__((warn_unused_result))
#define TG_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* "UNAVAILABLE" and so on; "INVALID" for a number that is none of them. Static string. Any thread. */
const char *tg_code_name(unsigned code);

/* Fills in err (if not NULL) and returns code, so that a failing function ends in `return tg_fail(...)`.
 * Texts that are too long are cut. Any thread. */
enum tg_code tg_fail(struct tg_error *err, enum tg_code code, const char *fmt, ...) TG_PRINTF(3, 4);

/* The same, as an expression whose value is plainly `code`: compilers and analysers then see that a function
 * which ends in it has failed. */
#define tg_fail(err, code, ...)                                                                              \
    __extension__({                                                                                          \
        enum tg_code tg_fail_code_ = (code);                                                                 \
        (void)(tg_fail)(err, tg_fail_code_, __VA_ARGS__);                                                    \
        tg_fail_code_;                                                                                       \
    })

/* A broken invariant of our own, never a peer's doing: logs where and what, then abort(). */
_Noreturn void tg_panic(const char *file, int line, const char *what);

/* The three macros that steer control flow. */
#define TG_TRY(call)                                                                                         \
    do {                                                                                                     \
        enum tg_code tg_try_code_ = (call);                                                                  \
        if (tg_try_code_ != TG_OK)                                                                           \
            return tg_try_code_;                                                                             \
    } while (0)
#define TG_ENSURE(condition, err, code, ...)                                                                 \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            return tg_fail(err, code, __VA_ARGS__);                                                          \
    } while (0)
#define TG_CLEANUP(fn) __attribute__((cleanup(fn)))

#define TG_INVARIANT(condition)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            tg_panic(__FILE__, __LINE__, #condition);                                                        \
    } while (0)

#endif
