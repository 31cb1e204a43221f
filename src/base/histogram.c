#include "base/histogram.h"

#include <stddef.h>

const uint64_t histogram_time_bounds_us[HISTOGRAM_BOUNDS] = {
    1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000, 5000000};

void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value)
{
    size_t class = 0;
    while (class < HISTOGRAM_BOUNDS && value > bounds[class])
        class ++;
    h->counts[class]++;
    h->sum += value;
}
