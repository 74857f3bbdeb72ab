/* One call on its way through the key store, the same for all: transaction, then durable audit, then answer.
 * In this order nothing is answered that could be forgotten, and no key leaves that the audit log does not
 * know. */
#ifndef TG_KEY_STORE_TASK_H
#define TG_KEY_STORE_TASK_H

#include "services/key-store/key-store.h"

struct task;

struct task_kind {
    const char *event;   /* audited as a success before the answer; NULL: a read */
    const char *refused; /* audited as a failure, with the reason, when the request is refused; NULL: not */
    /* The answer's code when all was done but not audited in time. UNAVAILABLE where a repeat finds what was
     * done. */
    enum tg_code unaudited;
    /* Exactly one of each, in this order; err->text is the reason that auditors and the caller see. */
    enum tg_code (*apply)(struct task *task, struct store *store, struct tg_error *err);
    void (*committed)(struct task *task);                        /* it is durable; may be NULL */
    void (*describe)(const struct task *task, Tg__Event *event); /* its own fields, borrowed; may be NULL */
    void (*answer)(struct task *task);                           /* rpc_reply */
    void (*wipe)(struct task *task);                             /* before it is freed; may be NULL */
};

/* First member of each kind's own struct. */
struct task {
    struct work work;
    const struct task_kind *kind;
    struct key_store *ks;
    struct rpc_call *call;
};

/* A zeroed task of `size` bytes. NULL: out of memory, and the call has been answered so. */
void *task_new(size_t size, const struct task_kind *kind, struct key_store *ks, struct rpc_call *call);
/* Takes the task over. Any thread. */
void task_submit(struct task *task);
/* Answers with a refusal instead, audits it, and frees. */
void task_refuse(struct task *task, enum tg_code code, const char *text);

#endif
