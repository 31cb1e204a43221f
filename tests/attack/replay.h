/*
 * replay: the attacker has listened on the bus while the service opened its window, and sends the
 * same bytes again when the window is over.
 */
#ifndef TESTS_ATTACK_REPLAY_H
#define TESTS_ATTACK_REPLAY_H

#include "attack/kinds.h"

/** @return true if the TPM executed an Unseal that was sent again. */
bool replay_of_the_service(struct attack *a);

/** The same with what needs no session of anybody: the attacker's own password. */
bool replay_of_a_password(struct attack *a);

#endif
