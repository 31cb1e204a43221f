/*
 * ack_body: what operators acknowledge with: the numbers of a jump of the clock, the sentence of a
 * warning.
 *
 * Uses: base, signer/request.h, Jansson. Pure, any thread.
 */
#ifndef HTTP_ACK_BODY_H
#define HTTP_ACK_BODY_H

#include "base/rc.h"
#include "signer/request.h"

#define ACK_BODY_MAX 4096

/**
 * Read {"id": 1780000000, "windows": 3, "utc": "2026-11-25T10:00:00Z"}, all three and nothing else,
 * into ack_id, ack_windows and ack_utc_s. Whether they are those of the jump that waits is for the
 * core to say.
 * @param[in,out] request  Nothing else of it is touched.
 * @param[in]     text     len bytes; anything.
 * @retval RC_REFUSED_INPUT  Not of this form; the text says what is wrong. The request is
 * unchanged.
 */
enum rc clock_ack_body_parse(struct request *request, const char *text, size_t len,
                             struct err *err) MUST_CHECK;

/**
 * Read {"sentence": "I know …"}, that and nothing else, into sentence.
 * @param[in,out] request  Nothing else of it is touched.
 * @param[in]     text     len bytes; anything.
 * @retval RC_REFUSED_INPUT  Not of this form, or longer than any sentence that is shown. The
 *                           request is unchanged.
 */
enum rc warning_ack_body_parse(struct request *request, const char *text, size_t len,
                               struct err *err) MUST_CHECK;

#endif
