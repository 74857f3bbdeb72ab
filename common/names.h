/* Names that travel between services: what may stand in an id, and how long a text may be. Checked wherever
 * one comes in, before it is kept. */
#ifndef TG_COMMON_NAMES_H
#define TG_COMMON_NAMES_H

#include "common/error.h"

enum name_limits { NAME_ID_MAX = 64, NAME_TEXT_MAX = 128 };

/* An id (of a QKUD, a shield): 1 to NAME_ID_MAX characters of [A-Za-z0-9._-]. INVALID_ARGUMENT; the text
 * starts with `what` ("shield id"). Any thread, as all here. */
enum tg_code name_check_id(const char *what, const char *id, struct tg_error *err) TG_MUST_CHECK;

/* A text for people (user name, description): at most NAME_TEXT_MAX bytes without control characters; may be
 * empty. */
enum tg_code name_check_text(const char *what, const char *text, struct tg_error *err) TG_MUST_CHECK;

#endif
