/* Quant, BipolarQuant, FloatQuant and Trunc by results of QONNX' own operator classes, bit for bit, in the float engine and as
 * islands of the integer engine. */
#include "run_network.h"

#include <stdio.h>

#include "graph/compute/compute.h"
#include "graph/compute/qonnx.h"
#include "npz_json.h"

static const char *const modes[] = {"ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"};
enum { MODES = 7 };

static const char *vectors(void)
{
    const char *path = qn_shared("vectors/qonnx/vectors.npz");
    if (path == NULL) {
        skip();
    }
    return path;
}

static const float *floats(const qn_tensor *t)
{
    assert_int_equal(t->dtype, QN_DTYPE_F32);
    return t->data;
}

/* A parameter: one number, or one per row of a matrix. */
static void parameter(qn_graph *g, const char *name, bool scalar, const float *values, int64_t rows)
{
    if (scalar) {
        qn_test_floats(g, name, 0, NULL, values);
    } else {
        qn_test_floats(g, name, 2, (const int64_t[]){rows, 1}, values);
    }
}

static void number(qn_graph *g, const char *name, float value)
{
    qn_test_floats(g, name, 0, NULL, &value);
}

static const char *output_name(int i)
{
    static char name[16];
    snprintf(name, sizeof name, "y%d", i);
    return name;
}

static void expect_bits(const char *what, int output, const float *x, const float *y, const float *wanted, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (isnan(wanted[i]) ? !isnan(y[i]) : memcmp(&y[i], &wanted[i], sizeof *y) != 0) {
            fail_msg("%s, output %d, element %lld, x = %a: %a, not %a", what, output, (long long)i, (double)x[i],
                     (double)y[i], (double)wanted[i]);
        }
    }
}

/* Graph input "x" of n elements; outputs y0, y1, ..., of which output i must be wanted[i * step ...]. Frees the graph. */
static int64_t expect(net *t, const char *what, const float *x, int64_t n, int n_outputs, const float *wanted,
                      int64_t step)
{
    enum { MOST = 8 };
    float *y[MOST];
    assert_true(n_outputs <= MOST);
    for (int i = 0; i < n_outputs; i++) {
        qn_test_output(&t->model.graph, output_name(i));
        y[i] = malloc((size_t)n * sizeof **y);
    }
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        qn_program_options options;
        qn_program *program = NULL;
        qn_workspace *workspace = NULL;
        qn_assert_ok(qn_program_options_init(&options, engine, &t->err), &t->err);
        qn_assert_ok(qn_program_create(&program, &t->model, &options, &t->err), &t->err);
        qn_assert_ok(qn_workspace_create(&workspace, program, &t->err), &t->err);
        qn_assert_ok(qn_program_run(program, workspace, &x, 1, y, &t->err), &t->err);
        for (int i = 0; i < n_outputs; i++) {
            expect_bits(what, i, x, y[i], wanted + i * step, n);
        }
        qn_workspace_free(workspace);
        qn_program_free(program);
    }
    for (int i = 0; i < n_outputs; i++) {
        free(y[i]);
    }
    qn_graph_free(&t->model.graph);
    return n_outputs * n;
}

static void quants(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "quant_x"), y = npz_read(path, "quant_y"), bits = npz_read(path, "quant_bitwidth"),
              is_signed = npz_read(path, "quant_signed"), narrow = npz_read(path, "quant_narrow"),
              variant = npz_read(path, "quant_variant"), scale = npz_read(path, "quant_var_scale"),
              zero = npz_read(path, "quant_var_zeropt"), scale_scalar = npz_read(path, "quant_var_scale_scalar"),
              zero_scalar = npz_read(path, "quant_var_zeropt_scalar");
    enum { N = 4 * 32 };
    int64_t n_equal = 0;
    for (int64_t g = 0; g < x.dims[0]; g++) {
        const int v = ((const int8_t *)variant.data)[g];
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, 4, 32));
        parameter(graph, "s", ((const int8_t *)scale_scalar.data)[v] != 0, floats(&scale) + v * 4, 4);
        parameter(graph, "z", ((const int8_t *)zero_scalar.data)[v] != 0, floats(&zero) + v * 4, 4);
        number(graph, "b", floats(&bits)[g]);
        for (int m = 0; m < MODES; m++) {
            NODE_WITH(graph, m % 2 == 0 ? "Quant" : "IntQuant", "x s z b", output_name(m),
                      A_INT("signed", ((const int8_t *)is_signed.data)[g]),
                      A_INT("narrow", ((const int8_t *)narrow.data)[g]), A_STRING("rounding_mode", modes[m]));
        }
        char what[64];
        snprintf(what, sizeof what, "quant row %lld", (long long)g);
        n_equal += expect(&t, what, floats(&x) + g * N, N, MODES, floats(&y) + g * MODES * N, N);
    }
    printf("qonnx quant: %lld values equal\n", (long long)n_equal);
    assert_true(n_equal == 256 * MODES * N);
    qn_tensor *owned[] = {&x, &y, &bits, &is_signed, &narrow, &variant, &scale, &zero, &scale_scalar, &zero_scalar};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

static void special_values(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "quantspecial_x"), cfg = npz_read(path, "quantspecial_cfg"),
              y = npz_read(path, "quantspecial_y"), round_x = npz_read(path, "round_x"),
              round_y = npz_read(path, "round_y");
    const int64_t n = x.dims[0];
    for (int64_t g = 0; g < cfg.dims[0]; g++) {
        double row[3];
        for (int i = 0; i < 3; i++) {
            const char *at = (const char *)cfg.data + (size_t)(g * 3 + i) * qn_dtype_size(cfg.dtype);
            qn_convert_elements(QN_DTYPE_F64, &row[i], cfg.dtype, at, 1);
        }
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", 2, (const int64_t[]){1, n});
        number(graph, "s", 1);
        number(graph, "z", 0);
        number(graph, "b", (float)row[0]);
        for (int m = 0; m < MODES; m++) {
            NODE_WITH(graph, "Quant", "x s z b", output_name(m), A_INT("signed", (int64_t)row[1]),
                      A_INT("narrow", (int64_t)row[2]), A_STRING("rounding_mode", modes[m]));
        }
        expect(&t, "special values", floats(&x), n, MODES, floats(&y) + g * MODES * n, n);
    }
    for (int m = 0; m < MODES; m++) { /* the functions alone */
        for (int64_t i = 0; i < round_x.dims[0]; i++) {
            const float got = (float)qn_qonnx_round((double)floats(&round_x)[i], (qn_qonnx_rounding)m, false);
            expect_bits(modes[m], m, floats(&round_x) + i, &got, floats(&round_y) + m * round_x.dims[0] + i, 1);
        }
    }
    qn_tensor *owned[] = {&x, &cfg, &y, &round_x, &round_y};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

static void constant(qn_graph *g, const char *name, const qn_tensor *t)
{
    qn_error err;
    qn_error_init(&err);
    qn_value_id id;
    qn_assert_ok(qn_graph_add_value(g, name, &id, &err), &err);
    qn_assert_ok(qn_graph_set_constant(g, id, t, &err), &err);
}

static void broadcasts(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "bcast_x");
    for (int k = 0; k < 8; k++) {
        char name[32];
        snprintf(name, sizeof name, "bcast%d_scale", k);
        qn_tensor scale = npz_read(path, name);
        snprintf(name, sizeof name, "bcast%d_zeropt", k);
        qn_tensor zero = npz_read(path, name);
        snprintf(name, sizeof name, "bcast%d_y", k);
        qn_tensor y = npz_read(path, name);
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, 2, 3, 4, 5));
        constant(graph, "s", &scale);
        constant(graph, "z", &zero);
        number(graph, "b", 5);
        NODE_WITH(graph, "Quant", "x s z b", "y0", A_INT("signed", 1), A_INT("narrow", 1));
        expect(&t, "broadcasting", floats(&x), qn_tensor_count(&x), 1, floats(&y), 0);
        qn_tensor_free(&scale);
        qn_tensor_free(&zero);
        qn_tensor_free(&y);
    }
    qn_tensor_free(&x);
}

static void bipolar(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "bipolar_x"), scalar = npz_read(path, "bipolar_scale_scalar"),
              rows = npz_read(path, "bipolar_scale_perchan"), y = npz_read(path, "bipolar_y_scalar"),
              y_rows = npz_read(path, "bipolar_y_perchan");
    for (int k = 0; k < 5; k++) {
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, 4, 12));
        parameter(graph, "s", k < 4, k < 4 ? floats(&scalar) + k : floats(&rows), 4);
        NODE(graph, "BipolarQuant", "x s", "y0");
        expect(&t, "BipolarQuant", floats(&x), 48, 1, k < 4 ? floats(&y) + k * 48 : floats(&y_rows), 0);
    }
    qn_tensor *owned[] = {&x, &scalar, &rows, &y, &y_rows};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

/* e, m, bias and the greatest value of configuration g. */
static void float_parameters(qn_graph *graph, const qn_tensor *p, int64_t g)
{
    static const char *const names[] = {"e", "m", "b", "M"};
    for (int i = 0; i < 4; i++) {
        number(graph, names[i], floats(&p[i])[g]);
    }
}

static void float_quants(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "float_x"), y = npz_read(path, "float_y"), y_sat = npz_read(path, "float_y_sat"),
              sat = npz_read(path, "float_sat_cfg"), scaled_x = npz_read(path, "floatscale_x"),
              scalar = npz_read(path, "floatscale_scalar"), rows = npz_read(path, "floatscale_perchan"),
              cfg = npz_read(path, "floatscale_cfg"), y_scalar = npz_read(path, "floatscale_y_scalar"),
              y_rows = npz_read(path, "floatscale_y_perchan");
    qn_tensor p[] = {npz_read(path, "float_e"), npz_read(path, "float_m"), npz_read(path, "float_bias"),
                     npz_read(path, "float_max")};
    enum { N = 384, SCALED = 4 * 64 };
    int64_t n_equal = 0;
    for (int64_t g = 0; g < x.dims[0]; g++) {
        char what[64];
        snprintf(what, sizeof what, "FloatQuant configuration %lld", (long long)g);
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, N));
        number(graph, "s", 1);
        float_parameters(graph, p, g);
        for (int m = 0; m < MODES; m++) {
            NODE_WITH(graph, "FloatQuant", "x s e m b M", output_name(m), A_INT("saturation", 1),
                      A_STRING("rounding_mode", modes[m]));
        }
        n_equal += expect(&t, what, floats(&x) + g * N, N, MODES, floats(&y) + g * MODES * N, N);
        for (int k = 0; k < 4; k++) {
            const int8_t *row = (const int8_t *)sat.data + k * 3;
            graph = start(&t);
            qn_test_input(graph, "x", DIMS(1, N));
            number(graph, "s", 1);
            float_parameters(graph, p, g);
            NODE_WITH(graph, "FloatQuant", "x s e m b M", "y0", A_INT("saturation", row[0]), A_INT("has_inf", row[1]),
                      A_INT("has_nan", row[2]), A_INT("has_subnormal", 1));
            n_equal += expect(&t, what, floats(&x) + g * N, N, 1, floats(&y_sat) + (g * 4 + k) * N, 0);
        }
    }
    for (int64_t k = 0; k < 6; k++) {
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, 4, 64));
        parameter(graph, "s", k < 3, k < 3 ? floats(&scalar) : floats(&rows), 4);
        float_parameters(graph, p, ((const int8_t *)cfg.data)[k % 3]);
        NODE(graph, "FloatQuant", "x s e m b M", "y0");
        n_equal += expect(&t, "FloatQuant with a scale", floats(&scaled_x), SCALED, 1,
                          floats(k < 3 ? &y_scalar : &y_rows) + k % 3 * SCALED, 0);
    }
    printf("qonnx float: %lld values equal\n", (long long)n_equal);
    qn_tensor *owned[] = {&x,   &y,        &y_sat,  &sat,  &scaled_x, &scalar, &rows,
                          &cfg, &y_scalar, &y_rows, &p[0], &p[1],     &p[2],   &p[3]};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

static void float_quants_by_row(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "floatscale_x"), e = npz_read(path, "floatpc_e"), b = npz_read(path, "floatpc_bias"),
              most = npz_read(path, "floatpc_max"), m = npz_read(path, "floatpc_m"), y = npz_read(path, "floatpc_y");
    net t;
    qn_graph *graph = start(&t);
    qn_test_input(graph, "x", DIMS(1, 4, 64));
    number(graph, "s", 1);
    constant(graph, "m", &m);
    parameter(graph, "e", false, floats(&e), 4);
    parameter(graph, "b", false, floats(&b), 4);
    parameter(graph, "M", false, floats(&most), 4);
    NODE(graph, "FloatQuant", "x s e m b M", "y0");
    expect(&t, "FloatQuant by row", floats(&x), 4 * 64, 1, floats(&y), 0);
    qn_tensor *owned[] = {&x, &e, &b, &most, &m, &y};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

static void truncs(void **unused)
{
    (void)unused;
    const char *path = vectors();
    qn_tensor x = npz_read(path, "trunc1_x"), y = npz_read(path, "trunc1_y"), cfg = npz_read(path, "trunc1_cfg"),
              scales = npz_read(path, "trunc_scales"), x2 = npz_read(path, "trunc2_x"),
              which = npz_read(path, "trunc2_xi"), y2 = npz_read(path, "trunc2_y"), cfg2 = npz_read(path, "trunc2_cfg"),
              ratio = npz_read(path, "trunc2_ratio");
    enum { N = 4 * 48, MODES2 = 3 };
    int64_t n_equal = 0;
    for (int64_t g = 0; g < cfg.dims[0] + cfg2.dims[0]; g++) {
        const bool second = g >= cfg.dims[0];
        const int64_t row = second ? g - cfg.dims[0] : g;
        const int16_t *c = second ? (const int16_t *)cfg2.data + row * 6 : (const int16_t *)cfg.data + row * 4;
        const float *scale = floats(&scales) + c[3] * 4;
        net t;
        qn_graph *graph = start(&t);
        qn_test_input(graph, "x", DIMS(1, 4, 48));
        parameter(graph, "s", c[3] < 2, scale, 4);
        number(graph, "z", c[2]);
        number(graph, "i", c[0]);
        number(graph, "o", c[1]);
        char what[64];
        snprintf(what, sizeof what, "Trunc version %d, row %lld", second ? 2 : 1, (long long)row);
        if (!second) {
            for (int m = 0; m < MODES; m++) {
                NODE_WITH(graph, "Trunc", "x s z i o", output_name(m), A_STRING("rounding_mode", modes[m]));
            }
            n_equal += expect(&t, what, floats(&x) + row * N, N, MODES, floats(&y) + row * MODES * N, N);
            continue;
        }
        float out[4];
        const int k = floats(&ratio)[row] >= exp2f((float)(c[0] - c[1])) * 0.9f ? c[0] - c[1] : c[0] - c[1] - 1;
        for (int i = 0; i < 4; i++) {
            out[i] = ldexpf(scale[i], k);
            out[i] = k != c[0] - c[1] && c[2] == 3 ? (float)((double)out[i] * 1.25) : out[i];
        }
        parameter(graph, "S", c[3] < 2, out, 4);
        for (int m = 0; m < MODES2; m++) {
            NODE_WITH(graph, "Trunc", "x s z i S o", output_name(m), A_INT("signed", c[4]), A_INT("narrow", c[5]),
                      A_STRING("rounding_mode", modes[m]));
        }
        n_equal += expect(&t, what, floats(&x2) + ((const int16_t *)which.data)[row] * N, N, MODES2,
                          floats(&y2) + row * MODES2 * N, N);
    }
    printf("qonnx trunc: %lld values equal\n", (long long)n_equal);
    assert_true(n_equal == (45 * MODES + 216 * MODES2) * N);
    qn_tensor *owned[] = {&x, &y, &cfg, &scales, &x2, &which, &y2, &cfg2, &ratio};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        qn_tensor_free(owned[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quants),  cmocka_unit_test(special_values), cmocka_unit_test(broadcasts),
        cmocka_unit_test(bipolar), cmocka_unit_test(float_quants),   cmocka_unit_test(float_quants_by_row),
        cmocka_unit_test(truncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
