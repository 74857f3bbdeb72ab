/* REFUSED: the gateway's no, in any state, with the text and the trace id that the user tells the operator.
 */
#include <string.h>

#include "client/login/handshake.h"
#include "common/pb.h"
#include "common/utf8.h"

enum tg_code refused_receive(struct handshake *h, const struct wire_frame *frame, struct tg_error *err)
{
    TG_CLEANUP(pb_cleanup) ProtobufCMessage *message = handshake_unpack(frame, &tg__refused__descriptor, err);
    if (message == NULL)
        return TG_INVALID_ARGUMENT;
    const Tg__Refused *refused = (const Tg__Refused *)message;
    char text[160];
    char trace[TRACE_HEX_LEN + 1];
    utf8_clean(text, sizeof text, refused->text, strlen(refused->text), false);
    utf8_clean(trace, sizeof trace, refused->trace_id, strlen(refused->trace_id), false);
    bool known = refused->code != TG_OK && refused->code < TG_CODE_COUNT;
    enum tg_code code = known ? (enum tg_code)refused->code : TG_UNKNOWN;
    return handshake_fail(h, exit_for_refusal(refused->code), err, code, "the gateway refused: %s%s%s%s",
                          text, trace[0] != '\0' ? " (trace " : "", trace, trace[0] != '\0' ? ")" : "");
}
