/*
 * chrony: encode a tracking request and decode the reply of chronyd's monitoring protocol,
 * version 6.
 *
 * Uses: base. Pure (no socket), so that the decoder can be fuzzed on its own. Any thread.
 *
 * The protocol has no RFC. A packet is 104 bytes each way, big endian, without padding:
 *
 *   request  0 version 6 | 1 type 1 | 2 zero[2] | 4 command 33 | 6 attempt | 8 sequence | 12
 * zero[92] reply    0 version 6 | 1 type 2 | 2 zero[2] | 4 command 33 | 6 reply 5 | 8 status 0 | 10
 * zero[6] | 16 sequence | 20 zero[8] | 28 reference id | 32 address[16] | 48 address family | 50
 * zero[2] | 52 stratum | 54 leap | 56 seconds, high word | 60 seconds, low word | 64 nanoseconds |
 * 68 correction | 72 last offset | 76 RMS offset | 80 frequency | 84 residual frequency | 88 skew |
 * 92 root delay | 96 root dispersion | 100 update interval
 *
 * The last nine are 32-bit floats of chronyd's own: a signed exponent e of 7 bits, then a signed
 * coefficient c of 25 bits; the value is c * 2^(e - 25). The request is as long as the reply, so
 * that chronyd cannot be used to amplify traffic; it refuses a shorter one.
 */
#ifndef CLOCK_CHRONY_H
#define CLOCK_CHRONY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "clock/clock.h"

#define CHRONY_PACKET_LEN 104

/**
 * Largest correction, delay or dispersion that chrony_reply() passes on, seconds: 126 years, more
 * than a clock that boots in 1970 can be wrong by, and as nanoseconds still less than half of an
 * int64_t.
 */
#define CHRONY_SECONDS_MAX 4e9

/** Fill a tracking request with the given sequence number; choose that at random for each. */
void chrony_request(uint8_t packet[CHRONY_PACKET_LEN], uint32_t sequence);

/**
 * Is this packet an answer to the request of that sequence number, well-formed or not? A late
 * answer to an earlier request is not; the caller drops it and goes on waiting.
 * @param[in] packet  len bytes. A packet too short to say counts as an answer: chrony_reply()
 * tells.
 */
bool chrony_answers(const uint8_t *packet, size_t len, uint32_t sequence) MUST_CHECK;

/**
 * Decode a reply: exact length, every header field and every number checked.
 *
 * What a well-formed report means (leap 3, stratum 0, a bound of an hour) is left to clk_judge().
 *
 * @param[out] tracking  On RC_OK: leap 0 … 3; ref_time_ns 0 … year 2106; correction within
 *                       ±CHRONY_SECONDS_MAX; delay and dispersion 0 … CHRONY_SECONDS_MAX.
 * @param[in]  packet    len bytes as received.
 * @param[in]  sequence  That of the request.
 * @retval RC_OK
 * @retval RC_REFUSED_INPUT  Not a well-formed answer to this sequence number; the text says why.
 *                           *tracking is all zero.
 */
enum rc chrony_reply(struct clk_tracking *tracking, const uint8_t *packet, size_t len,
                     uint32_t sequence, struct err *err) MUST_CHECK;

#endif
