/* tg-audit-verify: checks an audit log, or one receipt of it, with nothing but its public key. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/file.h"
#include "common/trace.h"
#include "services/audit/log/tlog_check.h"
#include "tools/audit-verify/mirror.h"

enum { CA = 1000, CERT, CERT_KEY, TOKEN_FILE }; /* options without a letter */
enum { EXIT_GOOD = 0, EXIT_BAD = 1, GO_ON = -1, KEY_FILE_MAX = NOTE_KEYS_MAX * NOTE_VKEY_MAX };

static const char usage[] =
    "Usage: tg-audit-verify --key KEY [--key KEY] [--checkpoint FILE] [--archive DIR] DIRECTORY\n"
    "       tg-audit-verify --key KEY [--key KEY] [--ca FILE] [...] --mirror DIRECTORY URL\n"
    "       tg-audit-verify --key KEY [--key KEY] --receipt FILE\n"
    "       tg-audit-verify --version | --help\n";

/* Laid out so that help2man makes the man page from it. */
static const char help[] =
    "checks a TicketGate audit log, or one receipt of it, with nothing but its public key\n"
    "\n"
    "DIRECTORY holds the files of a C2SP tlog-tiles log: checkpoint and tile/. Every entry is checked "
    "against its\n"
    "tile, every tile against the one above it, and the root against the signed checkpoint.\n"
    "\nOptions:\n"
    "  -k, --key KEY         the log's public key, as tgctl audit key prints it: name+number+base64; or a "
    "file\n"
    "                        with such lines. One of them must have signed; what they have signed must be "
    "right\n"
    "  -c, --checkpoint FILE the log must also continue this older checkpoint: finds logs that were rolled "
    "back or\n"
    "                        forked\n"
    "  -a, --archive DIR     where the oldest entries were moved to; without it only their hashes are looked "
    "at,\n"
    "                        and that the log announces that they went\n"
    "  -m, --mirror DIR      fetch the log at URL into DIR first, or what DIR does not have yet, and check "
    "that; the "
    "log\n"
    "                        must continue the checkpoint that was there\n"
    "      --ca FILE         for https: the CA of the server's certificate (PEM)\n"
    "      --cert FILE       for https: our certificate (PEM), and\n"
    "      --cert-key FILE   its private key\n"
    "      --token-file FILE with the token that the server asks for\n"
    "  -r, --receipt FILE    check a receipt (tgctl audit receipt) instead, and print its entry\n"
    "  -V, --version         print the version\n"
    "  -h, --help            print this\n"
    "\nExit status:\n"
    "  0    it is good\n"
    "  1    it is not; what is wrong stands on standard error\n"
    "  64   the arguments are not right\n"
    "  66   a file cannot be read, or a server not be reached\n"
    "\nExamples:\n"
    "  tg-audit-verify --key log.vkey --checkpoint last-month.checkpoint /srv/audit-copy\n"
    "  tg-audit-verify --key log.vkey --token-file token --ca ca.crt --mirror copy "
    "https://audit.bank.example:8443\n"
    "  tg-audit-verify --key 'ticketgate.example/audit+1a2b3c4d+AQ...' --receipt 1842.tlog-proof\n";

struct arguments {
    struct note_keys keys;
    const char *checkpoint;
    const char *receipt;
    const char *directory;
    const char *archive;
    struct mirror_options mirror; /* directory NULL: none */
};

static int say(int code, const struct tg_error *err)
{
    fprintf(stderr, "tg-audit-verify: %s\n", err->text);
    return code;
}

/* NOT_FOUND and the like are the reader's trouble, the rest is the log's. */
static int exit_code(enum tg_code code)
{
    return code == TG_DATA_LOSS || code == TG_UNAUTHENTICATED || code == TG_INVALID_ARGUMENT ? EXIT_BAD
                                                                                             : EX_NOINPUT;
}

/* ---- arguments ---- */

static enum tg_code add_key_file(struct note_keys *keys, const char *path, struct tg_error *err)
{
    char *text = NULL;
    size_t len = 0;
    TG_TRY(file_read(path, KEY_FILE_MAX, &text, &len, err));
    enum tg_code code = TG_OK;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL && code == TG_OK;
         line = strtok_r(NULL, "\r\n", &rest))
        code = note_keys_add_public(keys, line, err);
    free(text);
    return code;
}

static int add_key(struct arguments *arguments, const char *value)
{
    struct tg_error err = {0};
    enum tg_code code = access(value, F_OK) == 0 ? add_key_file(&arguments->keys, value, &err)
                                                 : note_keys_add_public(&arguments->keys, value, &err);
    return code == TG_OK ? GO_ON : say(code == TG_INVALID_ARGUMENT ? EX_USAGE : EX_NOINPUT, &err);
}

/* Options that are kept as they are. */
static const char **text_option(struct arguments *arguments, int option)
{
    const struct {
        int option;
        const char **to;
    } rows[] = {{'c', &arguments->checkpoint},
                {'r', &arguments->receipt},
                {'a', &arguments->archive},
                {'m', &arguments->mirror.directory},
                {CA, &arguments->mirror.ca},
                {CERT, &arguments->mirror.cert},
                {CERT_KEY, &arguments->mirror.cert_key},
                {TOKEN_FILE, &arguments->mirror.token_file}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].option == option)
            return rows[i].to;
    return NULL;
}

static int take_option(struct arguments *arguments, int option)
{
    const char **text = text_option(arguments, option);
    if (text != NULL) {
        *text = optarg;
        return GO_ON;
    }
    switch (option) {
    case 'k':
        return add_key(arguments, optarg);
    case 'V':
        printf("tg-audit-verify (TicketGate) %s\n", TG_VERSION);
        return EXIT_GOOD;
    case 'h':
        printf("%s%s", usage, help);
        return EXIT_GOOD;
    default:
        return EX_USAGE;
    }
}

static int read_arguments(struct arguments *arguments, int argc, char **argv)
{
    static const struct option options[] = {
        {"key", required_argument, NULL, 'k'},
        {"checkpoint", required_argument, NULL, 'c'},
        {"receipt", required_argument, NULL, 'r'},
        {"version", no_argument, NULL, 'V'},
        {"archive", required_argument, NULL, 'a'},
        {"mirror", required_argument, NULL, 'm'},
        {"ca", required_argument, NULL, CA},
        {"cert", required_argument, NULL, CERT},
        {"cert-key", required_argument, NULL, CERT_KEY},
        {"token-file", required_argument, NULL, TOKEN_FILE},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int code = GO_ON;
    for (int option = 0;
         code == GO_ON && (option = getopt_long(argc, argv, "k:c:r:a:m:Vh", options, NULL)) != -1;)
        code = take_option(arguments, option);
    if (code != GO_ON)
        return code;
    arguments->directory = optind < argc ? argv[optind] : NULL;
    bool is_url = arguments->directory != NULL && mirror_is_url(arguments->directory);
    if (is_url) {
        arguments->mirror.url = arguments->directory;
        arguments->directory = arguments->mirror.directory;
    }
    bool one_thing = (arguments->directory != NULL) != (arguments->receipt != NULL);
    if (arguments->keys.count == 0 || !one_thing || is_url != (arguments->mirror.directory != NULL) ||
        (is_url && strncmp(arguments->mirror.url, "https", 5) == 0 && arguments->mirror.ca == NULL) ||
        argc - optind > 1 ||
        (arguments->receipt != NULL && (arguments->checkpoint != NULL || arguments->archive != NULL))) {
        fprintf(stderr, "%s", usage);
        return EX_USAGE;
    }
    return GO_ON;
}

/* ---- checking ---- */

static enum tg_code open_directory(const char *path, int *fd, struct tg_error *err)
{
    if (path == NULL)
        return TG_OK;
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    TG_ENSURE(*fd >= 0, err, TG_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
    return TG_OK;
}

static void text_cleanup(char **text)
{
    free(*text);
}

static enum tg_code check_opened(const struct arguments *arguments, struct tlog_check *check,
                                 struct tg_error *err)
{
    char *older = NULL;
    struct tg_error wrong = {0};
    if (arguments->checkpoint != NULL)
        TG_ENSURE(file_read(arguments->checkpoint, NOTE_MAX, &older, &check->older_len, &wrong) == TG_OK, err,
                  TG_NOT_FOUND, "%s", wrong.text);
    if (older != NULL)
        check->older = older;
    uint64_t start_ms = clock_now_ms();
    enum tg_code code = tlog_check(check, &wrong);
    free(older);
    TG_ENSURE(code == TG_OK, err, code, "%" PRIu64 " entries are good, then: %s", check->entries, wrong.text);
    printf("%s: %" PRIu64 " entries, all as signed (%" PRIu64 " ms)\n", check->checkpoint.origin,
           check->entries, clock_now_ms() - start_ms);
    if (check->archived > 0)
        printf("not looked at: entries 0 to %" PRIu64
               ", which lie in an archive (--archive DIR); their hashes are in the tree\n",
               check->archived - 1);
    return TG_OK;
}

static int check_directory(const struct arguments *arguments)
{
    struct tg_error err = {0};
    struct tlog_check check = {.keys = &arguments->keys, .directory = -1, .archive = -1};
    TG_CLEANUP(text_cleanup) char *before = NULL;
    enum tg_code code = TG_OK;
    if (arguments->mirror.url != NULL)
        code = mirror_fetch(&arguments->mirror, &arguments->keys, &before, &check.older_len, &err);
    check.older = before;
    if (code == TG_OK)
        code = open_directory(arguments->directory, &check.directory, &err);
    if (code == TG_OK)
        code = open_directory(arguments->archive, &check.archive, &err);
    if (code == TG_OK)
        code = check_opened(arguments, &check, &err);
    if (check.directory >= 0)
        close(check.directory);
    if (check.archive >= 0)
        close(check.archive);
    return code == TG_OK ? EXIT_GOOD : say(exit_code(code), &err);
}

static int check_receipt(const struct arguments *arguments)
{
    struct tg_error err = {0};
    struct receipt receipt;
    struct checkpoint checkpoint;
    char *text = NULL;
    size_t len = 0;
    if (file_read(arguments->receipt, RECEIPT_MAX, &text, &len, &err) != TG_OK)
        return say(EX_NOINPUT, &err);
    enum tg_code code = receipt_open(text, len, &arguments->keys, &receipt, &checkpoint, &err);
    free(text);
    if (code != TG_OK)
        return say(exit_code(code), &err);
    printf("%.*s\n", (int)receipt.entry_len, receipt.entry);
    fprintf(stderr, "entry %" PRIu64 " of %s, proved by its checkpoint of %" PRIu64 " entries\n",
            receipt.index, checkpoint.origin, checkpoint.size);
    receipt_free(&receipt);
    return EXIT_GOOD;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    signal(SIGPIPE, SIG_IGN); /* a server that goes away is an answer like others */
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL); /* no file of this machine has a say */
    int code = read_arguments(&arguments, argc, argv);
    if (code == GO_ON)
        code = arguments.receipt != NULL ? check_receipt(&arguments) : check_directory(&arguments);
    note_keys_free(&arguments.keys);
    if (fflush(stdout) != 0 && code == EXIT_GOOD)
        code = EX_IOERR;
    return code;
}
