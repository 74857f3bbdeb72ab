/* A thread for what takes longer than a caller's handler may: one errand after the other. */
#ifndef TG_AUDIT_ERRANDS_H
#define TG_AUDIT_ERRANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

struct errands;

/* Exactly once. `ending`: do not begin, say that the service ends. */
typedef void errand_run(void *arg, bool ending);

/* At most `limit` are under way or wait. */
enum tg_code errands_open(struct errands **errands, size_t limit, struct tg_error *err) TG_MUST_CHECK;
enum tg_code errands_start(struct errands *errands, struct tg_error *err) TG_MUST_CHECK;
/* Ends the thread after the errand under way, which should look at errands_stopping; then runs what waits
 * with `ending`. */
void errands_stop(struct errands *errands);
/* Stops and frees. NULL is fine. */
void errands_close(struct errands *errands);

/* False: too many, stopping, or no memory; `run` will not be called. Any thread. */
bool errands_submit(struct errands *errands, errand_run *run, void *arg) TG_MUST_CHECK;
bool errands_stopping(struct errands *errands);

#endif
