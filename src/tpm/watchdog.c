/* A TPM that does not answer blocks its caller for ever: the time-outs of the transport do not
 * work everywhere (facts/tpm F12). So a second thread looks at the clock. */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tpm/internal.h"

#define NS_PER_S INT64_C(1000000000)
#define LAST_WORDS_S 1

/* The one place of the module that asks for the time itself: what it guards is outside the world
 * that a simulator can stand in for, and a source handed in could be stuck together with us. */
static struct timespec monotonic_now(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
}

static int64_t monotonic_ns(void)
{
    struct timespec now = monotonic_now();
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void *last_words(void *arg)
{
    const struct watchdog *dog = arg;
    const char *command = atomic_load(&dog->command);
    log_event(LOG_LEVEL_ERROR, &LOG_NOTHING,
              "TPM command %s has not ended within %u s; ending the process (exit code %d)",
              command, dog->limit_s, EXIT_TPM_STUCK);
    _exit(EXIT_TPM_STUCK);
}

/* Nothing may run any more: the stuck command may still be executed when the TPM wakes up, and only
 * a new process that reads W, L and A again can know. A log that blocks must not delay that. */
_Noreturn static void bite(struct watchdog *dog)
{
    pthread_t speaker;
    if (pthread_create(&speaker, NULL, last_words, dog) == 0) {
        struct timespec pause = {.tv_sec = LAST_WORDS_S};
        (void)nanosleep(&pause, NULL);
    }
    _exit(EXIT_TPM_STUCK);
}

static void *watch(void *arg)
{
    struct watchdog *dog = arg;
    /* Four looks in each limit: a stuck command is noticed after at most 1.25 limits. */
    int64_t step_ns = dog->limit_s * NS_PER_S / 4;
    if (step_ns > NS_PER_S)
        step_ns = NS_PER_S;

    (void)pthread_mutex_lock(&dog->lock);
    while (!dog->stop) {
        struct timespec until = monotonic_now();
        int64_t ns = until.tv_nsec + step_ns;
        until.tv_sec += ns / NS_PER_S;
        until.tv_nsec = ns % NS_PER_S;
        (void)pthread_cond_timedwait(&dog->wake, &dog->lock, &until);
        int64_t started = atomic_load(&dog->started_ns);
        if (started != 0 && monotonic_ns() - started > dog->limit_s * NS_PER_S)
            bite(dog);
    }
    (void)pthread_mutex_unlock(&dog->lock);
    return NULL;
}

/* It takes no signals: those are for whoever can end what is under way in order. */
static int start_thread(struct watchdog *dog)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    MUST(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int e = pthread_create(&dog->thread, NULL, watch, dog);
    MUST(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return e;
}

enum rc watchdog_start(struct watchdog *dog, uint32_t limit_s, struct err *err)
{
    dog->limit_s = limit_s;
    if (limit_s == 0)
        return RC_OK;

    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&dog->lock, NULL);
    (void)pthread_cond_init(&dog->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    int e = start_thread(dog);
    if (e != 0) {
        (void)pthread_cond_destroy(&dog->wake);
        (void)pthread_mutex_destroy(&dog->lock);
        return FAIL(err, RC_RETRY_SYSTEM, "errno", e, "cannot start the watchdog of the TPM");
    }
    dog->running = true;
    return RC_OK;
}

void watchdog_stop(struct watchdog *dog)
{
    if (!dog->running)
        return;
    (void)pthread_mutex_lock(&dog->lock);
    dog->stop = true;
    (void)pthread_cond_signal(&dog->wake);
    (void)pthread_mutex_unlock(&dog->lock);
    (void)pthread_join(dog->thread, NULL);
    (void)pthread_cond_destroy(&dog->wake);
    (void)pthread_mutex_destroy(&dog->lock);
    dog->running = false;
}

/* The same for threads that do not know the struct: of the one worker of this process. */
static _Atomic(int64_t) waiting_since_ns;

void watchdog_begin(struct watchdog *dog, const char *command)
{
    int64_t now = monotonic_ns();
    atomic_store(&dog->command, command);
    atomic_store(&dog->started_ns, now);
    atomic_store(&waiting_since_ns, now);
}

int64_t watchdog_end(struct watchdog *dog)
{
    atomic_store(&waiting_since_ns, 0);
    int64_t started = atomic_exchange(&dog->started_ns, 0);
    return monotonic_ns() - started;
}

uint32_t tpm_waits_ms(void)
{
    int64_t since = atomic_load(&waiting_since_ns);
    int64_t ms = since == 0 ? 0 : (monotonic_ns() - since) / 1000000;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}
