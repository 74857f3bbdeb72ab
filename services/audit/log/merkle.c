#include "services/audit/log/merkle.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"

enum { BATCH = 128 };

struct merkle {
    EVP_MD *sha256;
    EVP_MD_CTX *context;
};

struct merkle *merkle_new(void)
{
    struct merkle *merkle = calloc(1, sizeof *merkle);
    if (merkle == NULL)
        return NULL;
    merkle->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    merkle->context = EVP_MD_CTX_new();
    if (merkle->sha256 != NULL && merkle->context != NULL &&
        EVP_DigestInit_ex2(merkle->context, merkle->sha256, NULL) == 1)
        return merkle;
    merkle_free(merkle);
    return NULL;
}

void merkle_free(struct merkle *merkle)
{
    if (merkle == NULL)
        return;
    EVP_MD_CTX_free(merkle->context);
    EVP_MD_free(merkle->sha256);
    free(merkle);
}

static void digest(struct merkle *merkle, const void *first, size_t first_len, const void *second,
                   size_t second_len, struct merkle_hash *out)
{
    int ok = EVP_DigestInit_ex2(merkle->context, NULL, NULL) == 1 &&
             EVP_DigestUpdate(merkle->context, first, first_len) == 1 &&
             (second_len == 0 || EVP_DigestUpdate(merkle->context, second, second_len) == 1) &&
             EVP_DigestFinal_ex(merkle->context, out->bytes, NULL) == 1;
    TG_INVARIANT(ok);
}

void merkle_empty(struct merkle *merkle, struct merkle_hash *out)
{
    digest(merkle, "", 0, "", 0, out);
}

void merkle_leaf(struct merkle *merkle, const void *entry, size_t len, struct merkle_hash *out)
{
    static const uint8_t leaf = 0;
    digest(merkle, &leaf, 1, entry, len, out);
}

void merkle_node(struct merkle *merkle, const struct merkle_hash *left, const struct merkle_hash *right,
                 struct merkle_hash *out)
{
    uint8_t both[1 + 2 * MERKLE_HASH_LEN];
    both[0] = 1;
    memcpy(both + 1, left, MERKLE_HASH_LEN);
    memcpy(both + 1 + MERKLE_HASH_LEN, right, MERKLE_HASH_LEN);
    digest(merkle, both, sizeof both, "", 0, out);
}

void merkle_perfect(struct merkle *merkle, const struct merkle_hash *hashes, size_t count,
                    struct merkle_hash *out)
{
    struct merkle_hash row[BATCH];
    TG_INVARIANT(count > 0 && count / 2 <= BATCH && (count & (count - 1)) == 0);
    if (count == 1) {
        *out = hashes[0];
        return;
    }
    for (size_t i = 0; i < count / 2; i++)
        merkle_node(merkle, &hashes[2 * i], &hashes[2 * i + 1], &row[i]);
    for (size_t width = count / 2; width > 1; width /= 2) {
        for (size_t i = 0; i < width / 2; i++)
            merkle_node(merkle, &row[2 * i], &row[2 * i + 1], &row[i]);
    }
    *out = row[0];
}

bool merkle_equal(const struct merkle_hash *a, const struct merkle_hash *b)
{
    return memcmp(a->bytes, b->bytes, MERKLE_HASH_LEN) == 0;
}

bool merkle_included(struct merkle *merkle, uint64_t index, uint64_t size, const struct merkle_hash *leaf,
                     const struct merkle_hash *proof, size_t count, const struct merkle_hash *root)
{
    if (index >= size)
        return false;
    struct merkle_hash hash = *leaf;
    uint64_t node = index;
    uint64_t last = size - 1;
    for (size_t i = 0; i < count; i++) {
        if (last == 0)
            return false;
        bool from_left = (node & 1) != 0 || node == last;
        merkle_node(merkle, from_left ? &proof[i] : &hash, from_left ? &hash : &proof[i], &hash);
        while (from_left && (node & 1) == 0 && node != 0) {
            node >>= 1;
            last >>= 1;
        }
        node >>= 1;
        last >>= 1;
    }
    return last == 0 && merkle_equal(&hash, root);
}
