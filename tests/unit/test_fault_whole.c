/* Faults by brute force, on networks small enough to tell by hand what each does. */
#include "graph_builder.h"

#include <string.h>

#include "fault/injector.h"
#include "graph/arithmetic.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { MAX_OUTPUTS = 8 };

static qn_model new_model(void)
{
    return (qn_model){.graph = {.name = "g", .file = "test.onnx", .producer = "", .opset = 13, .ir_version = 8}};
}

static void code_value(qn_graph *graph, const char *name, qn_format format, int32_t zero_point)
{
    const float scale = 1;
    const qn_quantizer q = {.format = format, .axis = -1, .n = 1, .scale = &scale, .zero_point = &zero_point};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), &q, &err), &err);
}

static const qn_format uint8 = {.bits = 8}, int8 = {.bits = 8, .is_signed = true},
                       int32 = {.bits = 32, .is_signed = true};

/* Constants whose codes are the numbers. */
static void coded_constant(qn_graph *graph, const char *name, int rank, const int64_t *dims, qn_format format,
                           const int32_t *codes)
{
    float values[8];
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, qn_format_dtype(format), rank, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        values[i] = (float)codes[i];
        if (format.bits == 8) {
            ((int8_t *)t.data)[i] = (int8_t)codes[i];
        } else {
            ((int32_t *)t.data)[i] = codes[i];
        }
    }
    const qn_value_id id = qn_test_floats(graph, name, rank, dims, values);
    code_value(graph, name, format, 0);
    qn_assert_ok(qn_graph_set_codes(graph, id, &t, &err), &err);
    qn_tensor_free(&t);
}

/* An injector of one worker over a model and its only image. */
typedef struct fixture {
    qn_model model;
    qn_program *program;
    qn_fault_targets targets;
    qn_tensor images;
    qn_dataset *data;
    qn_injector injector;
    float golden[MAX_OUTPUTS];
    /* what the last run told */
    int told;
    qn_fault_effect effect;
    float outputs[MAX_OUTPUTS];
} fixture;

static void start(fixture *f, qn_engine engine, const qn_tensor *images)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.keep_values = true;
    qn_assert_ok(qn_program_create(&f->program, &f->model, &options, &err), &err);
    qn_assert_ok(qn_fault_targets_make(&f->targets, f->program, &err), &err);
    f->images = *images;
    qn_assert_ok(qn_dataset_of_tensor(&f->data, &f->images, NULL, &err), &err);
    f->injector = (qn_injector){.ops = &qn_injector_whole,
                                .options = {.program = f->program,
                                            .model = &f->model,
                                            .data = f->data,
                                            .targets = &f->targets,
                                            .n_workers = 1,
                                            .memory_bytes = 1 << 20},
                                .output_count = qn_program_output_count(f->program, 0)};
    qn_assert_ok(f->injector.ops->create(&f->injector, &err), &err);
    assert_true(f->injector.output_count <= MAX_OUTPUTS);
    qn_assert_ok(f->injector.ops->golden(&f->injector, 0, 0, 1, f->golden, &err), &err);
}

static void stop(fixture *f)
{
    f->injector.ops->release(&f->injector);
    qn_dataset_close(f->data);
    qn_fault_targets_free(&f->targets);
    qn_program_free(f->program);
    qn_graph_free(&f->model.graph);
}

static void keep(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    fixture *f = ctx;
    assert_int_equal(fault, 0);
    assert_int_equal(image, 0);
    f->told++;
    f->effect = *effect;
    if (effect->outputs != NULL) {
        memcpy(f->outputs, effect->outputs, (size_t)f->injector.output_count * sizeof(float));
    }
}

static int32_t find_target(const fixture *f, qn_fault_where where, const char *value)
{
    for (int32_t i = 0; i < f->targets.n; i++) {
        if (f->targets.list[i].where == where && strcmp(f->targets.list[i].value_name, value) == 0) {
            return i;
        }
    }
    fail_msg("no %s of '%s'", qn_fault_where_text(where), value);
    return -1;
}

static void inject(fixture *f, const qn_fault_change *changes, int64_t n)
{
    qn_error err;
    qn_error_init(&err);
    const qn_fault fault = {.n_images = 1, .n_changes = n, .changes = changes};
    const qn_fault *const faults[] = {&fault};
    f->told = 0;
    qn_assert_ok(f->injector.ops->run(&f->injector, 0, 0, 1, faults, 1, keep, f, &err), &err);
    assert_int_equal(f->told, 1);
    /* nothing of it is left */
    float again[MAX_OUTPUTS];
    qn_assert_ok(f->injector.ops->golden(&f->injector, 0, 0, 1, again, &err), &err);
    assert_memory_equal(again, f->golden, (size_t)f->injector.output_count * sizeof(float));
}

/* Flip bits of one code. */
static void flip(fixture *f, qn_fault_where where, const char *value, int64_t element, int64_t term, uint32_t mask)
{
    const qn_fault_change change = {.target = find_target(f, where, value),
                                    .element = element,
                                    .term = term,
                                    .and_mask = UINT32_MAX,
                                    .xor_mask = mask};
    inject(f, &change, 1);
}

static void expect(const fixture *f, uint32_t before, uint32_t after, const float *outputs)
{
    assert_int_equal(f->effect.before, before);
    assert_int_equal(f->effect.after, after);
    if (outputs == NULL) {
        assert_int_equal(f->effect.end, QN_FAULT_ON_THE_WAY);
        assert_null(f->effect.outputs);
        return;
    }
    assert_int_equal(f->effect.end, QN_FAULT_AT_OUTPUT);
    for (int64_t i = 0; i < f->injector.output_count; i++) {
        assert_float_equal(f->outputs[i], outputs[i], 0);
    }
}

/* Two channels of two pixels through 1x1: sums 13 21, 28 62. */
static void start_conv(fixture *f, qn_engine engine)
{
    static float x[] = {10, 20, 1, 2};
    *f = (fixture){.model = new_model()};
    qn_graph *g = &f->model.graph;
    qn_test_input(g, "x", DIMS(-1, 2, 1, 2));
    coded_constant(g, "w", DIMS(2, 2, 1, 1), int8, (const int32_t[]){1, -2, 3, 4});
    coded_constant(g, "b", DIMS(2), int32, (const int32_t[]){5, -6});
    NODE(g, "Conv", "x w b", "y");
    qn_test_output(g, "y");
    code_value(g, "x", uint8, 0), code_value(g, "y", uint8, 100);
    const qn_tensor images = {.dtype = QN_DTYPE_F32, .rank = 4, .dims = {1, 2, 1, 2}, .data = x};
    start(f, engine, &images);
    assert_memory_equal(f->golden, ((const float[]){13, 21, 28, 62}), 4 * sizeof(float));
}

/* What is the same in both engines that know codes. */
static void codes_of(qn_engine engine)
{
    fixture f;
    start_conv(&f, engine);
    flip(&f, QN_FAULT_WEIGHTS, "w", 1, 0, 0x80); /* -2 to 126; the second saturates */
    expect(&f, 0xfe, 0x7e, (const float[]){141, 155, 28, 62});
    flip(&f, QN_FAULT_BIASES, "b", 1, 0, 2); /* -6 to -8 */
    expect(&f, 0xfffffffa, 0xfffffff8, (const float[]){13, 21, 26, 60});
    flip(&f, QN_FAULT_INPUTS, "x", 3, 0, 8); /* 2 to 10 */
    expect(&f, 2, 10, (const float[]){13, 5, 28, 94});
    flip(&f, QN_FAULT_ACTIVATIONS, "y", 2, 0, 0x80); /* code 128 to 0 */
    expect(&f, 128, 0, (const float[]){13, 21, -100, 62});
    flip(&f, QN_FAULT_WEIGHTS, "w", 0, 0, 0);
    assert_int_equal(f.effect.end, QN_FAULT_INACTIVE);
    flip(&f, QN_FAULT_ACTIVATIONS, "y", 0, 0, 0);
    assert_int_equal(f.effect.end, QN_FAULT_INACTIVE);
    stop(&f);
}

static void integer_codes(void **state)
{
    (void)state;
    codes_of(QN_ENGINE_INTEGER);
}

static void simulated_codes(void **state)
{
    (void)state;
    codes_of(QN_ENGINE_SIMULATE);
}

static void sums(void **state)
{
    (void)state;
    fixture f;
    start_conv(&f, QN_ENGINE_INTEGER);
    flip(&f, QN_FAULT_ACCUMULATORS, "y", 0, 0, 16); /* 13 to 29 */
    expect(&f, 13, 29, (const float[]){29, 21, 28, 62});
    flip(&f, QN_FAULT_ACCUMULATORS, "y", 0, 0, UINT32_C(1) << 31);
    expect(&f, 13, 0x8000000d, (const float[]){-100, 21, 28, 62});
    flip(&f, QN_FAULT_PRODUCTS, "y", 3, 1, 4); /* 2 * 4 to 12 */
    expect(&f, 8, 12, (const float[]){13, 21, 28, 66});
    flip(&f, QN_FAULT_PARTIAL_SUMS, "y", 3, 0, 1); /* -6 + 60 to 55 */
    expect(&f, 54, 55, (const float[]){13, 21, 28, 63});
    flip(&f, QN_FAULT_ACCUMULATORS, "y", 3, 0, UINT32_C(1) << 30); /* far above where codes end */
    expect(&f, 62, 62 | UINT32_C(1) << 30, (const float[]){13, 21, 28, 155});
    stop(&f);
}

static void parameters(void **state)
{
    (void)state;
    fixture f;
    start_conv(&f, QN_ENGINE_INTEGER);
    const uint32_t one = 0x3f800000, two = 0x40000000, half = 0x3f000000;
    flip(&f, QN_FAULT_SCALES, "y", 0, 0, one ^ two); /* 6.5 and 10.5 to even */
    expect(&f, one, two, (const float[]){12, 20, 28, 62});
    flip(&f, QN_FAULT_SCALES, "y", 0, 0, one ^ half);
    expect(&f, one, half, NULL);
    flip(&f, QN_FAULT_SCALES, "w", 0, 0, one ^ two); /* biases are in the sums */
    expect(&f, one, two, (const float[]){26, 42, 56, 124});
    flip(&f, QN_FAULT_SCALES, "x", 0, 0, one ^ two); /* codes 5 10, 0 1 */
    expect(&f, one, two, (const float[]){20, 26, 18, 56});
    flip(&f, QN_FAULT_SCALES, "x", 0, 0, UINT32_C(1) << 31);
    assert_int_equal(f.effect.end, QN_FAULT_REFUSED);
    assert_int_equal(f.effect.after, one | UINT32_C(1) << 31);
    /* a multiplier that is not finite: 2^127 * 1 / 2^-126 */
    const int32_t w_scale = find_target(&f, QN_FAULT_SCALES, "w"), y_scale = find_target(&f, QN_FAULT_SCALES, "y");
    const qn_fault_change huge[] = {{.target = w_scale, .or_mask = UINT32_C(254) << 23},
                                    {.target = y_scale, .or_mask = UINT32_C(1) << 23}};
    inject(&f, huge, 1);
    assert_int_equal(f.effect.end, QN_FAULT_AT_OUTPUT); /* everything saturates */
    inject(&f, huge, 2);
    assert_int_equal(f.effect.end, QN_FAULT_REFUSED);
    flip(&f, QN_FAULT_ZERO_POINTS, "y", 0, 0, 64);
    expect(&f, 100, 36, NULL);
    flip(&f, QN_FAULT_ZERO_POINTS, "y", 0, 0, 128); /* 228: codes above 27 saturate */
    expect(&f, 100, 228, (const float[]){13, 21, 27, 27});
    flip(&f, QN_FAULT_ZERO_POINTS, "w", 0, 0, 1); /* weights 0 -3, 2 3 */
    expect(&f, 0, 1, (const float[]){2, -1, 17, 40});
    stop(&f);
}

/* Several places at once, and a stuck bit that is what it was. */
static void many_changes(void **state)
{
    (void)state;
    fixture f;
    start_conv(&f, QN_ENGINE_INTEGER);
    const int32_t w = find_target(&f, QN_FAULT_WEIGHTS, "w"), y = find_target(&f, QN_FAULT_ACTIVATIONS, "y"),
                  sum = find_target(&f, QN_FAULT_ACCUMULATORS, "y");
    qn_fault_change changes[] = {
        {.target = w, .element = 0, .and_mask = UINT32_MAX, .xor_mask = 2},   /* 1 to 3: sums 33 61, 28 62 */
        {.target = y, .element = 1, .and_mask = UINT32_MAX, .or_mask = 0x80}, /* 161 has it */
        {.target = sum, .element = 2, .and_mask = UINT32_MAX, .add = 7.5},    /* to even: 36 */
    };
    if (sum < y) { /* sorted by target */
        const qn_fault_change change = changes[1];
        changes[1] = changes[2];
        changes[2] = change;
    }
    inject(&f, changes, 3);
    expect(&f, 1, 3, (const float[]){33, 61, 36, 62});
    const qn_fault_change stuck = {.target = y, .element = 1, .and_mask = UINT32_MAX, .or_mask = 1};
    inject(&f, &stuck, 1); /* code 121 */
    assert_int_equal(f.effect.end, QN_FAULT_INACTIVE);
    const qn_fault_change zero = {.target = y, .element = 1, .or_mask = 100};
    inject(&f, &zero, 1);
    expect(&f, 121, 100, (const float[]){13, 0, 28, 62});
    stop(&f);
}

/* One sum of products 100 -90 5 in 8 bits. */
static void start_gemm(fixture *f, bool saturate)
{
    static float x[] = {10, 10, 1};
    *f = (fixture){.model = new_model()};
    qn_graph *g = &f->model.graph;
    qn_test_input(g, "x", DIMS(-1, 3));
    coded_constant(g, "w", DIMS(3, 1), int8, (const int32_t[]){10, -9, 5});
    NODE(g, "Gemm", "x w", "y");
    qn_test_output(g, "y");
    code_value(g, "x", int8, 0), code_value(g, "y", int8, 0);
    qn_error err;
    qn_error_init(&err);
    const qn_arithmetic arithmetic = {.accumulator_bits = 8, .saturate = saturate};
    qn_assert_ok(qn_graph_set_arithmetic(g, &arithmetic, &err), &err);
    const qn_tensor images = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {1, 3}, .data = x};
    start(f, QN_ENGINE_INTEGER, &images);
    assert_float_equal(f->golden[0], 15, 0);
}

static void narrow_accumulators(void **state)
{
    (void)state;
    fixture f;
    start_gemm(&f, true);
    flip(&f, QN_FAULT_PRODUCTS, "y", 0, 0, 0x80); /* 228 is held as 127 */
    expect(&f, 100, 228, (const float[]){42});
    flip(&f, QN_FAULT_PARTIAL_SUMS, "y", 0, 1, 0x80); /* 10 to -118 */
    expect(&f, 10, 0x8a, (const float[]){-113});
    flip(&f, QN_FAULT_ACCUMULATORS, "y", 0, 0, 0x80);
    expect(&f, 15, 0x8f, (const float[]){-113});
    flip(&f, QN_FAULT_INPUTS, "x", 0, 0, 4); /* 14: 140 is held as 127 */
    expect(&f, 10, 14, (const float[]){42});
    stop(&f);
    start_gemm(&f, false);
    flip(&f, QN_FAULT_PRODUCTS, "y", 0, 0, 0x80); /* 228 wraps to -28, -118, -113 */
    expect(&f, 100, 228, (const float[]){-113});
    flip(&f, QN_FAULT_PARTIAL_SUMS, "y", 0, 0, 0x80);
    expect(&f, 100, 0xe4, (const float[]){-113});
    flip(&f, QN_FAULT_INPUTS, "x", 2, 0, 0x80); /* 1 to -127: 10 - 635 wraps to -113 */
    expect(&f, 1, 0x81, (const float[]){-113});
    stop(&f);
}

/* Bits of floats: 1 * 3 + 2 * 4. */
static void floats(void **state)
{
    (void)state;
    static float x[] = {1, 2};
    fixture f = {.model = new_model()};
    qn_graph *g = &f.model.graph;
    qn_test_input(g, "x", DIMS(-1, 2));
    qn_test_floats(g, "w", DIMS(2, 1), (const float[]){3, 4});
    NODE(g, "Gemm", "x w", "z");
    NODE(g, "Relu", "z", "y");
    qn_test_output(g, "y");
    const qn_tensor images = {.dtype = QN_DTYPE_F32, .rank = 2, .dims = {1, 2}, .data = x};
    start(&f, QN_ENGINE_FLOAT, &images);
    assert_float_equal(f.golden[0], 11, 0);
    flip(&f, QN_FAULT_WEIGHTS, "w", 0, 0, UINT32_C(1) << 31);
    expect(&f, 0x40400000, 0xc0400000, (const float[]){5});
    flip(&f, QN_FAULT_ACTIVATIONS, "z", 0, 0, UINT32_C(1) << 23); /* 11 to 22 */
    expect(&f, 0x41300000, 0x41b00000, (const float[]){22});
    flip(&f, QN_FAULT_INPUTS, "x", 1, 0, UINT32_C(1) << 31);
    expect(&f, 0x40000000, 0xc0000000, (const float[]){0});
    flip(&f, QN_FAULT_ACTIVATIONS, "y", 0, 0, UINT32_C(1) << 31);
    expect(&f, 0x41300000, 0xc1300000, (const float[]){-11});
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_codes), cmocka_unit_test(simulated_codes), cmocka_unit_test(sums),
        cmocka_unit_test(parameters),    cmocka_unit_test(many_changes),    cmocka_unit_test(narrow_accumulators),
        cmocka_unit_test(floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
