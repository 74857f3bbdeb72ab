#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "common/trace.h"
#include "tests/crash/crash.h"

enum { KEK_BYTES = 32, ROTATING_MAX_US = 30000 };

static const char *kek_file(unsigned id)
{
    return instance_path(bank.instance, id == 1 ? "secrets/kek.key" : "secrets/kek-%u.key", id);
}

static void make_kek(unsigned id)
{
    uint8_t kek[KEK_BYTES];
    random_bytes(kek, sizeof kek);
    int fd = open(kek_file(id), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    assert_true(fd >= 0 && write(fd, kek, sizeof kek) == (ssize_t)sizeof kek);
    close(fd);
}

/* `keks` of the key store's configuration becomes these two, or the newer alone. */
static void configure(unsigned older, unsigned newer)
{
    const char *path = instance_path(bank.instance, "config/key-store.yaml");
    char *text = file_text(path);
    char *rest = text;
    char *line;
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    while ((line = strsep(&rest, "\n")) != NULL)
        if (strncmp(line, "keks:", 5) != 0 && strncmp(line, "  - {id: ", 9) != 0)
            fprintf(out, "%s\n", line);
    fprintf(out, "keks:\n");
    if (older != 0)
        fprintf(out, "  - {id: %u, file: \"%s\"}\n", older, kek_file(older));
    fprintf(out, "  - {id: %u, file: \"%s\"}\n", newer, kek_file(newer));
    assert_int_equal(fclose(out), 0);
    free(text);
}

static void reload(void)
{
    struct process *store = &bank.instance->parts[PART_KEY_STORE];
    process_signal(store, SIGHUP);
    if (!process_await(store, "\"event\":\"config.reloaded\"", READY_TIMEOUT_MS))
        found(OTHER, "the key store did not take another KEK; its log is %s", bank_log(PART_KEY_STORE));
}

static void rotate(bool wait)
{
    uint64_t deadline_ms = clock_now_ms() + SETTLE_MS;
    for (;;) {
        RESULT result = TGCTL(bank.instance, "kek", "rotate", wait ? "--wait" : NULL);
        if (result.code == 0)
            return;
        if (clock_now_ms() > deadline_ms) {
            found(OTHER, "tgctl kek rotate: %d: %s", result.code, result.err);
            return;
        }
    }
}

void rotation_killed(void)
{
    static unsigned newest = 1;
    unsigned older = newest++;
    make_kek(newest);
    configure(older, newest);
    reload();
    rotate(false);
    usleep((useconds_t)random_below(ROTATING_MAX_US));
    bank_kill(PART_KEY_STORE, chance(CUT));
    bank_start_again(PART_KEY_STORE);
    rotate(true);
    configure(0, newest); /* no key may need the old one now */
    bank_kill(PART_KEY_STORE, chance(CUT));
    bank_start_again(PART_KEY_STORE);
    unlink(kek_file(older));
}
