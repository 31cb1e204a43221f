#include <stdio.h>

#include "bench/bench.h"

static void json_number(const char *name, double value)
{
    if (value > 0)
        printf(", \"%s\": %.4g", name, value);
}

static void print_json(const struct bench_row *row)
{
    printf("{\"row\": \"%s\"", row->name);
    if (row->per_second > 0)
        printf(", \"per_second\": %.6g", row->per_second);
    if (row->needs > 0)
        printf(", \"needs\": %.0f", row->needs);
    json_number("ratio_to_limit", row->ratio_to_limit);
    json_number("ratio_to_libgcrypt", row->ratio_to_libgcrypt);
    json_number("ratio_to_one_core", row->ratio_to_one_core);
    json_number("slowest_to_median", row->slowest_to_median);
    json_number("ours_to_peer", row->ours_to_peer);
    if (row->peak_kib > 0)
        printf(", \"peak_kib\": %ld", row->peak_kib);
    puts("}");
}

static void print_text(const struct bench_row *row)
{
    static bool headed;
    if (!headed)
        printf("%-36s %12s %9s %11s\n", "", "a second", "of limit", "x libgcrypt");
    headed = true;
    printf("%-36s", row->name);
    if (row->per_second > 0)
        printf(" %12.*f", row->per_second < 100 ? 2 : 0, row->per_second);
    if (row->ratio_to_limit > 0)
        printf(" %7.0f %%", 100 * row->ratio_to_limit);
    if (row->ratio_to_libgcrypt > 0)
        printf(" %11.1f", row->ratio_to_libgcrypt);
    if (row->ratio_to_one_core > 0)
        printf("  %.2f times one core", row->ratio_to_one_core);
    if (row->slowest_to_median > 0)
        printf("  slowest %.1f times the median", row->slowest_to_median);
    if (row->ours_to_peer > 0)
        printf("  ours is %.1f times as fast", row->ours_to_peer);
    if (row->peak_kib > 0)
        printf("  %ld KiB at most", row->peak_kib);
    putchar('\n');
}

void bench_print(bool json, const struct bench_row *row)
{
    if (json)
        print_json(row);
    else
        print_text(row);
    (void)fflush(stdout);
}
