#include "services/audit/witness/witness_post.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t take_bytes(char *bytes, size_t one, size_t len, void *arg)
{
    struct post *post = arg;
    (void)one;
    if (len > POST_ANSWER_MAX - post->answer_len)
        return 0;
    memcpy(post->answer + post->answer_len, bytes, len);
    post->answer_len += len;
    return len;
}

#define SET(option, value) (curl_easy_setopt(post->curl, CURLOPT_##option, value) == CURLE_OK)

/* No proxy, whatever the environment says, no redirection, and no waiting for a name server at the end. */
static bool set_up(struct post *post, const char *url, const char *ca)
{
    return SET(URL, url) && SET(PROTOCOLS_STR, "http,https") &&
           SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           (ca == NULL || (SET(CAINFO, ca) && SET(CAPATH, NULL))) && SET(PROXY, "") &&
           SET(FOLLOWLOCATION, 0L) && SET(NOSIGNAL, 1L) && SET(QUICK_EXIT, 1L) &&
           SET(ERRORBUFFER, post->why) && SET(WRITEFUNCTION, take_bytes) && SET(WRITEDATA, post) &&
           SET(PRIVATE, post);
}

/* http:// to this machine, and not to a host that is only called so: 127.example, localhost@example. */
static bool is_safe(const char *url)
{
    static const char *const here[] = {"http://127.", "http://localhost", "http://[::1]"};
    if (strncmp(url, "https://", 8) == 0)
        return true;
    for (size_t i = 0; i < sizeof here / sizeof here[0] && strchr(url, '@') == NULL; i++) {
        size_t len = strlen(here[i]);
        if (strncmp(url, here[i], len) != 0)
            continue;
        const char *end = url + len + (i == 0 ? strspn(url + len, "0123456789.") : 0);
        return *end == '\0' || *end == ':' || *end == '/';
    }
    return false;
}

enum tg_code post_open(struct post *post, const struct witness_config *config, struct tg_error *err)
{
    char url[1024];
    size_t len = strlen(config->url);
    TG_ENSURE(is_safe(config->url), err, TG_INVALID_ARGUMENT,
              "witness %.100s: give https://…, or http:// on this machine", config->url);
    int got = snprintf(url, sizeof url, "%.*s/add-checkpoint",
                       (int)(config->url[len - 1] == '/' ? len - 1 : len), config->url);
    TG_ENSURE(got > 0 && (size_t)got < sizeof url, err, TG_INVALID_ARGUMENT,
              "witness %.100s: the URL is too long", config->url);
    post->curl = curl_easy_init();
    TG_ENSURE(post->curl != NULL && set_up(post, url, config->ca), err, TG_INVALID_ARGUMENT,
              "witness %.100s: libcurl cannot use it", config->url);
    return TG_OK;
}

bool post_prepare(struct post *post, char *body, unsigned timeout_ms)
{
    free(post->request);
    post->request = body;
    post->answer_len = 0;
    post->why[0] = '\0';
    return SET(POSTFIELDS, body) && SET(POSTFIELDSIZE, (long)strlen(body)) &&
           SET(TIMEOUT_MS, (long)timeout_ms);
}

long post_status(const struct post *post)
{
    long status = 0;
    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

void post_close(struct post *post)
{
    curl_easy_cleanup(post->curl);
    free(post->request);
    *post = (struct post){0};
}
