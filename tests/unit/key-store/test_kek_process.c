/* tg-key-store itself, killed again and again while it rotates its KEKs: nothing is lost, it goes on, and the
 * old KEK can go at the end and no sooner. */
#include "process.h"

enum { FILLS = 6, FILL = 1000, KEYS = FILLS * FILL, KILLS = 20 };

struct vault {
    struct rig *r;
    struct process p;
    char second[128];
    Tg__FillResponse *fills[FILLS];
    bool spent[KEYS];
};

static const Tg__FillEntry *entry(const struct vault *v, size_t i)
{
    return v->fills[i / FILL]->entries[i % FILL];
}

static void configure(const struct vault *v, bool first, bool second)
{
    char keks[512];
    snprintf(keks, sizeof keks, "[%s%s%s%s%s%s%s]", first ? "{id: 1, file: " : "",
             first ? v->r->scratch.kek : "", first ? "}" : "", first && second ? ", " : "",
             second ? "{id: 2, file: " : "", second ? v->second : "", second ? "}" : "");
    write_config_keks(v->r, "CENTRE01", keks);
}

static void fill_all(struct vault *v)
{
    add_qkud_q1(v->r);
    add_shield_of(v->r, "s1", "alice");
    for (size_t i = 0; i < FILLS; i++) {
        Tg__FillRequest fill = fill_request("s1", "alice", FILL);
        v->fills[i] = answered(v->r->charger, "Fill", &fill.base);
        assert_int_equal(v->fills[i]->n_entries, FILL);
        confirm(v->r, v->fills[i], "s1", FILL);
    }
}

/* Adds KEK 2 without a restart. */
static void add_second(struct vault *v)
{
    char out[OUTPUT_MAX];
    configure(v, true, true);
    kill(v->p.pid, SIGHUP);
    if (!wait_output(&v->p, "kek.added", out))
        fail_msg("%s", out);
}

static enum tg_code look(struct vault *v, uint64_t *left, bool *rotating)
{
    Tg__KekListRequest request = TG__KEK_LIST_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    struct tg_error err;
    enum tg_code code = call_id(v->r->admin, "KekList", &request.base, NULL, 2000, &response, &err);
    if (code != TG_OK)
        return code;
    const Tg__KekListResponse *list = (const Tg__KekListResponse *)response;
    *left = 0;
    for (size_t i = 0; i < list->n_keks; i++)
        *left += list->keks[i]->newest ? 0 : list->keks[i]->keys;
    *rotating = list->rotating;
    rpc_free_response(response);
    return TG_OK;
}

static void spend_some(struct vault *v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t at;
        random_bytes(&at, sizeof at);
        at %= KEYS;
        if (!v->spent[at])
            spend_ok(v->r, entry(v, at));
        v->spent[at] = true;
    }
}

/* At a random moment, anywhere between two steps of the rotation. */
static void kill_on_the_way(struct vault *v)
{
    uint8_t moment;
    random_bytes(&moment, sizeof moment);
    usleep(moment * 40U); /* up to 10 ms */
    end(&v->p, SIGKILL);
}

/* Without KEK 1 it does not start while a key needs it. False: none did any more, by chance. */
static bool refuses_without_first(struct vault *v)
{
    char out[OUTPUT_MAX];
    configure(v, false, true);
    v->p = start(v->r);
    bool ready = wait_output(&v->p, "service.ready", out);
    int status = end(&v->p, ready ? SIGKILL : 0);
    configure(v, true, true);
    if (!ready && (strstr(out, "KEK 1 is not in keks") == NULL || WEXITSTATUS(status) != 1))
        fail_msg("status %d: %s", status, out);
    return !ready;
}

static void killed_on_the_way_it_goes_on_and_loses_nothing(void **state)
{
    struct vault v = {.r = *state};
    unsigned killed = 0;
    uint64_t left = 1;
    bool rotating = true;
    snprintf(v.second, sizeof v.second, "%s/kek-2.key", v.r->scratch.dir);
    write_key(v.second);
    v.p = start_ready(v.r);
    wait_serving(v.r);
    fill_all(&v);
    add_second(&v);
    Tg__KekRotateRequest rotate = TG__KEK_ROTATE_REQUEST__INIT;
    done(v.r->admin, "KekRotate", &rotate.base);
    for (; killed < KILLS; killed++) {
        kill_on_the_way(&v);
        if (!refuses_without_first(&v))
            break;
        v.p = start_ready(v.r);
        if (killed % 8 != 7)
            continue;
        wait_serving(v.r);
        spend_some(&v, 10);
    }
    print_message("killed %u times before it was over\n", killed);
    if (killed < KILLS)
        v.p = start_ready(v.r);
    wait_serving(v.r);
    EVENTUALLY(look(&v, &left, &rotating) == TG_OK && !rotating);
    assert_int_equal(left, 0);
    assert_true(count_events(v.r, "kek.rotated") >= 1);
    assert_int_equal(end(&v.p, SIGTERM), 0);

    /* The old KEK is gone for good, and all that was not spent is there. */
    configure(&v, false, true);
    assert_int_equal(unlink(v.r->scratch.kek), 0);
    v.p = start_ready(v.r);
    wait_serving(v.r);
    for (size_t i = 0; i < KEYS; i += 7) {
        Tg__SpendRequest spend = spend_request(entry(&v, i));
        if (v.spent[i])
            refused(v.r->resolver, "Spend", &spend.base, TG_FAILED_PRECONDITION, "spent");
        else
            spend_ok(v.r, entry(&v, i));
    }
    assert_int_equal(end(&v.p, SIGTERM), 0);
    for (size_t i = 0; i < FILLS; i++)
        rpc_free_response(&v.fills[i]->base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_on_the_way_it_goes_on_and_loses_nothing, peers_open,
                                        peers_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
