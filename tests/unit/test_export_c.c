/* Random networks as C: compiled, run, and byte for byte what the integer engine gives, in every arithmetic, with
 * weights of 2 to 8 bits; and the constants of model.c read back. */
#include "random_networks.h"

#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "export/c/parts.h"
#include "export/c/runtime.h"
#include "export/verify.h"

enum { N_NETWORKS = 32, N_IMAGES = 6 };

/* How the n-th network is compiled: every compiler at every level, and sanitizers. */
static const char *const builds[] = {"gcc -O0",
                                     "clang -O3",
                                     "gcc -O3",
                                     "clang -O0",
                                     "gcc -O2 -ffp-contract=fast -march=native",
                                     "gcc -O1 -fsanitize=undefined,address -fno-sanitize-recover=all",
                                     "clang -O2 -ffp-contract=fast -march=native",
                                     "gcc -O1 -ftrapv"};
enum { N_BUILDS = sizeof builds / sizeof builds[0] };

/* Reads members of model_in_t from standard input as often as there are, writes those of model_out_t. */
static const char harness[] = "#include <stdio.h>\n#include \"model.h\"\n"
                              "static model_in_t in; static model_out_t out;\n"
                              "#define READ(type, member, count) got += fread(in.member, sizeof(type), count, stdin);\n"
                              "#define WRITE(type, member, count) fwrite(out.member, sizeof(type), count, stdout);\n"
                              "int main(void)\n{\n    size_t got = 0, last = 1;\n"
                              "    while (got != last) {\n        last = got;\n        MODEL_INPUTS(READ)\n"
                              "        if (got != last) {\n            model_run(&in, &out);\n            "
                              "MODEL_OUTPUTS(WRITE)\n        }\n    }\n"
                              "    return 0;\n}\n";

/* Weights of `bits`, signed or not, in place of those of 8: codes are cut, scales grow as much, and those of biases
 * with them. Where `seed` says so each constant has a width of its own. */
static void narrow_weights(random_net *t, int bits, bool is_signed)
{
    qn_graph *g = &t->model.graph;
    for (qn_value_id id = 0; id < (qn_value_id)g->n_values; id++) {
        const qn_value *v = &g->values[id];
        if (v->codes == NULL || v->codes->dtype != QN_DTYPE_S8) {
            continue;
        }
        const int b = bits > 0 ? bits : pick(t, 2, 8), drop = b < 5 ? 5 - b : 0, raise = is_signed ? 0 : 1 << (b - 1);
        const int lo = -(1 << (b - 1)), hi = -lo - 1;
        float scale[64];
        int32_t zero[64];
        for (int i = 0; i < v->quantizer->n; i++) {
            scale[i] = ldexpf(v->quantizer->scale[i], drop);
            zero[i] = (v->quantizer->zero_point[i] >> drop) + raise;
        }
        const qn_quantizer q = {.format = {.bits = b, .is_signed = is_signed},
                                .axis = v->quantizer->axis,
                                .n = v->quantizer->n,
                                .scale = scale,
                                .zero_point = zero};
        qn_tensor codes;
        qn_assert_ok(
            qn_tensor_alloc(&codes, is_signed ? QN_DTYPE_S8 : QN_DTYPE_U8, v->codes->rank, v->codes->dims, &t->err),
            &t->err);
        for (int64_t i = 0; i < qn_tensor_count(&codes); i++) {
            int code = ((const int8_t *)v->codes->data)[i] >> drop;
            code = code < lo ? lo : code > hi ? hi : code;
            ((uint8_t *)codes.data)[i] = (uint8_t)(code + raise);
        }
        char bias[64];
        snprintf(bias, sizeof bias, "b%s", v->name + 1); /* w_v3, b_v3 */
        qn_assert_ok(qn_ptq_set_coded(g, id, &q, &codes, &t->err), &t->err);
        qn_tensor_free(&codes);
        const qn_value_id b_id = qn_graph_find(g, bias);
        if (b_id != QN_NO_VALUE && g->values[b_id].quantizer != NULL) {
            qn_quantizer bq = *g->values[b_id].quantizer;
            for (int i = 0; i < bq.n; i++) {
                scale[i] = ldexpf(bq.scale[i], drop);
            }
            bq.scale = scale;
            qn_assert_ok(qn_graph_set_quantizer(g, b_id, &bq, &t->err), &t->err);
        }
    }
}

/* Rows of tokens, two inputs: matrices, moves, sums with a row for all, a result in codes and one in sums, and one that
 * is an input moved. */
static void net_of_rows(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    const int n = pick(t, 3, 9);
    qn_test_input(g, "x", DIMS(-1, n, 8));
    net_code(t, "x", NET_EXPONENT, pick(t, -10, 10), true);
    qn_test_input(g, "z", DIMS(-1, n, 12));
    net_code(t, "z", NET_EXPONENT, pick(t, 100, 140), false);
    net_matrix(t, "x", "q", 8, 12, true);
    NODE(g, "Add", "q z", "s");
    net_code(t, "s", NET_EXPONENT + 1, 0, true);
    qn_test_ints(g, "starts", 1, (int64_t[]){1});
    qn_test_ints(g, "ends", 1, (int64_t[]){3});
    qn_test_ints(g, "axes", 1, (int64_t[]){1});
    NODE(g, "Slice", "s starts ends axes", "part");
    NODE_WITH(g, "Concat", "part s", "cat", A_INT("axis", 1));
    net_code(t, "cat", NET_EXPONENT, 0, true);
    qn_test_ints(g, "second", 1, (int64_t[]){2});
    NODE(g, "Slice", "s starts second axes", "one"); /* a row for all */
    NODE(g, "Add", "cat one", "cat1");
    net_code(t, "cat1", NET_EXPONENT + 1, -3, true);
    net_coded(t, "row", DIMS(12), -1, NET_EXPONENT, 8, false);
    NODE(g, "Add", "row cat1", "cat2");
    net_code(t, "cat2", NET_EXPONENT, 7, true);
    NODE_WITH(g, "Transpose", "cat", "turned", A_INTS("perm", 0, 2, 1));
    net_matrix(t, "turned", "y", n + 2, 5, pick(t, 0, 1) == 0);
    net_matrix(t, "cat2", "w", 12, 7, false);
    NODE_WITH(g, "Concat", "cat s", "wide", A_INT("axis", 1));
    net_code(t, "wide", NET_EXPONENT + 1, 0, true);
    NODE_WITH(g, "Transpose", "z", "moved", A_INTS("perm", 0, 2, 1));
    g->opset = 17; /* LayerNormalization */
    float values[12];
    for (int i = 0; i < 12; i++) {
        values[i] = (float)pick(t, -24, 40) / 16;
    }
    qn_test_floats(g, "gain", DIMS(12), values);
    qn_test_floats(g, "offset", DIMS(12), NULL);
    NODE_WITH(g, "LayerNormalization", "s gain offset", "norm", A_FLOAT("epsilon", pick(t, 0, 1) ? 1e-5f : 0.3f));
    net_code(t, "norm", NET_EXPONENT, pick(t, -9, 9), pick(t, 0, 1) == 0);
    NODE(g, "MatMul", "norm moved", "scores");
    net_code(t, "scores", NET_EXPONENT + 1, pick(t, 0, 9), pick(t, 0, 1) == 0);
    NODE_WITH(g, "Softmax", "scores", "share", A_INT("axis", pick(t, 0, 1) ? -1 : 1));
    net_code(t, "share", pick(t, -8, -6), pick(t, -3, 3), true);
    NODE(g, "MatMul", "share norm", "mixed");
    net_code(t, "mixed", NET_EXPONENT, 3, true);
    qn_test_output(g, "share");
    qn_test_output(g, "mixed");
    qn_test_output(g, "y");
    qn_test_output(g, "w");
    qn_test_output(g, "wide");
    qn_test_output(g, "moved");
}

static void write_text(const char *name, const void *data, size_t n)
{
    FILE *f = fopen(qn_scratch_file(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_runtime(void)
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
}

/* A command in the scratch directory; its exit status. */
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

#define WARNINGS "-std=c99 -Wall -Wextra -Wconversion -pedantic -Werror"

/* The runtime of every build, once. A compiler that is not there is told and left out. */
static bool have[N_BUILDS];
static void build_runtime(void)
{
    write_runtime();
    for (int i = 0; i < N_BUILDS; i++) {
        have[i] = shell("%.*s --version > /dev/null 2>&1", (int)strcspn(builds[i], " "), builds[i]) == 0;
        if (!have[i]) {
            print_message("skipped: %s: no such compiler\n", builds[i]);
            continue;
        }
        assert_int_equal(shell("mkdir rt%d && cd rt%d && %s -c " WARNINGS " ../quern_*.c", i, i, builds[i]), 0);
    }
}

/* Codes or sums of an input or output as bytes. */
static void append_io(qn_export_text *bytes, const qn_export_network *n, const qn_export_run *r, int tensor)
{
    if (tensor < 0) {
        return;
    }
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

/* Images through the engine, their codes and its results to texts. */
static void run_engine(random_net *t, const qn_export_network *n, qn_export_text *in, qn_export_text *out)
{
    qn_export_run *r;
    qn_assert_ok(qn_export_run_create(&r, n, &t->err), &t->err);
    for (int image = 0; image < N_IMAGES; image++) {
        float *x[4];
        for (int i = 0; i < n->n_inputs; i++) {
            x[i] = malloc((size_t)n->inputs[i].count * sizeof(float));
            for (int64_t j = 0; j < n->inputs[i].count; j++) {
                x[i][j] = qn_test_uniform(&t->seed, -2.5f, 2.5f);
            }
        }
        qn_assert_ok(qn_export_run_image(r, (const float *const *)x, &t->err), &t->err);
        for (int i = 0; i < n->n_inputs; i++) {
            append_io(in, n, r, n->inputs[i].tensor);
            free(x[i]);
        }
        for (int i = 0; i < n->n_outputs; i++) {
            append_io(out, n, r, n->outputs[i].tensor);
        }
    }
    qn_export_run_free(r);
}

static void compare_results(int number, const qn_export_text *expected)
{
    qn_file_bytes found = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_file_read(&found, qn_scratch_file("out"), &err), &err);
    assert_int_equal(found.size, expected->n);
    for (size_t i = 0; i < expected->n; i++) {
        if (((const char *)found.data)[i] != expected->data[i]) {
            fail_msg("network %d, %s: byte %zu of %zu differs", number, builds[number % N_BUILDS], i, expected->n);
        }
    }
    qn_file_bytes_free(&found);
}

/* Differences that reading a model.c again finds. */
static int64_t differences(const qn_export_network *n, const qn_export_text *text, qn_export_check *check,
                           qn_export_text *told)
{
    qn_error err;
    qn_error_init(&err);
    const qn_export_job job = {.network = n};
    qn_export_checking checking = {.check = check, .job = &job};
    *check = (qn_export_check){0};
    qn_assert_ok(qn_export_check_c(&checking, "c/model.c", text->data, text->n, NULL, 0, &err), &err);
    qn_export_text_free(told);
    *told = checking.text;
    return check->n_differences;
}

/* A digit of a constant changed, an array gone, a text cut anywhere, are told. */
static void check_reading(const qn_export_network *n, const qn_export_text *text)
{
    qn_export_check check;
    qn_export_text told = {0};
    assert_int_equal(differences(n, text, &check, &told), 0);
    assert_true(check.n_tensors > 0 && check.n_elements > 0);
    const int64_t n_tensors = check.n_tensors;

    char *digit = strstr(text->data, "] = {\n    ") + 10;
    digit += *digit == '-';
    const char kept = *digit;
    *digit = kept == '1' ? '2' : '1';
    assert_true(differences(n, text, &check, &told) > 0);
    assert_non_null(strstr(told.data, "c/model.c: "));
    *digit = kept;

    char *mark = strstr(text->data, "/* tensor: ");
    mark[4] = 'T';
    assert_true(differences(n, text, &check, &told) > 0);
    assert_int_equal(check.n_tensors, n_tensors - 1);
    mark[4] = 't';

    for (size_t cut = 0; cut < text->n * 9 / 10; cut += text->n / 5 + 1) {
        qn_export_text part = *text;
        part.n = cut;
        assert_true(differences(n, &part, &check, &told) > 0);
    }
    qn_export_text_free(&told);
}

static void run_network(int number, int kinds[QN_EXPORT_FLOAT + 1], double *worst)
{
    random_net t;
    const uint64_t seed = (uint64_t)number + 1;
    static const int widths[] = {8, 4, 2, 0, 3, 8, 7, 0, 5, 6};
    if (number % 4 == 3) {
        net_of_rows(&t, seed);
    } else if (number % 8 == 1) {
        net_of_gates(&t, seed);
    } else {
        net_of_maps(&t, seed);
    }
    narrow_weights(&t, widths[number % 10], number % 3 != 1);
    qn_arithmetic arithmetic = net_arithmetic((uint64_t)(number / 3 + number));
    if (arithmetic.saturate && number % 2 == 0) {
        arithmetic.accumulator_bits = 9; /* saturates all the time: the order of the products shows */
    }
    qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
    qn_export_network *n;
    qn_assert_ok(qn_export_network_make(&n, &t.model, &t.err), &t.err);
    qn_c_plan plan;
    qn_assert_ok(qn_c_plan_make(&plan, n, false, &t.err), &t.err);
    *worst = plan.bound > 0 && (double)plan.peak / (double)plan.bound > *worst ? (double)plan.peak / (double)plan.bound
                                                                               : *worst;
    qn_export_text header = {0}, model = {0}, in = {0}, out = {0};
    qn_c_print_header(&header, &plan);
    qn_assert_ok(qn_c_print_model(&model, &plan, &t.err), &t.err);
    write_text("model.h", header.data, header.n);
    write_text("model.c", model.data, model.n);
    check_reading(n, &model);
    run_engine(&t, n, &in, &out);
    write_text("in", in.data, in.n);
    const int build = number % N_BUILDS;
    if (have[build]) {
        if (shell("%s " WARNINGS " model.c harness.c rt%d/*.o -o run && ./run < in > out", builds[build], build) != 0) {
            fail_msg("network %d, %s: does not compile or run", number, builds[build]);
        }
        compare_results(number, &out);
    }
    for (int i = 0; i < n->n_layers; i++) {
        kinds[n->layers[i].kind]++;
    }
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
    int kinds[QN_EXPORT_FLOAT + 1] = {0};
    double worst = 1;
    build_runtime();
    for (int i = 0; i < N_NETWORKS; i++) {
        run_network(i, kinds, &worst);
    }
    for (int kind = 0; kind < QN_EXPORT_FLOAT; kind++) {
        assert_true(kinds[kind] > 0);
    }
    assert_int_equal(kinds[QN_EXPORT_FLOAT], 0);
    assert_true(worst <= 1.1);
}

static void test_float_layers_are_refused(void **state)
{
    (void)state;
    random_net t;
    net_of_tokens(&t, 2);
    qn_export_network *n;
    qn_assert_ok(qn_export_network_make(&n, &t.model, &t.err), &t.err);
    qn_c_plan plan;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_c_plan_make(&plan, n, false, &err), &err, QN_EUNSUPPORTED, "Softmax");
    qn_export_network_free(n);
    net_release(&t);
}

/* Names from a model cannot end a comment. */
static void test_names_stay_in_their_comment(void **state)
{
    (void)state;
    qn_export_text text = {0};
    qn_c_print_name(&text, "a*/ int x; /* \?\?/\n\\");
    assert_string_equal(text.data, "'a<2a>/ int x; /<2a> <3f><3f>/<0a><5c>'");
    qn_export_text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_networks),
        cmocka_unit_test(test_float_layers_are_refused),
        cmocka_unit_test(test_names_stay_in_their_comment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
