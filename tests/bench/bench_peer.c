#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define SCRIPT SRCDIR "/tests/bench/peer.sh"

/* The script's process, with its output as a stream; NULL if it cannot be started. */
static FILE *start(const char *name, const char *dir, bool quick, pid_t *child)
{
    int ends[2];
    if (pipe(ends) != 0)
        return NULL;
    (void)fflush(NULL);
    *child = fork();
    if (*child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)close(ends[0]);
        (void)close(ends[1]);
        (void)execl("/bin/sh", "sh", SCRIPT, name, dir, quick ? "quick" : "full", (char *)NULL);
        _exit(127);
    }
    (void)close(ends[1]);
    if (*child > 0)
        return fdopen(ends[0], "r");
    (void)close(ends[0]);
    return NULL;
}

/* "SET.OPERATION SECONDS" -> a row, with the same work done by us right behind it. */
static bool line_print(const char *name, const char *line, bool json)
{
    char theirs[64];
    double seconds = 0;
    if (sscanf(line, "%63s %lf", theirs, &seconds) != 2 || !(seconds > 0))
        return false;
    char row[128];
    (void)snprintf(row, sizeof(row), "peer-%s.%s", name, theirs);
    double ours = bench_ours(theirs);
    bench_print(json, &(struct bench_row){.name = row,
                                          .per_second = 1 / seconds,
                                          .ours_to_peer = ours > 0 ? seconds / ours : 0});
    return true;
}

bool bench_peer(const char *spec, bool json, bool quick)
{
    char name[32];
    const char *equals = strchr(spec, '=');
    if (equals == NULL || (size_t)(equals - spec) >= sizeof(name)) {
        (void)fprintf(stderr, "bench: --peer takes NAME=DIR\n");
        return false;
    }
    (void)snprintf(name, sizeof(name), "%.*s", (int)(equals - spec), spec);
    pid_t child = -1;
    FILE *lines = start(name, equals + 1, quick, &child);
    if (lines == NULL)
        return false;
    char line[128];
    unsigned rows = 0;
    while (fgets(line, sizeof(line), lines) != NULL)
        rows += line_print(name, line, json);
    (void)fclose(lines);
    int status = 0;
    bool good = waitpid(child, &status, 0) == child && WIFEXITED(status) &&
                WEXITSTATUS(status) == 0 && rows > 0;
    if (!good)
        (void)fprintf(stderr, "bench: %s in %s was not timed\n", name, equals + 1);
    return good;
}
