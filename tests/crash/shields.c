#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "common/file.h"
#include "common/shield/file_internal.h"
#include "common/trace.h"
#include "tests/crash/crash.h"

enum { ID_HEX_LEN = 2 * TICKET_KEY_ID_LEN, CHEAP_LOG2_N = 10, WORK_MAX_US = 60000, CHARGE_MAX_US = 250000 };

/* ---- ids of keys ---- */

struct bag {
    char (*ids)[ID_HEX_LEN + 1];
    size_t count, room;
};

static void bag_put(struct bag *bag, const char *id)
{
    if (bag->count == bag->room) {
        bag->room = bag->room == 0 ? 64 : 2 * bag->room;
        bag->ids = realloc(bag->ids, bag->room * sizeof *bag->ids);
        assert_non_null(bag->ids);
    }
    snprintf(bag->ids[bag->count++], ID_HEX_LEN + 1, "%.*s", ID_HEX_LEN, id);
}

static bool bag_take(struct bag *bag, const char *id)
{
    for (size_t i = 0; i < bag->count; i++) {
        if (memcmp(bag->ids[i], id, ID_HEX_LEN) == 0) {
            memcpy(bag->ids[i], bag->ids[--bag->count], sizeof *bag->ids);
            return true;
        }
    }
    return false;
}

static bool bag_has(const struct bag *bag, const char *id)
{
    for (size_t i = 0; i < bag->count; i++)
        if (memcmp(bag->ids[i], id, ID_HEX_LEN) == 0)
            return true;
    return false;
}

/* ---- one shield's books ---- */

struct book {
    struct bag present; /* acknowledged */
    struct bag perhaps; /* being added when it broke off */
    struct bag taken;
    unsigned perhaps_taken; /* takes that broke off */
    size_t drained;
    bool foreign; /* the charger fills it: its keys are not known before */
};

static void note_adding(struct book *book, const char *line, bool done)
{
    for (const char *id = strchr(line, ' '); id != NULL; id = strchr(id + 1, ' '))
        bag_put(done ? &book->present : &book->perhaps, id + 1);
}

static void note_took(struct book *book, const char *ticket)
{
    const char *id = ticket + 2; /* after the version */
    if (bag_has(&book->taken, id))
        found(SPENT_TWICE, "a key came back onto a shield: %.*s", ID_HEX_LEN, id);
    else if (!bag_take(&book->present, id) && !bag_take(&book->perhaps, id) && !book->foreign)
        found(OTHER, "a key was on a shield that nobody put there: %.*s", ID_HEX_LEN, id);
    bag_put(&book->taken, id);
    book->drained++;
}

/* What a worker said: each line that begins something is followed by what became of it, or by nothing. */
static void note_work(struct book *book, char *text)
{
    char *adding = NULL;
    bool taking = false;
    char *line;
    while ((line = strsep(&text, "\n")) != NULL && text != NULL) {
        bool failed = strncmp(line, "failed", 6) == 0;
        if (strncmp(line, "took ", 5) == 0)
            note_took(book, line + 5);
        book->perhaps_taken += failed && taking;
        if (adding != NULL)
            note_adding(book, adding, strcmp(line, "added") == 0);
        adding = strncmp(line, "adding ", 7) == 0 ? line : NULL;
        taking = strcmp(line, "taking") == 0;
    }
    if (adding != NULL)
        note_adding(book, adding, false);
    book->perhaps_taken += taking;
}

/* ---- processes ---- */

static void start(struct process *process, const char *const *argv, bool shimmed)
{
    char log[PROCESS_PATH_MAX];
    snprintf(log, sizeof log, "%s", instance_path(bank.instance, "log/shield-%u.log", ++bank.starts));
    bank.shimmed[PART_SHIELDS] = shimmed;
    if (!shimmed)
        bank_forget(PART_SHIELDS);
    process_start(process, "shield", log, log, NULL, shimmed ? bank_under_shims(PART_SHIELDS, argv) : argv);
}

static void start_worker(struct process *process, const char *how, const char *shield, bool shimmed)
{
    const char *const argv[] = {program("tg-crash-shield"), how,
                                instance_path(bank.instance, "shields/%s", shield),
                                instance_path(bank.instance, "secrets/alice.pin"), NULL};
    start(process, argv, shimmed);
}

/* What it said, for free(). */
static char *output(const struct process *process)
{
    char *text = file_text(process->out);
    unlink(process->out);
    return text;
}

static void set_faults(void)
{
    struct fault_control *fault = bank.fault[PART_SHIELDS];
    static const uint32_t often[] = {20000, 200000};
    if (!bank.shimmed[PART_SHIELDS] || !chance(40))
        return;
    tally.bursts++;
    fault->calls = FAULT_ALL;
    fault->per_million = often[random_below(2)];
}

static void kill_it(struct process *process)
{
    tally.kills++;
    process_kill(process);
    bank.fault[PART_SHIELDS]->per_million = 0;
    if (bank.shimmed[PART_SHIELDS] && chance(60))
        bank_cut(PART_SHIELDS);
}

/* Takes everything from a shield; the books must say the same. */
static char *drain(struct book *book, const char *shield)
{
    struct process process = {0};
    start_worker(&process, "drain", shield, bank.shimmed[PART_SHIELDS]);
    int code = process_wait(&process, READY_TIMEOUT_MS);
    char *text = output(&process);
    char *copy = strdup(text);
    book->drained = 0;
    note_work(book, copy);
    free(copy);
    if (code != 0)
        found(OTHER, "a shield could not be opened and emptied again (%d): %s", code, text);
    if (bank.shimmed[PART_SHIELDS] && chance(50))
        bank_cut(PART_SHIELDS); /* what was taken must not come back */
    return text;
}

/* ---- victims ---- */

static struct book worked;
static struct book charged = {.foreign = true};

void shields_worker_killed(void)
{
    struct process process = {0};
    start_worker(&process, "work", "worked", chance(70));
    usleep((useconds_t)random_below(WORK_MAX_US / 2));
    set_faults();
    usleep((useconds_t)random_below(WORK_MAX_US / 2));
    kill_it(&process);
    char *text = output(&process);
    note_work(&worked, text);
    free(text);
    free(drain(&worked, "worked"));
    if (worked.present.count > worked.perhaps_taken)
        found(LOST, "%zu keys are gone from a shield, %u were perhaps taken", worked.present.count,
              worked.perhaps_taken);
    /* A take that failed may be undone by the next power cut: its key may still come back, unused. */
    while (worked.present.count > 0)
        bag_put(&worked.perhaps, worked.present.ids[--worked.present.count]);
    worked.perhaps_taken = 0;
}

static void start_charger(struct process *process, const char *count, bool shimmed)
{
    const char *const argv[] = {program("tg-charger"),
                                "--json",
                                "--config",
                                instance_path(bank.instance, "config/tg-charger.yaml"),
                                "--shield",
                                instance_path(bank.instance, "shields/charged"),
                                "--shield-id",
                                "charged",
                                "--user",
                                "alice",
                                "--count",
                                count,
                                "--chunk",
                                "10",
                                "--password-file",
                                instance_path(bank.instance, "secrets/alice.password"),
                                "--pin-file",
                                instance_path(bank.instance, "secrets/alice.pin"),
                                NULL};
    start(process, argv, shimmed);
}

/* How many keys it said were on the shield and usable. */
static size_t count_filled(struct process *process)
{
    static const char key[] = "\"filled\":";
    char *text = output(process);
    size_t filled = 0;
    for (const char *at = strstr(text, key); at != NULL; at = strstr(at + 1, key))
        filled = strtoul(at + sizeof key - 1, NULL, 10);
    free(text);
    return filled;
}

/* As a user would: again until it works. */
static size_t charge_until_done(void)
{
    uint64_t deadline_ms = clock_now_ms() + SETTLE_MS;
    size_t filled = 0;
    for (;;) {
        struct process process = {0};
        start_charger(&process, "10", bank.shimmed[PART_SHIELDS]);
        int code = process_wait(&process, READY_TIMEOUT_MS);
        if (code != 0 && clock_now_ms() > deadline_ms) {
            char *text = file_text(process.out);
            found(OTHER, "the charger does not fill any more (%d): %s", code, text);
            free(text);
        }
        filled += count_filled(&process);
        if (code == 0 || clock_now_ms() > deadline_ms)
            return filled;
    }
}

/* Tickets wait here for the next round, as this one's are under way. */
static struct {
    uint8_t (*tickets)[TICKET_LEN];
    size_t count;
} drained;

static void keep_drained(char *text)
{
    char *line;
    drained.tickets = realloc(drained.tickets, (drained.count + charged.drained + 1) * TICKET_LEN);
    assert_non_null(drained.tickets);
    while ((line = strsep(&text, "\n")) != NULL)
        if (strncmp(line, "took ", 5) == 0 &&
            hex_decode(line + 5, TICKET_LEN, drained.tickets[drained.count]))
            drained.count++;
}

void shields_hand_over(void)
{
    for (size_t i = 0; i < drained.count; i++)
        spends_add(drained.tickets[i]);
    drained.count = 0;
}

/* Every key on the shield opens once the charger has come to its end: shields_hand_over has them all asked
 * for. */
void shields_charger_killed(bool store_too)
{
    struct process process = {0};
    start_charger(&process, "30", chance(70));
    usleep((useconds_t)random_below(CHARGE_MAX_US));
    if (store_too)
        bank_kill(PART_KEY_STORE, chance(60));
    else
        set_faults();
    usleep((useconds_t)random_below(CHARGE_MAX_US / 4));
    kill_it(&process);
    if (store_too)
        bank_start(PART_KEY_STORE, chance(70));
    size_t filled = count_filled(&process);
    filled += charge_until_done();
    char *text = drain(&charged, "charged");
    if (charged.drained < filled)
        found(LOST, "%zu keys were filled, %zu are on the shield", filled, charged.drained);
    keep_drained(text);
    free(text);
}

static void make_shield(const char *name)
{
    struct secret *pin = NULL;
    struct tg_error err = {0};
    if (file_read_line_secret(instance_path(bank.instance, "secrets/alice.pin"), &pin, &err) != TG_OK ||
        shield_file_create_cost(instance_path(bank.instance, "shields/%s", name), name, pin, CHEAP_LOG2_N,
                                &err) != TG_OK)
        fail_msg("%s", err.text);
    secret_free(pin);
}

static void register_shield(const char *name)
{
    RESULT result = TGCTL(bank.instance, "shield", "add", name, "--owner", "alice");
    if (result.code != 0)
        fail_msg("tgctl shield add: %s", result.err);
}

void shields_open(void)
{
    make_shield("worked");
    make_shield("charged");
    register_shield("charged");
    register_shield("supply");
}
