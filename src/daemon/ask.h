/*
 * ask: what the service that runs on this host says of a key, for operations that only look.
 *
 * One GET over its unix socket, of what anybody may read: the public key as a C header, which names
 * the hash of the plan too. Asks for nothing that the service would write down or sign.
 *
 * Uses: base. One thread.
 */
#ifndef DAEMON_ASK_H
#define DAEMON_ASK_H

#include "base/rc.h"
#include "hbs/public.h"

struct ask_public {
    uint8_t key[HBS_PUB_LEN_MAX]; /* raw */
    size_t key_len;
    uint8_t plan_sha256[SHA256_LEN];
};

/**
 * @param[in]  socket  Path of the unix socket; "" for none.
 * @param[in]  name    Of the key; one that name_valid() takes (MUST).
 * @param[out] public  Zeros unless RC_OK.
 * @retval RC_REFUSED_NOT_FOUND  Nobody answers at the socket.
 * @retval RC_RETRY_BUSY         Somebody does, but not with that: the text says with what.
 * Blocks: ASK_PATIENCE_S for each part of the answer.
 */
enum rc ask_public_key(const char *socket, const char *name, struct ask_public *public,
                       struct err *err) MUST_CHECK;

#define ASK_PATIENCE_S 60

#endif
