/* Speed of encoding, decoding and fake quantization of a 4.8 MB fp32 tensor on one core, as a share of the speed of
 * copying the same bytes. Copy and work alternate, and each counts with its least time over the rounds, so that other
 * load on the machine changes both. "kernel" is the loop alone; "call" is the public function, with the check for NaN
 * and the allocation of its result.
 *
 * usage: bench_formats [format ...]     Pin it to a core (taskset -c 1); QUERN_CPU chooses the kernels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "format/codec.h"
#include "quern/codes.h"

enum { ELEMENTS = 1200000, ROUNDS = 60 };

typedef struct bench {
    qn_tensor x, codes, y;
    qn_quantizer *q;
    qn_format_kernel kernel;
    qn_packed packed;
    float *copy;
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
        fprintf(stderr, "bench_formats: %s\n", err->message);
        exit(1);
    }
}

static void run(bench *b, const qn_codec *codec)
{
    qn_codec_run(codec, b->q, &b->kernel, b->x.rank, b->x.dims);
}

static size_t code_size(const bench *b)
{
    return qn_dtype_size(b->codes.dtype);
}

static void copy(bench *b)
{
    memcpy(b->copy, b->x.data, ELEMENTS * sizeof(float));
}

static void kernel_encode(bench *b)
{
    run(b, &(qn_codec){.x = b->x.data, .codes = b->codes.data, .code_size = code_size(b)});
}

static void kernel_decode(bench *b)
{
    run(b, &(qn_codec){.y = b->copy, .const_codes = b->codes.data, .code_size = code_size(b)});
}

static void kernel_encode_packed(bench *b)
{
    run(b, &(qn_codec){.x = b->x.data, .packed = &b->packed});
}

static void kernel_decode_packed(bench *b)
{
    run(b, &(qn_codec){.y = b->copy, .const_packed = &b->packed});
}

static void kernel_fake(bench *b)
{
    run(b, &(qn_codec){.x = b->x.data, .y = b->copy});
}

static void call_encode(bench *b)
{
    qn_tensor_free(&b->codes);
    must(qn_encode(&b->codes, &b->x, b->q, NULL, &b->err), &b->err);
}

static void call_decode(bench *b)
{
    qn_tensor_free(&b->y);
    must(qn_decode(&b->y, &b->codes, b->q, &b->err), &b->err);
}

static void call_encode_packed(bench *b)
{
    must(qn_encode_packed(&b->packed, &b->x, b->q, NULL, &b->err), &b->err);
}

static void call_decode_packed(bench *b)
{
    qn_tensor_free(&b->y);
    must(qn_decode_packed(&b->y, &b->packed, b->q, b->x.rank, b->x.dims, &b->err), &b->err);
}

static void call_fake(bench *b)
{
    qn_tensor_free(&b->y);
    must(qn_fake_quantize(&b->y, &b->x, b->q, NULL, &b->err), &b->err);
}

static const struct {
    const char *name;
    void (*kernel)(bench *b), (*call)(bench *b);
} works[] = {
    {"encode", kernel_encode, call_encode},
    {"decode", kernel_decode, call_decode},
    {"encode packed", kernel_encode_packed, call_encode_packed},
    {"decode packed", kernel_decode_packed, call_decode_packed},
    {"fake", kernel_fake, call_fake},
};

/* The least time of `work` and the share of the copy's speed it reaches. */
static double share(bench *b, void (*work)(bench *b), double *least_us)
{
    double least_copy = 1e30, least = 1e30;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now_us();
        copy(b);
        double middle = now_us();
        work(b);
        double end = now_us();
        least_copy = fmin(least_copy, middle - start);
        least = fmin(least, end - middle);
    }
    *least_us = least;
    return 100.0 * least_copy / least;
}

static void fill(float *x)
{
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < ELEMENTS; i++) {
        double sum = 0.0;
        for (int k = 0; k < 4; k++) { /* nearly normal, as weights are */
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (double)(state >> 40) * 0x1p-24 - 0.5;
        }
        x[i] = (float)(sum * 0.1);
    }
}

static void bench_format(bench *b, const char *name)
{
    qn_format format;
    must(qn_format_parse(&format, name, &b->err), &b->err);
    must(qn_fit(&b->q, &b->x, format, NULL, &b->err), &b->err);
    b->kernel = qn_format_kernel_default(&format);
    size_t n_bytes;
    must(qn_packed_bytes(&n_bytes, ELEMENTS, format.bits, QN_PACKING_DENSE, &b->err), &b->err);
    b->packed = (qn_packed){qn_alloc(n_bytes), ELEMENTS, format.bits, QN_PACKING_DENSE};
    must(qn_encode(&b->codes, &b->x, b->q, NULL, &b->err), &b->err);
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        double kernel_us, call_us, kernel = share(b, works[i].kernel, &kernel_us),
                                   call = share(b, works[i].call, &call_us);
        printf("%-18s %-14s %10.0f %8.0f %% %10.0f %8.0f %%\n", name, works[i].name, kernel_us, kernel, call_us, call);
    }
    qn_tensor_free(&b->codes);
    qn_tensor_free(&b->y);
    qn_free(b->packed.data);
    qn_quantizer_free(b->q);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {
        "int8",        "int4",     "adaptivfloat<8,3>", "fp8e4m3",     "fp8e5m2",
        "fp16",        "bf16",     "posit<8,1>",        "posit<16,1>", "mx<fp8e4m3>",
        "mx<fp4e2m1>", "mx<int8>", "bfp<8,32>",         "bfp<8,16>",   "ap_fixed<8,3,RND_CONV,SAT>"};
    bench b = {.copy = qn_alloc(ELEMENTS * sizeof(float))};
    qn_error_init(&b.err);
    must(qn_tensor_alloc(&b.x, QN_DTYPE_F32, 1, (const int64_t[]){ELEMENTS}, &b.err), &b.err);
    fill(b.x.data);
    printf("%-18s %-14s %10s %10s %10s %10s\n", "format", "work", "kernel us", "of copy", "call us", "of copy");
    if (argc > 1) {
        for (int i = 1; i < argc; i++) {
            bench_format(&b, argv[i]);
        }
    } else {
        for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
            bench_format(&b, usual[i]);
        }
    }
    qn_tensor_free(&b.x);
    qn_free(b.copy);
    return 0;
}
