#include "signer/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct followed {
    bool used;
    bool busy; /* the reader is at it, without the lock: hands off */
    char key[NAME_LEN_MAX + 1];
    uint64_t body_len;
    dev_t dev; /* these two name the file; as long as fd is open no other one has them */
    ino_t ino;
    int fd;
    struct artifact_look look;
    uint64_t size; /* of the file when it was last looked at */
    unsigned idle; /* turns since it last grew */
};

struct follow {
    pthread_mutex_t lock;
    pthread_cond_t begun;  /* there is something to follow */
    pthread_cond_t rested; /* the reader has put one down */
    struct followed all[FOLLOW_MAX];
};

static void lock(struct follow *follow)
{
    MUST(pthread_mutex_lock(&follow->lock) == 0);
}

static void unlock(struct follow *follow)
{
    MUST(pthread_mutex_unlock(&follow->lock) == 0);
}

static void forget(struct followed *one)
{
    fd_close(&one->fd);
    artifact_look_close(&one->look);
    *one = (struct followed){.fd = -1};
}

enum rc follow_open(struct follow **follow, struct err *err)
{
    struct follow *f = calloc(1, sizeof(*f));
    *follow = f;
    if (f == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory to follow uploads");
    MUST(pthread_mutex_init(&f->lock, NULL) == 0);
    MUST(pthread_cond_init(&f->begun, NULL) == 0);
    MUST(pthread_cond_init(&f->rested, NULL) == 0);
    for (size_t i = 0; i < FOLLOW_MAX; i++)
        f->all[i].fd = -1;
    return RC_OK;
}

void follow_close(struct follow **follow)
{
    struct follow *f = *follow;
    if (f == NULL)
        return;
    for (size_t i = 0; i < FOLLOW_MAX; i++)
        forget(&f->all[i]);
    MUST(pthread_cond_destroy(&f->rested) == 0);
    MUST(pthread_cond_destroy(&f->begun) == 0);
    MUST(pthread_mutex_destroy(&f->lock) == 0);
    free(f);
    *follow = NULL;
}

/* Coming and going ---------------------------------------------------------------------------- */

/* The lock is held. NULL: as many as may be are followed already. */
static struct followed *free_place(struct follow *follow)
{
    for (size_t i = 0; i < FOLLOW_MAX; i++)
        if (!follow->all[i].used)
            return &follow->all[i];
    return NULL;
}

static bool begin(struct followed *one, const struct request *request, int fd,
                  enum plan_message mode, struct artifact_pass *pass)
{
    struct stat st;
    struct err none = {0};
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        artifact_look_open(&one->look, mode, pass, &none) != RC_OK)
        return false;
    memcpy(one->key, request->key, sizeof(one->key));
    one->body_len = request->body_len;
    one->dev = st.st_dev;
    one->ino = st.st_ino;
    return true;
}

void follow_begin(struct follow *follow, const struct request *request, int *fd,
                  enum plan_message mode, struct artifact_pass *pass)
{
    lock(follow);
    struct followed *one = free_place(follow);
    if (one != NULL && begin(one, request, *fd, mode, pass)) {
        one->fd = *fd;
        one->used = true;
        *fd = -1;
        MUST(pthread_cond_signal(&follow->begun) == 0);
    } else if (one != NULL) {
        forget(one);
    }
    unlock(follow);
    artifact_pass_close(pass);
    fd_close(fd);
}

static bool is_of(const struct followed *one, const struct request *request, const struct stat *st)
{
    return one->used && one->dev == st->st_dev && one->ino == st->st_ino &&
           one->body_len == request->body_len && strcmp(one->key, request->key) == 0;
}

/* The lock is held, and let go of while the reader is at it. */
static struct followed *find(struct follow *follow, const struct request *request,
                             const struct stat *st)
{
    for (size_t i = 0; i < FOLLOW_MAX; i++) {
        struct followed *one = &follow->all[i];
        while (is_of(one, request, st) && one->busy)
            MUST(pthread_cond_wait(&follow->rested, &follow->lock) == 0);
        if (is_of(one, request, st))
            return one;
    }
    return NULL;
}

bool follow_take(struct follow *follow, const struct request *request, int fd,
                 enum plan_message mode, struct artifact_look *look)
{
    struct stat st;
    *look = (struct artifact_look){0};
    if (fstat(fd, &st) != 0)
        return false;
    lock(follow);
    struct followed *one = find(follow, request, &st);
    bool fits = one != NULL && one->look.mode == mode;
    if (fits) {
        *look = one->look;
        one->look = (struct artifact_look){0};
    }
    if (one != NULL)
        forget(one);
    unlock(follow);
    return fits;
}

/* Reading ------------------------------------------------------------------------------------- */

/* What was just read goes to the disk now, and what is there by now leaves the page cache: so the
 * cache holds no more than FOLLOW_KEEP of it, and no sync of others finds gigabytes to write. All
 * of this is for speed only; what fails is left to the kernel. */
static void leave_behind(const struct followed *one, uint64_t from)
{
    uint64_t to = one->look.done;
    (void)sync_file_range(one->fd, (off_t)from, (off_t)(to - from), SYNC_FILE_RANGE_WRITE);
    if (from < FOLLOW_KEEP)
        return;
    off_t old = (off_t)(from - FOLLOW_KEEP);
    (void)sync_file_range(one->fd, old, (off_t)FOLLOW_STEP,
                          SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                              SYNC_FILE_RANGE_WAIT_AFTER);
    (void)posix_fadvise(one->fd, old, (off_t)FOLLOW_STEP, POSIX_FADV_DONTNEED);
}

/* Whole steps, so that no page is sent to the disk that is still being filled, and then the rest.
 * @return false: it will not come, or cannot be read. */
static bool read_on(struct followed *one, uint64_t *read)
{
    struct stat st;
    struct err none = {0};
    if (fstat(one->fd, &st) != 0)
        return false;
    uint64_t size = (uint64_t)st.st_size;
    if (size > one->body_len || size < one->look.done)
        return false;
    one->idle = size == one->size ? one->idle + 1 : 0;
    one->size = size;
    uint64_t from = one->look.done;
    uint64_t step = size - from < FOLLOW_STEP ? size - from : FOLLOW_STEP;
    if (step == 0 || (step < FOLLOW_STEP && size < one->body_len))
        return one->idle < FOLLOW_IDLE_TURNS;
    one->idle = 0;
    if (artifact_look_read(&one->look, one->fd, from + step, &none) != RC_OK)
        return false;
    leave_behind(one, from);
    *read += step;
    return true;
}

uint64_t follow_turn(struct follow *follow)
{
    uint64_t read = 0;
    for (size_t i = 0; i < FOLLOW_MAX; i++) {
        struct followed *one = &follow->all[i];
        lock(follow);
        one->busy = one->used;
        bool is_there = one->used;
        unlock(follow);
        if (!is_there)
            continue;
        bool goes_on = read_on(one, &read);
        lock(follow);
        one->busy = false;
        if (!goes_on)
            forget(one);
        MUST(pthread_cond_broadcast(&follow->rested) == 0);
        unlock(follow);
    }
    return read;
}

/* The lock is held. */
static bool any(const struct follow *follow)
{
    for (size_t i = 0; i < FOLLOW_MAX; i++)
        if (follow->all[i].used)
            return true;
    return false;
}

_Noreturn void follow_run(struct follow *follow)
{
    for (;;) {
        lock(follow);
        while (!any(follow))
            MUST(pthread_cond_wait(&follow->begun, &follow->lock) == 0);
        unlock(follow);
        if (follow_turn(follow) == 0)
            (void)usleep(FOLLOW_IDLE_MS * 1000);
    }
}
