/* All derivation labels, once (docs/keys.md says what each key is for, who holds it and when it dies). */
#ifndef TG_COMMON_PROTOCOL_LABELS_H
#define TG_COMMON_PROTOCOL_LABELS_H

#define LABEL_EXPORTER "EXPORTER-ticketgate-1"
#define LABEL_ROOT "ticketgate/1 root"
#define LABEL_RANDOM "random"
#define LABEL_CONFIRM "confirm"
#define LABEL_LOGIN "login"
#define LABEL_CHANNEL "channel"
#define LABEL_SM4_KEY "sm4 key" /* the SM4 suite's two further expansions of a sealing key */
#define LABEL_SM4_MAC "sm4 mac"
#define LABEL_TICKET_INFO "ticketgate/1 ticket info" /* one key per message from a QKUD's key */
#define LABEL_SHIELD_BODY "ticketgate/1 shield body" /* from the PIN's key: seals the list of entries */
#define LABEL_SHIELD_KEYS "ticketgate/1 shield keys" /* from the PIN's key: seals each quantum key in it */

#define LABEL_AT_REST_WRAP "key store wrap"   /* of a KEK: wraps one data key; followed by a salt in hex */
#define LABEL_KEK_CHECK "key store kek check" /* of a KEK: tells whether a database was written under it */

#endif
