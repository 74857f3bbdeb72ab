#include "tests/crash/shim.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096 };

static atomic_bool tracked[DESCRIPTORS];

bool shim_path_counts(const char *path)
{
    const char *dirs = getenv("TG_SHIM_DIRS");
    while (dirs != NULL && *dirs != '\0') {
        size_t len = strcspn(dirs, ":");
        if (strncmp(path, dirs, len) == 0 && (path[len] == '/' || path[len] == '\0'))
            return true;
        dirs += len + (dirs[len] == ':');
    }
    return false;
}

static bool path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, out, PATH_MAX - 1);
    if (len < 0)
        return false;
    out[len] = '\0';
    return true;
}

bool shim_resolve(int at, const char *path, char out[PATH_MAX])
{
    char base[PATH_MAX] = "";
    bool known = path[0] == '/' || (at == AT_FDCWD ? getcwd(base, sizeof base) != NULL : path_of(at, base));
    if (!known || strlen(base) + 1 + strlen(path) >= PATH_MAX)
        return false;
    memcpy(out, base, strlen(base) + 1);
    if (path[0] != '/')
        strcat(out, "/");
    strcat(out, path);
    return shim_path_counts(out);
}

void shim_opened(int fd)
{
    char path[PATH_MAX];
    if (fd >= 0 && fd < DESCRIPTORS)
        atomic_store(&tracked[fd], path_of(fd, path) && shim_path_counts(path));
}

void shim_closed(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        atomic_store(&tracked[fd], false);
}

bool shim_tracks(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS && atomic_load(&tracked[fd]);
}
