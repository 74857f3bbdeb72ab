#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/pb.h"
#include "common/trace.h"
#include "tests/crash/crash.h"
#include "tests/crash/power.h"

struct bank bank;

enum { SHIM_WORDS = 5, DIES_AGAIN = 15 /* per cent of starts */, AGAIN_MAX_US = 40000 };

/* Where a part keeps its files; NULL: it has none. */
static const char *const kept[PARTS] = {
    [PART_AUDIT] = "data/audit", [PART_KEY_STORE] = "data/key-store", [PART_SHIELDS] = "shields"};

static const char *store_of(enum part part)
{
    static char stores[PARTS][PROCESS_PATH_MAX];
    snprintf(stores[part], sizeof stores[part], "%s/power/%d", bank.instance->dir, (int)part);
    return stores[part];
}

const char *const *bank_under_shims(enum part part, const char *const *argv)
{
    static char texts[SHIM_WORDS][2 * PROCESS_PATH_MAX];
    static const char *words[PROCESS_ARGUMENTS_MAX];
    snprintf(texts[0], sizeof texts[0], "/usr/bin/env");
    snprintf(texts[1], sizeof texts[1], "LD_PRELOAD=%s:%s", program("shim_fault.so"),
             program("shim_power.so"));
    snprintf(texts[2], sizeof texts[2], "TG_SHIM_DIRS=%s", instance_path(bank.instance, "%s", kept[part]));
    snprintf(texts[3], sizeof texts[3], "TG_POWER_DIR=%s", store_of(part));
    snprintf(texts[4], sizeof texts[4], "TG_FAULT_CONTROL=%s.fault", store_of(part));
    size_t count = 0;
    for (; count < SHIM_WORDS; count++)
        words[count] = texts[count];
    for (; *argv != NULL; argv++)
        words[count++] = *argv;
    words[count] = NULL;
    return words;
}

/* Each start has a log of its own, and only the newest is kept: thousands of them follow one another. */
void bank_start_begin(enum part part, bool shimmed)
{
    struct process *process = &bank.instance->parts[part];
    char binary[PROCESS_PATH_MAX];
    char log[PROCESS_PATH_MAX];
    snprintf(binary, sizeof binary, "%s/tg-%s", TG_BIN_DIR, part_name(part));
    const char *const argv[] = {binary, "--config",
                                instance_path(bank.instance, "config/%s.yaml", part_name(part)), NULL};
    if (process->out[0] != '\0')
        unlink(process->out);
    snprintf(log, sizeof log, "%s",
             instance_path(bank.instance, "log/%s-%u.log", part_name(part), ++bank.starts));
    bank.shimmed[part] = shimmed && kept[part] != NULL;
    if (!bank.shimmed[part] && kept[part] != NULL)
        bank_forget(part); /* what runs without the shim is not written down */
    process_start(process, part_name(part), log, log, NULL,
                  bank.shimmed[part] ? bank_under_shims(part, argv) : argv);
}

void bank_await_ready(enum part part)
{
    struct process *process = &bank.instance->parts[part];
    if (process_await(process, "\"event\":\"service.ready\"", READY_TIMEOUT_MS))
        return;
    char *text = file_text(process->out);
    found(OTHER, "%s did not start again:\n%s", part_name(part), text);
    free(text);
    tally_print();
    fflush(stdout);
    _exit(1); /* calls are under way: nothing can be torn down in order */
}

void bank_start(enum part part, bool shimmed)
{
    bank_start_begin(part, shimmed);
    bank_await_ready(part);
}

void bank_forget(enum part part)
{
    assert_true(power_forget(store_of(part)));
}

void bank_cut(enum part part)
{
    tally.cuts++;
    if (!power_cut(store_of(part), chance(50), random_below(UINT64_MAX)))
        found(OTHER, "the power cut of %s could not be simulated", part_name(part));
}

void bank_kill(enum part part, bool cut)
{
    tally.kills++;
    process_kill(&bank.instance->parts[part]);
    if (part == PART_AUDIT)
        checkpoints_look(); /* somebody may have seen it, synced or not */
    if (cut && bank.shimmed[part])
        bank_cut(part);
}

const char *bank_log(enum part part)
{
    return bank.instance->parts[part].out;
}

void bank_start_again(enum part part)
{
    bank_start_begin(part, chance(SHIMMED));
    while (chance(DIES_AGAIN)) {
        usleep((useconds_t)random_below(AGAIN_MAX_US));
        bank_kill(part, chance(CUT));
        bank_start_begin(part, chance(SHIMMED));
    }
    bank_await_ready(part);
}

static void make_shim_files(enum part part)
{
    char control[PROCESS_PATH_MAX];
    struct fault_control none = {.seed = random_below(UINT64_MAX)};
    assert_int_equal(mkdir(store_of(part), 0700), 0);
    snprintf(control, sizeof control, "%s.fault", store_of(part));
    int fd = open(control, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, &none, sizeof none) == (ssize_t)sizeof none);
    bank.fault[part] = mmap(NULL, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(bank.fault[part], MAP_FAILED);
    close(fd);
}

static struct rpc_client *client_of(const char *name, const char *socket)
{
    char address[PROCESS_PATH_MAX + 8];
    struct tg_error err;
    struct rpc_client *client = NULL;
    snprintf(address, sizeof address, "ipc://%s", instance_path(bank.instance, "run/%s.sock", socket));
    char *endpoint = address;
    const struct rpc_peer peer = {.endpoints = {.items = &endpoint, .count = 1}};
    if (rpc_client_open(&client, name, &peer, &err) != TG_OK)
        fail_msg("%s", err.text);
    return client;
}

static void register_qkud(void)
{
    RESULT result = TGCTL(bank.instance, "qkud", "add", "qkud-demo-1", "--out",
                          instance_path(bank.instance, "secrets/qkud.key"));
    if (result.code != 0)
        fail_msg("tgctl qkud add: %s", result.err);
}

void bank_open(void)
{
    bank.instance = instance_new("ipc");
    instance_set(bank.instance, "key-store", "answer_window",
                 "1h"); /* answers are asked for again until the end */
    assert_int_equal(mkdir(instance_path(bank.instance, "power"), 0700), 0);
    make_shim_files(PART_AUDIT);
    make_shim_files(PART_KEY_STORE);
    make_shim_files(PART_SHIELDS);
    part_start(bank.instance, PART_RADIUS);
    bank_start(PART_AUDIT, true);
    part_start(bank.instance, PART_BRIDGE);
    bank_start(PART_KEY_STORE, true);
    bank_start(PART_RESOLVER, false);
    register_qkud();
    bank.resolver = client_of("resolver", "ticket-resolver-gateway");
    bank.charger = client_of("key store", "key-store-charger");
    bank.audit = client_of("audit", "audit-service");
    bank.operator= client_of("audit", "audit-operator");
}

void bank_close(void)
{
    rpc_client_close(bank.resolver);
    rpc_client_close(bank.charger);
    rpc_client_close(bank.audit);
    rpc_client_close(bank.operator);
    for (int part = 0; part < PARTS; part++)
        if (bank.fault[part] != NULL)
            tally.injected += bank.fault[part]->injected;
    bank.instance->failed = !tally_clean();
    instance_end(bank.instance);
}
