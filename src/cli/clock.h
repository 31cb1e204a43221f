/*
 * clock: the real clocks behind struct time_source. The only file of cli that asks the system for
 * the time; it is used for progress, for "3 d 14 h to go" and for the start of an advised plan,
 * never to decide about an index.
 */
#ifndef CLI_CLOCK_H
#define CLI_CLOCK_H

#include "base/world.h"

/** The system's clocks. */
struct time_source cli_clock(void);

#endif
