#include "services/key-store/store/store.h"

#include <string.h>

static const char *const state_names[KEY_STATES] = {
    [KEY_MADE] = "made",       [KEY_READY] = "ready",     [KEY_SPENT] = "spent",
    [KEY_REVOKED] = "revoked", [KEY_EXPIRED] = "expired",
};

const char *key_state_name(enum key_state state)
{
    TG_INVARIANT(state < KEY_STATES);
    return state_names[state];
}

enum key_state key_state_find(const char *name)
{
    unsigned state = 0;
    while (state < KEY_STATES && strcmp(name, state_names[state]) != 0)
        state++;
    return (enum key_state)state;
}
