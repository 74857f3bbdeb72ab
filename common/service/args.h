/* The arguments that every service takes. Used by common/service only. */
#ifndef TG_COMMON_SERVICE_ARGS_H
#define TG_COMMON_SERVICE_ARGS_H

#include <stdbool.h>

#include "common/service/service.h"

struct args {
    const char *config; /* borrowed from argv */
    bool check_config;
};

enum { ARGS_RUN = -1 }; /* otherwise: the process is done, with this exit code */

/* Also answers --help, --version and --config-help, on stdout. `rows` is the whole table. */
int args_parse(const struct service *service, const struct config_row *rows, int argc, char **argv,
               struct args *args);

#endif
