/* The integer engine: the same bits as ONNX Runtime, at every batch size, in boxes and in reruns. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/integer/integer.h"
#include "quern/quern.h"

static const char *const networks[] = {
    "residual",          "branches",        "flat",     "signed",         "one_dimension",
    "unsigned_products", "signed_products", "products", "unsigned_moves", "signed_moves"};
enum { NETWORKS = sizeof networks / sizeof networks[0] };

typedef struct loaded {
    qn_model *model;
    qn_program *program;
    qn_workspace *workspace;
    qn_tensor x, y;
    int64_t n, n_in, n_out;
} loaded;

static const char *golden(const char *name, const char *ending)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/tests/golden/integer/%s%s", QN_SOURCE_DIR, name, ending);
    return path;
}

static loaded load(const char *name, int64_t batch, bool keep_values)
{
    loaded l = {0};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&l.model, golden(name, ".onnx"), &err), &err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    options.batch = batch;
    options.keep_values = keep_values;
    qn_assert_ok(qn_program_create(&l.program, l.model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&l.workspace, l.program, &err), &err);
    qn_assert_ok(qn_tensor_read(&l.x, golden(name, "_x.npy"), &err), &err);
    qn_assert_ok(qn_tensor_read(&l.y, golden(name, "_y.npy"), &err), &err);
    l.n = l.x.dims[0];
    l.n_in = qn_program_input_count(l.program, 0);
    l.n_out = qn_program_output_count(l.program, 0);
    assert_int_equal(qn_tensor_count(&l.x), l.n * l.n_in);
    assert_int_equal(qn_tensor_count(&l.y), l.n * l.n_out);
    return l;
}

static void unload(loaded *l)
{
    qn_tensor_free(&l->x);
    qn_tensor_free(&l->y);
    qn_workspace_free(l->workspace);
    qn_program_free(l->program);
    qn_model_free(l->model);
}

static void run(const loaded *l, int64_t first, int64_t n, float *y)
{
    qn_error err;
    qn_error_init(&err);
    const float *in = (const float *)l->x.data + first * l->n_in;
    float *out = y + first * l->n_out;
    qn_assert_ok(qn_program_run(l->program, l->workspace, &in, n, &out, &err), &err);
}

static void logits_equal_those_of_onnx_runtime(void **unused)
{
    (void)unused;
    for (int i = 0; i < NETWORKS; i++) {
        for (int64_t batch = 1; batch <= 2; batch++) {
            loaded l = load(networks[i], batch, batch == 2);
            float *y = calloc((size_t)(l.n * l.n_out), sizeof *y);
            for (int64_t first = 0; first < l.n; first += batch) {
                run(&l, first, l.n - first < batch ? l.n - first : batch, y);
            }
            const float *expected = l.y.data;
            for (int64_t at = 0; at < l.n * l.n_out; at++) {
                if (memcmp(&y[at], &expected[at], sizeof *y) != 0) {
                    fail_msg("%s: output %lld is %.9g, ONNX Runtime's %.9g", networks[i], (long long)at, (double)y[at],
                             (double)expected[at]);
                }
            }
            free(y);
            unload(&l);
        }
    }
}

static void a_run_allocates_nothing(void **unused)
{
    (void)unused;
    loaded l = load("branches", 2, false);
    float *y = calloc((size_t)(l.n * l.n_out), sizeof *y);
    uint64_t before = qn_alloc_count();
    run(&l, 0, 2, y);
    assert_int_equal(qn_alloc_count(), before);
    free(y);
    unload(&l);
}

/* The bytes of all tensors, copied, and the run as a caller inside the engine sees it. */
typedef struct inner {
    loaded l;
    const qn_integer_code *code;
    qn_integer_run run;
    uint8_t *golden;
    float *y;
    uint64_t random;
} inner;

static inner inner_new(const char *name)
{
    inner t = {.l = load(name, 1, true), .random = 5};
    t.y = calloc((size_t)(t.l.n * t.l.n_out), sizeof *t.y);
    run(&t.l, 0, 1, t.y);
    t.code = t.l.program->code;
    t.run = qn_integer_workspace_run(t.l.workspace);
    t.golden = malloc(t.code->arena_bytes);
    memcpy(t.golden, t.run.memory, t.code->arena_bytes);
    if (t.code->tiles) {
        qn_tiles_begin();
    }
    return t;
}

static void inner_free(inner *t)
{
    if (t->code->tiles) {
        qn_tiles_end();
    }
    free(t->golden);
    free(t->y);
    unload(&t->l);
}

static void random_range(int *low, int *high, int n, uint64_t *state)
{
    *low = (int)(qn_test_random(state) % (uint64_t)n);
    *high = *low + 1 + (int)(qn_test_random(state) % (uint64_t)(n - *low));
}

static qn_box random_box(inner *t, int step)
{
    qn_box full = qn_integer_full_box(t->code, step), box;
    random_range(&box.y0, &box.y1, full.y1, &t->random);
    random_range(&box.x0, &box.x1, full.x1, &t->random);
    random_range(&box.k0, &box.k1, full.k1, &t->random);
    return box;
}

static bool computes_codes(const qn_integer_step *step)
{
    return step->kind != QN_STEP_ENCODE && step->kind != QN_STEP_DECODE;
}

/* The part of its output that a step computes: all of it, but for Concat. */
static qn_box own_part(const inner *t, const qn_integer_step *step)
{
    const qn_integer_tensor *y = &t->code->tensors[step->output];
    if (step->kind != QN_STEP_LOOKUP) {
        return (qn_box){0, y->height, 0, y->width, 0, y->channels};
    }
    const qn_integer_tensor *x = &t->code->tensors[step->input[0]];
    const qn_integer_lookup *at = &step->u.lookup;
    return (qn_box){at->y, at->y + x->height, at->x, at->x + x->width, at->k, at->k + x->channels};
}

static bool in_box(const qn_box *box, int row, int column, int k)
{
    return row >= box->y0 && row < box->y1 && column >= box->x0 && column < box->x1 && k >= box->k0 && k < box->k1;
}

/* Every code of a step's output turned over; then a box run again must bring back the dense run's codes inside the box
 * and the step's part, and touch nothing else. */
static void check_box(inner *t, int index)
{
    const qn_integer_step *step = &t->code->steps[index];
    const qn_integer_tensor *y = &t->code->tensors[step->output];
    const qn_box box = random_box(t, index), part = own_part(t, step);
    for (int row = 0; row < y->height; row++) {
        uint8_t *codes = t->run.memory + y->offset + row * y->row;
        for (int i = 0; i < y->width * y->channels; i++) {
            codes[i] ^= 0xff;
        }
    }
    qn_integer_run_box(&t->run, index, &box);
    for (size_t i = 0; i < (size_t)y->height * (size_t)y->width * (size_t)y->channels; i++) {
        int k = (int)(i % (size_t)y->channels), column = (int)(i / (size_t)y->channels) % y->width;
        int row = (int)(i / (size_t)y->channels) / y->width;
        ptrdiff_t at = (ptrdiff_t)y->offset + row * y->row + column * y->pixel + k;
        bool computed = in_box(&box, row, column, k) && in_box(&part, row, column, k);
        assert_int_equal(t->run.memory[at], computed ? t->golden[at] : 0xff - t->golden[at]);
    }
    memcpy(t->run.memory, t->golden, t->code->arena_bytes);
}

static void boxes_equal_the_dense_run(void **unused)
{
    (void)unused;
    for (int i = 0; i < NETWORKS; i++) {
        inner t = inner_new(networks[i]);
        for (int step = 0; step < t.code->n_steps; step++) {
            for (int trial = 0; computes_codes(&t.code->steps[step]) && trial < 8; trial++) {
                check_box(&t, step);
            }
        }
        inner_free(&t);
    }
}

static void a_rerun_from_any_step_gives_the_same(void **unused)
{
    (void)unused;
    for (int i = 0; i < NETWORKS; i++) {
        inner t = inner_new(networks[i]);
        for (int step = 0; step < t.code->n_steps; step++) {
            float *expected = malloc((size_t)t.l.n_out * sizeof *expected);
            memcpy(expected, t.y, (size_t)t.l.n_out * sizeof *expected);
            memset(t.y, 0, (size_t)t.l.n_out * sizeof *t.y);
            qn_integer_run_steps(&t.run, step, t.code->n_steps);
            assert_memory_equal(t.y, expected, (size_t)t.l.n_out * sizeof *expected);
            assert_memory_equal(t.run.memory, t.golden, t.code->arena_bytes);
            free(expected);
        }
        inner_free(&t);
    }
}

/* Accumulators of a box requantize to the codes that the layer has, and stay within the proven bound. */
static void accumulators_explain_the_codes(void **unused)
{
    (void)unused;
    int n_layers = 0;
    for (int i = 0; i < NETWORKS; i++) {
        inner t = inner_new(networks[i]);
        for (int index = 0; index < t.code->n_steps; index++) {
            const qn_integer_step *step = &t.code->steps[index];
            qn_box box = computes_codes(step) ? random_box(&t, index) : (qn_box){0};
            int rows = box.y1 - box.y0, columns = box.x1 - box.x0, channels = box.k1 - box.k0;
            int32_t *sums = calloc((size_t)(rows * columns * channels) + 1, sizeof *sums);
            bool has = qn_integer_accumulators(&t.run, index, &box, sums);
            assert_int_equal(has, step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE);
            for (int at = 0; has && at < rows * columns * channels; at++) {
                const qn_integer_conv *conv = &step->u.conv;
                const qn_integer_tensor *y = &t.code->tensors[step->output];
                int k = box.k0 + at % channels, column = box.x0 + at / channels % columns;
                int row = box.y0 + at / channels / columns;
                int per = step->kind == QN_STEP_DEPTHWISE ? y->channels : conv->group_outputs;
                size_t entry =
                    (size_t)(k / per) * conv->group_entries + (size_t)qn_layout_channel(&conv->layout, k % per);
                long code = lrintf((float)sums[at] * conv->multiplier[entry]) + conv->zero_point;
                code = code < conv->lo ? conv->lo : code > conv->hi ? conv->hi : code;
                assert_int_equal(t.run.memory[(ptrdiff_t)y->offset + row * y->row + column * y->pixel + k], code);
                assert_true(llabs(sums[at]) <= qn_integer_bound(t.code, index, k));
            }
            n_layers += has;
            free(sums);
        }
        inner_free(&t);
    }
    assert_true(n_layers >= 15);
}

/* Allocation fails at every place in turn: an error each time, and nothing leaks (the sanitizers watch). */
static void failing_allocations_are_errors(void **unused)
{
    (void)unused;
    qn_error err;
    qn_error_init(&err);
    qn_model *model = NULL;
    qn_assert_ok(qn_model_load(&model, golden("branches", ".onnx"), &err), &err);
    qn_program_options options;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    for (int64_t countdown = 0;; countdown++) {
        qn_program *program = NULL;
        qn_workspace *workspace = NULL;
        qn_error_init(&err);
        qn_alloc_fail_after(countdown);
        qn_status status = qn_program_create(&program, model, &options, &err);
        if (status == QN_OK) {
            status = qn_workspace_create(&workspace, program, &err);
        }
        qn_alloc_fail_after(-1);
        qn_workspace_free(workspace);
        qn_program_free(program);
        if (status == QN_OK) {
            assert_true(countdown > 5);
            break;
        }
        assert_int_equal(status, QN_ENOMEM);
    }
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_those_of_onnx_runtime), cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(boxes_equal_the_dense_run),          cmocka_unit_test(a_rerun_from_any_step_gives_the_same),
        cmocka_unit_test(accumulators_explain_the_codes),     cmocka_unit_test(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
