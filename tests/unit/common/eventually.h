#ifndef TG_TESTS_UNIT_COMMON_EVENTUALLY_H
#define TG_TESTS_UNIT_COMMON_EVENTUALLY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/trace.h"

/* Waits for what other threads bring about; bounded. */
#define EVENTUALLY(condition)                                                                                \
    do {                                                                                                     \
        uint64_t end_ = clock_now_ms() + 20000;                                                              \
        bool met_ = condition;                                                                               \
        while (!met_ && clock_now_ms() < end_) {                                                             \
            usleep(500);                                                                                     \
            met_ = condition;                                                                                \
        }                                                                                                    \
        assert_true(met_);                                                                                   \
    } while (0)

#endif
