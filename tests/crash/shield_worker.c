/* What a user's and a charger's programs do to a shield file, as a process that can be killed at any moment:
 *
 *   tg-crash-shield work SHIELD PIN-FILE     adds and takes random keys until it is killed
 *   tg-crash-shield drain SHIELD PIN-FILE    takes all
 *
 * It says on stdout what it is about to do and what was done: "adding HEX…" "added", "taking" "took HEX" or
 * "empty", "failed WHY". */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/shield/shield.h"
#include "common/ticket_info.h"
#include "common/trace.h"

enum { ADD_MAX = 3, LINE_MAX_LEN = 1024, AGAIN_US = 2000, FAILURES_MAX = 200 };

struct worker {
    const char *path;
    struct secret *pin;
    struct secret *ticket_key;
    struct shield *shield;
    unsigned failures;
};

static void say(const char *fmt, ...) TG_PRINTF(1, 2);
static void say(const char *fmt, ...)
{
    char line[LINE_MAX_LEN];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(line, sizeof line - 1, fmt, args);
    va_end(args);
    line[len] = '\n';
    if (write(STDOUT_FILENO, line, (size_t)len + 1) != len + 1)
        _exit(3);
}

/* After a failure the shield is opened anew, as the user would do. */
static void fail(struct worker *w, const struct tg_error *err)
{
    say("failed %s", err->text);
    shield_close(w->shield);
    w->shield = NULL;
    if (++w->failures > FAILURES_MAX)
        exit(2);
    usleep(AGAIN_US);
}

static unsigned draw(unsigned bound)
{
    unsigned number = 0;
    random_bytes(&number, sizeof number);
    return number % bound;
}

static bool ensure_open(struct worker *w)
{
    struct tg_error err;
    if (w->shield == NULL && shield_file_open(w->path, w->pin, &w->shield, &err) != TG_OK)
        fail(w, &err);
    return w->shield != NULL;
}

static void add(struct worker *w)
{
    uint8_t tickets[ADD_MAX][TICKET_LEN];
    struct shield_entry entries[ADD_MAX];
    char line[ADD_MAX * (2 * TICKET_KEY_ID_LEN + 1) + 1] = "";
    size_t count = 1 + draw(ADD_MAX);
    TG_CLEANUP(secret_cleanup) struct secret *key = secret_random(QUANTUM_KEY_LEN);
    struct tg_error err;
    for (size_t i = 0; i < count; i++) {
        struct ticket ticket = {.expires_s = UINT32_MAX};
        ticket_new_key_id(ticket.key_id);
        ticket_encode(&ticket, w->ticket_key, tickets[i]);
        entries[i] = (struct shield_entry){.ticket = tickets[i], .key = key};
        line[strlen(line) + 1] = '\0';
        line[strlen(line)] = ' ';
        hex_encode(ticket.key_id, TICKET_KEY_ID_LEN, line + strlen(line));
    }
    say("adding%s", line);
    if (shield_add(w->shield, entries, count, &err) == TG_OK)
        say("added");
    else
        fail(w, &err);
}

/* False: there is nothing left. */
static bool take(struct worker *w)
{
    struct shield_key *key = NULL;
    struct tg_error err;
    char hex[2 * TICKET_LEN + 1];
    say("taking");
    enum tg_code code = shield_take(w->shield, 1, &key, &err);
    if (code == TG_FAILED_PRECONDITION) {
        say("empty");
        return false;
    }
    if (code != TG_OK) {
        fail(w, &err);
        return true;
    }
    hex_encode(shield_key_ticket(key), TICKET_LEN, hex);
    say("took %s", hex);
    shield_key_free(key);
    return true;
}

static void work(struct worker *w)
{
    for (;;) {
        if (!ensure_open(w))
            continue;
        if (draw(2) == 0)
            add(w);
        else
            (void)take(w);
    }
}

static void drain(struct worker *w)
{
    while (!ensure_open(w) || take(w))
        ;
}

int main(int argc, char **argv)
{
    struct worker w = {0};
    struct tg_error err;
    if (argc != 4)
        return 64;
    w.path = argv[2];
    if (file_read_line_secret(argv[3], &w.pin, &err) != TG_OK) {
        say("failed %s", err.text);
        return 1;
    }
    w.ticket_key = secret_random(TICKET_KEY_LEN);
    if (strcmp(argv[1], "work") == 0)
        work(&w);
    drain(&w);
    shield_close(w.shield);
    secret_free(w.pin);
    secret_free(w.ticket_key);
    return 0;
}
