/* Signals are blocked in every thread and taken one by one by the main thread. Used by common/service only.
 */
#ifndef TG_COMMON_SERVICE_SIGNALS_H
#define TG_COMMON_SERVICE_SIGNALS_H

/* Before any thread is started: threads inherit what is blocked. */
void signals_block(void);
/* The next of SIGHUP, SIGTERM and SIGINT. Main thread. */
int signals_wait(void);
/* From now on SIGTERM and SIGINT end the process at once, also one that came meanwhile. Main thread. */
void signals_let_kill(void);

#endif
