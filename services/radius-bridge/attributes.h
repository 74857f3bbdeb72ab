/* RADIUS attributes: from a request to radcli's pairs and from its pairs to an answer. */
#ifndef TG_RADIUS_ATTRIBUTES_H
#define TG_RADIUS_ATTRIBUTES_H

#include <netinet/in.h>
#include <stdbool.h>

#include <radcli/radcli.h>

#include "services/radius-bridge/connection.h"

/* Tells a handle of all standard attributes: what a server sends beside those we know must not make it
 * complain. */
bool attributes_define(rc_handle *handle);

/* *pairs is the caller's, also after false (no memory). own_ipv6: NULL over IPv4, where radcli adds
 * NAS-IP-Address. */
bool attributes_put(rc_handle *handle, const Tg__LoginRequest *request, const struct in6_addr *own_ipv6,
                    VALUE_PAIR **pairs);
/* Wipes the passwords among them. */
void attributes_wipe(VALUE_PAIR *pairs);

/* answer->outcome is set already and decides what is taken: of a reject only the message (RFC 2865 5.44). */
void attributes_get(VALUE_PAIR *pairs, struct radius_answer *answer);

#endif
