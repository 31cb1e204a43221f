/*
 * Fuzz target: a reply of chronyd, decoded and judged.
 *
 * Four bytes choose the sequence number that was asked for; 0 stands for the one in the packet, or
 * the fuzzer would rarely get past it. Then come the bytes from the socket, and what is left beyond
 * one packet chooses the rest of the evidence. Run: tests/fuzz/fuzz_chrony -max_len=160 CORPUS
 */
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rc.h"
#include "clock/chrony.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int64_t take64(const uint8_t **data, size_t *len)
{
    if (*len < 8)
        return 0;
    int64_t v = (int64_t)be_get64(*data);
    *data += 8;
    *len -= 8;
    return v;
}

static void judge(const struct clk_tracking *t, const uint8_t *data, size_t len)
{
    struct clk_state state = {0};
    struct clk_policy p = {.max_error_ms = 250, .max_age_s = 512, .max_stratum = 4, .warmup = 1};
    struct clk_evidence e = {.replied = true, .tracking = *t};
    int64_t moved_ns = take64(&data, &len);
    /* Soon after the last update, or nothing would ever be safe. */
    e.real_ns = t->ref_time_ns + (int64_t)((uint64_t)moved_ns % UINT64_C(600000000000));
    e.raw_ns = take64(&data, &len);
    e.query_ns = take64(&data, &len);
    for (int i = 0; i < 2; i++) {
        struct clk_reading r;
        int64_t wait_ms = 0;
        clk_judge(&state, &p, &e, &r);
        MUST(r.safe == (r.reasons == 0));
        bool inside = clk_inside(&r, &p, take64(&data, &len), take64(&data, &len), &wait_ms);
        MUST(!inside || r.safe);
        MUST(!r.safe || r.error_ns <= p.max_error_ms * 1000000);
        MUST(!r.safe || (t->leap < 3 && t->ref_id != 0 && !t->own_device));
        e.real_ns = moved_ns;
        e.raw_ns = take64(&data, &len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct clk_tracking none;
    if (len < 4)
        return 0;
    uint32_t sequence = be_get32(data);
    data += 4;
    len -= 4;
    if (sequence == 0 && len >= 20)
        sequence = be_get32(data + 16);
    size_t packet_len = len < CHRONY_PACKET_LEN ? len : CHRONY_PACKET_LEN;
    struct clk_tracking t;
    struct err err = {0};
    bool answers = chrony_answers(data, len, sequence);
    if (chrony_reply(&t, data, packet_len, sequence, &err) != RC_OK) {
        MUST(err.rc == RC_REFUSED_INPUT);
        MUST(memcmp(&t, &none, sizeof(t)) == 0);
        return 0;
    }
    MUST(answers && packet_len == CHRONY_PACKET_LEN);
    judge(&t, data + packet_len, len - packet_len);
    return 0;
}
