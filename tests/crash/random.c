#include "tests/crash/crash.h"

static uint64_t state;

void random_seed(uint64_t seed)
{
    state = seed;
}

uint64_t random_below(uint64_t bound)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = state;
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % bound;
}
