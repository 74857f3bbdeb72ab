/* Does to files what its arguments say, for test_shims.c, under a shim and without knowing of it:
 *
 *   create FILE | write FILE OFFSET BYTE COUNT | sync FILE | syncdir DIR | truncate FILE SIZE | rename FROM
 * TO | remove FILE | try FILE COUNT: so many writes with sync; the exit code says how many of them failed
 *
 * Any failure of the others ends with code 100. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CANNOT = 100, BLOCK = 8192 };

static void must(int good, const char *what)
{
    if (good)
        return;
    perror(what);
    exit(CANNOT);
}

static int opened(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    return fd;
}

static void do_create(char **a)
{
    close(opened(a[0], O_RDWR | O_CREAT | O_EXCL));
}

static void do_write(char **a)
{
    char block[BLOCK];
    int fd = opened(a[0], O_WRONLY);
    size_t len = strtoul(a[3], NULL, 10);
    memset(block, a[2][0], sizeof block);
    must(len <= sizeof block && pwrite(fd, block, len, atol(a[1])) == (ssize_t)len, "pwrite");
    close(fd);
}

static void do_sync(char **a)
{
    int fd = opened(a[0], O_RDWR);
    must(fdatasync(fd) == 0, "fdatasync");
    close(fd);
}

static void do_syncdir(char **a)
{
    int fd = opened(a[0], O_RDONLY | O_DIRECTORY);
    must(fsync(fd) == 0, "fsync");
    close(fd);
}

static void do_truncate(char **a)
{
    int fd = opened(a[0], O_WRONLY);
    must(ftruncate(fd, atol(a[1])) == 0, "ftruncate");
    close(fd);
}

static void do_rename(char **a)
{
    must(rename(a[0], a[1]) == 0, "rename");
}

static void do_remove(char **a)
{
    must(unlink(a[0]) == 0, "unlink");
}

static void do_try(char **a)
{
    int failed = 0;
    int fd = opened(a[0], O_WRONLY | O_APPEND);
    for (long left = atol(a[1]); left > 0; left--)
        failed += write(fd, "12345678", 8) != 8 || fdatasync(fd) != 0;
    exit(failed < CANNOT ? failed : CANNOT - 1);
}

static const struct {
    const char *name;
    int arguments;
    void (*act)(char **a);
} commands[] = {
    {"create", 1, do_create},   {"write", 4, do_write},       {"sync", 1, do_sync},
    {"syncdir", 1, do_syncdir}, {"truncate", 2, do_truncate}, {"rename", 2, do_rename},
    {"remove", 1, do_remove},   {"try", 2, do_try},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

int main(int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        size_t c = 0;
        while (c < COMMANDS && strcmp(commands[c].name, argv[i]) != 0)
            c++;
        must(c < COMMANDS && i + commands[c].arguments < argc, "arguments");
        commands[c].act(argv + i + 1);
        i += 1 + commands[c].arguments;
    }
    return 0;
}
