/* All 2^32 fp32 patterns through the best kernel and through the definition: codes, and values of fake quantization,
 * must be the same bits. Run by hand; minutes for each format. QUERN_CPU chooses the kernel.
 *
 * usage: exhaust_kernels [format=parameter ...]     The parameter is the scale of an integer, the exponent bias of
 * adaptivfloat, and 0 for formats without one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/kernels/kernels.h"
#include "quern/codes.h"

enum { BLOCK = 1 << 16 };

typedef struct exhaustion {
    qn_run run;
    qn_format_kernel kernel;
    int64_t wrong;
    uint32_t first_wrong;
} exhaustion;

/* Patterns [first, first + BLOCK). */
static int64_t check_block(const exhaustion *e, uint32_t first, uint32_t *first_wrong)
{
    static _Thread_local float x[BLOCK], y[BLOCK], y_want[BLOCK];
    static _Thread_local uint16_t codes[BLOCK], want[BLOCK];
    for (uint32_t i = 0; i < BLOCK; i++) {
        uint32_t bits = first + i;
        memcpy(&x[i], &bits, sizeof bits);
    }
    const size_t size = e->run.format->bits <= 8 ? 1 : 2;
    qn_encode_definition(want, x, BLOCK, &e->run);
    qn_decode_definition(y_want, want, BLOCK, &e->run);
    e->kernel.encode(codes, x, BLOCK, &e->run);
    e->kernel.fake(y, x, BLOCK, &e->run);
    if (memcmp(codes, want, BLOCK * size) == 0 && memcmp(y, y_want, sizeof y) == 0) {
        return 0;
    }
    int64_t wrong = 0;
    for (uint32_t i = BLOCK; i-- > 0;) {
        const char *a = (const char *)codes + i * size, *b = (const char *)want + i * size;
        if (memcmp(a, b, size) != 0 || memcmp(&y[i], &y_want[i], sizeof y[i]) != 0) {
            wrong++;
            *first_wrong = first + i;
        }
    }
    return wrong;
}

static void exhaust(exhaustion *e)
{
    int64_t wrong = 0;
    uint32_t least = UINT32_MAX;
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : wrong) reduction(min : least)
    for (int64_t block = 0; block < (INT64_C(1) << 32) / BLOCK; block++) {
        uint32_t first_wrong = UINT32_MAX;
        wrong += check_block(e, (uint32_t)(block * BLOCK), &first_wrong);
        least = first_wrong < least ? first_wrong : least;
    }
    e->wrong = wrong;
    e->first_wrong = least;
}

static int run_one(const char *text)
{
    char name[QN_FORMAT_NAME_MAX];
    const char *equals = strchr(text, '=');
    snprintf(name, sizeof name, "%.*s", equals != NULL ? (int)(equals - text) : (int)strlen(text), text);
    double parameter = equals != NULL ? strtod(equals + 1, NULL) : 0.0;
    qn_format format;
    qn_error err;
    qn_error_init(&err);
    if (qn_format_parse(&format, name, &err) != QN_OK) {
        fprintf(stderr, "exhaust_kernels: %s\n", err.message);
        return 2;
    }
    bool scaled = (qn_format_parameters(format) & QN_PARAM_SCALE) != 0;
    exhaustion e = {.run = {.format = &format,
                            .params = {.scale = scaled ? (float)parameter : 1.0f,
                                       .exp_bias = scaled ? 0 : (int32_t)parameter,
                                       .multiplier = 1.0f},
                            .stride = 1},
                    .kernel = qn_format_kernel_default(&format)};
    if (e.kernel.encode == NULL || e.kernel.fake == NULL) {
        printf("%-24s no kernel\n", text);
        return 1;
    }
    exhaust(&e);
    printf("%-24s %lld of 4294967296 differ", text, (long long)e.wrong);
    printf(e.wrong > 0 ? ", first %08lx\n" : "\n", (unsigned long)e.first_wrong);
    fflush(stdout);
    return e.wrong > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    static char *usual[] = {"int8=0.0371", "fp8e4m3", "fp8e5m2", "bf16", "fp16", "adaptivfloat<8,3>=-9"};
    int worst = 0, n = argc > 1 ? argc - 1 : (int)(sizeof usual / sizeof usual[0]);
    for (int i = 0; i < n; i++) {
        int result = run_one(argc > 1 ? argv[i + 1] : usual[i]);
        worst = result > worst ? result : worst;
    }
    return worst;
}
