#include "services/gateway/admission.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/monotonic.h"
#include "common/trace.h"

/* One source with half-open connections. There are never more of these than half-open connections. */
struct visitor {
    struct visitor *next;
    struct source source;
    uint32_t count;
};

struct admission {
    pthread_mutex_t lock;
    pthread_cond_t emptied;
    uint32_t half_open_max, per_source_max, sessions_max;
    struct admission_counts counts;
    uint64_t salt; /* so that a stranger cannot aim at one bucket */
    uint32_t bucket_mask;
    struct visitor **buckets;
    struct visitor *spare; /* free list */
    struct visitor *visitors;
};

struct source source_of(const struct sockaddr *address)
{
    struct source source = {{0}};
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
            memcpy(source.bytes + 4, v6.sin6_addr.s6_addr + 12, 4);
        else
            memcpy(source.bytes, &v6.sin6_addr, 8);
    } else if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        memcpy(source.bytes + 4, &v4.sin_addr, 4);
    }
    return source;
}

struct admission *admission_new(uint32_t half_open_max, uint32_t half_open_per_source, uint32_t max_sessions)
{
    struct admission *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->half_open_max = half_open_max;
    a->per_source_max = half_open_per_source;
    a->sessions_max = max_sessions;
    random_bytes(&a->salt, sizeof a->salt);
    a->salt |= 1;
    uint32_t buckets = 16;
    while (buckets < half_open_max)
        buckets *= 2;
    a->bucket_mask = buckets - 1;
    a->buckets = calloc(buckets, sizeof(struct visitor *));
    a->visitors = calloc(half_open_max, sizeof *a->visitors);
    pthread_mutex_init(&a->lock, NULL);
    monotonic_cond_init(&a->emptied);
    if (a->buckets == NULL || a->visitors == NULL) {
        admission_free(a);
        return NULL;
    }
    for (uint32_t i = 0; i < half_open_max; i++) {
        a->visitors[i].next = a->spare;
        a->spare = &a->visitors[i];
    }
    return a;
}

void admission_free(struct admission *a)
{
    if (a == NULL)
        return;
    pthread_cond_destroy(&a->emptied);
    pthread_mutex_destroy(&a->lock);
    free(a->buckets);
    free(a->visitors);
    free(a);
}

/* The link that points to the source's visitor, or to NULL at the end of its chain. */
static struct visitor **find(struct admission *a, struct source source)
{
    uint64_t key;
    memcpy(&key, source.bytes, sizeof key);
    uint64_t mixed = (key ^ key >> 29 ^ a->salt) * (a->salt | 1);
    struct visitor **link = &a->buckets[(mixed >> 32) & a->bucket_mask];
    while (*link != NULL && memcmp((*link)->source.bytes, source.bytes, sizeof source.bytes) != 0)
        link = &(*link)->next;
    return link;
}

static enum admission_answer enter(struct admission *a, struct source source)
{
    if (a->counts.half_open >= a->half_open_max)
        return ADMISSION_FULL;
    struct visitor **link = find(a, source);
    if (*link == NULL) {
        struct visitor *fresh = a->spare;
        TG_INVARIANT(fresh != NULL);
        a->spare = fresh->next;
        *fresh = (struct visitor){.source = source};
        *link = fresh;
    }
    if ((*link)->count >= a->per_source_max)
        return ADMISSION_SOURCE_FULL;
    (*link)->count++;
    a->counts.half_open++;
    return ADMITTED;
}

enum admission_answer admission_enter(struct admission *a, struct source source)
{
    pthread_mutex_lock(&a->lock);
    enum admission_answer answer = enter(a, source);
    if (answer != ADMITTED)
        a->counts.turned_away++;
    pthread_mutex_unlock(&a->lock);
    return answer;
}

static void tell_when_empty(struct admission *a)
{
    if (a->counts.half_open == 0 && a->counts.sessions == 0)
        pthread_cond_broadcast(&a->emptied);
}

void admission_leave(struct admission *a, struct source source)
{
    pthread_mutex_lock(&a->lock);
    struct visitor **link = find(a, source), *visitor = *link;
    TG_INVARIANT(visitor != NULL && visitor->count > 0 && a->counts.half_open > 0);
    a->counts.half_open--;
    if (--visitor->count == 0) {
        *link = visitor->next;
        visitor->next = a->spare;
        a->spare = visitor;
    }
    tell_when_empty(a);
    pthread_mutex_unlock(&a->lock);
}

bool admission_session_enter(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    bool room = a->counts.sessions < a->sessions_max;
    if (room)
        a->counts.sessions++;
    pthread_mutex_unlock(&a->lock);
    return room;
}

void admission_session_leave(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    TG_INVARIANT(a->counts.sessions > 0);
    a->counts.sessions--;
    tell_when_empty(a);
    pthread_mutex_unlock(&a->lock);
}

bool admission_sessions_full(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    bool full = a->counts.sessions >= a->sessions_max;
    pthread_mutex_unlock(&a->lock);
    return full;
}

struct admission_counts admission_counts(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    struct admission_counts counts = a->counts;
    pthread_mutex_unlock(&a->lock);
    return counts;
}

bool admission_wait_empty(struct admission *a, unsigned timeout_ms)
{
    uint64_t until_ms = clock_now_ms() + timeout_ms;
    pthread_mutex_lock(&a->lock);
    while ((a->counts.half_open > 0 || a->counts.sessions > 0) &&
           monotonic_wait(&a->emptied, &a->lock, until_ms))
        ;
    bool empty = a->counts.half_open == 0 && a->counts.sessions == 0;
    pthread_mutex_unlock(&a->lock);
    return empty;
}
