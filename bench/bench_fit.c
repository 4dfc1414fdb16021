/* Time of fitting by mean squared error: over a histogram, which is to take under a millisecond at 8 bits, and over the
 * 1.2 million values themselves. Prints one line for each format: milliseconds, least of several runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "quern/fit.h"

enum { N = 1200000, RUNS = 20 };

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void check(qn_status status, const qn_error *err)
{
    if (status != QN_OK) {
        fprintf(stderr, "bench_fit: %s\n", err->message);
        exit(1);
    }
}

/* Sums of twelve uniform numbers, some of them cubed: a bell with tails. */
static void fill(float *x)
{
    uint32_t state = 1;
    for (int i = 0; i < N; i++) {
        double sum = 0.0;
        for (int k = 0; k < 12; k++) {
            state = state * 1664525u + 1013904223u;
            sum += (double)(state >> 8) * 0x1p-24 - 0.5;
        }
        x[i] = (float)(i % 50 == 0 ? sum * sum * sum : sum);
    }
}

int main(void)
{
    static const char *const formats[] = {"int8", "uint8", "int4", "adaptivfloat<8,3>", "po2<8>", "int8:po2"};
    qn_error err;
    qn_error_init(&err);
    qn_tensor x;
    check(qn_tensor_alloc(&x, QN_DTYPE_F32, 1, (const int64_t[]){N}, &err), &err);
    fill(x.data);
    qn_histogram *histogram;
    check(qn_histogram_new(&histogram, 0, &err), &err);
    check(qn_histogram_add(histogram, &x, QN_NAN_REFUSE, QN_INF_REFUSE, &err), &err);
    qn_fit_rule rule;
    check(qn_fit_rule_parse(&rule, "mse", &err), &err);
    printf("%-20s %14s %12s\n", "format", "histogram ms", "tensor ms");
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        qn_format format;
        check(qn_format_parse(&format, formats[i], &err), &err);
        double best = INFINITY;
        for (int run = 0; run < RUNS; run++) {
            qn_params params;
            double start = now_ms();
            check(qn_fit_histogram(&params, format, &rule, histogram, &err), &err);
            best = fmin(best, now_ms() - start);
        }
        qn_fit_options options;
        qn_fit_options_init(&options);
        options.rule = "mse";
        qn_quantizer *q;
        double start = now_ms();
        check(qn_fit(&q, &x, format, &options, &err), &err);
        printf("%-20s %14.3f %12.1f\n", formats[i], best, now_ms() - start);
        qn_quantizer_free(q);
    }
    qn_histogram_free(histogram);
    qn_tensor_free(&x);
    return 0;
}
