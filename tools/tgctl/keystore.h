/* What the commands about the key store's things share. */
#ifndef TG_TOOLS_TGCTL_KEYSTORE_H
#define TG_TOOLS_TGCTL_KEYSTORE_H

#include "common/ticket.h"
#include "proto/key_store.pb-c.h"
#include "tools/tgctl/table.h"
#include "tools/tgctl/tgctl.h"

/* As tgctl_call, to the key store. */
enum tg_code keystore_call(const struct tgctl *ctl, const char *method, const ProtobufCMessage *request,
                           ProtobufCMessage **answer, struct tg_error *err) TG_MUST_CHECK;

/* Where the next page starts. */
struct place {
    char text[129];
    uint8_t key_id[TICKET_KEY_ID_LEN];
    bool more;
};

/* Appends the rows of the page at `place`, and moves that on. */
typedef enum tg_code list_page(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                               struct place *place, json_t *rows, struct tg_error *err);
enum tgctl_exit keystore_list(const struct tgctl *ctl, const struct tgctl_arguments *arguments,
                              list_page *page, const struct table_column *columns);

/* A command that changes something answers with one row: what it did to what. number_name may be NULL. */
enum tgctl_exit keystore_say(const struct tgctl *ctl, const char *what, const char *id,
                             const char *number_name, uint64_t number);

/* Asks at a terminal whether to do what cannot be undone, unless --yes was given (which the command's options
 * must have). False: no. Without a terminal nobody is asked, so that scripts work. */
bool keystore_confirmed(const struct tgctl *ctl, const struct tgctl_arguments *arguments, const char *fmt,
                        ...) TG_PRINTF(3, 4);
#define KEYSTORE_YES                                                                                         \
    {                                                                                                        \
        "yes", NULL, "do not ask at the terminal"                                                            \
    }

#endif
