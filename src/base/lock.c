#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define POLL_MS 20

enum rc lock_take(int dirfd, const char *name, uint32_t wait_ms, int *fd, struct err *err)
{
    *fd = openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno,
                    "the state directory cannot be written (%s: %s)", name, strerror(errno));
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    for (uint32_t waited = 0;; waited += POLL_MS) {
        if (fcntl(*fd, F_OFD_SETLK, &whole) == 0)
            return RC_OK;
        int saved = errno;
        if ((saved == EAGAIN || saved == EACCES) && waited < wait_ms) {
            (void)usleep(POLL_MS * 1000);
            continue;
        }
        fd_close(fd);
        if (saved == EAGAIN || saved == EACCES)
            return FAIL(
                err, RC_RETRY_BUSY, "errno", saved,
                "another service or tool is using this state directory (%s is locked): stop "
                "it first",
                name);
        return FAIL(err, RC_HALT_STATE_DIR, "errno", saved, "lock %s: %s", name, strerror(saved));
    }
}
