/* What a user may reach: named lists of targets. A target is HOST:PORT or HOST:FIRST-LAST; HOST is a name, an
 * address or a network ("10.1.0.0/16:22", "[2001:db8::/32]:443").
 *
 * Loopback, link-local, multicast, unspecified, reserved and metadata addresses are refused unless the policy
 * lists that very address: a name in the client's hand must not lead into the gateway's own machine or its
 * cloud. */
#ifndef TG_GATEWAY_POLICY_H
#define TG_GATEWAY_POLICY_H

#include <netinet/in.h>
#include <stdbool.h>

#include "common/config.h"
#include "common/error.h"
#include "proto/client.pb-c.h"

enum policy_limits { POLICY_NAME_MAX = 128, POLICY_TARGETS_MAX = 4096, POLICY_HOST_MAX = 253 };

struct policy_config {
    char *name;
    struct config_list targets; /* char * */
};

struct policy;
struct policy_set;

/* policies: struct policy_config. INVALID_ARGUMENT names policy and target that cannot be read, or a name
 * given twice. The set is immutable, and so may be read by any thread. */
enum tg_code policy_set_new(const struct config_list *policies, struct policy_set **set,
                            struct tg_error *err) TG_MUST_CHECK;
void policy_set_free(struct policy_set *set);
/* NULL: no such policy. */
const struct policy *policy_find(const struct policy_set *set, const char *name);
const char *policy_name(const struct policy *policy);

/* May this host, as the client wrote it, be looked up for this port? Addresses are judged at once; a name
 * passes when it is listed, or when it may lead into a listed network. INVALID_ARGUMENT (no host name),
 * PERMISSION_DENIED. */
enum tg_code policy_check_host(const struct policy *policy, const char *host, uint32_t port,
                               struct tg_error *err) TG_MUST_CHECK;
/* May this address, to which `host` led, be dialled? PERMISSION_DENIED. */
enum tg_code policy_check_address(const struct policy *policy, const char *host, uint32_t port,
                                  const struct sockaddr *address, struct tg_error *err) TG_MUST_CHECK;

/* The first `max` targets, as WELCOME shows them; strings are borrowed from the policy. Returns how many. */
size_t policy_targets(const struct policy *policy, Tg__Target *out, size_t max);

#endif
