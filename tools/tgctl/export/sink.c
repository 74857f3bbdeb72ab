#include "tools/tgctl/export/sink.h"

#include <string.h>

enum tg_code sink_open(const struct sink_options *options, struct sink **sink, struct tg_error *err)
{
    if (strncmp(options->to, "tls:", 4) == 0)
        return sink_tls_open(options, sink, err);
    if (strncmp(options->to, "unix:", 5) == 0)
        return sink_unix_open(options, sink, err);
    return sink_file_open(options, sink, err);
}
