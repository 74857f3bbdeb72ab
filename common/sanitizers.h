/* Which sanitizers this build has: their run time looks into its own process at exit. 0 or 1. */
#ifndef TG_COMMON_SANITIZERS_H
#define TG_COMMON_SANITIZERS_H

#ifndef __has_feature /* clang's way to ask; gcc defines __SANITIZE_*__ */
#define TG_HAS_FEATURE(x) 0
#else
#define TG_HAS_FEATURE(x) __has_feature(x)
#endif

#if defined(__SANITIZE_ADDRESS__) || TG_HAS_FEATURE(address_sanitizer)
#define TG_ADDRESS_SANITIZER 1
#else
#define TG_ADDRESS_SANITIZER 0
#endif

#if defined(__SANITIZE_THREAD__) || TG_HAS_FEATURE(thread_sanitizer)
#define TG_THREAD_SANITIZER 1
#else
#define TG_THREAD_SANITIZER 0
#endif

#define TG_SANITIZED (TG_ADDRESS_SANITIZER || TG_THREAD_SANITIZER)

#endif
