#include "services/key-store/adopt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/key-store/kek/seal_at_rest.h"

struct adopter {
    struct etsi014_client *kme;
    char master[NAME_TEXT_MAX + 1];
    char name[NAME_TEXT_MAX + 32];
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t added;
    struct adoption *head;
    struct adoption **tail;
    bool stopping;
};

enum tg_code adopter_open(const struct etsi014_peer *peer, const char *master, struct adopter **out,
                          struct tg_error *err)
{
    struct adopter *a = calloc(1, sizeof *a);
    TG_ENSURE(a != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for adopting keys");
    enum tg_code code = etsi014_client_open(peer, &a->kme, err);
    if (code != TG_OK) {
        free(a);
        return code;
    }
    snprintf(a->master, sizeof a->master, "%s", master);
    snprintf(a->name, sizeof a->name, "master SAE %s by etsi014", master);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->added, NULL);
    a->tail = &a->head;
    *out = a;
    return TG_OK;
}

const char *adopter_name(const struct adopter *a)
{
    return a->name;
}

/* ---- the thread ---- */

static enum tg_code fetch(struct adopter *a, struct adoption *adoption, struct tg_error *err)
{
    struct etsi014_keys keys = {0};
    TG_TRY(etsi014_dec_keys(a->kme, a->master, (const uint8_t(*)[TICKET_KEY_ID_LEN])adoption->ids,
                            adoption->count, 8 * AT_REST_KEY_LEN, adoption->deadline_ms, &keys, err));
    adoption->keys = keys.bytes;
    keys.bytes = NULL;
    etsi014_keys_fini(&keys);
    return TG_OK;
}

/* NULL: the end. */
static struct adoption *next(struct adopter *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->head == NULL && !a->stopping)
        pthread_cond_wait(&a->added, &a->lock);
    struct adoption *adoption = a->head;
    if (adoption != NULL)
        a->head = adoption->next;
    if (a->head == NULL)
        a->tail = &a->head;
    pthread_mutex_unlock(&a->lock);
    return adoption;
}

static void *run(void *arg)
{
    struct adopter *a = arg;
    struct adoption *adoption;
    while ((adoption = next(a)) != NULL) {
        struct tg_error err = {0};
        enum tg_code code = fetch(a, adoption, &err);
        adoption->done(adoption, code, err.text);
    }
    return NULL;
}

enum tg_code adopter_start(struct adopter *a, struct tg_error *err)
{
    int rc = pthread_create(&a->thread, NULL, run, a);
    TG_ENSURE(rc == 0, err, TG_RESOURCE_EXHAUSTED, "no thread for adopting keys: %s", strerror(rc));
    a->started = true;
    return TG_OK;
}

void adopter_add(struct adopter *a, struct adoption *adoption)
{
    adoption->next = NULL;
    pthread_mutex_lock(&a->lock);
    *a->tail = adoption;
    a->tail = &adoption->next;
    pthread_cond_signal(&a->added);
    pthread_mutex_unlock(&a->lock);
}

void adopter_close(struct adopter *a)
{
    if (a == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_signal(&a->added);
    pthread_mutex_unlock(&a->lock);
    etsi014_client_interrupt(a->kme);
    if (a->started)
        pthread_join(a->thread, NULL);
    etsi014_client_close(a->kme);
    pthread_cond_destroy(&a->added);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
