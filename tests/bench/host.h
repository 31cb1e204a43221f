/*
 * host: one tidemarkd of the build tree with a software TPM, for the rows of the service: made,
 * started, stopped, and what its processes cost.
 *
 * Everything lies in one folder, which can be kept, since a key of 2^20 leaves takes minutes. Every
 * function prints what went wrong on standard error and returns false. One thread.
 */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/swtpm.h"
#include "lib/tpmproxy.h"

#define HOST_PATH 96 /* short, because paths of sockets are */

#define HOST_CLASSES_MAX 16

struct host {
    char dir[HOST_PATH], config[HOST_PATH], socket[HOST_PATH];
    bool keep;
    struct swtpm tpm;
    struct tpmproxy proxy;
    bool proxied; /* the next start goes through the proxy */
    pid_t pid, front, core;
};

/** CPU seconds that the processes took since their start, and how much of the machine is idle. */
struct host_usage {
    double wall_s;
    double idle_s; /* of all cores together */
    double front_s, core_s, tpm_s;
};

/**
 * @param[in] dir  Folder to use and to keep, made if it is not there; NULL: a new one, removed by
 * host_close().
 */
bool host_open(struct host *host, const char *dir);
void host_close(struct host *host);

/** Make a key under a plan (with ' for ") unless it is there from an earlier run. */
bool host_key(struct host *host, const char *name, const char *plan);

/** Start the service; returns when it is ready. @param[out] seconds  It took so long. */
bool host_start(struct host *host, double *seconds);

/** Stop it in order. */
bool host_stop(struct host *host);

/** Most memory that the core ever held, in KiB: everything, and without the files it has mapped. */
bool host_memory(const struct host *host, long *peak_kib, long *own_kib);

void host_usage(const struct host *host, struct host_usage *usage);

/** How long commits took since the core started, as its metrics say: so many took at most so long.
 */
struct host_commits {
    size_t classes;
    double most_s[HOST_CLASSES_MAX]; /* rising; the last is infinity */
    double count[HOST_CLASSES_MAX];  /* with those of the classes before */
};
bool host_commits(const struct host *host, struct host_commits *commits);

/** CPU seconds of any process. */
double host_cpu_s(pid_t pid);

#endif
