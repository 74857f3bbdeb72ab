#include "client/charger/charger.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/charger/fill.h"
#include "client/charger/options.h"
#include "client/low_water.h"
#include "client/say.h"

enum { EXIT_INTERRUPTED = 130, BAR_WIDTH = 40 };

static volatile sig_atomic_t interrupted;

struct charger {
    struct charger_options options;
    struct charger_config config;
    struct say say;
    struct rpc_client *key_store;
    struct etsi014_client *kme; /* NULL: none */
    struct secret *pin, *password;
    struct shield *shield;
    bool created; /* the shield is new */
    bool bar;     /* a progress bar is on the terminal */
};

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

/* The chunk under way is finished first, so that none of its keys is half-usable. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool stop(void *arg)
{
    (void)arg;
    return interrupted != 0;
}

static void progress(void *arg, uint32_t filled, uint32_t count)
{
    struct charger *c = arg;
    char text[64];
    if (c->bar) {
        unsigned done = (unsigned)((uint64_t)filled * BAR_WIDTH / count);
        fprintf(stderr, "\r[%.*s%*s] %u of %u keys", (int)done, "########################################",
                (int)(BAR_WIDTH - done), "", filled, count);
        if (filled == count)
            fputc('\n', stderr);
        return;
    }
    snprintf(text, sizeof text, "%u of %u keys", filled, count);
    SAY(&c->say, LOG_INFO, "fill.progress", text, LOG_NUMBER("filled", filled), LOG_NUMBER("count", count));
}

/* A shield that is there already asks for its PIN, a new one for a new PIN. */
static enum client_exit read_secrets(struct charger *c, struct tg_error *err)
{
    const struct charger_options *options = &c->options;
    char question[160];
    c->created = !shield_place_is_token(&options->shield) && access(options->shield.name, F_OK) != 0 &&
                 errno == ENOENT;
    snprintf(question, sizeof question, "%sPIN of the shield %s", c->created ? "New " : "",
             options->shield_id);
    enum tg_code code = c->created ? secret_source_read_new(&options->pin, "PIN", question, &c->pin, err)
                                   : secret_source_read(&options->pin, "PIN", question, &c->pin, err);
    if (code == TG_OK) {
        snprintf(question, sizeof question, "Password of %s", options->user);
        code = secret_source_read(&options->password, "password", question, &c->password, err);
    }
    return code == TG_OK ? EXIT_OK : exit_for_secret(code);
}

static enum client_exit open_shield(struct charger *c, struct tg_error *err)
{
    const struct charger_options *options = &c->options;
    if (c->created && shield_file_create(options->shield.name, options->shield_id, c->pin, err) != TG_OK) {
        c->created = false;
        return err->code == TG_INVALID_ARGUMENT ? EXIT_BAD_INPUT : EXIT_CANNOT_CREATE;
    }
    struct shield_status status;
    enum tg_code code = shield_place_open(&options->shield, c->pin, &c->shield, err);
    if (code == TG_OK)
        code = shield_get_status(c->shield, 0, &status, err);
    if (code != TG_OK)
        return exit_for_shield(code);
    if (strcmp(status.shield_id, options->shield_id) != 0) {
        tg_fail(err, TG_INVALID_ARGUMENT, "%s is the shield %s, not %s", options->shield.name,
                status.shield_id, options->shield_id);
        return EXIT_BAD_INPUT;
    }
    return EXIT_OK;
}

/* A site of its own draws from its own KME. */
static enum client_exit open_kme(struct charger *c, struct tg_error *err)
{
    if (c->config.kme.url == NULL)
        return EXIT_OK;
    if (c->config.slave_sae == NULL) {
        tg_fail(err, TG_INVALID_ARGUMENT, "kme.slave_sae is missing: the SAE of the key store");
        return EXIT_CONFIG;
    }
    return etsi014_client_open(&c->config.kme, &c->kme, err) == TG_OK ? EXIT_OK : EXIT_CONFIG;
}

static enum client_exit prepare(struct charger *c, struct tg_error *err)
{
    enum tg_code code = charger_config_load(&c->options, &c->config, err);
    if (code != TG_OK)
        return exit_for_file(code);
    enum client_exit how = open_kme(c, err);
    if (how == EXIT_OK)
        how = read_secrets(c, err);
    if (how == EXIT_OK)
        how = open_shield(c, err);
    if (how == EXIT_OK && rpc_client_open(&c->key_store, "key store", &c->config.key_store, err) != TG_OK)
        how = EXIT_CONFIG;
    return how;
}

static void say_filled(struct charger *c, uint32_t filled)
{
    struct shield_status status;
    if (shield_get_status(c->shield, (uint64_t)time(NULL), &status, NULL) != TG_OK)
        return;
    char text[200];
    snprintf(text, sizeof text, "%u new key%s on shield %s, %zu ready%s", filled, filled == 1 ? "" : "s",
             status.shield_id, status.ready, interrupted ? "; interrupted" : "");
    SAY(&c->say, LOG_INFO, "fill.done", text, LOG_TEXT("shield_id", status.shield_id),
        LOG_NUMBER("filled", filled), LOG_NUMBER("ready", status.ready));
    low_water_say(&c->say, c->options.low_water, status.ready);
}

/* A shield that we have made goes again when nothing came of it; not one with keys on it, even if they are
 * not confirmed yet: the next run does that. */
static void drop_created(struct charger *c)
{
    struct shield_status status;
    if (c->created && c->shield != NULL && shield_get_status(c->shield, 0, &status, NULL) == TG_OK &&
        status.ready == 0)
        unlink(c->options.shield.name);
}

static enum client_exit fill(struct charger *c, struct tg_error *err)
{
    const struct fill_request request = {.key_store = c->key_store,
                                         .timeout_ms = (uint32_t)c->config.timeout_ms,
                                         .kme = c->kme,
                                         .slave_sae = c->config.slave_sae,
                                         .shield = c->shield,
                                         .shield_id = c->options.shield_id,
                                         .user = c->options.user,
                                         .password = c->password,
                                         .count = c->options.count,
                                         .chunk = c->options.chunk,
                                         .progress = progress,
                                         .stop = stop,
                                         .arg = c};
    uint32_t filled = 0;
    catch_signals();
    enum client_exit how = fill_run(&request, &filled, err);
    if (c->bar && filled > 0 && filled < c->options.count)
        fputc('\n', stderr);
    if (filled > 0)
        say_filled(c, filled);
    else
        drop_created(c);
    return how;
}

static enum client_exit run(struct charger *c, struct tg_error *err)
{
    enum client_exit how = prepare(c, err);
    if (how == EXIT_OK)
        how = fill(c, err);
    else
        drop_created(c);
    return how;
}

static void charger_fini(struct charger *c)
{
    rpc_client_close(c->key_store);
    etsi014_client_close(c->kme);
    shield_close(c->shield);
    secret_free(c->pin);
    secret_free(c->password);
    charger_config_free(&c->config);
}

static void help(void)
{
    puts("Usage: tg-charger [fill] --config FILE --shield FILE|URI --shield-id ID --user NAME --count N "
         "[OPTION]...\n"
         "Log a user in and fill his shield with fresh quantum keys.\n"
         "\n"
         "      --config FILE          where the key store is, and our certificate (see the sample "
         "tg-charger.yaml)\n"
         "      --key-store ADDRESS    the key store's listener for chargers: tls+tcp://host:port or "
         "ipc:///path\n"
         "      --certificate FILE     our certificate (PEM), and\n"
         "      --key FILE             its private key; not needed for ipc://\n"
         "      --ca FILE              who signs the key store's certificate\n"
         "                             these four stand in place of what the file says\n"
         "  -s, --shield FILE|URI      the shield: a file (one that is not there yet is created with a new "
         "PIN),\n"
         "                             or a PKCS#11 token whose label is the shield's id: pkcs11:token=ID\n"
         "      --pkcs11-module FILE   the token's PKCS#11 module (those that p11-kit is configured with)\n"
         "      --shield-id ID         the shield's id, as it was registered (tgctl shield add)\n"
         "  -u, --user NAME            the shield's owner, who logs in\n"
         "  -n, --count N              how many keys (1 to 4096)\n"
         "      --chunk N              how many in one go (100, at most 1000); each is a login of its own, "
         "so\n"
         "                             where passwords are good for one time, take all in one\n"
         "      --low-water N          warn when fewer keys than this are on the shield in the end (10)\n"
         "      --pin-file FILE        the shield's PIN: the first line of a file that only you can read\n"
         "      --pin-fd N             the same from descriptor N\n"
         "      --password-file FILE   the user's password, likewise\n"
         "      --password-fd N        the same from descriptor N (after the PIN, if both name it)\n"
         "                             without these you are asked at the terminal\n"
         "  -q, --quiet                say nothing but warnings and errors\n"
         "      --json                 messages as JSON lines, on stderr\n"
         "  -h, --help                 show this\n"
         "      --config-help          every key of the configuration file\n"
         "      --version              show the version\n"
         "\n"
         "An interrupted fill leaves nothing half-usable: run the same command again.");
    exit_print_table(stdout);
    puts("\nExamples:\n"
         "  tg-charger fill --config /etc/ticketgate/tg-charger.yaml --shield /media/shield/alice.tgs \\\n"
         "      --shield-id shield-17 --user alice --count 500");
}

int charger_command(int argc, char **argv)
{
    struct charger c = {0};
    struct tg_error err = {0};
    enum tg_code code = charger_options_parse(argc, argv, &c.options, &err);
    c.say = (struct say){.program = "tg-charger", .quiet = c.options.quiet, .json = c.options.json};
    c.bar = isatty(STDERR_FILENO) && !c.options.quiet && !c.options.json;
    say_open(&c.say);
    if (code == TG_OK && c.options.help) {
        help();
        return EXIT_OK;
    }
    if (code == TG_OK && c.options.config_help) {
        config_help(charger_config_rows);
        return EXIT_OK;
    }
    if (code == TG_OK && c.options.version) {
        puts("tg-charger (TicketGate) " TG_VERSION);
        return EXIT_OK;
    }
    enum client_exit how = code == TG_OK ? run(&c, &err) : EXIT_USAGE;
    charger_fini(&c);
    if (how != EXIT_OK)
        say_end(&c.say, how, &err);
    return how == EXIT_OK && interrupted ? EXIT_INTERRUPTED : (int)how;
}
