/* The gateway's configuration table (deploy/config/gateway.yaml is the sample). */
#include <stddef.h>

#include "common/protocol/stream.h"
#include "services/gateway/gateway.h"
#include "services/gateway/policy.h"

static const struct config_row policy_rows[] = {
    {.key = "name",
     .type = CONFIG_STRING,
     .offset = offsetof(struct policy_config, name),
     .min = 1,
     .max = POLICY_NAME_MAX,
     .help = "What RADIUS (Filter-Id) or the shield calls it"},
    {.key = "targets",
     .type = CONFIG_STRINGS,
     .offset = offsetof(struct policy_config, targets),
     .min = 1,
     .max = POLICY_TARGETS_MAX,
     .help = "HOST:PORT or HOST:FIRST-LAST; HOST is a name, an address or a network"},
    {.key = NULL},
};

#define ROW(member, kind) .key = #member, .type = kind, .offset = offsetof(struct gateway_config, member)

const struct config_row gateway_config_rows[] = {
    {ROW(listen, CONFIG_STRING), .min = 3, .max = 128,
     .help = "Where clients connect, host:port; port 0: any"},
    {ROW(certificate, CONFIG_PATH), .help = "Certificate chain that clients see in the first TLS (PEM)"},
    {ROW(private_key, CONFIG_PATH), .help = "Its private key (PEM, mode 0400)"},
    {ROW(qkud_id, CONFIG_STRING), .min = 1, .max = 64,
     .help = "The gateway's name in the key system (step 2)"},
    {ROW(qkud_key_file, CONFIG_PATH), .help = "32 bytes from `tgctl qkud add` (mode 0400)"},
    {ROW(suites, CONFIG_STRINGS), .min = 1, .max = GATEWAY_SUITES_MAX,
     .help = "Suites, most preferred first"},
    {ROW(login_must_be_sealed, CONFIG_BOOL), .fallback = "true",
     .help = "Refuse login info that comes plain"},
    {ROW(workers, CONFIG_INT), .fallback = "0", .min = 0, .max = GATEWAY_WORKERS_MAX,
     .help = "Event loops; 0: one for each core"},
    {ROW(half_open_max, CONFIG_INT), .fallback = "1024", .min = 1, .max = 65536,
     .help = "Connections that have not logged in yet, in all"},
    {ROW(half_open_per_source, CONFIG_INT), .fallback = "64", .min = 1, .max = 65536,
     .help = "The same from one address (IPv6: one /64)"},
    {ROW(max_sessions, CONFIG_INT), .fallback = "4096", .min = 1, .max = 1000000,
     .help = "Sessions at one time"},
    {ROW(max_streams, CONFIG_INT), .fallback = "256", .min = 1, .max = 65536,
     .help = "Streams of one session"},
    {ROW(stream_window, CONFIG_SIZE), .fallback = "1MiB", .min = STREAM_WINDOW_MIN, .max = STREAM_WINDOW_MAX,
     .help = "Bytes of one stream on their way in each direction"},
    {ROW(handshake_timeout, CONFIG_DURATION), .fallback = "10s", .min = 100, .max = 60000,
     .help = "The longest for each step of the handshake"},
    {ROW(login_timeout, CONFIG_DURATION), .fallback = "120s", .min = 100, .max = 600000,
     .help = "The longest for each step of the login"},
    {ROW(dial_timeout, CONFIG_DURATION), .fallback = "10s", .min = 100, .max = 120000,
     .help = "How long to try to reach a target"},
    {ROW(default_policy, CONFIG_STRING), .fallback = CONFIG_OPTIONAL, .max = POLICY_NAME_MAX,
     .help = "For users for whom neither RADIUS nor the shield names one; empty: they are refused"},
    {ROW(policies, CONFIG_TABLES), .min = 1, .max = GATEWAY_POLICIES_MAX, .item_rows = policy_rows,
     .item_size = sizeof(struct policy_config), .help = "What users may reach"},
    RPC_PEER_ROWS("resolver.", struct gateway_config, resolver),
    RPC_PEER_ROWS("radius_bridge.", struct gateway_config, radius_bridge),
    AUDIT_SERVICES_ROWS(struct gateway_config, audit),
    {.key = NULL},
};
