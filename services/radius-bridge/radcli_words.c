#include "services/radius-bridge/radcli_words.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PRIORITY_MASK = 7, PRIORITY_DEBUG = 7, WORDS_MAX = 200, SAID_MAX = 256 };

static _Thread_local char words[WORDS_MAX];
static _Thread_local bool forged_reply;

void radcli_words_clear(void)
{
    words[0] = '\0';
    forged_reply = false;
}

bool radcli_found_forged_reply(void)
{
    return forged_reply;
}

const char *radcli_words(const char *otherwise)
{
    return words[0] != '\0' ? words : otherwise;
}

/* "radcli: init_session: init_session: cannot connect" → "cannot connect" */
static const char *without_origin(const char *said)
{
    for (;;) {
        size_t len = strspn(said, "abcdefghijklmnopqrstuvwxyz0123456789_");
        bool origin = len > 0 && strncmp(said + len, ": ", 2) == 0 &&
                      (strncmp(said, "radcli", len) == 0 || memchr(said, '_', len) != NULL);
        if (!origin)
            return said;
        said += len + 2;
    }
}

static void remember(int priority, const char *said)
{
    const char *meant = without_origin(said);
    size_t used = strlen(words);
    size_t len = strcspn(meant, "\n");
    forged_reply = forged_reply || strstr(meant, "invalid reply digest") != NULL;
    if ((priority & PRIORITY_MASK) == PRIORITY_DEBUG || strncmp(meant, "error initializing", 18) == 0)
        return; /* that it failed is known */
    if (used + len + 3 <= sizeof words)
        snprintf(words + used, sizeof words - used, "%s%.*s", used > 0 ? "; " : "", (int)len, meant);
}

/* The linker prefers these to the C library's. The second is what syslog() becomes in fortified code. */
void syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void syslog(int priority, const char *format, ...)
{
    char said[SAID_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    remember(priority, said);
}

void __syslog_chk(int priority, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));
void __syslog_chk(int priority, int flag, const char *format, ...)
{
    char said[SAID_MAX];
    va_list args;
    (void)flag;
    va_start(args, format);
    vsnprintf(said, sizeof said, format, args);
    va_end(args);
    remember(priority, said);
}
