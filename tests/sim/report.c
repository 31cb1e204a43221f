#include "sim/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1024 * 1024)

void report_add(struct counts *total, const struct counts *c)
{
#define X(name, text) total->name += c->name;
    COUNTS(X)
#undef X
    total->processor_ms += c->processor_ms;
    if (c->burned_most > total->burned_most)
        total->burned_most = c->burned_most;
}

static double rate(const struct counts *c)
{
    return c->processor_ms > 0 ? (double)c->operations * 1000 / (double)c->processor_ms : 0;
}

void report_print(FILE *out, const struct counts *c)
{
#define X(name, text) (void)fprintf(out, "%12" PRIu64 "  %s\n", c->name, text);
    COUNTS(X)
#undef X
    (void)fprintf(out, "%12" PRIu64 "  most indices that one crash gave up\n", c->burned_most);
}

bool report_last_line(const struct counts *c)
{
    (void)printf("sim: seeds=%" PRIu64 " operations=%" PRIu64 " cuts=%" PRIu64 " rollbacks=%" PRIu64
                 " clones=%" PRIu64 " reuses=%" PRIu64 " violations=%" PRIu64
                 " ops_per_second=%.0f\n",
                 c->seeds, c->operations, c->cuts, c->rollbacks, c->clones, c->reuses,
                 c->violations, rate(c));
    return c->reuses == 0 && c->violations == 0;
}

/* Evidence ------------------------------------------------------------------------------------- */

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = calloc(1, FILE_MAX + 1);
    size_t len = f != NULL && text != NULL ? fread(text, 1, FILE_MAX, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    if (len > 0 && len < FILE_MAX)
        return text;
    free(text);
    return NULL;
}

/* Rows of the table of mutants that scripts/mutants keeps in the same file. */
static unsigned mutants(const char *text)
{
    unsigned n = 0;
    const char *end = strstr(text, "<!-- mutants: end");
    for (const char *row = strstr(text, "<!-- mutants: begin"); row != NULL && row < end;
         row = strchr(row + 1, '\n'))
        n += strncmp(row, "\n| `", 4) == 0;
    return n;
}

static void table(FILE *out, const struct counts *c, unsigned noticed)
{
    (void)fprintf(out, "\n| counted | number |\n|---|---|\n");
#define X(name, text) (void)fprintf(out, "| %s | %" PRIu64 " |\n", text, c->name);
    COUNTS(X)
#undef X
    (void)fprintf(out,
                  "| most indices that one crash gave up (never more than one lease, or it is a "
                  "violation) | %" PRIu64 " |\n",
                  c->burned_most);
    (void)fprintf(out, "| operations a second of processor time | %.0f |\n", rate(c));
    (void)fprintf(out, "| mutants that the tests notice (below) | %u |\n\n", noticed);
}

bool report_write(const char *path, const struct counts *c)
{
    char *text = read_all(path);
    char *begin = text != NULL ? strstr(text, REPORT_BEGIN) : NULL;
    const char *end = begin != NULL ? strstr(begin, REPORT_END) : NULL;
    FILE *f = end != NULL ? fopen(path, "we") : NULL;
    bool ok = f != NULL;
    if (ok) {
        begin += strlen(REPORT_BEGIN);
        ok = fwrite(text, 1, (size_t)(begin - text), f) == (size_t)(begin - text);
        table(f, c, mutants(text));
        ok = fputs(end, f) >= 0 && ok;
        ok = fclose(f) == 0 && ok;
    }
    free(text);
    return ok;
}
