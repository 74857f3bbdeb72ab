/* The index: what it may never do is hide an event. */
#include "tests/unit/audit/audit_fixture.h"

#include "services/audit/search/filter.h"
#include "services/audit/search/index.h"

enum { BUNDLES = 8, EVENTS = BUNDLES * TILE_WIDTH };

static struct log_writer *log_now;
static struct secret *key;
static struct index *index_now;

static struct log_entry entries[TILE_WIDTH];

static struct log_entry encode(const char *name, const char *user, const char *source, bool success,
                               uint64_t time_us)
{
    Tg__Event event = TG__EVENT__INIT;
    char texts[3][64];
    snprintf(texts[0], sizeof texts[0], "%s", name);
    snprintf(texts[1], sizeof texts[1], "%s", user);
    snprintf(texts[2], sizeof texts[2], "%s", source);
    event.event = texts[0];
    event.user = texts[1];
    event.source = texts[2];
    event.outcome = success ? TG__EVENT__OUTCOME__SUCCESS : TG__EVENT__OUTCOME__FAILURE;
    event.time_us = time_us;
    struct log_entry entry = {0};
    assert_int_equal(record_encode(&event, key, &entry.body, &entry.len, NULL), TG_OK);
    return entry;
}

static void append_bundle(void)
{
    uint64_t first = 0;
    assert_int_equal(log_now->ops->append(log_now, entries, TILE_WIDTH, &first, NULL), TG_OK);
    for (size_t i = 0; i < TILE_WIDTH; i++)
        free(entries[i].body);
}

/* Bundle b holds users u<b>-0 to u<b>-9 and events of second b; "common" is in all of them. */
static void fill(void)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        char user[32], source[32];
        snprintf(user, sizeof user, "u%u-%u", i / TILE_WIDTH, i % 10);
        snprintf(source, sizeof source, "192.0.2.%u:4000", i % 100);
        entries[i % TILE_WIDTH] =
            encode(i % 2 == 0 ? "login.accepted" : "stream.opened", i % 50 == 0 ? "common" : user, source,
                   i % 3 != 0, (i / TILE_WIDTH) * UINT64_C(1000000) + 500000);
        if ((i + 1) % TILE_WIDTH == 0)
            append_bundle();
    }
}

static int open_all(void **state)
{
    if (make_directory(state) != 0)
        return -1;
    key = secret_new(RECORD_KEY_LEN);
    log_now = open_log(*state);
    fill();
    index_now = index_open(*state, log_now);
    return 0;
}

static int close_all(void **state)
{
    index_close(index_now);
    log_now->ops->close(log_now);
    secret_free(key);
    return remove_directory(state);
}

static void advance_all(void)
{
    while (index_advance(index_now, 3))
        ;
}

static void path_of(const char *directory, char path[512])
{
    snprintf(path, 512, "%s/index", directory);
}

/* The bundles that a search would look at, as bits. */
static unsigned looked_at(const Tg__QueryRequest *request)
{
    struct filter filter;
    struct index_probe probe;
    unsigned bits = 0;
    assert_int_equal(filter_init(&filter, request, NULL), TG_OK);
    filter_probe(&filter, request, &probe);
    for (uint64_t at = index_skip(index_now, &probe, 0); at < EVENTS;
         at = index_skip(index_now, &probe, at + TILE_WIDTH))
        bits |= 1U << at / TILE_WIDTH;
    filter_fini(&filter);
    return bits;
}

static unsigned looked_at_for(char *user, char *event)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    request.user = user;
    request.event = event;
    return looked_at(&request);
}

enum { ALL = (1 << BUNDLES) - 1 };
static char none[] = "", rare[] = "u3-7", common[] = "common", nobody[] = "nobody",
            stream[] = "stream.opened", logins[] = "login.", odd[] = "login.acc.";

static void test_what_it_does_not_know_is_read(void **state)
{
    (void)state;
    assert_int_equal(index_entries(index_now), 0);
    assert_int_equal(looked_at_for(rare, none), ALL);
    assert_true(index_advance(index_now, 1));
    assert_int_equal(index_entries(index_now), TILE_WIDTH);
    assert_int_equal(looked_at_for(rare, none), ALL & ~1U);
}

static void test_a_damaged_record_hides_nothing(void **state)
{
    char path[512];
    advance_all();
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
    path_of(*state, path);
    for (unsigned place = 0; place < 4096; place += 97) {
        FILE *file = fopen(path, "r+b");
        off_t at = 5 * 4096 + place;
        fseeko(file, at, SEEK_SET);
        int byte = fgetc(file);
        fseeko(file, at, SEEK_SET);
        fputc(byte ^ 0x10, file);
        fclose(file);
        assert_int_equal(looked_at_for(rare, none), 1U << 3 | 1U << 5);
        file = fopen(path, "r+b");
        fseeko(file, at, SEEK_SET);
        fputc(byte, file);
        fclose(file);
    }
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
}

static void reopen(const char *directory)
{
    index_close(index_now);
    index_now = index_open(directory, log_now);
}

static void test_a_torn_end_is_made_again(void **state)
{
    char path[512];
    advance_all();
    path_of(*state, path);
    assert_int_equal(truncate(path, 6 * 4096 + 100), 0);
    reopen(*state);
    assert_int_equal(index_entries(index_now), 6 * TILE_WIDTH);
    assert_int_equal(looked_at_for(rare, none), 1U << 3 | 1U << 6 | 1U << 7);
    advance_all();
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
}

/* Records that are whole, but of other entries: an index that was copied, or left behind. */
static void test_another_logs_index_is_discarded(void **state)
{
    char path[512], first[4096];
    advance_all();
    path_of(*state, path);
    FILE *file = fopen(path, "r+b");
    assert_int_equal(fread(first, 1, sizeof first, file), sizeof first);
    fseeko(file, (BUNDLES - 1) * 4096, SEEK_SET);
    assert_int_equal(fwrite(first, 1, sizeof first, file), sizeof first);
    fclose(file);
    reopen(*state);
    assert_int_equal(index_entries(index_now), 0);
    advance_all();
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
}

static void test_longer_than_the_log(void **state)
{
    char path[512];
    advance_all();
    path_of(*state, path);
    assert_int_equal(truncate(path, 20 * 4096), 0);
    reopen(*state);
    assert_int_equal(index_entries(index_now), EVENTS);
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
}

static void test_removed_it_is_made_again(void **state)
{
    char path[512];
    advance_all();
    path_of(*state, path);
    assert_int_equal(unlink(path), 0);
    reopen(*state);
    assert_int_equal(looked_at_for(rare, none), ALL);
    advance_all();
    assert_int_equal(looked_at_for(rare, none), 1U << 3);
}

static void test_it_skips_what_cannot_match(void **state)
{
    Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
    char failure[] = "Failure", address[] = "198.51.100.1";
    (void)state;
    advance_all();
    assert_int_equal(looked_at_for(nobody, none), 0);
    assert_int_equal(looked_at_for(common, none), ALL);
    assert_int_equal(looked_at_for(common, logins), ALL);
    assert_int_equal(looked_at_for(none, odd), ALL);    /* a beginning that it does not know */
    assert_int_equal(looked_at_for(common, stream), 0); /* each is everywhere, but never together */
    request.address = address;
    assert_int_equal(looked_at(&request), 0);
    request = (Tg__QueryRequest)TG__QUERY_REQUEST__INIT;
    request.status = failure;
    assert_int_equal(looked_at(&request), ALL);
    request.since_us = 2000000;
    request.until_us = 4000000;
    assert_int_equal(looked_at(&request), 1U << 2 | 1U << 3);
}

/* Whatever is asked: what a search through everything finds lies in bundles that the index lets through. */
static bool match(void *arg, uint64_t sequence, const char *line, size_t len)
{
    void **args = arg;
    if (filter_matches(args[0], line, len))
        *(unsigned *)args[1] |= 1U << sequence / TILE_WIDTH;
    return true;
}

static void test_it_hides_nothing(void **state)
{
    (void)state;
    advance_all();
    for (unsigned i = 0; i < 300; i++) {
        Tg__QueryRequest request = TG__QUERY_REQUEST__INIT;
        struct filter filter;
        char user[32], address[32], event[32], failure[] = "Failure";
        unsigned found = 0;
        void *args[] = {&filter, &found};
        snprintf(user, sizeof user, "u%u-%u", i % BUNDLES, i % 11);
        snprintf(address, sizeof address, "192.0.2.%u", i % 101);
        snprintf(event, sizeof event, "%s", i % 2 == 0 ? "stream.opened" : "login.");
        if (i % 3 != 0)
            request.user = user;
        if (i % 5 == 0)
            request.address = address;
        if (i % 7 < 3)
            request.event = event;
        if (i % 11 == 0)
            request.status = failure;
        request.since_us = i % 13 == 0 ? 3000000 : 0;
        assert_int_equal(filter_init(&filter, &request, NULL), TG_OK);
        assert_int_equal(log_now->ops->read(log_now, 0, match, args, NULL), TG_OK);
        filter_fini(&filter);
        assert_int_equal(found & ~looked_at(&request), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_it_does_not_know_is_read, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_a_damaged_record_hides_nothing, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_a_torn_end_is_made_again, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_another_logs_index_is_discarded, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_longer_than_the_log, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_removed_it_is_made_again, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_it_skips_what_cannot_match, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_it_hides_nothing, open_all, close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
