/*
 * quick: what long tests leave out in the second run of scripts/check.sh (TIDEMARK_QUICK=1:
 * sanitizers), and under valgrind.
 */
#ifndef TESTS_LIB_QUICK_H
#define TESTS_LIB_QUICK_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/**
 * How far to go on from one case to the next.
 * @param[in] quick  Where the run is to be short.
 * @return 1 otherwise: every case.
 */
static inline uint64_t quick_stride(uint64_t quick)
{
    const char *text = getenv("TIDEMARK_QUICK");
    return text != NULL && strcmp(text, "1") == 0 ? quick : 1;
}

#endif
