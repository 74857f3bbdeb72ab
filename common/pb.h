/* protobuf-c with bounds: bytes are capped before unpacking, memory comes from one bounded arena that is
 * wiped when freed (DESIGN.md 2), since messages carry passwords and sealed keys. */
#ifndef TG_COMMON_PB_H
#define TG_COMMON_PB_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

/* Unpacks len bytes as `type`. NULL: malformed, or larger than the arena (16 × len + 4 KiB) allows. Any
 * thread. */
ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);
/* Wipes and frees what pb_unpack returned; NULL is fine. */
void pb_free(ProtobufCMessage *message);
/* For TG_CLEANUP on a ProtobufCMessage *. */
void pb_cleanup(ProtobufCMessage **message);

/* Packs into a new buffer of *len bytes; pb_buffer_free wipes and frees. NULL when memory is out. Any thread.
 */
uint8_t *pb_pack(const ProtobufCMessage *message, size_t *len);
void pb_buffer_free(uint8_t *buffer, size_t len);

/* A bytes field that borrows. */
static inline ProtobufCBinaryData pb_bytes(const void *data, size_t len)
{
    union {
        const void *in;
        uint8_t *out;
    } cast = {.in = data};
    return (ProtobufCBinaryData){.len = len, .data = cast.out};
}

/* A string field that borrows; NULL becomes "". */
static inline char *pb_string(const char *text)
{
    union {
        const char *in;
        char *out;
    } cast = {.in = text != NULL ? text : ""};
    return cast.out;
}

#endif
