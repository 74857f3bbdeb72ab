#include "services/gateway/policy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/pb.h"

/* All addresses are kept as IPv6, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so that there is one comparison.
 */
struct network {
    struct in6_addr address;
    unsigned prefix;
};

struct target {
    char host[POLICY_HOST_MAX + 8]; /* as written, for WELCOME and for names */
    bool is_name;
    struct network network;
    uint16_t first, last;
};

struct policy {
    char name[POLICY_NAME_MAX + 1];
    struct target *targets;
    size_t count;
};

struct policy_set {
    struct policy *policies;
    size_t count;
};

/* ---- addresses ---- */

static struct in6_addr mapped(const struct in_addr *v4)
{
    struct in6_addr v6 = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(v6.s6_addr + 12, v4, 4);
    return v6;
}

static bool in_network(const struct in6_addr *address, const struct network *network)
{
    unsigned whole = network->prefix / 8, rest = network->prefix % 8;
    if (memcmp(address, &network->address, whole) != 0)
        return false;
    unsigned mask = 0xff00u >> rest & 0xff;
    return rest == 0 || ((address->s6_addr[whole] ^ network->address.s6_addr[whole]) & mask) == 0;
}

/* "10.1.0.0/16", "2001:db8::1": false when it is no address. bits: how many the text's own family has. */
static bool parse_address(const char *text, struct in6_addr *address, unsigned *bits)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *address = mapped(&v4);
        *bits = 32;
        return true;
    }
    *bits = 128;
    return inet_pton(AF_INET6, text, address) == 1;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *number)
{
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    *number = strtoul(text, &end, 10);
    return *end == '\0' && *number <= max;
}

/* Where no client may go unless the operator wrote down the very address: RFC 6890 and cloud metadata
 * services. */
static const struct {
    const char *network;
    unsigned prefix;
} guarded[] = {
    {"0.0.0.0", 8},         {"127.0.0.0", 8},    {"169.254.0.0", 16},
    {"224.0.0.0", 4},       {"240.0.0.0", 4},    {"100.100.100.200", 32},
    {"168.63.129.16", 32},  {"192.0.0.192", 32}, {"::", 96},
    {"fe80::", 10},         {"ff00::", 8},       {"fec0::", 10},
    {"fd00:ec2::254", 128}, {"64:ff9b::", 96},
};

static bool is_guarded(const struct in6_addr *address)
{
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        struct network network;
        unsigned bits;
        TG_INVARIANT(parse_address(guarded[i].network, &network.address, &bits));
        network.prefix = guarded[i].prefix + 128 - bits;
        if (in_network(address, &network))
            return true;
    }
    return false;
}

/* ---- reading targets ---- */

/* Letters, digits, hyphens, dots and underscores: what resolvers take, and nothing that could forge a log
 * line. */
static bool is_name(const char *host)
{
    size_t len = strlen(host);
    if (len == 0 || len > POLICY_HOST_MAX || host[0] == '.' || host[0] == '-')
        return false;
    for (const char *c = host; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("-._", *c) == NULL)
            return false;
    return true;
}

static bool parse_ports(const char *text, struct target *target)
{
    char first_text[8];
    const char *dash = strchr(text, '-');
    size_t len = dash != NULL ? (size_t)(dash - text) : strlen(text);
    unsigned long first, last;
    if (len >= sizeof first_text)
        return false;
    memcpy(first_text, text, len);
    first_text[len] = '\0';
    if (!parse_number(first_text, 65535, &first) || first == 0)
        return false;
    last = first;
    if (dash != NULL && (!parse_number(dash + 1, 65535, &last) || last < first))
        return false;
    target->first = (uint16_t)first;
    target->last = (uint16_t)last;
    return true;
}

static bool parse_host(const char *text, struct target *target)
{
    char address[INET6_ADDRSTRLEN + 8];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    unsigned bits;
    if (len < sizeof address) {
        memcpy(address, text, len);
        address[len] = '\0';
        if (parse_address(address, &target->network.address, &bits)) {
            unsigned long prefix = bits;
            if (slash != NULL && !parse_number(slash + 1, bits, &prefix))
                return false;
            target->network.prefix = (unsigned)prefix + 128 - bits;
            return true;
        }
    }
    target->is_name = true;
    return is_name(text);
}

static bool parse_target(const char *text, struct target *target)
{
    const char *host = text, *end = strrchr(text, ':');
    if (end == NULL || !parse_ports(end + 1, target))
        return false;
    if (*host == '[') {
        if (end[-1] != ']')
            return false;
        host++;
        end--;
    }
    size_t len = (size_t)(end - host);
    if (end < host || len >= sizeof target->host)
        return false;
    memcpy(target->host, host, len);
    return parse_host(target->host, target);
}

static enum tg_code read_policy(const struct policy_config *config, struct policy *policy,
                                struct tg_error *err)
{
    TG_ENSURE(strlen(config->name) <= POLICY_NAME_MAX, err, TG_INVALID_ARGUMENT, "policy name too long: %s",
              config->name);
    memcpy(policy->name, config->name, strlen(config->name) + 1);
    policy->targets = calloc(config->targets.count, sizeof *policy->targets);
    TG_ENSURE(policy->targets != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for policies");
    for (; policy->count < config->targets.count; policy->count++) {
        const char *text = ((char **)config->targets.items)[policy->count];
        TG_ENSURE(
            parse_target(text, &policy->targets[policy->count]), err, TG_INVALID_ARGUMENT,
            "policy %s: cannot read target \"%s\": write HOST:PORT or HOST:FIRST-LAST, IPv6 in brackets",
            policy->name, text);
    }
    return TG_OK;
}

static enum tg_code read_policies(const struct config_list *list, struct policy_set *set,
                                  struct tg_error *err)
{
    set->policies = calloc(list->count, sizeof *set->policies);
    TG_ENSURE(set->policies != NULL || list->count == 0, err, TG_RESOURCE_EXHAUSTED,
              "out of memory for policies");
    for (size_t i = 0; i < list->count; i++) {
        const struct policy_config *config = &((const struct policy_config *)list->items)[i];
        TG_ENSURE(policy_find(set, config->name) == NULL, err, TG_INVALID_ARGUMENT,
                  "policy %s is given twice", config->name);
        struct policy *policy = &set->policies[set->count++];
        TG_TRY(read_policy(config, policy, err));
    }
    return TG_OK;
}

enum tg_code policy_set_new(const struct config_list *policies, struct policy_set **set, struct tg_error *err)
{
    struct policy_set *made = calloc(1, sizeof *made);
    TG_ENSURE(made != NULL, err, TG_RESOURCE_EXHAUSTED, "out of memory for policies");
    enum tg_code code = read_policies(policies, made, err);
    if (code != TG_OK) {
        policy_set_free(made);
        return code;
    }
    *set = made;
    return TG_OK;
}

void policy_set_free(struct policy_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        free(set->policies[i].targets);
    free(set->policies);
    free(set);
}

const struct policy *policy_find(const struct policy_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->policies[i].name, name) == 0)
            return &set->policies[i];
    return NULL;
}

const char *policy_name(const struct policy *policy)
{
    return policy->name;
}

/* ---- judging ---- */

static bool has_port(const struct target *target, uint32_t port)
{
    return port >= target->first && port <= target->last;
}

/* Names are compared without regard to case and to the root's dot (RFC 4343). */
static bool same_name(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    a_len -= a_len > 0 && a[a_len - 1] == '.';
    b_len -= b_len > 0 && b[b_len - 1] == '.';
    return a_len == b_len && strncasecmp(a, b, a_len) == 0;
}

/* `name`: how the client called it; NULL: by its address. */
static bool address_allowed(const struct policy *policy, const char *name, const struct in6_addr *address,
                            uint32_t port)
{
    bool careful = is_guarded(address);
    for (size_t i = 0; i < policy->count; i++) {
        const struct target *target = &policy->targets[i];
        if (!has_port(target, port))
            continue;
        if (target->is_name && !careful && name != NULL && same_name(target->host, name))
            return true;
        if (!target->is_name && (!careful || target->network.prefix == 128) &&
            in_network(address, &target->network))
            return true;
    }
    return false;
}

static bool name_allowed(const struct policy *policy, const char *host, uint32_t port)
{
    for (size_t i = 0; i < policy->count; i++) {
        const struct target *target = &policy->targets[i];
        if (has_port(target, port) && (!target->is_name || same_name(target->host, host)))
            return true;
    }
    return false;
}

enum tg_code policy_check_host(const struct policy *policy, const char *host, uint32_t port,
                               struct tg_error *err)
{
    struct in6_addr address;
    unsigned bits;
    TG_ENSURE(port >= 1 && port <= 65535, err, TG_INVALID_ARGUMENT, "%u is no port", port);
    TG_ENSURE(strlen(host) <= POLICY_HOST_MAX, err, TG_INVALID_ARGUMENT, "the host name is too long");
    bool allowed;
    if (parse_address(host, &address, &bits)) {
        allowed = address_allowed(policy, NULL, &address, port);
    } else {
        TG_ENSURE(is_name(host), err, TG_INVALID_ARGUMENT, "not a host name");
        allowed = name_allowed(policy, host, port);
    }
    TG_ENSURE(allowed, err, TG_PERMISSION_DENIED, "policy %s does not list %s port %u", policy->name, host,
              port);
    return TG_OK;
}

enum tg_code policy_check_address(const struct policy *policy, const char *host, uint32_t port,
                                  const struct sockaddr *address, struct tg_error *err)
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN] = "?";
    TG_ENSURE(address->sa_family == AF_INET || address->sa_family == AF_INET6, err, TG_PERMISSION_DENIED,
              "%s led to an address that is not IP", host);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        v6 = mapped(&v4.sin_addr);
    } else {
        struct sockaddr_in6 whole;
        memcpy(&whole, address, sizeof whole);
        v6 = whole.sin6_addr;
    }
    if (address_allowed(policy, host, &v6, port))
        return TG_OK;
    inet_ntop(AF_INET6, &v6, text, sizeof text);
    return tg_fail(err, TG_PERMISSION_DENIED, "policy %s does not list %s, to which %s led, port %u",
                   policy->name, text, host, port);
}

size_t policy_targets(const struct policy *policy, Tg__Target *out, size_t max)
{
    size_t count = policy->count < max ? policy->count : max;
    for (size_t i = 0; i < count; i++) {
        tg__target__init(&out[i]);
        out[i].host = pb_string(policy->targets[i].host);
        out[i].port_first = policy->targets[i].first;
        out[i].port_last = policy->targets[i].last;
    }
    return count;
}
