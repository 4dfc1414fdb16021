/* ConvTranspose, pools, Conv of three dimensions, Einsum and Resize of both engines against the plainest loops that say the same. */
#include "run_network.h"

#include <math.h>

static void expect_close(float y, double wanted)
{
    if (!(fabs((double)y - wanted) <= 3e-6 * (1 + fabs(wanted)))) {
        fail_msg("%.9g, not %.9g", (double)y, wanted);
    }
}

typedef struct {
    int c_in, per_group, group, in[2], kernel[2], stride[2], dilation[2], pads[4], extra[2]; /* pads: begins, ends */
    bool has_bias;
} transposed;

static void expect_transposed(const transposed *t, const float *x, const float *w, const float *bias, const int *out,
                              const float *y)
{
    static double sums[20000];
    const int c_out = t->per_group * t->group;
    memset(sums, 0, sizeof sums);
    for (int c = 0; c < t->c_in; c++) {
        for (int k = 0; k < t->per_group; k++) {
            const int to = c / (t->c_in / t->group) * t->per_group + k;
            for (int i = 0; i < t->in[0] * t->in[1] * t->kernel[0] * t->kernel[1]; i++) {
                const int tap = i % (t->kernel[0] * t->kernel[1]), place = i / (t->kernel[0] * t->kernel[1]);
                const int row = place / t->in[1] * t->stride[0] + tap / t->kernel[1] * t->dilation[0] - t->pads[0];
                const int column = place % t->in[1] * t->stride[1] + tap % t->kernel[1] * t->dilation[1] - t->pads[1];
                if (row >= 0 && row < out[0] && column >= 0 && column < out[1]) {
                    sums[(to * out[0] + row) * out[1] + column] +=
                        (double)x[c * t->in[0] * t->in[1] + place] *
                        (double)w[(c * t->per_group + k) * t->kernel[0] * t->kernel[1] + tap];
                }
            }
        }
    }
    for (int i = 0; i < c_out * out[0] * out[1]; i++) {
        expect_close(y[i], sums[i] + (t->has_bias ? (double)bias[i / (out[0] * out[1])] : 0));
    }
}

static void transposed_convolutions_spread_each_input(void **unused)
{
    (void)unused;
    static const transposed rows[] = {
        {4, 3, 1, {5, 7}, {3, 3}, {1, 1}, {1, 1}, {0, 0, 0, 0}, {0, 0}, false},
        {6, 4, 2, {6, 5}, {4, 4}, {2, 2}, {1, 1}, {1, 1, 1, 1}, {0, 0}, true},
        {8, 1, 8, {9, 4}, {2, 3}, {3, 2}, {1, 1}, {0, 1, 0, 1}, {1, 1}, true},
        {3, 5, 1, {4, 18}, {3, 2}, {1, 2}, {2, 3}, {1, 0, 2, 1}, {0, 1}, true},
        {32, 24, 1, {8, 8}, {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}, true},
    };
    enum { ITEMS = 2 };
    static float x[ITEMS * 4096], w[4096], bias[32], y[ITEMS * 20000];
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        const transposed *t = &rows[r];
        const int c_out = t->per_group * t->group;
        const int64_t n_x = (int64_t)t->c_in * t->in[0] * t->in[1];
        int out[2];
        for (int a = 0; a < 2; a++) {
            out[a] = (t->in[a] - 1) * t->stride[a] + (t->kernel[a] - 1) * t->dilation[a] + 1 + t->extra[a] -
                     t->pads[a] - t->pads[2 + a];
        }
        const int64_t n_y = (int64_t)c_out * out[0] * out[1];
        for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
            net network;
            qn_graph *g = start(&network);
            fill(x, ITEMS * n_x, 1);
            fill(w, (int64_t)t->c_in * t->per_group * t->kernel[0] * t->kernel[1], 2);
            fill(bias, c_out, 3);
            qn_test_input(g, "x", DIMS(-1, t->c_in, t->in[0], t->in[1]));
            qn_test_floats(g, "w", DIMS(t->c_in, t->per_group, t->kernel[0], t->kernel[1]), w);
            qn_test_floats(g, "bias", DIMS(c_out), bias);
            NODE_WITH(g, "ConvTranspose", t->has_bias ? "x w bias" : "x w", "y", A_INT("group", t->group),
                      A_INTS("strides", t->stride[0], t->stride[1]),
                      A_INTS("dilations", t->dilation[0], t->dilation[1]),
                      A_INTS("pads", t->pads[0], t->pads[1], t->pads[2], t->pads[3]),
                      A_INTS("output_padding", t->extra[0], t->extra[1]));
            qn_test_output(g, "y");
            run(&network, engine, x, n_x, ITEMS, y, n_y);
            for (int i = 0; i < ITEMS; i++) {
                expect_transposed(t, x + i * n_x, w, bias, out, y + i * n_y);
            }
            qn_graph_free(g);
        }
    }
}

static void norms_are_pooled(void **unused)
{
    (void)unused;
    enum {
        ITEMS = 2,
        C = 3,
        IN = 6,
        OUT = 3,
        N_X = C * IN * IN,
        N_Y = C * OUT * OUT
    }; /* windows 3, steps 2, pads 0 and 1 */
    float x[ITEMS * N_X], y[ITEMS * N_Y];
    fill(x, ITEMS * N_X, 7);
    x[0] = 0;
    for (int64_t p = 1; p <= 3; p++) {
        for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
            net t;
            qn_graph *g = start(&t);
            qn_test_input(g, "x", DIMS(-1, C, IN, IN));
            NODE_WITH(g, "LpPool", "x", "y", A_INT("p", p), A_INTS("kernel_shape", 3, 3), A_INTS("strides", 2, 2),
                      A_INTS("pads", 0, 0, 1, 1));
            qn_test_output(g, "y");
            run(&t, engine, x, N_X, ITEMS, y, N_Y);
            for (int i = 0; i < ITEMS * N_Y; i++) {
                double sum = 0;
                for (int tap = 0; tap < 9; tap++) {
                    const int row = i / OUT % OUT * 2 + tap / 3, column = i % OUT * 2 + tap % 3;
                    const bool inside = row < IN && column < IN;
                    sum += inside ? pow(fabs((double)x[i / (OUT * OUT) * IN * IN + row * IN + column]), (double)p) : 0;
                }
                expect_close(y[i], pow(sum, 1 / (double)p));
            }
            qn_graph_free(g);
        }
    }
}

/* x0, x1 with the weights of a window of three spatial dimensions; windows 2x3x2, steps 1x2x1, a pad before the rows. */
enum { VD = 3, VH = 5, VW = 4, V_IN = VD * VH * VW, V_OUT = 2 * 2 * 3, V_C = 4 };

static double window(const char *type, const float *x, const float *w, int channel, int output)
{
    static const int in[] = {VD, VH, VW};
    const int at[] = {output / 6, output / 3 % 2 * 2 - 1, output % 3}, conv = strcmp(type, "Conv") == 0;
    double sum = 0, most = -INFINITY;
    int seen = 0;
    for (int c = conv ? channel / 2 * 2 : channel; c < (conv ? channel / 2 * 2 + 2 : channel + 1); c++) {
        for (int k = 0; k < 12; k++) {
            const int tap[] = {k / 6, k / 2 % 3, k % 2};
            int place = 0, inside = 1;
            for (int a = 0; a < 3; a++) {
                inside &= at[a] + tap[a] >= 0 && at[a] + tap[a] < in[a];
                place = place * in[a] + at[a] + tap[a];
            }
            if (inside) {
                const double v = (double)x[c * V_IN + place];
                sum += conv ? v * (double)w[(channel * 2 + c % 2) * 12 + k] : v;
                most = fmax(most, v);
                seen++;
            }
        }
    }
    return conv ? sum : strcmp(type, "MaxPool") == 0 ? most : sum / seen;
}

static void windows_have_three_dimensions(void **unused)
{
    (void)unused;
    static const char *const types[] = {"Conv", "MaxPool", "AveragePool"};
    enum { ITEMS = 2 };
    float x[ITEMS * V_C * V_IN], w[V_C * 2 * 12], y[ITEMS * V_C * V_OUT];
    fill(x, ITEMS * V_C * V_IN, 3);
    fill(w, V_C * 2 * 12, 4);
    for (size_t t = 0; t < 3; t++) {
        for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
            net network;
            qn_graph *g = start(&network);
            const bool conv = t == 0;
            const qn_attribute attributes[] = {A_INTS("kernel_shape", 2, 3, 2), A_INTS("strides", 1, 2, 1),
                                               A_INTS("pads", 0, 1, 0, 0, 0, 0), A_INT("group", 2)};
            qn_test_input(g, "x", DIMS(-1, V_C, VD, VH, VW));
            qn_test_floats(g, "w", DIMS(V_C, 2, 2, 3, 2), w);
            qn_test_node(g, types[t], conv ? "x w" : "x", "y", conv ? 4 : 3, attributes);
            qn_test_output(g, "y");
            run(&network, engine, x, V_C * V_IN, ITEMS, y, V_C * V_OUT);
            for (int i = 0; i < ITEMS * V_C * V_OUT; i++) {
                const int item = i / (V_C * V_OUT), channel = i / V_OUT % V_C;
                expect_close(y[i], window(types[t], x + item * V_C * V_IN, w, channel, i % V_OUT));
            }
            qn_graph_free(g);
        }
    }
}

/* Three factors; integers, whose products are exact. */
static void products_have_many_factors(void **unused)
{
    (void)unused;
    enum { ITEMS = 2, I = 4, J = 5, K = 3 };
    float x[ITEMS * I * J], b[J * K], c[K], y[ITEMS * I], z[ITEMS * I * K];
    fill(x, ITEMS * I * J, 1);
    fill(b, J * K, 2);
    fill(c, K, 3);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, I, J));
        qn_test_floats(g, "b", DIMS(J, K), b);
        qn_test_floats(g, "c", DIMS(K), c);
        NODE_WITH(g, "Einsum", "x b c", "y", A_STRING("equation", "nij,jk,k->ni"));
        qn_test_output(g, "y");
        run(&t, engine, x, I * J, ITEMS, y, I);
        for (int i = 0; i < ITEMS * I; i++) {
            double sum = 0;
            for (int j = 0; j < J * K; j++) {
                sum += (double)x[i * J + j / K] * (double)b[j] * (double)c[j % K];
            }
            expect_close(y[i], sum);
        }
        qn_graph_free(g);
        int64_t whole[J * K];
        for (int j = 0; j < J * K; j++) {
            whole[j] = (int64_t)(b[j] * 1e6f);
        }
        g = start(&t);
        qn_test_input(g, "x", DIMS(-1, I, J));
        qn_test_floats(g, "million", 0, NULL, (const float[]){1e6f});
        qn_test_ints(g, "flat", J * K, whole);
        qn_test_ints(g, "shape", 2, (const int64_t[]){J, K});
        qn_test_ints(g, "modulus", 1, (const int64_t[]){1 << 20});
        NODE(g, "Reshape", "flat shape", "w");
        NODE(g, "Mul", "x million", "large");
        NODE_WITH(g, "Cast", "large", "integers", A_INT("to", 7));
        NODE(g, "MatMul", "integers w", "product");
        NODE(g, "Mod", "product modulus", "low"); /* what float32 can tell */
        NODE_WITH(g, "Cast", "low", "y", A_INT("to", 1));
        qn_test_output(g, "y");
        run(&t, engine, x, I * J, ITEMS, z, I * K);
        for (int i = 0; i < ITEMS * I * K; i++) {
            int64_t sum = 0;
            for (int j = 0; j < J; j++) {
                sum += (int64_t)(x[i / K * J + j] * 1e6f) * whole[j * K + i % K];
            }
            assert_float_equal(z[i], (float)(((sum % (1 << 20)) + (1 << 20)) % (1 << 20)), 0);
        }
        qn_graph_free(g);
    }
}

/* A downscaled row: each output is the mean of what it covers, weighted by a tent as wide as two outputs. */
static void smaller_images_are_smooth(void **unused)
{
    (void)unused;
    enum { IN = 12, OUT = 4 };
    float x[IN], y[OUT];
    fill(x, IN, 5);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        t.model.graph.opset = 18;
        qn_test_input(g, "x", DIMS(-1, 1, 1, IN));
        qn_test_ints(g, "sizes", 4, (const int64_t[]){1, 1, 1, OUT});
        NODE_WITH(g, "Resize", "x - - sizes", "y", A_STRING("mode", "linear"), A_INT("antialias", 1));
        qn_test_output(g, "y");
        run(&t, engine, x, IN, 1, y, OUT);
        for (int o = 0; o < OUT; o++) {
            const double at = (o + 0.5) * 3 - 0.5;
            double sum = 0, weights = 0;
            for (int i = -8; i < IN + 8; i++) {
                const double w = fmax(0, 1 - fabs(i - at) / 3);
                sum += w * (double)x[i < 0 ? 0 : i >= IN ? IN - 1 : i];
                weights += w;
            }
            expect_close(y[o], sum / weights);
        }
        qn_graph_free(g);
    }
}

/* Scores of attention: both factors vary, and the sum is over their last axes. */
static void products_are_written_as_letters(void **unused)
{
    (void)unused;
    enum { ITEMS = 2, H = 3, I = 5, D = 7, N_X = H * I * D, N_Y = H * I * I };
    float x[ITEMS * N_X], y[ITEMS * N_Y];
    fill(x, ITEMS * N_X, 9);
    for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
        net t;
        qn_graph *g = start(&t);
        qn_test_input(g, "x", DIMS(-1, H, I, D));
        NODE(g, "Neg", "x", "minus");
        NODE_WITH(g, "Einsum", "x minus", "y", A_STRING("equation", "bhid, bhjd -> bhij"));
        qn_test_output(g, "y");
        run(&t, engine, x, N_X, ITEMS, y, N_Y);
        for (int i = 0; i < ITEMS * N_Y; i++) {
            const int row = i / I, other = i / (I * I) * I + i % I;
            double sum = 0;
            for (int d = 0; d < D; d++) {
                sum -= (double)x[row * D + d] * (double)x[other * D + d];
            }
            expect_close(y[i], sum);
        }
        qn_graph_free(g);
    }
}

static void refuse(const char *equation, qn_status status, const char *message)
{
    net t;
    qn_graph *g = start(&t);
    qn_program_options options;
    qn_program *program = NULL;
    qn_test_input(g, "x", DIMS(-1, 3, 4));
    NODE_WITH(g, "Einsum", "x", "y", A_STRING("equation", equation));
    qn_test_output(g, "y");
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &t.err), &t.err);
    qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, status, message);
    qn_graph_free(g);
}

static void images_that_nearly_vanish_are_refused(void **unused)
{
    (void)unused;
    net t;
    qn_graph *g = start(&t);
    qn_program_options options;
    qn_program *program = NULL;
    t.model.graph.opset = 18;
    qn_test_input(g, "x", DIMS(-1, 1, 1, 1 << 20));
    qn_test_ints(g, "sizes", 4, (const int64_t[]){1, 1, 1, 1});
    NODE_WITH(g, "Resize", "x - - sizes", "y", A_STRING("mode", "linear"), A_INT("antialias", 1));
    qn_test_output(g, "y");
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_FLOAT, &t.err), &t.err);
    qn_assert_fails(qn_program_create(&program, &t.model, &options, &t.err), &t.err, QN_ELIMIT, "axis 3 shrinks");
    qn_graph_free(g);
}

static void equations_that_say_nothing_are_refused(void **unused)
{
    (void)unused;
    refuse("bi->b", QN_ESHAPE, "does not fit its operand");
    refuse("bij->bk", QN_EFORMAT, "in no term");
    refuse("bij,bij->b", QN_EFORMAT, "more terms than inputs");
    refuse("b1j->b", QN_EFORMAT, "'1' is no letter");
    refuse("bjj->b", QN_ESHAPE, "one letter for axes of");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transposed_convolutions_spread_each_input),
        cmocka_unit_test(norms_are_pooled),
        cmocka_unit_test(windows_have_three_dimensions),
        cmocka_unit_test(products_have_many_factors),
        cmocka_unit_test(smaller_images_are_smooth),
        cmocka_unit_test(products_are_written_as_letters),
        cmocka_unit_test(images_that_nearly_vanish_are_refused),
        cmocka_unit_test(equations_that_say_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
