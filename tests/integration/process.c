#include "tests/integration/process.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/trace.h"

static void redirect(const char *path, int flags, int fd)
{
    int opened = open(path, flags | O_CLOEXEC, 0600);

    if (opened < 0 || dup2(opened, fd) < 0)
        _exit(125);
}

/* In the child, between fork and exec. */
static _Noreturn void become(const struct process *process, const struct process_options *options,
                             const char *const *argv, pid_t parent)
{
    union {
        const char *const *in;
        char *const *out;
    } cast = {.in = argv};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it ended before we asked to be told */
        _exit(125);
    redirect(options != NULL && options->input != NULL ? options->input : "/dev/null", O_RDONLY, 0);
    redirect(process->out, O_WRONLY | O_CREAT | O_APPEND, 1);
    redirect(process->err, O_WRONLY | O_CREAT | O_APPEND, 2);
    if (options != NULL && options->terminal != 0 &&
        (setsid() < 0 || ioctl(options->terminal, TIOCSCTTY, 0) != 0))
        _exit(125);
    execv(argv[0], cast.out);
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(125);
}

void process_start(struct process *process, const char *name, const char *out, const char *err,
                   const struct process_options *options, const char *const *argv)
{
    pid_t parent = getpid();
    int fd;

    assert_int_equal(process->pid, 0);
    snprintf(process->name, sizeof(process->name), "%s", name);
    snprintf(process->out, sizeof(process->out), "%s", out);
    snprintf(process->err, sizeof(process->err), "%s", err);
    fd = open(out, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600); /* there before anybody watches it */
    assert_true(fd >= 0);
    process->out_from = lseek(fd, 0, SEEK_END);
    close(fd);
    process->pid = fork();
    if (process->pid == 0)
        become(process, options, argv, parent);
    assert_true(process->pid > 0);
    process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    assert_true(process->pid_fd >= 0);
}

bool process_running(const struct process *process)
{
    struct pollfd ended = {.fd = process->pid_fd, .events = POLLIN};

    return process->pid != 0 && poll(&ended, 1, 0) == 0;
}

char *file_text(const char *path)
{
    FILE *in = fopen(path, "re");
    size_t len = 0;
    char *text = NULL;

    if (in == NULL || getdelim(&text, &len, '\0', in) < 0) {
        free(text);
        text = strdup("");
    }
    if (in != NULL)
        fclose(in);
    assert_non_null(text);
    return text;
}

bool file_contains(const char *path, const char *needle)
{
    char *text = file_text(path);
    bool found = strstr(text, needle) != NULL;

    free(text);
    return found;
}

/* Looks at what came since the last look; moves on past the needle when it is there. */
static bool look(struct process *process, const char *needle)
{
    char *text = file_text(process->out);
    const char *from = strlen(text) >= (size_t)process->out_from ? text + process->out_from : text;
    const char *found = strstr(from, needle);

    if (found != NULL)
        process->out_from = (off_t)(found + strlen(needle) - text);
    free(text);
    return found != NULL;
}

bool process_await(struct process *process, const char *needle, int timeout_ms)
{
    uint64_t deadline = clock_now_ms() + (uint64_t)timeout_ms;
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    bool found;

    assert_true(watch >= 0 && inotify_add_watch(watch, process->out, IN_MODIFY) >= 0);
    while (!(found = look(process, needle)) && clock_now_ms() < deadline) {
        struct pollfd events[] = {{.fd = watch, .events = POLLIN}, {.fd = process->pid_fd, .events = POLLIN}};
        char drained[1024];

        if (poll(events, 2, (int)(deadline - clock_now_ms())) < 0)
            break;
        if (events[1].revents != 0) { /* ended: what it said last counts */
            found = look(process, needle);
            break;
        }
        (void)!read(watch, drained, sizeof(drained));
    }
    close(watch);
    return found;
}

static bool port_answers(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int connected = connect(fd, (const struct sockaddr *)&address, sizeof(address));

    close(fd);
    return connected == 0;
}

void process_await_port(struct process *process, int port, int timeout_ms)
{
    uint64_t deadline = clock_now_ms() + (uint64_t)timeout_ms;

    while (!port_answers(port)) {
        if (!process_running(process) || clock_now_ms() > deadline)
            fail_msg("%s does not listen on port %d; see %s", process->name, port, process->err);
        poll(NULL, 0, 10);
    }
}

int process_wait(struct process *process, int timeout_ms)
{
    struct pollfd ended = {.fd = process->pid_fd, .events = POLLIN};
    int status;

    assert_true(process->pid != 0);
    if (poll(&ended, 1, timeout_ms) != 1)
        return -1;
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    close(process->pid_fd);
    process->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void process_limit_files(const struct process *process, size_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes > 0 ? bytes : RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

    assert_true(process->pid != 0);
    assert_int_equal(prlimit(process->pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

void process_signal(const struct process *process, int number)
{
    assert_true(process->pid != 0);
    assert_int_equal(kill(process->pid, number), 0);
}

int process_stop(struct process *process, int timeout_ms)
{
    int code;

    process_signal(process, SIGTERM);
    code = process_wait(process, timeout_ms);
    if (code < 0) {
        process_kill(process);
        fail_msg("%s did not end within %d ms after SIGTERM", process->name, timeout_ms);
    }
    return code;
}

void process_kill(struct process *process)
{
    if (process->pid == 0)
        return;
    process_signal(process, SIGKILL);
    (void)process_wait(process, 10000);
}
