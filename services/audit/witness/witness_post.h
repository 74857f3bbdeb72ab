/* One HTTP request to a witness; inside of witness.c's part only. */
#ifndef TG_AUDIT_WITNESS_POST_H
#define TG_AUDIT_WITNESS_POST_H

#include <curl/curl.h>

#include "services/audit/witness/witness.h"

enum { POST_ANSWER_MAX = 16 * 1024 };

struct post {
    CURL *curl;
    char *request; /* owned; NULL: none is under way */
    char answer[POST_ANSWER_MAX + 1];
    size_t answer_len;
    char why[CURL_ERROR_SIZE];
};

/* A handle for all requests to this witness; its connection is kept. INVALID_ARGUMENT. */
enum tg_code post_open(struct post *post, const struct witness_config *config,
                       struct tg_error *err) TG_MUST_CHECK;
/* Takes `body`. False: libcurl refuses it. */
bool post_prepare(struct post *post, char *body, unsigned timeout_ms) TG_MUST_CHECK;
/* What became of it: the HTTP status, 0 when there was no answer. */
long post_status(const struct post *post);
void post_close(struct post *post);

#endif
