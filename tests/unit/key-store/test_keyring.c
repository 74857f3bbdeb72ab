/* The ring of KEKs: what is refused, and by which name; where a KEK may lie. */
#include "scratch.h"

#include "common/protocol/labels.h"

struct places {
    struct scratch scratch;
    struct keyring *ring;
};

static int open_places(void **state)
{
    struct places *p = calloc(1, sizeof *p);
    *state = p;
    scratch_open(&p->scratch);
    unsetenv("CREDENTIALS_DIRECTORY");
    return 0;
}

static int close_places(void **state)
{
    struct places *p = *state;
    keyring_close(p->ring);
    scratch_close(&p->scratch);
    free(p);
    return 0;
}

static enum tg_code open_keks(struct places *p, struct kek_config *keks, size_t count, struct tg_error *err)
{
    keyring_close(p->ring);
    p->ring = NULL;
    return keyring_open(&(struct config_list){keks, count}, &p->ring, err);
}

/* Refused with this code and both words, and no ring is made. */
static void refused(struct places *p, struct kek_config *keks, size_t count, enum tg_code code,
                    const char *name, const char *what)
{
    struct tg_error err = {0};
    assert_int_equal(open_keks(p, keks, count, &err), code);
    assert_null(p->ring);
    if (strstr(err.text, name) == NULL || strstr(err.text, what) == NULL)
        fail_msg("\"%s\" has not both \"%s\" and \"%s\"", err.text, name, what);
}

static void set_bytes(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

/* ---- what is refused ---- */

static void a_damaged_file_is_refused_by_name_and_left_alone(void **state)
{
    struct places *p = *state;
    uint8_t bytes[40] = {0};
    struct kek_config kek = {.id = 4, .file = p->scratch.kek};
    static const size_t lengths[] = {0, 1, 31, 33, 40};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t len = 0;
        random_bytes(bytes, sizeof bytes);
        set_bytes(p->scratch.kek, bytes, lengths[i]);
        refused(p, &kek, 1, TG_INVALID_ARGUMENT, p->scratch.kek, "KEK 4");
        uint8_t *now = read_file(p->scratch.kek, &len);
        assert_int_equal(len, lengths[i]);
        assert_memory_equal(now, bytes, len);
        free(now);
    }
    memset(bytes, 0, sizeof bytes); /* what a crash leaves of a file's content */
    set_bytes(p->scratch.kek, bytes, KEK_LEN);
    refused(p, &kek, 1, TG_INVALID_ARGUMENT, p->scratch.kek, "all its bytes are the same");
}

static void a_file_that_others_can_read_or_that_is_missing_is_refused(void **state)
{
    struct places *p = *state;
    struct kek_config kek = {.id = 1, .file = p->scratch.kek};
    static const mode_t modes[] = {0444, 0440, 0420, 0404, 0402};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(p->scratch.kek, modes[i]), 0);
        refused(p, &kek, 1, TG_PERMISSION_DENIED, p->scratch.kek, "chmod 0400");
    }
    assert_int_equal(unlink(p->scratch.kek), 0);
    refused(p, &kek, 1, TG_NOT_FOUND, p->scratch.kek, "put the right key there");
    assert_int_equal(access(p->scratch.kek, F_OK), -1);
    kek.file = p->scratch.dir;
    refused(p, &kek, 1, TG_INVALID_ARGUMENT, p->scratch.dir, "not a regular file");
}

static void an_id_given_twice_is_refused(void **state)
{
    struct places *p = *state;
    struct kek_config keks[] = {{.id = 3, .file = p->scratch.kek},
                                {.id = 1, .file = p->scratch.kek},
                                {.id = 3, .file = p->scratch.ticket_key}};
    refused(p, keks, 3, TG_INVALID_ARGUMENT, "KEK 3", "listed twice");
}

static void no_place_and_several_places_are_refused(void **state)
{
    struct places *p = *state;
    char name[] = "kek";
    refused(p, &(struct kek_config){.id = 2}, 1, TG_INVALID_ARGUMENT, "KEK 2", "no place");
    refused(p, &(struct kek_config){.id = 2, .file = p->scratch.kek, .credential = name}, 1,
            TG_INVALID_ARGUMENT, "KEK 2", "two places");
    refused(p, &(struct kek_config){.id = 2, .file = p->scratch.kek, .pin_file = name}, 1,
            TG_INVALID_ARGUMENT, "KEK 2", "pin_file");
}

static void a_credential_that_is_not_there_is_refused(void **state)
{
    struct places *p = *state;
    char name[] = "kek2";
    char up[] = "here/../kek.key";
    char dots[] = "..";
    struct kek_config kek = {.id = 2, .credential = name};
    refused(p, &kek, 1, TG_NOT_FOUND, "KEK 2", "LoadCredential=kek2");
    setenv("CREDENTIALS_DIRECTORY", "somewhere", 1); /* systemd's is absolute */
    refused(p, &kek, 1, TG_NOT_FOUND, "KEK 2", "LoadCredential=kek2");
    setenv("CREDENTIALS_DIRECTORY", p->scratch.dir, 1);
    refused(p, &kek, 1, TG_NOT_FOUND, p->scratch.dir, "kek2");
    kek.credential = up;
    refused(p, &kek, 1, TG_INVALID_ARGUMENT, "KEK 2", "without slashes");
    kek.credential = dots;
    refused(p, &kek, 1, TG_INVALID_ARGUMENT, "KEK 2", "without slashes");
}

/* The table's bounds, as a file of configuration meets them. */
static void a_table_that_is_out_of_bounds_is_refused_with_its_line(void **state)
{
    static const char *const texts[] = {
        "id: 0\nfile: a\n", "id: -1\nfile: a\n",         "id: 1000\nfile: a\n",   "id: one\nfile: a\n",
        "file: a\n",        "id: 1\nenvironment: KEK\n", "id: 1\nkey: 00112233\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct kek_config kek = {0};
        struct tg_error err;
        assert_int_equal(config_parse("c.yaml", texts[i], strlen(texts[i]), kek_rows, &kek, &err),
                         TG_INVALID_ARGUMENT);
        assert_memory_equal(err.text, "c.yaml:", 7);
    }
}

/* ---- what is taken ---- */

static void derive(const struct keyring *ring, uint32_t id, const char *label, uint8_t out[32])
{
    struct tg_error err;
    struct secret *key = NULL;
    must(keyring_derive(ring, id, label, &key, &err), &err);
    assert_int_equal(secret_len(key), 32);
    memcpy(out, secret_view(key), 32);
    secret_free(key);
}

/* A mounted secret is a chain of links, so that it can be exchanged whole. */
static void a_mounted_secret_and_a_credential_are_read(void **state)
{
    struct places *p = *state;
    char link[128];
    char name[] = "mounted";
    uint8_t a[32];
    uint8_t b[32];
    snprintf(link, sizeof link, "%s/%s", p->scratch.dir, name);
    assert_int_equal(symlink("kek.key", link), 0);
    setenv("CREDENTIALS_DIRECTORY", p->scratch.dir, 1);
    struct kek_config keks[] = {{.id = 1, .file = p->scratch.kek},
                                {.id = 2, .file = link},
                                {.id = 3, .credential = name},
                                {.id = 9, .file = p->scratch.ticket_key}};
    struct tg_error err;
    must(open_keks(p, keks, 4, &err), &err);
    derive(p->ring, 1, "label", a);
    for (uint32_t id = 2; id <= 3; id++) {
        derive(p->ring, id, "label", b);
        assert_memory_equal(a, b, sizeof a);
    }
    derive(p->ring, 9, "label", b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_string_equal(keyring_place(p->ring, 3), "credential mounted");
    assert_null(keyring_place(p->ring, 4));
    assert_int_equal(keyring_count(p->ring), 4);
}

/* RFC 5869 2.3, one block, with what is on the disk: so that a database outlives this code. */
static void a_derivation_is_hkdf_expand(void **state)
{
    struct places *p = *state;
    static const uint8_t expected[32] = {0x9e, 0xfe, 0x91, 0x47, 0x57, 0x6d, 0xa6, 0x7e, 0x83, 0x1b, 0xeb,
                                         0x47, 0x36, 0x07, 0x5d, 0x26, 0xac, 0x32, 0x14, 0x3c, 0xb5, 0x1e,
                                         0x93, 0x87, 0x32, 0xdc, 0xc7, 0xd3, 0x28, 0xed, 0x16, 0x19};
    uint8_t kek[KEK_LEN];
    uint8_t got[32];
    for (size_t i = 0; i < sizeof kek; i++)
        kek[i] = (uint8_t)i;
    set_bytes(p->scratch.kek, kek, sizeof kek);
    p->ring = ring_of(p->scratch.kek);
    derive(p->ring, 1, LABEL_AT_REST_WRAP " 000102030405060708090a0b0c0d0e0f", got);
    assert_memory_equal(got, expected, sizeof got);
}

static void the_highest_id_is_the_newest_wherever_it_stands(void **state)
{
    struct places *p = *state;
    struct kek_config keks[] = {{.id = 7, .file = p->scratch.kek},
                                {.id = 999, .file = p->scratch.kek},
                                {.id = 8, .file = p->scratch.kek}};
    struct tg_error err;
    must(open_keks(p, keks, 3, &err), &err);
    assert_int_equal(keyring_newest(p->ring), 999);
    struct secret *out = NULL;
    assert_int_equal(keyring_derive(p->ring, 1, "label", &out, &err), TG_NOT_FOUND);
    assert_null(out);
}

static void the_check_value_tells_keks_apart_and_is_none_of_their_keys(void **state)
{
    struct places *p = *state;
    struct kek_config keks[] = {{.id = 1, .file = p->scratch.kek}, {.id = 2, .file = p->scratch.ticket_key}};
    struct tg_error err;
    uint8_t a[KEK_CHECK_LEN];
    uint8_t b[KEK_CHECK_LEN];
    size_t len = 0;
    must(open_keks(p, keks, 2, &err), &err);
    must(keyring_check_value(p->ring, 1, a, &err), &err);
    must(keyring_check_value(p->ring, 2, b, &err), &err);
    assert_memory_not_equal(a, b, sizeof a);
    must(keyring_check_value(p->ring, 1, b, &err), &err);
    assert_memory_equal(a, b, sizeof a);
    uint8_t *kek = read_file(p->scratch.kek, &len);
    assert_memory_not_equal(a, kek, sizeof a);
    free(kek);
}

/* ---- taking up more ---- */

static void merged_keks_are_found_beside_the_others(void **state)
{
    struct places *p = *state;
    struct kek_config old = {.id = 5, .file = p->scratch.kek};
    struct kek_config keks[] = {{.id = 6, .file = p->scratch.ticket_key}, {.id = 2, .file = p->scratch.kek}};
    struct keyring *fresh = NULL;
    struct tg_error err;
    must(open_keks(p, &old, 1, &err), &err);
    must(keyring_open(&(struct config_list){keks, 2}, &fresh, &err), &err);
    must(keyring_merge(p->ring, fresh, &err), &err);
    assert_int_equal(keyring_newest(p->ring), 6);
    assert_int_equal(keyring_count(p->ring), 3);
    uint8_t a[32];
    uint8_t b[32];
    derive(p->ring, 5, "label", a);
    derive(p->ring, 2, "label", b);
    assert_memory_equal(a, b, sizeof a);
}

static void more_than_the_ring_holds_are_refused_and_it_stays(void **state)
{
    struct places *p = *state;
    struct kek_config keks[KEKS_MAX + 1];
    struct keyring *fresh = NULL;
    struct tg_error err;
    for (int i = 0; i <= KEKS_MAX; i++)
        keks[i] = (struct kek_config){.id = 1 + i, .file = p->scratch.kek};
    refused(p, keks, KEKS_MAX + 1, TG_INVALID_ARGUMENT, "16", "17");
    must(open_keks(p, keks, KEKS_MAX, &err), &err);
    must(keyring_open(&(struct config_list){keks + KEKS_MAX, 1}, &fresh, &err), &err);
    assert_int_equal(keyring_merge(p->ring, fresh, &err), TG_FAILED_PRECONDITION);
    assert_int_equal(keyring_newest(p->ring), KEKS_MAX);
    keyring_close(fresh);
}

#define PLACES_TEST(f) cmocka_unit_test_setup_teardown(f, open_places, close_places)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACES_TEST(a_damaged_file_is_refused_by_name_and_left_alone),
        PLACES_TEST(a_file_that_others_can_read_or_that_is_missing_is_refused),
        PLACES_TEST(an_id_given_twice_is_refused),
        PLACES_TEST(no_place_and_several_places_are_refused),
        PLACES_TEST(a_credential_that_is_not_there_is_refused),
        PLACES_TEST(a_table_that_is_out_of_bounds_is_refused_with_its_line),
        PLACES_TEST(a_mounted_secret_and_a_credential_are_read),
        PLACES_TEST(a_derivation_is_hkdf_expand),
        PLACES_TEST(the_highest_id_is_the_newest_wherever_it_stands),
        PLACES_TEST(the_check_value_tells_keks_apart_and_is_none_of_their_keys),
        PLACES_TEST(merged_keks_are_found_beside_the_others),
        PLACES_TEST(more_than_the_ring_holds_are_refused_and_it_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
