/* Runs test vectors. Without arguments those that are compiled in; that needs no files, with -DMODEL_TEST_BARE no
 * file is ever opened. With INPUT and OUTPUT: the vectors of file INPUT, any number, their results to file OUTPUT;
 * each vector is the members of model_in_t one after the other, each result those of model_out_t, 32-bit sums in this
 * machine's order of bytes. Part of quern, Apache License 2.0. */
#include <stdio.h>

#include "vectors.h"

static model_out_t out;

#define DIFFERENCES(type, member, count)                                                                               \
    for (i = 0; i < count; i++) {                                                                                      \
        n += out.member[i] != expected->member[i];                                                                     \
    }

static long differences(const model_out_t *expected)
{
    long n = 0;
    long i;
    MODEL_OUTPUTS(DIFFERENCES)
    return n;
}

/* Did a layer that calls CMSIS-NN fail? */
static int has_failed(void)
{
#ifdef MODEL_CMSIS_NN
    if (model_status() != 0) {
        printf("CMSIS-NN: status %d\n", model_status());
        return 1;
    }
#endif
    return 0;
}

static int run_compiled(void)
{
    int failed = 0;
    int v;
    for (v = 0; v < MODEL_VECTORS; v++) {
        long n;
        model_run(&model_vectors_in[v], &out);
        n = has_failed() + differences(&model_vectors_out[v]);
        if (n == 0) {
            printf("vector %d: pass\n", v);
        } else {
            printf("vector %d: FAIL, %ld elements differ\n", v, n);
            failed++;
        }
    }
    printf("%s: %d of %d vectors\n", failed == 0 ? "pass" : "FAIL", failed == 0 ? MODEL_VECTORS : failed, MODEL_VECTORS);
    return failed != 0;
}

#ifdef MODEL_TEST_BARE
int main(void)
{
    return run_compiled();
}
#else
static model_in_t in;

#define READ(type, member, count)  got += fread(in.member, sizeof(type), count, from);
#define WRITE(type, member, count) put += fwrite(out.member, sizeof(type), count, to);
#define COUNT(type, member, count) +count

/* 1: a vector was read, 0: the file has ended, -1: in the middle of one. */
static int read_vector(FILE *from)
{
    size_t got = 0;
    MODEL_INPUTS(READ)
    return got == (size_t)(0 MODEL_INPUTS(COUNT)) ? 1 : got == 0 ? 0 : -1;
}

static int write_result(FILE *to)
{
    size_t put = 0;
    MODEL_OUTPUTS(WRITE)
    return put == (size_t)(0 MODEL_OUTPUTS(COUNT));
}

static int run_file(const char *input, const char *output)
{
    FILE *from = fopen(input, "rb");
    FILE *to = from != NULL ? fopen(output, "wb") : NULL;
    long n = 0;
    int got;
    if (to == NULL) {
        fprintf(stderr, "%s: cannot be opened\n", from == NULL ? input : output);
        return 2;
    }
    while ((got = read_vector(from)) == 1) {
        model_run(&in, &out);
        if (has_failed() || !write_result(to)) {
            got = -2;
            break;
        }
        n++;
    }
    fclose(from);
    if (fclose(to) != 0 || got != 0) {
        fprintf(stderr, "%s\n", got == -1 ? "the input ends inside of a vector" : "the output cannot be written");
        return 2;
    }
    printf("%ld vectors\n", n);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return run_file(argv[1], argv[2]);
    }
    if (argc != 1) {
        fprintf(stderr, "usage: %s [INPUT OUTPUT]\n", argv[0]);
        return 2;
    }
    return run_compiled();
}
#endif
