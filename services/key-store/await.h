/* Work in the writer's transaction that the caller's thread waits for. */
#ifndef TG_KEY_STORE_AWAIT_H
#define TG_KEY_STORE_AWAIT_H

#include "services/key-store/store/writer.h"

/* Runs apply(arg) in a transaction; OK once that is durable. On failure nothing was changed, and err says why
 * (as `done` of struct work has it). Never on the writer's own thread. */
enum tg_code writer_await(struct writer *writer,
                          enum tg_code (*apply)(void *arg, struct store *store, struct tg_error *err),
                          void *arg, struct tg_error *err) TG_MUST_CHECK;

#endif
