#include "common/protocol/frame.h"
#include "tests/unit/common/hex.h"

static enum tg_code decode(const char *hex, size_t max, struct frame_header *header)
{
    struct bytes b = from_hex(hex);
    assert_int_equal(b.len, FRAME_HEADER_LEN);
    struct tg_error err = {0};
    enum tg_code code = frame_decode(b.data, max, header, &err);
    assert_int_equal(code, err.code);
    return code;
}

static void unknown_types_are_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t in[FRAME_HEADER_LEN] = {(uint8_t)type, 0, 0, 1, 0, 0, 0, (uint8_t)(type >= 16 && type <= 20)};
        struct frame_header header;
        bool known = (type >= 1 && type <= 9) || (type >= 16 && type <= 24);
        enum tg_code code = frame_decode(in, FRAME_MAX, &header, NULL);
        assert_int_equal(code, known ? TG_OK : TG_INVALID_ARGUMENT);
        assert_int_equal(strcmp(frame_name(type), "unknown") != 0, known);
    }
}

static void frames_over_the_limit_are_refused(void **state)
{
    (void)state;
    struct frame_header header = {0};
    assert_int_equal(decode("01000ff900000000", FRAME_MAX_BEFORE_LOGIN, &header), TG_INVALID_ARGUMENT);
    assert_int_equal(decode("01ffffff00000000", FRAME_MAX_BEFORE_LOGIN, &header), TG_INVALID_ARGUMENT);
    assert_int_equal(decode("12003ff900000001", FRAME_MAX, &header), TG_INVALID_ARGUMENT);
    assert_int_equal(header.type, 0);
    assert_int_equal(decode("01000ff800000000", FRAME_MAX_BEFORE_LOGIN, &header), TG_OK);
    assert_int_equal(header.length + FRAME_HEADER_LEN, FRAME_MAX_BEFORE_LOGIN);
    assert_int_equal(decode("12003ff800000001", FRAME_MAX, &header), TG_OK);
    assert_int_equal(header.length, FRAME_PAYLOAD_MAX);
}

static void streams_stand_only_where_they_belong(void **state)
{
    (void)state;
    for (uint8_t type = 1; type <= 24; type++) {
        if (type > 9 && type < 16)
            continue;
        bool has = type >= FRAME_OPEN && type <= FRAME_CLOSE;
        struct frame_header header;
        const uint8_t without[FRAME_HEADER_LEN] = {type};
        const uint8_t with_low[FRAME_HEADER_LEN] = {type, 0, 0, 0, 0, 0, 0, 1};
        const uint8_t with_high[FRAME_HEADER_LEN] = {type, 0, 0, 0, 0x80, 0, 0, 0};
        assert_int_equal(frame_decode(without, FRAME_MAX, &header, NULL), has ? TG_INVALID_ARGUMENT : TG_OK);
        assert_int_equal(frame_decode(with_low, FRAME_MAX, &header, NULL), has ? TG_OK : TG_INVALID_ARGUMENT);
        assert_int_equal(frame_decode(with_high, FRAME_MAX, &header, NULL),
                         has ? TG_OK : TG_INVALID_ARGUMENT);
    }
}

static void every_byte_has_its_place(void **state)
{
    (void)state;
    const struct frame_header in = {.type = FRAME_DATA, .length = 0x000123, .stream = 0x89abcdef};
    uint8_t bytes[FRAME_HEADER_LEN];
    frame_encode(&in, bytes);
    assert_hex(bytes, sizeof bytes, "1200012389abcdef");
    struct frame_header out;
    assert_int_equal(frame_decode(bytes, FRAME_MAX, &out, NULL), TG_OK);
    assert_int_equal(out.type, in.type);
    assert_int_equal(out.length, in.length);
    assert_int_equal(out.stream, in.stream);
    frame_encode(&(struct frame_header){.type = 1, .length = 0xfedcba}, bytes);
    assert_hex(bytes, sizeof bytes, "01fedcba00000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_types_are_refused),
        cmocka_unit_test(frames_over_the_limit_are_refused),
        cmocka_unit_test(streams_stand_only_where_they_belong),
        cmocka_unit_test(every_byte_has_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
