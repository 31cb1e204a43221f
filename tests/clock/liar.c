/*
 * liar: the lying time server (lib/liar.h) as a program, for scripts and for trying things out.
 *
 * liar [PORT] answers at 127.0.0.1, says "port N" when it does, and then does what the lines of its
 * standard input say, "ok" after each: offset SECONDS, rate SECONDS_PER_SECOND, lag SECONDS, delay
 * SECONDS, dispersion SECONDS, leap 0..3, stratum 1..15, silent 0|1, honest. It ends with its
 * input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "lib/liar.h"

/* @return false for a word that it does not know. */
static bool obey(struct lies *lies, const char *word, double value)
{
    if (strcmp(word, "offset") == 0)
        lies->offset_ns = (int64_t)(value * 1e9);
    else if (strcmp(word, "rate") == 0)
        lies->rate = value;
    else if (strcmp(word, "lag") == 0)
        lies->lag_ns = (int64_t)(value * 1e9);
    else if (strcmp(word, "delay") == 0)
        lies->root_delay_s = value;
    else if (strcmp(word, "dispersion") == 0)
        lies->root_dispersion_s = value;
    else if (strcmp(word, "leap") == 0)
        lies->leap = (unsigned)value & 3;
    else if (strcmp(word, "stratum") == 0)
        lies->stratum = (unsigned)value & 15;
    else if (strcmp(word, "silent") == 0)
        lies->silent = value > 0;
    else if (strcmp(word, "honest") == 0)
        *lies = liar_honest();
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct liar liar;
    struct lies lies = liar_honest();
    char line[128];
    uint64_t port = 0;
    if (argc > 2 || (argc == 2 && !text_to_u64(&port, argv[1], UINT16_MAX))) {
        (void)fprintf(stderr, "usage: liar [PORT]\n");
        return 2;
    }
    liar_start(&liar, 1, (uint16_t)port);
    printf("port %u\n", liar.port);
    (void)fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *space = strchr(line, ' ');
        if (space != NULL)
            *space = '\0';
        bool known = obey(&lies, line, space != NULL ? strtod(space + 1, NULL) : 0);
        if (known)
            liar_tell(&liar, &lies);
        printf("%s\n", known ? "ok" : "what?");
        (void)fflush(stdout);
    }
    liar_stop(&liar);
    return 0;
}
