/*
 * clock_bench: a real chronyd between time servers that lie (lib/liar.h), and the anchored clock
 * that judges it.
 *
 * chronyd is an observer unless it is told to control: it needs no privilege and touches no clock,
 * so the clock of this host is good for the truth. With a date it runs under libfaketime, and the
 * host of the bench lives at that date. With control it runs as root in a kernel of its own and
 * moves that kernel's clock; the truth is the raw clock's then.
 *
 * Functions fail the running cmocka test when something goes wrong. Processes end with the test.
 */
#ifndef TESTS_CLOCK_BENCH_H
#define TESTS_CLOCK_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "clock/machine.h"
#include "lib/liar.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define SERVERS 3
#define PATIENCE_MS 60000
#define LOOK_MS 100
#define CONF_MAX 2048

struct bench {
    struct liar servers[SERVERS]; /* at 127.0.0.2, .3 and .4, one port */
    pid_t chronyd[2];             /* the observer, and a server of its own kind */
    bool control;                 /* chronyd moves the clock of this kernel */
    int64_t lead_ns, lag_ns;      /* safe readings may be so far ahead of the truth, or behind it */
    int64_t patience_ms;          /* then a test gives up */
    const char *unix_socket;      /* chronyd's; "/" for none */
    int64_t shift_ns;             /* of the bench's system clock, with a date */
    struct time_source time;
    struct clk_policy policy;
    struct clk_tolerance tolerance;
    struct clk *clk;
    struct clk_machine machine;
    struct clk_sample sample; /* of the last look, as are the next four */
    struct clk_reading r;
    struct clk_verdict v;
    int64_t began_ns;            /* the truth when the observer was started */
    int64_t before_ns, after_ns; /* the truth around it */
};

/** Paths: the test's folder, and the chronyd that it runs; set by bench_group_start(). */
extern char bench_dir[96];
extern char bench_chronyd[512];

/**
 * cmocka group fixtures: make the folder, find a chronyd (CHRONYD=path, otherwise
 * scripts/get-chronyd); remove the folder. -1 if there is none.
 */
int bench_group_start(void **state);
int bench_group_stop(void **state);

/** cmocka fixtures: honest servers, a policy fit for seconds, nothing asked yet; and all of it
 * gone. */
int bench_start(void **state);
int bench_stop(void **state);

/** Run a command line through the shell; its exit status, or -1. */
int run(const char *format, ...) PRINTF_LIKE(1, 2);

/** Start a chronyd on a configuration; its log is NAME.log in the folder. */
pid_t spawn_chronyd(const struct bench *b, const char *name, const char *conf);
void stop_chronyd(pid_t *pid);

/** Does the log of that chronyd say this (a regular expression of grep)? */
bool log_says(const char *name, const char *pattern);

/** A port that nothing listens on now; another process may take it, and the test then fails. */
uint16_t free_port(void);

/**
 * The host of the bench lives at this date from now on: chronyd under libfaketime, our clock and
 * the truth moved along. Before servers are told anything and before observe(). Not with control.
 */
void set_date(struct bench *b, int64_t real_s, int64_t true_s);

/** Start chronyd on these sources and a monitoring port, and a clock that has no memory. */
void observe(struct bench *b, const char *sources);

/** The same with the three servers and more lines. */
void observe_servers(struct bench *b, const char *more);

/** What servers first … last say from now on. */
void tell(struct bench *b, unsigned first, unsigned last, const struct lies *lies);
void tell_offset(struct bench *b, unsigned first, unsigned last, int64_t offset_ns);

/** Take one sample and step the machine; prints a line when its mode or reasons change. */
void look(struct bench *b);

/** The same; if one could sign by it, the truth, which is known before and after, is inside the
 *  interval: whoever signs must not be wrong, whatever the servers say. */
void look_at_truth(struct bench *b);

/** Look at the truth ten times a second until the machine is in this mode. */
void until(struct bench *b, enum clk_mode mode);

/** The same, until this is among the reasons: where chronyd may take one more update in between,
 * the first reason is not always the lasting one. */
void until_reason(struct bench *b, uint32_t reason);

/** Look at the truth so often: one could sign each time. */
void stays_right(struct bench *b, unsigned looks);

/** Look so often: one could sign not once. */
void stays_shut(struct bench *b, unsigned looks);

/** This is among the reasons of the last look. */
void expect_reason(const struct bench *b, uint32_t reason);

/** A server line for each of the three. @param[out] out  cap bytes. */
void server_lines(const struct bench *b, char *out, size_t cap);

void pause_ms(unsigned ms);
int64_t raw_now_ns(void);

#endif
