#include "common/protocol/channel.h"

#include <openssl/err.h>
#include <string.h>

#include "common/protocol/channel_internal.h"
#include "common/protocol/labels.h"

/* Hybrid with ML-KEM where OpenSSL has it (3.5); P-256 and the others are not offered. */
static const char groups_hybrid[] = "X25519MLKEM768:X25519";
static const char groups_classic[] = "X25519";
static const char ciphersuites[] = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

static const char *reason(unsigned long error)
{
    if (error == 0)
        return "no further details";
    if (ERR_SYSTEM_ERROR(error))
        return strerror(ERR_GET_REASON(error));
    const char *text = ERR_reason_error_string(error);
    return text != NULL ? text : "unknown OpenSSL error";
}

enum tg_code channel_fail(struct tg_error *err, enum tg_code code, const char *what)
{
    tg_fail(err, code, "%s: %s", what, reason(ERR_peek_last_error()));
    ERR_clear_error();
    return code;
}

/* The oldest error names the cause (no such file), the newer ones only who passed it on. */
static enum tg_code file_fail(struct tg_error *err, const char *what, const char *path)
{
    tg_fail(err, TG_INVALID_ARGUMENT, "cannot use %s %s: %s", what, path, reason(ERR_peek_error()));
    ERR_clear_error();
    return TG_INVALID_ARGUMENT;
}

void channel_free_context(SSL_CTX **ctx)
{
    SSL_CTX_free(*ctx);
}

static bool set_groups(SSL_CTX *ctx)
{
    if (SSL_CTX_set1_groups_list(ctx, groups_hybrid) == 1)
        return true;
    ERR_clear_error();
    return SSL_CTX_set1_groups_list(ctx, groups_classic) == 1;
}

enum tg_code channel_new_context(bool server, SSL_CTX **out, struct tg_error *err)
{
    TG_CLEANUP(channel_free_context)
    SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 || !set_groups(ctx) ||
        SSL_CTX_set_ciphersuites(ctx, ciphersuites) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1)
        return channel_fail(err, TG_INTERNAL, "cannot set up TLS 1.3");
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    *out = ctx;
    ctx = NULL;
    return TG_OK;
}

/* A key file with a passphrase is an error, not a question on the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *unused)
{
    (void)buf, (void)size, (void)writing, (void)unused;
    return 0;
}

enum tg_code channel_server_context(const char *certificate, const char *key, SSL_CTX **out,
                                    struct tg_error *err)
{
    TG_CLEANUP(channel_free_context) SSL_CTX *ctx = NULL;
    TG_TRY(channel_new_context(true, &ctx, err));
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1)
        return file_fail(err, "certificate", certificate);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        return file_fail(err, "private key", key);
    *out = ctx;
    ctx = NULL;
    return TG_OK;
}

enum tg_code channel_client_context(const char *ca, SSL_CTX **out, struct tg_error *err)
{
    TG_CLEANUP(channel_free_context) SSL_CTX *ctx = NULL;
    TG_TRY(channel_new_context(false, &ctx, err));
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_file(ctx, ca) != 1)
        return file_fail(err, "CA certificate", ca);
    *out = ctx;
    ctx = NULL;
    return TG_OK;
}

enum tg_code channel_exporter(SSL *ssl, uint8_t out[SCHEDULE_EXPORTER_LEN], struct tg_error *err)
{
    if (SSL_export_keying_material(ssl, out, SCHEDULE_EXPORTER_LEN, LABEL_EXPORTER, sizeof LABEL_EXPORTER - 1,
                                   NULL, 0, 0) != 1)
        return channel_fail(err, TG_INTERNAL, "TLS exporter failed");
    return TG_OK;
}
