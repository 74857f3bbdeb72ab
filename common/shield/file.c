/* The shield on a removable disk: one container file, replaced as a whole at each change. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/file_io.h"
#include "common/shield/file_internal.h"
#include "common/trace.h"

enum { PIN_MIN = 6, PIN_MAX = 64 };

struct file_shield {
    struct keychain chain; /* first: a struct shield begins it */
    struct container container;
    int fd; /* the container as it is now */
    int lock_fd;
    char path[PATH_MAX]; /* the file itself, no symbolic link: two names share one lock */
};

static enum tg_code save(struct keychain *chain, const struct slots *next, struct tg_error *err)
{
    struct file_shield *f = (struct file_shield *)chain;
    TG_TRY(shield_file_same(f->path, f->fd, err));
    uint8_t *bytes = NULL;
    size_t len = 0;
    TG_TRY(container_seal(&f->container, next, &bytes, &len, err));
    enum tg_code code = file_replace(f->path, bytes, len, err);
    free(bytes);
    TG_TRY(code);
    close(f->fd);
    f->fd = -1;
    return shield_file_open_fd(f->path, &f->fd, err);
}

static enum tg_code check(struct shield *shield, struct tg_error *err)
{
    const struct file_shield *f = (const struct file_shield *)shield;
    return shield_file_same(f->path, f->fd, err);
}

/* "PATH.pending" */
static enum tg_code note_path(const struct file_shield *f, char out[PATH_MAX], struct tg_error *err)
{
    int n = snprintf(out, PATH_MAX, "%s.pending", f->path);
    TG_ENSURE(n > 0 && n < PATH_MAX, err, TG_INVALID_ARGUMENT, "%.64s...: path is too long", f->path);
    return TG_OK;
}

static enum tg_code put_note(struct shield *shield, const void *bytes, size_t len, struct tg_error *err)
{
    const struct file_shield *f = (const struct file_shield *)shield;
    char path[PATH_MAX];
    TG_TRY(note_path(f, path, err));
    TG_TRY(shield_file_same(f->path, f->fd, err));
    if (len > 0)
        return file_replace(path, bytes, len, err);
    if (unlink(path) != 0)
        return errno == ENOENT ? TG_OK : file_fail_errno(err, path, "cannot remove it");
    return file_sync_directory(path, err);
}

static enum tg_code get_note(struct shield *shield, uint8_t **bytes, size_t *len, struct tg_error *err)
{
    char path[PATH_MAX];
    char *text = NULL;
    *bytes = NULL;
    *len = 0;
    TG_TRY(note_path((const struct file_shield *)shield, path, err));
    enum tg_code code = file_read(path, SHIELD_NOTE_MAX, &text, len, err);
    *bytes = (uint8_t *)text;
    return code == TG_NOT_FOUND ? TG_OK : code;
}

static void close_file(struct shield *shield)
{
    struct file_shield *f = (struct file_shield *)shield;
    keychain_fini(&f->chain);
    container_fini(&f->container);
    if (f->fd >= 0)
        close(f->fd);
    if (f->lock_fd >= 0)
        close(f->lock_fd); /* and so unlock */
    free(f);
}

static void cleanup(struct file_shield **f)
{
    if (*f != NULL)
        close_file(&(*f)->chain.base);
}

static struct file_shield *new_shield(void)
{
    static const struct shield_ops ops = {.status = keychain_status,
                                          .take = keychain_take,
                                          .add = keychain_add,
                                          .has = keychain_has,
                                          .remove = keychain_remove,
                                          .check = check,
                                          .put_note = put_note,
                                          .get_note = get_note,
                                          .close = close_file};
    struct file_shield *f = calloc(1, sizeof *f);
    if (f != NULL) {
        f->chain.base.ops = &ops;
        f->chain.save = save;
        f->fd = f->lock_fd = -1;
    }
    return f;
}

static enum tg_code unlock(struct file_shield *f, const uint8_t *bytes, size_t len, const struct secret *pin,
                           struct tg_error *err)
{
    TG_TRY(container_peek(bytes, len, &f->container, err));
    TG_TRY(container_unlock(&f->container, pin, err));
    TG_TRY(container_open(&f->container, bytes, len, &f->chain.slots, err));
    f->chain.seal_key = f->container.seal_key; /* handed over */
    f->container.seal_key = NULL;
    snprintf(f->chain.shield_id, sizeof f->chain.shield_id, "%s", f->container.shield_id);
    return TG_OK;
}

/* Which file it is, and what to do about a damaged one. */
static enum tg_code name_failure(const char *path, enum tg_code code, const struct tg_error *why,
                                 struct tg_error *err)
{
    return tg_fail(err, code, "%.90s: %.100s%s", path, why->text,
                   code == TG_DATA_LOSS ? ". It is left as it is: fill a new shield and have this one revoked"
                                        : "");
}

enum tg_code shield_file_open(const char *path, const struct secret *pin, struct shield **shield,
                              struct tg_error *err)
{
    TG_CLEANUP(cleanup) struct file_shield *f = new_shield();
    TG_ENSURE(f != NULL, err, TG_RESOURCE_EXHAUSTED, "no memory for a shield");
    if (realpath(path, f->path) == NULL)
        return file_fail_errno(err, path, "cannot open the shield");
    TG_TRY(shield_file_open_fd(f->path, &f->fd, err)); /* worth a lock at all? */
    TG_TRY(shield_file_lock(f->path, &f->lock_fd, err));
    close(f->fd); /* who had the lock may have replaced it */
    f->fd = -1;
    uint8_t *bytes = NULL;
    size_t len = 0;
    TG_TRY(shield_file_open_fd(f->path, &f->fd, err));
    TG_TRY(shield_file_read(f->path, f->fd, &bytes, &len, err));
    struct tg_error why;
    enum tg_code code = unlock(f, bytes, len, pin, &why);
    free(bytes);
    if (code != TG_OK)
        return name_failure(f->path, code, &why, err);
    *shield = &f->chain.base;
    f = NULL;
    return TG_OK;
}

enum tg_code shield_file_create_cost(const char *path, const char *shield_id, const struct secret *pin,
                                     uint8_t log2_n, struct tg_error *err)
{
    TG_ENSURE(secret_len(pin) >= PIN_MIN && secret_len(pin) <= PIN_MAX, err, TG_INVALID_ARGUMENT,
              "a PIN has %d to %d characters", PIN_MIN, PIN_MAX);
    TG_TRY(name_check_id("shield id", shield_id, err));
    TG_CLEANUP(container_fini) struct container c = {.log2_n = log2_n, .r = CONTAINER_R, .p = 1};
    snprintf(c.shield_id, sizeof c.shield_id, "%s", shield_id);
    random_bytes(c.salt, sizeof c.salt);
    TG_TRY(container_unlock(&c, pin, err));
    uint8_t *bytes = NULL;
    size_t len = 0;
    TG_TRY(container_seal(&c, &(struct slots){0}, &bytes, &len, err));
    enum tg_code code = file_write_new(path, bytes, len, err);
    free(bytes);
    return code;
}

enum tg_code shield_file_create(const char *path, const char *shield_id, const struct secret *pin,
                                struct tg_error *err)
{
    return shield_file_create_cost(path, shield_id, pin, CONTAINER_LOG2_N, err);
}

enum tg_code shield_file_peek(const char *path, char shield_id[SHIELD_ID_LEN + 1], struct tg_error *err)
{
    int fd = -1;
    uint8_t *bytes = NULL;
    size_t len = 0;
    struct container c;
    TG_TRY(shield_file_open_fd(path, &fd, err));
    enum tg_code code = shield_file_read(path, fd, &bytes, &len, err);
    close(fd);
    TG_TRY(code);
    struct tg_error why;
    code = container_peek(bytes, len, &c, &why);
    free(bytes);
    if (code != TG_OK)
        return name_failure(path, code, &why, err);
    snprintf(shield_id, SHIELD_ID_LEN + 1, "%s", c.shield_id);
    return TG_OK;
}
