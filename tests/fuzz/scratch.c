#include "fuzz/scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rc.h"

const char *scratch_file(const uint8_t *data, size_t len)
{
    static char path[40];
    static int fd = -1;
    if (fd < 0)
        fd = memfd_create("scratch", MFD_CLOEXEC);
    MUST(fd >= 0);
    MUST(ftruncate(fd, 0) == 0);
    MUST(pwrite_full(fd, data, len, 0));
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return path;
}

static char folder[64];
static char held[64];
static int folder_fd = -1;

static void remove_folder(void)
{
    if (held[0] != '\0')
        (void)unlinkat(folder_fd, held, 0);
    (void)rmdir(folder);
}

static void make_folder(void)
{
    static const char *const places[] = {"/dev/shm", "/tmp"};
    for (size_t i = 0; i < 2 && folder_fd < 0; i++) {
        (void)snprintf(folder, sizeof(folder), "%s/tidemark-fuzz-XXXXXX", places[i]);
        if (mkdtemp(folder) != NULL)
            folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    MUST(folder_fd >= 0);
    MUST(atexit(remove_folder) == 0);
}

int scratch_folder(const char *name, const uint8_t *data, size_t len)
{
    if (folder_fd < 0)
        make_folder();
    if (held[0] != '\0')
        (void)unlinkat(folder_fd, held, 0);
    (void)snprintf(held, sizeof(held), "%s", name);
    int fd CLEANUP(fd_close) =
        openat(folder_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    MUST(pwrite_full(fd, data, len, 0));
    return folder_fd;
}

const char *scratch_folder_path(void)
{
    if (folder_fd < 0)
        make_folder();
    return folder;
}
