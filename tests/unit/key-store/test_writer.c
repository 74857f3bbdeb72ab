/* The writer, over a store that fails where the test wants it to. */
#include "scratch.h"

#include <pthread.h>
#include <stdatomic.h>

#include "services/key-store/store/writer.h"

enum step { NOTHING, BEGIN, MARK, UNMARK, COMMIT, PROBE };

/* Counts what was applied; "durable" is what a commit has made so. */
struct faulty {
    struct store base;
    _Atomic int fails; /* enum step */
    _Atomic int code;  /* with which */
    _Atomic int times; /* how often; 0: always */
    bool took_effect;  /* a commit that fails has, all the same */
    int poisoned;      /* items in this transaction that make its commit fail */
    size_t expected;   /* keys, of the newest transaction */
    int applied, marked;
    _Atomic int durable;
    _Atomic unsigned ticks, transactions, rollbacks;
    bool open;
};

static enum tg_code step(struct store *s, enum step step, struct tg_error *err)
{
    struct faulty *f = (struct faulty *)s;
    if (f->fails != (int)step)
        return TG_OK;
    if (f->times > 0 && --f->times == 0)
        f->fails = NOTHING;
    return tg_fail(err, (enum tg_code)f->code, "the disk says no");
}

static enum tg_code faulty_begin(struct store *s, struct tg_error *err)
{
    struct faulty *f = (struct faulty *)s;
    TG_INVARIANT(!f->open);
    TG_TRY(step(s, BEGIN, err));
    f->open = true;
    f->applied = f->durable;
    f->poisoned = 0;
    f->transactions++;
    return TG_OK;
}

static void faulty_rollback(struct store *s)
{
    struct faulty *f = (struct faulty *)s;
    TG_INVARIANT(f->open);
    f->open = false;
    f->rollbacks++;
}

static enum tg_code faulty_commit(struct store *s, struct tg_error *err)
{
    struct faulty *f = (struct faulty *)s;
    TG_INVARIANT(f->open);
    f->open = false;
    TG_ENSURE(f->poisoned == 0, err, TG_INTERNAL, "a rule is broken");
    enum tg_code code = step(s, COMMIT, err);
    if (code == TG_OK || f->took_effect)
        f->durable = f->applied;
    return code;
}

static enum tg_code faulty_keys_expected(struct store *s, const uint8_t *const *key_ids, size_t count,
                                         struct tg_error *err)
{
    (void)key_ids;
    (void)err;
    ((struct faulty *)s)->expected = count;
    return TG_OK;
}

static enum tg_code faulty_mark(struct store *s, struct tg_error *err)
{
    struct faulty *f = (struct faulty *)s;
    f->marked = f->applied;
    return step(s, MARK, err);
}

static enum tg_code faulty_unmark(struct store *s, bool keep, struct tg_error *err)
{
    struct faulty *f = (struct faulty *)s;
    if (!keep)
        f->applied = f->marked;
    return step(s, UNMARK, err);
}

static void faulty_tidy(struct store *s, bool idle)
{
    (void)idle;
    TG_INVARIANT(!((struct faulty *)s)->open);
}

static enum tg_code faulty_note_set(struct store *s, const char *name, const void *value, size_t len,
                                    struct tg_error *err)
{
    (void)name;
    (void)value;
    (void)len;
    return step(s, PROBE, err);
}

static const struct store_ops faulty_ops = {.begin = faulty_begin,
                                            .commit = faulty_commit,
                                            .rollback = faulty_rollback,
                                            .mark = faulty_mark,
                                            .unmark = faulty_unmark,
                                            .tidy = faulty_tidy,
                                            .keys_expected = faulty_keys_expected,
                                            .note_set = faulty_note_set};

static enum tg_code count_tick(void *arg, struct store *store, bool *more, struct tg_error *err)
{
    struct faulty *f = arg;
    (void)store;
    (void)err;
    *more = ++f->ticks < 5; /* five pieces at once, then one each second */
    return TG_OK;
}

/* ---- items ---- */

struct item {
    struct work work;
    bool refuse, poison;
    pthread_mutex_t *lock; /* taken by the apply of a gate */
    const struct writer *writer;
    _Atomic int calls, applies;
    bool problem; /* the writer told of one when this item ended; upkeep may soon find that it is over */
    enum tg_code status;
    char text[64];
};

static enum tg_code apply_item(struct work *work, struct store *store, struct tg_error *err)
{
    struct item *item = (struct item *)work;
    struct faulty *f = (struct faulty *)store;
    item->applies++;
    f->poisoned += item->poison;
    f->applied++;
    if (item->lock != NULL) {
        pthread_mutex_lock(item->lock);
        pthread_mutex_unlock(item->lock);
    }
    TG_ENSURE(!item->refuse, err, TG_NOT_FOUND, "refused");
    return TG_OK;
}

static void item_done(struct work *work, enum tg_code status, const char *text)
{
    struct item *item = (struct item *)work;
    item->status = status;
    item->problem = item->writer != NULL && writer_problem(item->writer) != NULL;
    snprintf(item->text, sizeof item->text, "%s", text);
    item->calls++;
}

enum { ITEMS = 20 };

struct rig {
    struct faulty store;
    struct writer *writer;
    pthread_mutex_t gate_lock;
    struct item gate, items[ITEMS];
};

static int rig_open(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct tg_error err;
    *state = r;
    quiet();
    r->store.base.ops = &faulty_ops;
    r->store.code = TG_UNAVAILABLE;
    pthread_mutex_init(&r->gate_lock, NULL);
    must(writer_start(&r->store.base, &(struct writer_tick){count_tick, &r->store}, &r->writer, &err), &err);
    return 0;
}

static int rig_close(void **state)
{
    struct rig *r = *state;
    writer_stop(r->writer);
    pthread_mutex_destroy(&r->gate_lock);
    free(r);
    return 0;
}

/* All items in one batch: a first batch of its own is held up until they have queued. The store fails from
 * then on. */
static void run_failing(struct rig *r, enum step fails)
{
    static const uint8_t key_id[TICKET_KEY_ID_LEN];
    r->gate = (struct item){.work = {.apply = apply_item, .done = item_done}, .lock = &r->gate_lock};
    pthread_mutex_lock(&r->gate_lock);
    writer_add(r->writer, &r->gate.work);
    while (r->gate.applies == 0)
        sched_yield();
    for (int i = 0; i < ITEMS; i++) {
        r->items[i].work =
            (struct work){.apply = apply_item, .done = item_done, .key_id = i % 2 == 0 ? key_id : NULL};
        writer_add(r->writer, &r->items[i].work);
    }
    r->store.fails = (int)fails;
    pthread_mutex_unlock(&r->gate_lock);
    writer_stop(r->writer); /* finishes what is queued */
    r->writer = NULL;
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(r->items[i].calls, 1);
}

static void run_items(struct rig *r)
{
    run_failing(r, NOTHING);
}

static void an_item_that_fails_does_not_fail_the_others(void **state)
{
    struct rig *r = *state;
    r->items[3].refuse = r->items[4].refuse = r->items[ITEMS - 1].refuse = true;
    run_items(r);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(r->items[i].status, r->items[i].refuse ? TG_NOT_FOUND : TG_OK);
    assert_string_equal(r->items[3].text, "refused");
    assert_int_equal(r->store.durable, 1 + ITEMS - 3);
}

/* Whatever fails about the transaction: everyone hears it, the refused ones too (what refused them may be
 * undone). */
static void nothing_is_acknowledged(struct rig *r, enum step fails, int code, enum tg_code expected)
{
    r->store.code = code;
    r->items[2].refuse = true;
    pthread_mutex_lock(&r->gate_lock); /* the gate alone gets through */
    r->gate = (struct item){.work = {.apply = apply_item, .done = item_done}, .lock = &r->gate_lock};
    writer_add(r->writer, &r->gate.work);
    pthread_mutex_unlock(&r->gate_lock);
    while (r->gate.calls == 0)
        sched_yield();
    r->store.fails = (int)fails;
    for (int i = 0; i < ITEMS; i++) {
        r->items[i].work = (struct work){.apply = apply_item, .done = item_done};
        r->items[i].writer = r->writer;
        writer_add(r->writer, &r->items[i].work);
    }
    for (int i = 0; i < ITEMS; i++) {
        while (r->items[i].calls == 0)
            sched_yield();
        assert_int_equal(r->items[i].status, expected);
        assert_string_equal(r->items[i].text, "the disk says no");
        assert_true(r->items[i].problem);
    }
    assert_int_equal(r->store.durable, 1);
}

static void a_transaction_that_cannot_begin_acknowledges_nothing(void **state)
{
    nothing_is_acknowledged(*state, BEGIN, TG_FAILED_PRECONDITION, TG_UNAVAILABLE);
}

static void a_transaction_lost_half_way_acknowledges_nothing(void **state)
{
    nothing_is_acknowledged(*state, UNMARK, TG_UNAVAILABLE, TG_UNAVAILABLE);
    assert_true(((struct rig *)*state)->store.rollbacks > 0);
}

static void an_item_that_cannot_be_bracketed_loses_the_transaction(void **state)
{
    nothing_is_acknowledged(*state, MARK, TG_INTERNAL, TG_UNAVAILABLE);
}

static void a_commit_that_fails_acknowledges_nothing(void **state)
{
    nothing_is_acknowledged(*state, COMMIT, TG_UNAVAILABLE, TG_UNAVAILABLE);
}

static void damage_is_not_to_be_tried_again(void **state)
{
    nothing_is_acknowledged(*state, COMMIT, TG_DATA_LOSS, TG_DATA_LOSS);
    assert_string_equal(writer_problem(((struct rig *)*state)->writer), "the key database is damaged");
}

static void a_problem_is_over_only_when_something_could_be_written(void **state)
{
    struct rig *r = *state;
    nothing_is_acknowledged(r, COMMIT, TG_UNAVAILABLE, TG_UNAVAILABLE);
    unsigned before = r->store.transactions;
    r->store.fails = PROBE; /* transactions without a change would go through */
    while (r->store.transactions < before + 3)
        sched_yield();
    assert_string_equal(writer_problem(r->writer), "the key database cannot be written");
    r->store.fails = NOTHING;
    while (writer_problem(r->writer) != NULL)
        sched_yield();
}

static void what_has_queued_up_is_one_transaction(void **state)
{
    struct rig *r = *state;
    while (r->store.ticks < 5)
        sched_yield();
    unsigned before = r->store.transactions;
    unsigned ticks = r->store.ticks;
    run_items(r);
    assert_int_equal(r->store.durable, 1 + ITEMS);
    assert_in_range(r->store.transactions - before - (r->store.ticks - ticks), 1, 3);
}

static void upkeep_comes_back_by_itself(void **state)
{
    struct rig *r = *state;
    while (r->store.ticks < 6) /* and the sixth comes by itself */
        sched_yield();
    assert_int_equal(r->store.rollbacks, 0);
}

/* ---- a store that several share ---- */

static void everyone_is_told(struct rig *r, enum tg_code status, int applies)
{
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(r->items[i].status, status);
        assert_int_equal(r->items[i].applies, applies);
    }
}

/* The gate's own commit is the first that fails, so it takes one attempt more than the items. */
static void a_transaction_lost_for_a_passing_reason_is_applied_again(void **state)
{
    struct rig *r = *state;
    r->store.code = TG_ABORTED;
    r->store.times = 2;
    run_failing(r, COMMIT);
    assert_int_equal(r->gate.status, TG_OK);
    assert_int_equal(r->gate.applies, 3);
    everyone_is_told(r, TG_OK, 1);
    assert_int_equal(r->store.durable, 1 + ITEMS);
}

static void a_batch_lost_half_way_is_applied_again(void **state)
{
    struct rig *r = *state;
    r->store.code = TG_ABORTED;
    r->store.times = 3; /* of them the gate's unmark is the first */
    run_failing(r, UNMARK);
    assert_int_equal(r->gate.applies, 4);
    everyone_is_told(r, TG_OK, 1);
    assert_int_equal(r->store.durable, 1 + ITEMS);
}

static void it_is_not_applied_again_for_ever(void **state)
{
    struct rig *r = *state;
    r->store.code = TG_ABORTED;
    run_failing(r, COMMIT);
    assert_int_equal(r->gate.status, TG_UNAVAILABLE);
    everyone_is_told(r, TG_UNAVAILABLE, WRITER_ATTEMPTS);
    assert_int_equal(r->store.durable, 0);
}

static void an_outcome_that_is_not_known_is_found_out(void **state)
{
    struct rig *r = *state;
    r->store.code = TG_ABORTED;
    r->store.took_effect = true;
    r->store.times = 1;
    run_failing(r, COMMIT);
    assert_int_equal(r->gate.status, TG_OK);
    assert_int_equal(r->gate.applies, 2);
    everyone_is_told(r, TG_OK, 1);
}

static void one_that_breaks_a_rule_fails_alone(void **state)
{
    struct rig *r = *state;
    r->items[7].poison = true;
    run_items(r);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(r->items[i].status, i == 7 ? TG_UNAVAILABLE : TG_OK);
    assert_string_equal(r->items[7].text, "a rule is broken");
    assert_int_equal(r->store.durable, ITEMS); /* the gate and all but one */
}

static void keys_that_will_be_asked_for_are_named_before(void **state)
{
    struct rig *r = *state;
    run_items(r);
    assert_int_equal(r->store.expected, ITEMS / 2);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_item_that_fails_does_not_fail_the_others),
        RIG_TEST(a_transaction_that_cannot_begin_acknowledges_nothing),
        RIG_TEST(a_transaction_lost_half_way_acknowledges_nothing),
        RIG_TEST(an_item_that_cannot_be_bracketed_loses_the_transaction),
        RIG_TEST(a_commit_that_fails_acknowledges_nothing),
        RIG_TEST(damage_is_not_to_be_tried_again),
        RIG_TEST(a_problem_is_over_only_when_something_could_be_written),
        RIG_TEST(what_has_queued_up_is_one_transaction),
        RIG_TEST(upkeep_comes_back_by_itself),
        RIG_TEST(a_transaction_lost_for_a_passing_reason_is_applied_again),
        RIG_TEST(a_batch_lost_half_way_is_applied_again),
        RIG_TEST(it_is_not_applied_again_for_ever),
        RIG_TEST(an_outcome_that_is_not_known_is_found_out),
        RIG_TEST(one_that_breaks_a_rule_fails_alone),
        RIG_TEST(keys_that_will_be_asked_for_are_named_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
