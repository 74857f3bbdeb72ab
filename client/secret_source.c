#include "client/secret_source.h"

#include <stdlib.h>
#include <string.h>

#include "client/terminal.h"
#include "common/file.h"

enum { DESCRIPTOR_MAX = 1 << 20 };

static bool at_terminal(const struct secret_source *source)
{
    return source->file == NULL && source->fd < 0;
}

enum tg_code secret_source_read(const struct secret_source *source, const char *what, const char *question,
                                struct secret **out, struct tg_error *err)
{
    struct tg_error why;
    enum tg_code code;
    if (source->file != NULL)
        code = file_read_line_secret(source->file, out, &why);
    else if (source->fd >= 0)
        code = fd_read_line_secret(source->fd, out, &why);
    else
        code = terminal_ask(question, false, out, &why);
    TG_ENSURE(code == TG_OK, err, code, "%s: %s", what, why.text);
    return TG_OK;
}

enum tg_code secret_source_read_new(const struct secret_source *source, const char *what,
                                    const char *question, struct secret **out, struct tg_error *err)
{
    TG_TRY(secret_source_read(source, what, question, out, err));
    if (!at_terminal(source))
        return TG_OK;
    TG_CLEANUP(secret_cleanup) struct secret *again = NULL;
    enum tg_code code = secret_source_read(source, what, "The same again", &again, err);
    if (code == TG_OK && !secret_equal(*out, again))
        code = tg_fail(err, TG_CANCELLED, "%s: the two are not the same; nothing was changed", what);
    if (code != TG_OK) {
        secret_free(*out);
        *out = NULL;
    }
    return code;
}

enum tg_code secret_source_parse_fd(const char *text, int *fd, struct tg_error *err)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    bool digits = text[0] >= '0' && text[0] <= '9' && *end == '\0';
    TG_ENSURE(digits && number <= DESCRIPTOR_MAX, err, TG_INVALID_ARGUMENT,
              "\"%.40s\" is not a descriptor's number", text);
    *fd = (int)number;
    return TG_OK;
}
