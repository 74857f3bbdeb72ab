#include "client/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const int caught_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { CAUGHT_COUNT = sizeof caught_signals / sizeof *caught_signals };

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static void signals_catch(struct sigaction before[CAUGHT_COUNT])
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: read() is to return */
    sigemptyset(&action.sa_mask);
    caught = 0;
    for (size_t i = 0; i < CAUGHT_COUNT; i++)
        sigaction(caught_signals[i], &action, &before[i]);
}

static void signals_restore(const struct sigaction before[CAUGHT_COUNT])
{
    for (size_t i = 0; i < CAUGHT_COUNT; i++)
        sigaction(caught_signals[i], &before[i], NULL);
}

/* Reads up to the line's end. What does not fit is read and dropped, and makes the answer too long. */
static size_t read_line(int tty, struct secret *line, bool *ended)
{
    size_t used = 0;
    char c = 0;
    *ended = false;
    while (caught == 0) {
        ssize_t n = read(tty, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        *ended = n <= 0;
        if (n <= 0 || c == '\n')
            break;
        if (used < secret_len(line))
            secret_bytes(line)[used] = (uint8_t)c;
        used++;
    }
    secret_wipe(&c, sizeof c);
    return used;
}

/* One try. *signal_number: what interrupted it, or 0. */
static enum tg_code ask_once(int tty, const char *question, bool echo, struct secret *line, size_t *len,
                             int *signal_number, struct tg_error *err)
{
    struct sigaction before[CAUGHT_COUNT];
    struct termios normal, quiet;
    TG_ENSURE(tcgetattr(tty, &normal) == 0, err, TG_UNAVAILABLE, "the terminal does not work: %s",
              strerror(errno));
    quiet = normal;
    if (!echo)
        quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    signals_catch(before);
    tcsetattr(tty, TCSAFLUSH, &quiet);
    dprintf(tty, "%s: ", question);
    bool ended = false;
    *len = read_line(tty, line, &ended);
    *signal_number = caught;
    tcsetattr(tty, TCSAFLUSH, &normal);
    if (!echo || *signal_number != 0 || ended)
        dprintf(tty, "\n");
    signals_restore(before);
    TG_ENSURE(*signal_number != 0 || !ended, err, TG_CANCELLED, "nothing was entered");
    return TG_OK;
}

static enum tg_code ask(int tty, const char *question, bool echo, struct secret **answer,
                        struct tg_error *err)
{
    TG_CLEANUP(secret_cleanup) struct secret *line = secret_new(TERMINAL_ANSWER_MAX);
    TG_ENSURE(line != NULL, err, TG_RESOURCE_EXHAUSTED, "out of locked memory");
    size_t len = 0;
    int signal_number = 0;
    do {
        TG_TRY(ask_once(tty, question, echo, line, &len, &signal_number, err));
        if (signal_number != 0)
            raise(signal_number); /* ends or stops us; after a stop the question is asked again */
    } while (signal_number == SIGTSTP);
    TG_ENSURE(signal_number == 0, err, TG_CANCELLED, "interrupted");
    TG_ENSURE(len > 0, err, TG_CANCELLED, "nothing was entered");
    TG_ENSURE(len <= TERMINAL_ANSWER_MAX, err, TG_CANCELLED, "that is too long: at most %u bytes",
              TERMINAL_ANSWER_MAX);
    *answer = secret_copy(secret_view(line), len);
    TG_ENSURE(*answer != NULL, err, TG_RESOURCE_EXHAUSTED, "out of locked memory");
    return TG_OK;
}

enum tg_code terminal_ask(const char *question, bool echo, struct secret **answer, struct tg_error *err)
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    TG_ENSURE(tty >= 0, err, TG_UNAVAILABLE, "there is no terminal to ask for: %s", question);
    enum tg_code code = ask(tty, question, echo, answer, err);
    close(tty);
    return code;
}
