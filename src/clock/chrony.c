#include "clock/chrony.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/bytes.h"

#define PROTOCOL_VERSION 6
#define TYPE_REQUEST 1
#define TYPE_REPLY 2
#define COMMAND_TRACKING 33
#define REPLY_TRACKING 5
#define STATUS_SUCCESS 0

/* Where the fields stand; see the table in chrony.h. */
enum offset {
    AT_VERSION = 0,
    AT_TYPE = 1,
    AT_ZERO_1 = 2,
    AT_COMMAND = 4,
    AT_REQUEST_SEQUENCE = 8,
    AT_REPLY = 6,
    AT_STATUS = 8,
    AT_ZERO_2 = 10,
    AT_SEQUENCE = 16,
    AT_ZERO_3 = 20,
    AT_REF_ID = 28,
    AT_FAMILY = 48,
    AT_ZERO_4 = 50,
    AT_STRATUM = 52,
    AT_LEAP = 54,
    AT_SECONDS_HIGH = 56,
    AT_SECONDS_LOW = 60,
    AT_NANOSECONDS = 64,
    AT_CORRECTION = 68,
    AT_ROOT_DELAY = 92,
    AT_ROOT_DISPERSION = 96
};

/* chronyd's address families: none (its own clock or a reference clock), IPv4, IPv6. */
#define FAMILY_NONE 0
#define FAMILY_IPV6 2

/* A chronyd whose time_t has 32 bits says so in the high word. */
#define SECONDS_HIGH_UNKNOWN UINT32_C(0x7fffffff)

void chrony_request(uint8_t packet[CHRONY_PACKET_LEN], uint32_t sequence)
{
    memset(packet, 0, CHRONY_PACKET_LEN);
    packet[AT_VERSION] = PROTOCOL_VERSION;
    packet[AT_TYPE] = TYPE_REQUEST;
    be_put16(packet + AT_COMMAND, COMMAND_TRACKING);
    be_put32(packet + AT_REQUEST_SEQUENCE, sequence);
}

bool chrony_answers(const uint8_t *packet, size_t len, uint32_t sequence)
{
    return len < AT_SEQUENCE + 4 || be_get32(packet + AT_SEQUENCE) == sequence;
}

static bool all_zero(const uint8_t *p, size_t len)
{
    uint8_t seen = 0;
    for (size_t i = 0; i < len; i++)
        seen |= p[i];
    return seen == 0;
}

static enum rc check_header(const uint8_t *packet, size_t len, uint32_t sequence, struct err *err)
{
    if (len != CHRONY_PACKET_LEN)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "reply of %zu bytes", len);
    if (packet[AT_VERSION] != PROTOCOL_VERSION || packet[AT_TYPE] != TYPE_REPLY)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "protocol %u, packet type %u",
                    packet[AT_VERSION], packet[AT_TYPE]);
    if (be_get32(packet + AT_SEQUENCE) != sequence)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "answer to another request");
    unsigned status = be_get16(packet + AT_STATUS);
    if (status != STATUS_SUCCESS)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", status, "chronyd refuses with status %u",
                    status);
    if (be_get16(packet + AT_COMMAND) != COMMAND_TRACKING ||
        be_get16(packet + AT_REPLY) != REPLY_TRACKING)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "answer to another command");
    if (!all_zero(packet + AT_ZERO_1, 2) || !all_zero(packet + AT_ZERO_2, 6) ||
        !all_zero(packet + AT_ZERO_3, 8) || !all_zero(packet + AT_ZERO_4, 2))
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "reserved bytes are not zero");
    return RC_OK;
}

/* Any 32 bits are a number: at most 2^24 * 2^(63 - 25) in size, never infinite or NaN. */
static double read_float(const uint8_t *p)
{
    uint32_t bits = be_get32(p);
    int exponent = (int)(bits >> 25);
    if (exponent >= 64)
        exponent -= 128;
    int32_t coefficient = (int32_t)(bits & 0x1ffffff);
    if (coefficient >= 0x1000000)
        coefficient -= 0x2000000;
    return ldexp(coefficient, exponent - 25);
}

/* Without a high word the seconds end in 2106, so nothing here can overflow. */
static enum rc read_ref_time(int64_t *ns, const uint8_t *packet, struct err *err)
{
    uint32_t high = be_get32(packet + AT_SECONDS_HIGH);
    uint32_t low = be_get32(packet + AT_SECONDS_LOW);
    uint32_t nanoseconds = be_get32(packet + AT_NANOSECONDS);
    if ((high != 0 && high != SECONDS_HIGH_UNKNOWN) || nanoseconds > 999999999)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0,
                    "reference time %" PRIu32 ":%" PRIu32 ".%09" PRIu32, high, low, nanoseconds);
    *ns = (int64_t)low * 1000000000 + nanoseconds;
    return RC_OK;
}

static enum rc read_seconds(double *value, const uint8_t *p, bool may_be_negative, const char *name,
                            struct err *err)
{
    double v = read_float(p);
    if (fabs(v) > CHRONY_SECONDS_MAX || (v < 0 && !may_be_negative))
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "%s of %g s", name, v);
    *value = v;
    return RC_OK;
}

static enum rc read_tracking(struct clk_tracking *t, const uint8_t *packet, struct err *err)
{
    t->ref_id = be_get32(packet + AT_REF_ID);
    t->stratum = be_get16(packet + AT_STRATUM);
    t->leap = be_get16(packet + AT_LEAP);
    unsigned family = be_get16(packet + AT_FAMILY);
    if (t->leap > 3 || family > FAMILY_IPV6)
        return FAIL(err, RC_REFUSED_INPUT, "chrony", 0, "leap status %u, address family %u",
                    t->leap, family);
    t->own_device = family == FAMILY_NONE;
    enum rc rc = read_ref_time(&t->ref_time_ns, packet, err);
    if (rc == RC_OK)
        rc = read_seconds(&t->correction_s, packet + AT_CORRECTION, true, "correction", err);
    if (rc == RC_OK)
        rc = read_seconds(&t->root_delay_s, packet + AT_ROOT_DELAY, false, "root delay", err);
    if (rc == RC_OK)
        rc = read_seconds(&t->root_dispersion_s, packet + AT_ROOT_DISPERSION, false,
                          "root dispersion", err);
    return rc;
}

enum rc chrony_reply(struct clk_tracking *tracking, const uint8_t *packet, size_t len,
                     uint32_t sequence, struct err *err)
{
    *tracking = (struct clk_tracking){0};
    enum rc rc = check_header(packet, len, sequence, err);
    if (rc != RC_OK)
        return rc;
    struct clk_tracking t = {0};
    rc = read_tracking(&t, packet, err);
    if (rc != RC_OK)
        return rc;
    *tracking = t;
    return RC_OK;
}
