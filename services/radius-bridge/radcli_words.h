/* radcli says why something failed to syslog and nowhere else. This program gives it a syslog of its own,
 * which keeps the words for the error text of the thread that hears them. */
#ifndef TG_RADIUS_RADCLI_WORDS_H
#define TG_RADIUS_RADCLI_WORDS_H

/* Forgets what was said so far on this thread. */
void radcli_words_clear(void);
/* What was said since, joined by "; ", or `otherwise`. Valid until the next call into radcli on this thread.
 */
const char *radcli_words(const char *otherwise);

#endif
