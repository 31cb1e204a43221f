/*
 * driver: what the programs that time another library have in common. Each prints lines
 * "SET.OPERATION SECONDS" under the names of our own rows; tests/bench/peer.sh builds them against
 * a source that is given, and none of that source is part of this project.
 */
#ifndef PEERS_DRIVER_H
#define PEERS_DRIVER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DRIVER_SLICE_S 0.3
#define DRIVER_REPEATS 256 /* the smallest keys have 1,024 signatures, and a warm-up takes one */

static double driver_cpu_s(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) != 0)
        exit(1);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Repeat one operation and print what it took on average. Signing gets dearer or cheaper from one
 * index to the next in some libraries, so an average over many is what a user pays. */
static void driver_row(const char *set, const char *operation, bool quick, bool (*f)(void))
{
    double start = driver_cpu_s();
    double passed = 0;
    unsigned done = 0;
    do {
        if (!f()) {
            (void)fprintf(stderr, "%s.%s failed\n", set, operation);
            exit(1);
        }
        done++;
        passed = driver_cpu_s() - start;
    } while (!quick && passed < DRIVER_SLICE_S && done < DRIVER_REPEATS);
    printf("%s.%s %.9f\n", set, operation, passed / done);
    (void)fflush(stdout);
}

#endif
