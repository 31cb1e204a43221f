/*
 * replay: run the fuzz target over files, and over small changes of them: every file cut off at
 * every length (long ones at some), and with bytes changed. `make check` does without a fuzzer.
 *
 * Usage: replay [-n COUNT] FOLDER. COUNT: cuts and changes of one file at most, for slow targets.
 * Fails if the folder holds nothing.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"
#include "base/secmem.h"
#include "base/text.h"

#define FILE_MAX 65536
#define COUNT_MAX 400               /* cuts, and changes, of one file */
#define CHANGES_OF_SIGNATURE_MAX 12 /* each of which is verified twice */
#define HEAD 24                     /* bytes that decide most: all changed, if COUNT allows */

static size_t count_max = COUNT_MAX;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void feed(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    MUST(copy != NULL);
    memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void replay(uint8_t *data, size_t len)
{
    size_t head = count_max < HEAD ? count_max : HEAD;
    feed(data, len);
    size_t step = len / count_max + 1;
    for (size_t cut = 0; cut < len; cut += cut < head ? 1 : step)
        feed(data, cut);
    step = len / (data[0] == '2' ? CHANGES_OF_SIGNATURE_MAX : count_max) + 1;
    for (size_t at = 0; at < len; at += at < head ? 1 : step) {
        uint8_t before = data[at];
        const uint8_t others[] = {0xff, (uint8_t)(before ^ 1)};
        for (size_t i = data[0] == '2' && at > 0 ? 1 : 0; i < sizeof(others); i++) {
            data[at] = others[i];
            feed(data, len);
        }
        data[at] = before;
    }
}

static bool replay_file(const char *folder, const char *name)
{
    static uint8_t data[FILE_MAX];
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return false;
    size_t len = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    replay(data, len);
    return true;
}

int main(int argc, char **argv)
{
    struct dirent **entries = NULL;
    size_t files = 0;
    uint64_t wanted = 0;
    if (argc == 4 && strcmp(argv[1], "-n") == 0 && text_to_u64(&wanted, argv[2], COUNT_MAX)) {
        count_max = wanted > 0 ? (size_t)wanted : 1;
        argv += 2;
        argc -= 2;
    }
    MUST(base_init(NULL) == RC_OK);
    int count = argc == 2 ? scandir(argv[1], &entries, NULL, alphasort) : -1;
    if (count < 0) {
        (void)fprintf(stderr, "usage: %s [-n COUNT] FOLDER\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && !replay_file(argv[1], entries[i]->d_name))
            return 1;
        files += entries[i]->d_name[0] != '.';
        free(entries[i]);
    }
    free(entries);
    printf("%zu files replayed\n", files);
    return files > 0 ? 0 : 1;
}
