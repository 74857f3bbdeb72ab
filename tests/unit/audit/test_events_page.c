/* docs/audit.md lists every event that a service sends, and no other. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NAMES_MAX = 128 };

struct names {
    char name[NAMES_MAX][64];
    size_t count;
};

static void add(struct names *names, const char *text, size_t len)
{
    assert_true(names->count < NAMES_MAX && len < sizeof names->name[0]);
    for (size_t i = 0; i < names->count; i++) {
        if (strlen(names->name[i]) == len && memcmp(names->name[i], text, len) == 0)
            return;
    }
    memcpy(names->name[names->count], text, len);
    names->name[names->count++][len] = '\0';
}

static bool has(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->name[i], name) == 0)
            return true;
    }
    return false;
}

static char *slurp(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    char *text = NULL;
    size_t room = 0;
    if (getdelim(&text, &room, '\0', file) < 0)
        fail_msg("cannot read %s", path);
    fclose(file);
    return text;
}

/* "login.accepted" between two of `quote`. */
static void collect(struct names *names, const char *text, char quote)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz_";
    for (const char *at = strchr(text, quote); at != NULL; at = strchr(at + 1, quote)) {
        size_t first = strspn(at + 1, characters);
        if (first == 0 || at[1 + first] != '.')
            continue;
        size_t second = strspn(at + 2 + first, characters);
        if (second > 0 && at[2 + first + second] == quote)
            add(names, at + 1, first + 1 + second);
    }
}

/* Log lines have names of the same form: those are no audit events. */
static void blank_log_lines(char *text)
{
    for (char *at = strstr(text, "LOG("); at != NULL; at = strstr(at + 1, "LOG(")) {
        char *end = strchr(at, ';');
        if (end != NULL)
            memset(at, ' ', (size_t)(end - at));
    }
}

static void collect_file(struct names *names, const char *folder, const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", TG_SOURCE_DIR, folder, file);
    char *text = slurp(path);
    blank_log_lines(text);
    collect(names, text, '"');
    free(text);
}

/* C files in a folder whose names begin so; but for the table of what OCSF calls events, which sends none. */
static void collect_folder(struct names *names, const char *folder, const char *prefix)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TG_SOURCE_DIR, folder);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        fail_msg("no directory %s", path);
        return;
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);
        if (len >= 3 && strcmp(entry->d_name + len - 2, ".c") == 0 &&
            strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && strcmp(entry->d_name, "ocsf.c") != 0)
            collect_file(names, folder, entry->d_name);
    }
    closedir(dir);
}

/* A service's folder and the rooms in it. */
static void collect_service(struct names *names, const char *folder)
{
    char path[512];
    collect_folder(names, folder, "");
    snprintf(path, sizeof path, "%s/%s", TG_SOURCE_DIR, folder);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char room[320];
        snprintf(room, sizeof room, "%s/%s", folder, entry->d_name);
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            collect_folder(names, room, "");
    }
    closedir(dir);
}

/* The first column of the table under "## Events". */
static void collect_page(struct names *names)
{
    char *text = slurp(TG_SOURCE_DIR "/docs/audit.md");
    char *table = strstr(text, "## Events");
    assert_non_null(table);
    char *end = strstr(table, "## The files");
    assert_non_null(end);
    *end = '\0';
    for (char *line = strtok(table, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *column = line[0] == '|' ? strchr(line + 1, '|') : NULL;
        if (column == NULL)
            continue;
        *column = '\0';
        collect(names, line, '`');
    }
    free(text);
}

static bool is_event(const char *name)
{
    static const char *const prefixes[] = {"handshake.", "login.", "session.", "stream.", "key.",   "keys.",
                                           "ticket.",    "qkud.",  "shield.",  "radius.", "audit.", "sae."};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

static void test_page_and_code_agree(void **state)
{
    static const char *const services[] = {"services/gateway", "services/ticket-resolver",
                                           "services/key-store", "services/radius-bridge", "services/audit"};
    static struct names code;
    static struct names page;
    (void)state;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        collect_service(&code, services[i]);
    collect_folder(&code, "common", "audit_");
    collect_page(&page);
    assert_true(page.count >= 20);
    for (size_t i = 0; i < code.count; i++) {
        if (is_event(code.name[i]) && !has(&page, code.name[i]))
            fail_msg("%s is sent, but not in docs/audit.md", code.name[i]);
    }
    for (size_t i = 0; i < page.count; i++) {
        if (!has(&code, page.name[i]))
            fail_msg("%s is in docs/audit.md, but nobody sends it", page.name[i]);
    }
}

static void test_ocsf_names_no_other_events(void **state)
{
    static struct names ocsf;
    static struct names page;
    (void)state;
    collect_file(&ocsf, "services/audit", "ocsf.c");
    collect_page(&page);
    assert_true(ocsf.count >= 20);
    for (size_t i = 0; i < ocsf.count; i++) {
        if (!has(&page, ocsf.name[i]))
            fail_msg("%s is in services/audit/ocsf.c, but not in docs/audit.md", ocsf.name[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_and_code_agree),
        cmocka_unit_test(test_ocsf_names_no_other_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
