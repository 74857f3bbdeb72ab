/* How a test tells a program under shim_fault.so when to fail: a page that both map. */
#ifndef TG_TESTS_CRASH_FAULT_H
#define TG_TESTS_CRASH_FAULT_H

#include <stdatomic.h>
#include <stdint.h>

/* Which calls fail; or'ed. */
enum fault_calls { FAULT_WRITE = 1, FAULT_SYNC = 2, FAULT_NAME = 4, FAULT_TRUNCATE = 8, FAULT_ALL = 15 };

/* The file that TG_FAULT_CONTROL names. */
struct fault_control {
    _Atomic uint32_t per_million; /* of the calls below; 0: nothing fails */
    _Atomic uint32_t calls;       /* enum fault_calls */
    _Atomic uint32_t lies;        /* 1: every sync succeeds at once and does nothing */
    _Atomic uint64_t seed;
    _Atomic uint64_t injected; /* so many have failed */
};

#endif
