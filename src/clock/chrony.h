/*
 * chrony: encode a tracking request and decode the reply of chronyd's monitoring protocol, version 6.
 *
 * Uses: base. Pure (no socket): so that the decoder can be fuzzed. Own code from the published packet
 * layout (facts/clock section 2.1): big endian, 104 bytes each way, floats of 7-bit exponent and
 * 25-bit coefficient. Any thread.
 */
#ifndef CLOCK_CHRONY_H
#define CLOCK_CHRONY_H

#include "clock/clock.h"

#define CHRONY_PACKET_LEN 104

/** Fill a tracking request with the given sequence number. */
void chrony_request(uint8_t packet[CHRONY_PACKET_LEN], uint32_t sequence);

/**
 * Decode a reply: exact length, every header field and every number checked.
 * @retval RC_REFUSED_INPUT  Not a well-formed answer to this sequence number; the text says why.
 *                           *tracking is all zero.
 */
enum rc chrony_reply(struct clk_tracking *tracking, const uint8_t *packet, size_t len,
                     uint32_t sequence, struct err *err) MUST_CHECK;

#endif
