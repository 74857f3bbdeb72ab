#include "client/connect_say.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/low_water.h"
#include "common/utf8.h"

enum { BANNER_MAX = 2048, POLICY_MAX = 160, TARGETS_SHOWN = 16, TARGETS_TEXT_MAX = 1024 };

static void say_banner(const struct say *say, const Tg__Welcome *welcome)
{
    char banner[BANNER_MAX];
    utf8_clean(banner, sizeof banner, welcome->banner, strlen(welcome->banner), true);
    if (banner[0] != '\0')
        SAY(say, LOG_INFO, "session.banner", banner, LOG_TEXT("banner", banner));
}

static void until_text(uint32_t timeout_s, char *out, size_t size)
{
    time_t end = time(NULL) + (time_t)timeout_s;
    struct tm tm;
    if (timeout_s == 0 || localtime_r(&end, &tm) == NULL)
        snprintf(out, size, "without a time limit");
    else
        strftime(out, size, "until %Y-%m-%d %H:%M:%S", &tm);
}

static size_t add_target(char *out, size_t size, const Tg__Target *target)
{
    char host[ADDRESS_HOST_MAX + 1];
    utf8_clean(host, sizeof host, target->host, strlen(target->host), false);
    char range[16] = "";
    if (target->port_last != target->port_first)
        snprintf(range, sizeof range, "-%u", target->port_last);
    int n = snprintf(out, size, " %s:%u%s", host, target->port_first, range);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static void say_targets(const struct say *say, const Tg__Welcome *welcome)
{
    char text[TARGETS_TEXT_MAX] = "you may reach";
    size_t used = strlen(text);
    size_t shown = welcome->n_targets < TARGETS_SHOWN ? welcome->n_targets : TARGETS_SHOWN;
    for (size_t i = 0; i < shown; i++)
        used += add_target(text + used, sizeof text - used - sizeof " and more", welcome->targets[i]);
    if (shown < welcome->n_targets)
        snprintf(text + used, sizeof text - used, " and more");
    if (shown > 0)
        SAY(say, LOG_INFO, "session.targets", text, LOG_NUMBER("targets", welcome->n_targets));
}

void say_connected(const struct say *say, const struct connect_options *options,
                   const struct login_session *session, size_t keys_left)
{
    const Tg__Welcome *welcome = session->welcome;
    char policy[POLICY_MAX], until[64], text[512], id[2 * 16 + 1];
    utf8_clean(policy, sizeof policy, welcome->policy, strlen(welcome->policy), false);
    until_text(welcome->session_timeout_s, until, sizeof until);
    hex_encode(welcome->session_id.data, welcome->session_id.len, id);
    snprintf(text, sizeof text, "connected as %s %s%s%s, %zu key%s left on the shield", options->user, until,
             policy[0] != '\0' ? ", policy " : "", policy, keys_left, keys_left == 1 ? "" : "s");
    SAY(say, LOG_INFO, "session.start", text, LOG_TEXT("user", options->user), LOG_TEXT("session", id),
        LOG_TEXT("qkud", session->qkud_id), LOG_TEXT("suite", suite_name(session->suite)),
        LOG_TEXT("policy", policy), LOG_NUMBER("session_timeout_s", welcome->session_timeout_s),
        LOG_NUMBER("idle_timeout_s", welcome->idle_timeout_s),
        LOG_NUMBER("max_streams", welcome->max_streams), LOG_NUMBER("keys_left", keys_left));
    say_banner(say, welcome);
    say_targets(say, welcome);
    low_water_say(say, options->low_water, keys_left);
}
