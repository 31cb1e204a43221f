/*
 * Result codes as sentences, in a file of its own so that who does not print them does not link
 * them.
 */
#include "verify/verify.h"

const char *tmv_result_text(enum tmv_result result)
{
    static const char *const texts[] = {
        [TMV_OK] = "good",
        [TMV_MALFORMED_KEY] = "not a public key of this form",
        [TMV_UNSUPPORTED] = "a parameter set that is not supported",
        [TMV_MALFORMED_SIGNATURE] = "truncated, too long, or of other parameters than the key",
        [TMV_SHORT] = "the beginning of the signature is too short to start with",
        [TMV_WRONG_SIGNATURE] = "not a signature of this message by this key",
        [TMV_MALFORMED_PLAN] = "not a compiled plan, or a damaged one",
        [TMV_OTHER_KEY] = "the plan is for another public key",
        [TMV_UNUSED_INDEX] = "the plan never signs an artifact with this index",
        [TMV_SEAL_INDEX] = "the index is kept for the seal of its window",
        [TMV_NOT_A_VERSION] = "not written as versions of this plan are, or a slot is missing",
        [TMV_OUTSIDE_PLAN] = "no such version, slot, window or time in the plan",
        [TMV_WRONG_KIND] = "the plan has no versions, or no times",
        [TMV_OTHER_PLACE] = "the signature belongs to another version, slot or window",
        [TMV_ROLLBACK] = "older than what is still taken",
    };
    if ((unsigned)result >= sizeof(texts) / sizeof(texts[0]))
        return "unknown result";
    return texts[result];
}
