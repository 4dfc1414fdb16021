/* Random networks whose layers call CMSIS-NN, as far as it computes alike: compiled with the stand-in of
 * tests/cmsis_nn_standin, run, and byte for byte what the integer engine gives; a wrong number in them shows. */
#include "random_networks.h"

#include "base/file.h"
#include "export/c/cmsis.h"
#include "export/c/runtime.h"
#include "export/verify.h"

enum { N_NETWORKS = 48, N_IMAGES = 4 };

static const char harness[] = "#include <stdio.h>\n#include \"model.h\"\n"
                              "static model_in_t in; static model_out_t out;\n"
                              "#define READ(type, member, count) got += fread(in.member, sizeof(type), count, stdin);\n"
                              "#define WRITE(type, member, count) fwrite(out.member, sizeof(type), count, stdout);\n"
                              "int main(void)\n{\n    size_t got = 0, last = 1;\n"
                              "    while (got != last) {\n        last = got;\n        MODEL_INPUTS(READ)\n"
                              "        if (got != last) {\n            model_run(&in, &out);\n"
                              "            if (model_status() != 0) {\n                return 9;\n            }\n"
                              "            MODEL_OUTPUTS(WRITE)\n        }\n    }\n    return 0;\n}\n";

static void write_text(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(qn_scratch_file(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int __attribute__((format(printf, 1, 2))) shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    const int n = snprintf(command, sizeof command, "cd '%s' && ", qn_scratch());
    va_start(args, format);
    vsnprintf(command + n, sizeof command - (size_t)n, format, args);
    va_end(args);
    return system(command);
}

#define COMPILE                                                                                                        \
    "gcc -std=c99 -O1 -Wall -Wextra -Wconversion -pedantic -Werror -fsanitize=undefined -fno-sanitize-recover=all"
#define STANDIN QN_SOURCE_DIR "/tests/cmsis_nn_standin"

/* Code for any processor, for those with the DSP extension and for those with MVE asks for other scratch memory, and
 * refuses other things. */
static const char *const processors[] = {"ARM_MATH_MVEI", "ARM_MATH_DSP", "ANY"};
static const char *const roundings[] = {"TWICE", "CMSIS_NN_USE_SINGLE_ROUNDING"};

/* The runtime, and the stand-in for each processor and rounding. */
static void build_library(void)
{
    static const struct {
        const char *file, *begin, *end;
    } files[] = {
#define ROW(symbol, file) {file, symbol##_begin, symbol##_end},
        QN_C_RUNTIME_LIST(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        write_text(files[i].file, files[i].begin, (size_t)(files[i].end - files[i].begin));
    }
    write_text("harness.c", harness, sizeof harness - 1);
    assert_int_equal(shell("mkdir rt && cd rt && " COMPILE " -c ../quern_*.c"), 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(shell(COMPILE " -D%s -D%s -I" STANDIN "/Include -c -o standin%d.o " STANDIN
                                       "/Source/standin.c",
                               processors[i / 2], roundings[i % 2], i),
                         0);
    }
}

/* Signed codes everywhere, weights without zero points, of 4 bits where `narrow`. */
static void make_signed(random_net *t, bool narrow)
{
    qn_graph *g = &t->model.graph;
    for (qn_value_id id = 0; id < (qn_value_id)g->n_values; id++) {
        const qn_value *v = &g->values[id];
        if (v->quantizer == NULL || v->quantizer->format.bits != 8) {
            continue;
        }
        qn_quantizer q = *v->quantizer;
        int32_t zero[64] = {0};
        q.zero_point = zero;
        if (v->codes == NULL) {
            zero[0] = v->quantizer->zero_point[0] - (q.format.is_signed ? 0 : 128);
            q.format.is_signed = true;
            qn_assert_ok(qn_graph_set_quantizer(g, id, &q, &t->err), &t->err);
            continue;
        }
        qn_tensor codes;
        qn_assert_ok(qn_tensor_alloc(&codes, QN_DTYPE_S8, v->codes->rank, v->codes->dims, &t->err), &t->err);
        for (int64_t i = 0; i < qn_tensor_count(&codes); i++) {
            const int code = ((const int8_t *)v->codes->data)[i];
            ((int8_t *)codes.data)[i] = (int8_t)(!narrow ? code : code < -8 ? -8 : code > 7 ? 7 : code);
        }
        q.format.bits = narrow ? 4 : 8;
        qn_assert_ok(qn_ptq_set_coded(g, id, &q, &codes, &t->err), &t->err);
        qn_tensor_free(&codes);
    }
}

/* Few channels over one row, or depthwise 3 x 3, with padding of every kind: where CMSIS-NN has other code. */
static void net_of_edges(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    const bool row = pick(t, 0, 1) == 0;
    const int c = pick(t, 1, 4), h = row ? 1 : pick(t, 3, 6), w = pick(t, 3, 9);
    qn_test_input(g, "x", DIMS(-1, c, h, w));
    net_code(t, "x", NET_EXPONENT, pick(t, -128, 127), true);
    const int s = pick(t, 1, 3), k = row ? 1 : 3, left = pick(t, 0, 2), right = pick(t, 0, 2), top = row ? 0 : 1;
    net_coded(t, "w", DIMS(row ? 5 : c, row ? c : 1, k, 3), -1, -5, 8, false);
    NODE_WITH(g, "Conv", "x w", "y", A_INTS("strides", s, s), A_INTS("pads", top, left, top, right),
              A_INT("group", row ? 1 : c));
    net_code(t, "y", NET_EXPONENT, pick(t, -128, 127), true);
    NODE_WITH(g, "AveragePool", "y", "z", A_INTS("kernel_shape", 1, 2), A_INTS("strides", 1, 2),
              A_INTS("pads", 0, 1, 0, 1), A_INT("count_include_pad", pick(t, 0, 1)));
    net_code(t, "z", NET_EXPONENT, g->values[qn_graph_find(g, "y")].quantizer->zero_point[0], true);
    qn_test_output(g, "z");
}

static void append_io(qn_export_text *bytes, const qn_export_network *n, const qn_export_run *r, int tensor)
{
    const int base = qn_export_base(n, tensor);
    const qn_export_tensor *t = &n->tensors[base];
    int32_t *sums = malloc((size_t)t->count * sizeof *sums);
    int16_t *codes = malloc((size_t)t->count * sizeof *codes);
    if (t->real) {
        qn_export_run_sums(r, t->maker, sums);
        qn_export_append(bytes, (const char *)sums, (size_t)t->count * sizeof *sums);
    } else {
        qn_export_run_codes(r, base, codes);
        for (int64_t i = 0; i < t->count; i++) {
            const char byte = (char)codes[i];
            qn_export_append(bytes, &byte, 1);
        }
    }
    free(sums);
    free(codes);
}

static void run_engine(random_net *t, const qn_export_network *n, qn_export_text *in, qn_export_text *out)
{
    qn_export_run *r;
    qn_assert_ok(qn_export_run_create(&r, n, &t->err), &t->err);
    for (int image = 0; image < N_IMAGES; image++) {
        float *x = malloc((size_t)n->inputs[0].count * sizeof(float));
        for (int64_t j = 0; j < n->inputs[0].count; j++) {
            x[j] = qn_test_uniform(&t->seed, -4.5f, 4.5f);
        }
        qn_assert_ok(qn_export_run_image(r, (const float *const *)&x, &t->err), &t->err);
        append_io(in, n, r, n->inputs[0].tensor);
        free(x);
        for (int i = 0; i < n->n_outputs; i++) {
            append_io(out, n, r, n->outputs[i].tensor);
        }
    }
    qn_export_run_free(r);
}

static void check_reading(const qn_export_network *n, qn_export_text *text)
{
    qn_error err;
    qn_error_init(&err);
    qn_export_options options;
    qn_export_options_init(&options);
    options.cmsis_nn = true;
    const qn_export_job job = {.network = n, .options = &options};
    for (int changed = 0; changed < 2; changed++) {
        qn_export_check check = {0};
        qn_export_checking checking = {.check = &check, .job = &job};
        qn_assert_ok(qn_export_check_c(&checking, "c/model.c", text->data, text->n, NULL, 0, &err), &err);
        assert_int_equal(check.n_differences > 0, changed == 1);
        qn_export_text_free(&checking.text);
        char *digit = strstr(text->data, "__shift[");
        digit = digit != NULL ? strpbrk(strstr(digit, "] = {"), "123456789") : NULL;
        if (digit == NULL) {
            return; /* no convolution, or all shifts are 0 */
        }
        *digit = *digit == '1' ? '2' : '1';
    }
}

typedef struct {
    int functions[8], reasons;
} seen_layers;

static void count_layers(const qn_export_network *n, seen_layers *seen)
{
    static const char *const functions[] = {"arm_convolve_wrapper_s8",
                                            "arm_convolve_wrapper_s4",
                                            "arm_depthwise_conv_wrapper_s8",
                                            "arm_depthwise_conv_wrapper_s4",
                                            "arm_elementwise_add_s8",
                                            "arm_max_pool_s8",
                                            "arm_avgpool_s8"};
    for (int i = 0; i < n->n_layers; i++) {
        seen->reasons += qn_c_cmsis_why(n, i) != NULL;
        for (int f = 0; f < 7 && qn_c_cmsis_why(n, i) == NULL; f++) {
            seen->functions[f] += strcmp(functions[f], qn_c_cmsis_function(n, i)) == 0;
        }
    }
}

static void run_network(int number, seen_layers *seen)
{
    static const qn_arithmetic arithmetics[] = {
        {.requantize = QN_REQUANTIZE_FIXED, .twice = true, .rounding = QN_ROUND_NEAREST_AWAY, .fixed_sums = true},
        {.requantize = QN_REQUANTIZE_FIXED, .rounding = QN_ROUND_NEAREST_UP, .fixed_sums = true},
        {.requantize = QN_REQUANTIZE_SHIFT, .rounding = QN_ROUND_NEAREST_UP, .fixed_sums = true},
    };
    random_net t;
    (number % 2 == 0 ? net_of_maps : net_of_edges)(&t, (uint64_t)number + 1);
    make_signed(&t, number % 4 > 1);
    qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetics[number % 3], &t.err), &t.err);
    qn_export_network *n;
    qn_assert_ok(qn_export_network_make(&n, &t.model, &t.err), &t.err);
    count_layers(n, seen);
    qn_c_plan plan;
    qn_error err;
    qn_error_init(&err);
    const qn_status status = qn_c_plan_make(&plan, n, true, &err);
    if (status != QN_OK) { /* none of its layers */
        qn_assert_fails(status, &err, QN_EUNSUPPORTED, "no layer can be computed by CMSIS-NN");
        qn_export_network_free(n);
        net_release(&t);
        return;
    }
    qn_export_text header = {0}, model = {0}, in = {0}, out = {0};
    qn_c_print_header(&header, &plan);
    qn_assert_ok(qn_c_print_model(&model, &plan, &t.err), &t.err);
    write_text("model.h", header.data, header.n);
    write_text("model.c", model.data, model.n);
    run_engine(&t, n, &in, &out);
    write_text("in", in.data, in.n);
    const bool single = qn_c_cmsis_rounding_of(&plan) == QN_C_CMSIS_SINGLE;
    const int processor = number / 2 % 3;
    if (shell(COMPILE " -D%s -D%s -I" STANDIN
                      "/Include model.c harness.c rt/*.o standin%d.o -o run && ./run < in > out",
              processors[processor], roundings[single], 2 * processor + single) != 0) {
        fail_msg("network %d: does not compile, or a call fails", number);
    }
    qn_file_bytes found = {0};
    qn_assert_ok(qn_file_read(&found, qn_scratch_file("out"), &err), &err);
    assert_int_equal(found.size, out.n);
    for (size_t i = 0; i < out.n; i++) {
        if (((const char *)found.data)[i] != out.data[i]) {
            fail_msg("network %d: byte %zu of %zu differs", number, i, out.n);
        }
    }
    qn_file_bytes_free(&found);
    check_reading(n, &model);
    qn_export_text_free(&header);
    qn_export_text_free(&model);
    qn_export_text_free(&in);
    qn_export_text_free(&out);
    qn_c_plan_free(&plan);
    qn_export_network_free(n);
    net_release(&t);
}

static void test_random_networks(void **state)
{
    (void)state;
    seen_layers seen = {0};
    build_library();
    for (int i = 0; i < N_NETWORKS; i++) {
        run_network(i, &seen);
    }
    for (int i = 0; i < 7; i++) {
        assert_true(seen.functions[i] > 0);
    }
    assert_true(seen.reasons > 0);
}

/* As much of a ratio as a multiplier of 31 bits holds; the same value. */
static void test_ratios(void **state)
{
    (void)state;
    static const qn_ratio ratios[] = {{1, 0}, {1, 7}, {5, -3}, {1 << 30, 33}, {INT32_MAX, 31}, {0, 40}, {3, 62}};
    for (size_t i = 0; i < sizeof ratios / sizeof ratios[0]; i++) {
        const qn_ratio got = qn_c_cmsis_ratio(ratios[i]);
        assert_true(ldexp(got.multiplier, got.shift - 31) == ldexp(ratios[i].multiplier, -ratios[i].shift));
        assert_true(got.multiplier == 0 || got.multiplier >= 1 << 30 || got.shift == -31);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_networks),
        cmocka_unit_test(test_ratios),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
