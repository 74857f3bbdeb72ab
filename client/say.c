#include "client/say.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SAY_FIELDS_MAX = 16 };

void say_open(const struct say *say)
{
    /* What libraries of ours log is of no use to people. */
    log_open(say->program, !say->json ? LOG_ERROR : say->quiet ? LOG_WARNING : LOG_INFO, STDERR_FILENO);
}

void say_write(const struct say *say, enum log_level level, const char *event, const char *text,
               const struct log_field *fields, size_t count)
{
    if (say->quiet && level > LOG_WARNING)
        return;
    if (!say->json) {
        dprintf(STDERR_FILENO, "%s: %s%s\n", say->program, level == LOG_WARNING ? "warning: " : "", text);
        return;
    }
    struct log_field all[SAY_FIELDS_MAX];
    TG_INVARIANT(count < SAY_FIELDS_MAX);
    memcpy(all, fields, count * sizeof *fields);
    all[count] = LOG_TEXT("text", text);
    log_write(level, NULL, event, all, count + 1);
}

void say_end(const struct say *say, enum client_exit how, const struct tg_error *err)
{
    char text[2 * sizeof err->text];
    const char *remedy = exit_remedy(how);
    enum log_level level = how == EXIT_OK ? LOG_INFO : LOG_ERROR;
    if (err->text[0] == '\0')
        return;
    if (remedy == NULL)
        remedy = "";
    snprintf(text, sizeof text, "%s%s%s%s", err->text, *remedy != '\0' ? " (" : "", remedy,
             *remedy != '\0' ? ")" : "");
    SAY(say, level, "end", text, LOG_TEXT("reason", exit_name(how)), LOG_NUMBER("exit", how),
        LOG_CODE(err->code), LOG_TEXT("remedy", remedy));
}
