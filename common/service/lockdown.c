#include "common/service/lockdown.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/sanitizers.h"
#include "common/service/syscalls.h"

enum { DESCRIPTORS_MAX = 1 << 20 };

static enum tg_code forbid_dumps(struct tg_error *err)
{
    const struct rlimit none = {0, 0};
    TG_ENSURE(setrlimit(RLIMIT_CORE, &none) == 0, err, TG_INTERNAL, "cannot forbid core dumps: %m");
    /* Nobody of our own user may read our memory either. LeakSanitizer traces its own process, though. */
    TG_ENSURE(prctl(PR_SET_DUMPABLE, TG_SANITIZED, 0, 0, 0) == 0, err, TG_INTERNAL,
              "cannot forbid others to trace this process: %m");
    return TG_OK;
}

/* Asks for what is granted anyway; who is refused finds out where it matters. */
static void raise_to_hard_limit(__rlimit_resource_t resource, rlim_t at_most)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= at_most)
        return;
    limit.rlim_cur = limit.rlim_max < at_most ? limit.rlim_max : at_most;
    (void)setrlimit(resource, &limit);
}

enum tg_code lockdown_begin(struct tg_error *err)
{
    umask(S_IRWXG | S_IRWXO);
    raise_to_hard_limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
    raise_to_hard_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    return forbid_dumps(err);
}

static enum tg_code find_user(const char *user, uid_t *uid, gid_t *gid, struct tg_error *err)
{
    char room[4096];
    struct passwd entry;
    struct passwd *found = NULL;
    int rc = getpwnam_r(user, &entry, room, sizeof room, &found);
    TG_ENSURE(rc == 0 && found != NULL, err, TG_NOT_FOUND, "user \"%s\" is not known here: %s", user,
              rc == 0 ? "create it, or correct `user`" : strerror(rc));
    *uid = found->pw_uid;
    *gid = found->pw_gid;
    return TG_OK;
}

/* Real, effective and saved ids are all the new ones, and there is no way back. */
static bool is_for_good(uid_t uid, gid_t gid)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 || getresgid(&gids[0], &gids[1], &gids[2]) != 0)
        return false;
    for (int i = 0; i < 3; i++)
        if (uids[i] != uid || gids[i] != gid)
            return false;
    return uid == 0 || (setuid(0) != 0 && seteuid(0) != 0);
}

enum tg_code lockdown_drop(const char *user, struct tg_error *err)
{
    if (user == NULL)
        return TG_OK;
    uid_t uid = 0;
    gid_t gid = 0;
    TG_TRY(find_user(user, &uid, &gid, err));
    if (geteuid() != 0) {
        TG_ENSURE(geteuid() == uid, err, TG_PERMISSION_DENIED,
                  "cannot become user \"%s\": start as root or as that user, or remove `user`", user);
        return TG_OK;
    }
    /* glibc does each of these in all threads. */
    TG_ENSURE(setgroups(1, &gid) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0, err,
              TG_PERMISSION_DENIED, "cannot become user \"%s\": %m", user);
    TG_ENSURE(is_for_good(uid, gid), err, TG_INTERNAL, "became user \"%s\", but not for good", user);
    return forbid_dumps(err); /* a change of user resets it */
}

enum tg_code lockdown_seal(struct tg_error *err)
{
    TG_ENSURE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, err, TG_INTERNAL,
              "cannot forbid new privileges: %m");
    return syscalls_forbid(err);
}
