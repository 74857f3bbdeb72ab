/* Signed notes, against the example of the specification (c2sp.org/signed-note), and paths of tiles. */
#include "tests/unit/audit/audit_fixture.h"

static const char example_vkey[] = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
static const char example_note[] =
    "This is an example message.\n"
    "\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

static struct note_keys keys;

static int add_example(void **state)
{
    (void)state;
    return note_keys_add_public(&keys, example_vkey, NULL) == TG_OK ? 0 : -1;
}

static int free_keys(void **state)
{
    (void)state;
    note_keys_free(&keys);
    return 0;
}

static enum tg_code open_note(const char *note)
{
    size_t text_len = 0;
    size_t signers = 0;
    enum tg_code code = note_open(note, strlen(note), &keys, &text_len, &signers, NULL);
    if (code == TG_OK) {
        assert_int_equal(signers, 1);
        assert_int_equal(text_len, 28);
    }
    return code;
}

static void test_example_of_the_specification(void **state)
{
    char vkey[NOTE_VKEY_MAX];
    (void)state;
    assert_int_equal(open_note(example_note), TG_OK);
    note_key_vkey(keys.key[0], vkey);
    assert_string_equal(vkey, example_vkey);
}

static void test_every_changed_byte_is_found(void **state)
{
    char note[sizeof example_note];
    (void)state;
    for (size_t i = 0; i < sizeof note - 1; i++) {
        for (unsigned change = 1; change < 256; change++) {
            memcpy(note, example_note, sizeof note);
            note[i] = (char)((unsigned char)note[i] ^ change);
            if (note[i] != '\0' && open_note(note) == TG_OK)
                fail_msg("byte %zu changed to %02x was not found", i, (unsigned char)note[i]);
        }
    }
}

static void test_malformed_notes_are_refused(void **state)
{
    static const char *const notes[] = {
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\nmore\n",
        "text\n\n\u2014 name\n",
        "text\n\n\u2014 name AAAA\n", /* no signature behind the number */
        "text\n\n\u2014  AAAAAAAA\n",
        "text\n\n\u2014 name AAAAAAA\n",
        "te\txt\n\n\u2014 name AAAAAAAA\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (open_note(notes[i]) != TG_DATA_LOSS)
            fail_msg("\"%s\" was taken for a note", notes[i]);
    }
}

static void test_strangers_signatures_are_passed_over(void **state)
{
    char note[1024];
    const char *line = strstr(example_note, "\u2014");
    (void)state;
    snprintf(note, sizeof note, "This is an example message.\n\n\u2014 witness.example AAAAAAAA\n%s", line);
    assert_int_equal(open_note(note), TG_OK);
    snprintf(note, sizeof note, "This is an example message.\n\n\u2014 witness.example AAAAAAAA\n");
    assert_int_equal(open_note(note), TG_UNAUTHENTICATED);
    /* Another key under the same name is a stranger; the same number with a wrong signature is a forgery. */
    snprintf(note, sizeof note, "This is an example message.\n\n\u2014 example.com/foo AAAAAAAA\n%s", line);
    assert_int_equal(open_note(note), TG_OK);
    snprintf(note, sizeof note, "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8\n%s", line);
    assert_int_equal(open_note(note), TG_DATA_LOSS);
}

static void test_bad_keys_are_refused(void **state)
{
    static const char *const vkeys[] = {
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", /* another name, same number
                                                                                  */
        "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2",
        "example.com/foo+530d903a+B+kyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
    };
    (void)state;
    for (size_t i = 0; i < sizeof vkeys / sizeof vkeys[0]; i++) {
        struct note_keys bad = {0};
        if (note_keys_add_public(&bad, vkeys[i], NULL) == TG_OK)
            fail_msg("\"%s\" was taken for a key", vkeys[i]);
        note_keys_free(&bad);
    }
}

static void test_base64_has_one_form(void **state)
{
    uint8_t bytes[8];
    (void)state;
    assert_int_equal(base64_decode("AAE=", 4, bytes, sizeof bytes), 2);
    assert_int_equal(base64_decode("AAE=", 4, bytes, 1), -1);
    assert_int_equal(base64_decode("AAF=", 4, bytes, sizeof bytes), -1); /* left-over bits */
    assert_int_equal(base64_decode("AA=", 3, bytes, sizeof bytes), -1);
    assert_int_equal(base64_decode(" AAE", 4, bytes, sizeof bytes), -1);
    assert_int_equal(base64_decode("AAE\n", 4, bytes, sizeof bytes), -1);
    assert_int_equal(base64_decode("AA-_", 4, bytes, sizeof bytes), -1);
}

static void test_tile_paths(void **state)
{
    static const struct {
        const char *path;
        struct tile tile;
    } good[] = {
        {"tile/0/000", {0, 0, 256}},
        {"tile/0/x001/x234/067", {0, 1234067, 256}}, /* the specification's example */
        {"tile/entries/x001/x234/067.p/8", {TILE_ENTRIES, 1234067, 8}},
        {"tile/7/000.p/255", {7, 0, 255}},
    };
    static const char *const bad[] = {
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/00",
        "tile/8/000",
        "tile/00/000",
        "tile/0/0000",
        "tile/0/001/000",
        "tile/0/x000/001",
        "tile/0/x1",
        "tile/0/000.p",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "/tile/0/000",
        "tile/0/../0/000",
        "tile/0/000.p/1/2",
        "tile/entries",
        "tile/entriesx/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char path[TILE_PATH_MAX];
        struct tile tile;
        tile_path(&good[i].tile, path);
        assert_string_equal(path, good[i].path);
        assert_true(tile_parse(path, &tile));
        assert_int_equal(tile.level, good[i].tile.level);
        assert_int_equal(tile.index, good[i].tile.index);
        assert_int_equal(tile.width, good[i].tile.width);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tile tile;
        if (tile_parse(bad[i], &tile))
            fail_msg("\"%s\" was taken for a tile", bad[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, add_example, free_keys)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_example_of_the_specification),     TEST(test_every_changed_byte_is_found),
        TEST(test_malformed_notes_are_refused),      TEST(test_strangers_signatures_are_passed_over),
        cmocka_unit_test(test_bad_keys_are_refused), cmocka_unit_test(test_base64_has_one_form),
        cmocka_unit_test(test_tile_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
