/* ConvTranspose, LpPool and Einsum of both engines against the plainest loops that say the same. */
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
        cmocka_unit_test(products_are_written_as_letters),
        cmocka_unit_test(equations_that_say_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
