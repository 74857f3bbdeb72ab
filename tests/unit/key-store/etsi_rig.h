/* A key store that serves ETSI GS QKD 014 to the SAEs "sae-a", "sae-b" and "sae-c", asked by curl and by our
 * own client. */
#ifndef TG_TESTS_KEY_STORE_ETSI_RIG_H
#define TG_TESTS_KEY_STORE_ETSI_RIG_H

#include "rig.h"

#include "../etsi014/pki.h"

#include <jansson.h>

#include "services/key-store/etsi/etsi_server.h"

struct etsi_rig {
    struct rig *r;
    struct authority saes, other;
    struct identity kme, a, b, c, unnamed, rogue;
    struct etsi_config config;
    char url[64];
    char answer[65536]; /* of the last curl: body, line feed, status, blank, content type */
};

static char *etsi_names[] = {(char[]){"sae-a"}, (char[]){"sae-b"}, (char[]){"sae-c"}};

static inline void etsi_up(struct etsi_rig *e)
{
    struct tg_error err;
    must(etsi_server_open(&e->r->ks->etsi, e->r->ks, &e->config, &err), &err);
    must(etsi_server_start(e->r->ks->etsi, &err), &err);
    snprintf(e->url, sizeof e->url, "https://127.0.0.1:%u", etsi_server_port(e->r->ks->etsi));
}

static inline int etsi_rig_open(void **state)
{
    struct etsi_rig *e = calloc(1, sizeof *e);
    void *rig = NULL;
    assert_int_equal(rig_open(&rig), 0);
    e->r = rig;
    *state = e;
    authority_open(&e->saes);
    authority_open(&e->other);
    e->kme = authority_issue(&e->saes, "kme");
    e->a = authority_issue(&e->saes, "sae-a");
    e->b = authority_issue(&e->saes, "sae-b");
    e->c = authority_issue(&e->saes, "sae-c");
    e->unnamed = authority_issue(&e->saes, "sae-d");
    e->rogue = authority_issue(&e->other, "sae-a");
    static char address[] = "127.0.0.1:0", id[] = "kme-1";
    e->config = (struct etsi_config){.listen = address,
                                     .tls = {e->kme.certificate, e->kme.key, e->saes.ca},
                                     .kme_id = id,
                                     .saes = {etsi_names, 3},
                                     .key_lifetime = 60000};
    etsi_up(e);
    return 0;
}

static inline int etsi_rig_close(void **state)
{
    struct etsi_rig *e = *state;
    void *rig = e->r;
    rig_close(&rig);
    authority_close(&e->saes);
    authority_close(&e->other);
    free(e);
    return 0;
}

#define ETSI_TEST(f) cmocka_unit_test_setup_teardown(f, etsi_rig_open, etsi_rig_close)

/* `what`: further arguments of curl and the path, in shell words; U is the URL up to the SAE id. */
__attribute__((format(printf, 3, 4))) static inline const char *
ask(struct etsi_rig *e, const struct identity *who, const char *what, ...)
{
    char words[8192], command[9216];
    va_list args;
    va_start(args, what);
    vsnprintf(words, sizeof words, what, args);
    va_end(args);
    snprintf(command, sizeof command,
             "U=%s/api/v1/keys; curl -s -m 60 --noproxy '*' --cacert %s --cert %s --key %s "
             "-w '\\n%%{http_code} %%{content_type}' %s",
             e->url, e->saes.ca, who->certificate, who->key, words);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    size_t len = fread(e->answer, 1, sizeof e->answer - 1, f);
    e->answer[len] = '\0';
    pclose(f);
    return e->answer;
}

/* enc_keys of `from` for `slave`; ids as texts. */
static inline void draw_keys(struct etsi_rig *e, const struct identity *from, const char *slave,
                             unsigned number, unsigned bits, char ids[][37], char keys[][48])
{
    ask(e, from, "\"$U/%s/enc_keys?number=%u&size=%u\"", slave, number, bits);
    json_t *json = json_loads(e->answer, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *list = json_object_get(json, "keys");
    if (json_array_size(list) != number)
        fail_msg("%s", e->answer);
    for (unsigned i = 0; i < number; i++) {
        const json_t *item = json_array_get(list, i);
        snprintf(ids[i], 37, "%s", json_string_value(json_object_get(item, "key_ID")));
        snprintf(keys[i], 48, "%s", json_string_value(json_object_get(item, "key")));
    }
    json_decref(json);
}

static inline struct etsi014_client *client_of(struct etsi_rig *e, struct identity *who)
{
    const struct etsi014_peer peer = {.url = e->url,
                                      .certificate = who->certificate,
                                      .key = who->key,
                                      .ca = e->saes.ca,
                                      .timeout_ms = 60000};
    struct etsi014_client *client = NULL;
    struct tg_error err;
    must(etsi014_client_open(&peer, &client, &err), &err);
    return client;
}

#endif
