/* A service's configuration: the rows all services share, then its own. Used by common/service only. */
#ifndef TG_COMMON_SERVICE_SETTINGS_H
#define TG_COMMON_SERVICE_SETTINGS_H

#include "common/service/service.h"

/* Common rows and the service's own in one table; free() it. NULL when memory is out. */
struct config_row *settings_rows(const struct service *service);

/* Reads and checks the whole; settings_free frees it. Errors as config_read. */
enum tg_code settings_read(const struct service *service, const struct config_row *rows, const char *path,
                           struct service_config **out, struct tg_error *err) TG_MUST_CHECK;
void settings_free(const struct config_row *rows, struct service_config *config); /* NULL is fine */

#endif
