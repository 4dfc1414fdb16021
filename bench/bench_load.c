/* Time and memory of loading a model. usage: bench_load MODEL [ROUNDS]
 * Prints one line of JSON: wall and processor milliseconds of a load (least and median of the rounds), and the memory
 * that the process held at most, beyond what it had before the first load, as a share of the file. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "quern/quern.h"

enum { MAX_ROUNDS = 1000 };

static double clock_ms(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* kilobytes, as Linux counts */
static long peak_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double wall[MAX_ROUNDS], processor[MAX_ROUNDS];
    struct stat info;
    const int rounds = argc > 2 ? atoi(argv[2]) : 9;
    if (argc < 2 || rounds < 1 || rounds > MAX_ROUNDS || stat(argv[1], &info) != 0) {
        fprintf(stderr, "usage: bench_load MODEL [ROUNDS]\n");
        return 2;
    }
    const long before = peak_memory();
    for (int i = 0; i < rounds; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_model *model = NULL;
        double w = clock_ms(CLOCK_MONOTONIC), p = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
        if (qn_model_load(&model, argv[1], &err) != QN_OK) {
            fprintf(stderr, "bench_load: %s: %s\n", err.where, err.message);
            return 1;
        }
        wall[i] = clock_ms(CLOCK_MONOTONIC) - w;
        processor[i] = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - p;
        qn_model_free(model);
    }
    const double grown = (double)(peak_memory() - before) * 1024;
    qsort(wall, (size_t)rounds, sizeof *wall, compare);
    qsort(processor, (size_t)rounds, sizeof *processor, compare);
    printf(
        "{\"model\": \"%s\", \"file_mb\": %.1f, \"wall_min_ms\": %.1f, \"wall_median_ms\": %.1f, \"cpu_min_ms\": %.1f, "
        "\"cpu_median_ms\": %.1f, \"peak_mb\": %.1f, \"peak_of_file\": %.2f}\n",
        argv[1], (double)info.st_size * 1e-6, wall[0], wall[rounds / 2], processor[0], processor[rounds / 2],
        grown * 1e-6, grown / (double)info.st_size);
    return 0;
}
