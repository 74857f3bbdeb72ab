/* A disk that fails, or the end of the process, at a chosen call: linked into a test, or preloaded into a
 * program. TG_TEST_DISK_FAULT = "CALL N ACTION": at the Nth CALL ("write", "fsync", "rename", "unlink",
 * "mkostemp", "any"; of regular files and directories only) do ACTION: "kill" (before it), "killed" (after
 * it), "half" (write half of it, then kill), or fail with the error of that number. Another text starts to
 * count anew. */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/faulty/fault.h"

static struct fault fault;

static bool is_due(const char *call)
{
    (void)fault_read(&fault, "TG_TEST_DISK_FAULT");
    return fault_is_due(&fault, call);
}

static bool action_is(const char *name)
{
    return strcmp(fault.action, name) == 0;
}

/* True: the call is to fail, errno is set. */
static bool before(bool due)
{
    if (due && action_is("kill"))
        raise(SIGKILL);
    if (!due || action_is("killed") || action_is("half"))
        return false;
    errno = (int)strtol(fault.action, NULL, 10);
    return true;
}

static void after(bool due)
{
    if (due)
        raise(SIGKILL);
}

static bool on_disk(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
}

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    static ssize_t (*next)(int, const void *, size_t);
    if (next == NULL)
        *(void **)&next = real("write");
    bool due = on_disk(fd) && is_due("write");
    if (before(due))
        return -1;
    ssize_t n = next(fd, bytes, due && action_is("half") ? len / 2 : len);
    after(due);
    return n;
}

#define HOOK(call, on, parameters, arguments)                                                                \
    int call parameters                                                                                      \
    {                                                                                                        \
        static int(*next) parameters;                                                                        \
        if (next == NULL)                                                                                    \
            *(void **)&next = real(#call);                                                                   \
        bool due = (on) && is_due(#call);                                                                    \
        if (before(due))                                                                                     \
            return -1;                                                                                       \
        int rc = next arguments;                                                                             \
        after(due);                                                                                          \
        return rc;                                                                                           \
    }

HOOK(fsync, on_disk(fd), (int fd), (fd))
HOOK(rename, true, (const char *from, const char *to), (from, to))
HOOK(unlink, true, (const char *path), (path))
HOOK(mkostemp, true, (char *path, int flags), (path, flags))
