/* Asking the user at the terminal: /dev/tty, never stdin or stdout, which may carry data (-W). */
#ifndef TG_CLIENT_TERMINAL_H
#define TG_CLIENT_TERMINAL_H

#include <stdbool.h>

#include "common/error.h"
#include "common/secret.h"

enum { TERMINAL_ANSWER_MAX = 1024 };

/* Shows "question: " and reads one line, not showing what is typed unless `echo`. The terminal is as before
 * when this returns, and also when a signal ends or stops the program meanwhile. *answer (1 to
 * TERMINAL_ANSWER_MAX bytes) is the caller's. UNAVAILABLE: there is no terminal. CANCELLED: end of file, or
 * nothing was typed. RESOURCE_EXHAUSTED: locked heap full. One thread. */
enum tg_code terminal_ask(const char *question, bool echo, struct secret **answer,
                          struct tg_error *err) TG_MUST_CHECK;

#endif
