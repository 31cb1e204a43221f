/*
 * remote: clients that hash their artifacts themselves (signer/reserve.h).
 *
 * They announce an artifact and are told what is hashed before it; they keep that for good, and
 * come back with the hash: at once, late, twice, to another machine, and some with the hash of
 * another artifact. What a client was told while its reservation lived and what it does with it
 * long after are the same to it, so every hash goes to every kind of machine: started again, put
 * back, copied, recovered, resumed.
 *
 * Uses: sim, machine, checks. One thread.
 */
#ifndef SIM_REMOTE_H
#define SIM_REMOTE_H

#include "sim/machine.h"

/** What a message on its way to a machine was about, for its answer. */
struct visit {
    enum message_kind kind;
    struct hold hold; /* as it was then */
    size_t at;        /* where it lies in sim->holds, if that has not been given away */
};

/** Does a client of this wish reserve (true), or does it send its artifact? */
bool remote_wanted(const struct wish *w);

/** Choose a hash that comes back. @return false if none does now; else the message is filled but
 * for its machine. */
bool remote_comes_back(struct message *message);

/** Make a request for signing one for reserving an index for the same artifact. */
void remote_reserve(struct request *r, const char *text, size_t len);

/** Write the request of a hash that comes back. */
void remote_commit(struct request *r, const struct visit *v);

/** The number of the artifact whose hash a visit brings. */
uint16_t remote_artifact(const struct visit *v);

/** The prefix left: what a client keeps. @return where, or SIZE_MAX if something is wrong. */
size_t remote_told(struct machine *m, const struct wish *w, const struct reply *reply,
                   const void *payload, size_t len);

/** A hash was answered with a signature. @return its index, or UINT64_MAX if something is wrong. */
uint64_t remote_signed(struct machine *m, const struct visit *v, const void *signature, size_t len);

/** The client has that answer. */
void remote_received(const struct machine *m, const struct visit *v);

/** A hash was refused or put off. */
void remote_refused(struct machine *m, const struct visit *v, const struct reply *reply);

#endif
