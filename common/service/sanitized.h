/* Whether this is a build with a sanitizer's run time, which looks into its own process at exit. */
#ifndef TG_COMMON_SERVICE_SANITIZED_H
#define TG_COMMON_SERVICE_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TG_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TG_SANITIZED 1
#endif
#endif
#ifndef TG_SANITIZED
#define TG_SANITIZED 0
#endif

#endif
