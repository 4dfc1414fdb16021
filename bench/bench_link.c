/* Speed of links: a micro-batch of 8 items of a vision transformer (8x197x768 fp32, 4.84 MB) into a frame and out
 * again, both checksums included, into buffers that are there, on one core; GB/s of float32. Packing, unpacking, both,
 * and a copy of the floats alternate, and each counts with its least time over the rounds. "fit" is the making of
 * parameters, which packing includes. SET "arrays" stands for PipeEdge's five arrays, which are allocated each time.
 *
 * usage: bench_link [FORMAT[/SET[/CLAMP]] ...]    Pin it to a core (taskset -c 1); QUERN_CPU chooses the kernels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "link/link.h"

enum { ITEMS = 8, TOKENS = 197, FEATURES = 768, ELEMENTS = ITEMS * TOKENS * FEATURES, ROUNDS = 60 };
static const double ENOUGH_US = 4e6; /* rounds end after this, for what is slow */

typedef struct bench {
    qn_tensor x;
    float *y;
    unsigned char *data;
    qn_frame frame;
    qn_frame_coder *coder;
    qn_link_options options;
    qn_pipeedge sent;
    bool arrays;
    qn_error err;
} bench;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void must(qn_status status, const qn_error *err)
{
    if (status != QN_OK) {
        fprintf(stderr, "bench_link: %s\n", err->message);
        exit(1);
    }
}

static void *allocate(size_t n_bytes)
{
    void *memory = qn_alloc(n_bytes);
    if (memory == NULL) {
        fputs("bench_link: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void pack(bench *b)
{
    if (b->arrays) {
        qn_pipeedge_free(&b->sent);
        must(qn_pipeedge_encode(&b->sent, &b->x, &b->options, &b->err), &b->err);
        return;
    }
    must(qn_frame_encode_with(b->data, &b->frame, &b->x, NULL, &b->options, b->coder, &b->err), &b->err);
}

static void unpack(bench *b)
{
    qn_frame frame;
    qn_frame_verdict verdict;
    if (b->arrays) {
        qn_tensor y;
        must(qn_pipeedge_decode(&y, &b->sent, &b->err), &b->err);
        qn_tensor_free(&y);
        return;
    }
    if (qn_frame_parse(&frame, &verdict, b->data, b->frame.n_bytes, SIZE_MAX) != QN_FRAME_COMPLETE) {
        fprintf(stderr, "bench_link: %s\n", qn_frame_fault_text(verdict.fault));
        exit(1);
    }
    must(qn_frame_decode_with(b->y, &frame, b->coder, &b->err), &b->err);
}

static void both(bench *b)
{
    pack(b);
    unpack(b);
}

static void fit(bench *b)
{
    const qn_quantizer *q;
    if (b->frame.raw) {
        return;
    }
    must(qn_link_fit(&q, b->coder, &b->x, &b->frame.format, b->frame.axis, b->frame.axis_group, b->options.clamp,
                     &b->err),
         &b->err);
}

static void copy(bench *b)
{
    memcpy(b->y, b->x.data, ELEMENTS * sizeof(float));
}

static void choose(bench *b, char *format, const char *what)
{
    char set[32] = "item", clamp[32] = "none";
    (void)sscanf(what, "%63[^/]/%31[^/]/%31s", format, set, clamp);
    qn_link_options_init(&b->options);
    b->options.format = format;
    b->arrays = strcmp(set, "arrays") == 0;
    must(qn_link_per_parse(&b->options.per, &b->options.group, b->arrays ? "item" : set, &b->err), &b->err);
    must(qn_link_clamp_parse(&b->options.clamp, clamp, &b->err), &b->err);
    must(qn_frame_plan(&b->frame, &b->options, b->x.rank, b->x.dims, &b->err), &b->err);
}

static void run(bench *b, const char *what)
{
    char format[QN_FORMAT_NAME_MAX] = "";
    choose(b, format, what);
    b->data = allocate(b->frame.n_bytes);
    void (*const works[])(bench *) = {pack, unpack, both, fit, copy};
    enum { N_WORKS = sizeof works / sizeof works[0] };
    double least[N_WORKS];
    for (int i = 0; i < N_WORKS; i++) {
        least[i] = 1e30;
    }
    const double begin = now_us();
    for (int round = 0; round < ROUNDS && (round < 2 || now_us() - begin < ENOUGH_US); round++) {
        for (int i = 0; i < N_WORKS; i++) {
            const double start = now_us();
            works[i](b);
            const double us = now_us() - start;
            least[i] = us < least[i] ? us : least[i];
        }
    }
    printf("%-26s %10zu", what, b->arrays ? qn_pipeedge_bytes(&b->sent) : b->frame.n_bytes);
    for (int i = 0; i < N_WORKS; i++) {
        printf(" %10.2f", (double)ELEMENTS * sizeof(float) / least[i] * 1e-3);
    }
    putchar('\n');
    fflush(stdout);
    qn_free(b->data);
    qn_pipeedge_free(&b->sent);
    b->sent = (qn_pipeedge){0};
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"uint8",
                                        "uint4",
                                        "uint2",
                                        "pipeedge<8>",
                                        "pipeedge<4>",
                                        "pipeedge<2>",
                                        "adaptivfloat<8,4>",
                                        "adaptivfloat<6,4>",
                                        "fp32/tensor"};
    bench b = {.x = {.dtype = QN_DTYPE_F32, .rank = 3, .dims = {ITEMS, TOKENS, FEATURES}}};
    qn_error_init(&b.err);
    must(qn_frame_coder_new(&b.coder, &b.err), &b.err);
    float *x = allocate(ELEMENTS * sizeof *x);
    b.x.data = x;
    b.y = allocate(ELEMENTS * sizeof *b.y);
    uint64_t state = 1;
    for (int i = 0; i < ELEMENTS; i++) { /* a bell of three uniform numbers */
        float sum = 0.0f;
        for (int k = 0; k < 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-23f - 1.0f;
        }
        x[i] = sum;
    }
    printf("%-26s %10s %10s %10s %10s %10s %10s   GB/s of float32\n", "format/set", "bytes", "pack", "unpack", "both",
           "fit", "copy");
    const int n = argc > 1 ? argc - 1 : (int)(sizeof usual / sizeof usual[0]);
    for (int i = 0; i < n; i++) {
        run(&b, argc > 1 ? argv[i + 1] : usual[i]);
    }
    qn_frame_coder_free(b.coder);
    qn_free(b.x.data);
    qn_free(b.y);
    return 0;
}
