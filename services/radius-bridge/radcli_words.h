/* radcli says why something failed to syslog and nowhere else. This program gives it a syslog of its own,
 * which keeps the words for the error text of the thread that hears them. */
#ifndef TG_RADIUS_RADCLI_WORDS_H
#define TG_RADIUS_RADCLI_WORDS_H

#include <stdbool.h>

/* Forgets what was said so far on this thread. */
void radcli_words_clear(void);
/* What was said since, joined by "; ", or `otherwise`. Valid until the next call into radcli on this thread.
 */
const char *radcli_words(const char *otherwise);
/* True when a reply's authenticator (RFC 2865 3) was found to be wrong since: radcli 1.2.11 complains, and
 * then takes the reply all the same. */
bool radcli_found_forged_reply(void);

#endif
