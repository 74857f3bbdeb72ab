/* Tokens for tests: SoftHSM 2 with its store in a directory of the test's own, driven directly or through
 * faulty_module.c, which fails, "pulls" the token or kills the process at a chosen call. */
#ifndef TG_TESTS_SOFTHSM_H
#define TG_TESTS_SOFTHSM_H

#include <stdbool.h>

#define SOFTHSM_PIN "135790"

enum { SOFTHSM_SKIPPED = 77 }; /* what a test program answers to ctest when there is no SoftHSM */

/* False after saying so on stderr: SoftHSM is not installed. Before anything else here. */
bool softhsm_installed(void);

/* Makes the store and points SOFTHSM2_CONF at it, for this process and its children; then removes it again.
 * One at a time. */
void softhsm_start(void);
void softhsm_stop(void);
/* A token with this label and SOFTHSM_PIN. */
void softhsm_add_token(const char *label);

/* The two modules' paths. */
const char *softhsm_module(void);
const char *softhsm_faulty_module(void);

/* For the faulty module, in this process and the children it starts from now on: at the `nth` (from 1) call
 * of `call` ("C_Sign", "any") do `action`: "kill" (before it), "killed" (after it), "pulled" (from now on the
 * token is away), or a CKR_ number to answer instead. Counting starts here. NULL: no fault. */
void softhsm_fault(const char *call, unsigned nth, const char *action);

#endif
