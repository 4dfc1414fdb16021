/* LSTM, GRU and RNN of both engines, by every instruction set, against the plainest loops in double. */
#include "run_network.h"

#include <stdio.h>

enum { ITEMS = 3, STEPS = 5, INPUTS = 7, MOST_HIDDEN = 70, MOST_GATES = 4 };

typedef struct {
    const char *type, *direction;
    int gates, hidden;
    bool peepholes, before_reset, constant;
} cell;

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

typedef struct {
    float w[2 * MOST_GATES * MOST_HIDDEN * INPUTS], r[2 * MOST_GATES * MOST_HIDDEN * MOST_HIDDEN];
    float b[2 * 2 * MOST_GATES * MOST_HIDDEN], p[2 * 3 * MOST_HIDDEN];
} weights;

/* Unit j of a gate before its activation. */
static double gate_sum(const cell *c, const weights *w, int d, int gate, int j, const float *x, const double *h,
                       const double *memory, int peephole)
{
    const int row = (d * c->gates + gate) * c->hidden + j;
    double sum = (double)w->b[(d * 2 * c->gates + gate) * c->hidden + j] +
                 (double)w->b[(d * 2 * c->gates + c->gates + gate) * c->hidden + j];
    for (int k = 0; k < INPUTS && x != NULL; k++) {
        sum += (double)x[k] * (double)w->w[row * INPUTS + k];
    }
    for (int k = 0; k < c->hidden; k++) {
        sum += h[k] * (double)w->r[row * c->hidden + k];
    }
    return c->peepholes ? sum + (double)w->p[(d * 3 + peephole) * c->hidden + j] * memory[j] : sum;
}

static void step(const cell *c, const weights *w, int d, const float *x, double *h, double *memory)
{
    double next[MOST_HIDDEN], reset[MOST_HIDDEN], zero[MOST_HIDDEN] = {0};
    const int n = c->hidden;
    for (int j = 0; j < n && c->gates == 3; j++) {
        reset[j] = sigmoid(gate_sum(c, w, d, 1, j, x, h, memory, 0)) * h[j];
    }
    for (int j = 0; j < n; j++) {
        if (c->gates == 1) {
            next[j] = tanh(gate_sum(c, w, d, 0, j, x, h, memory, 0));
        } else if (c->gates == 3) {
            const double z = sigmoid(gate_sum(c, w, d, 0, j, x, h, memory, 0));
            double sum = gate_sum(c, w, d, 2, j, x, reset, memory, 0);
            if (c->before_reset) {
                const double bias_w = (double)w->b[(d * 6 + 2) * n + j],
                             r = sigmoid(gate_sum(c, w, d, 1, j, x, h, memory, 0));
                const double own = gate_sum(c, w, d, 2, j, NULL, h, memory, 0) - bias_w;
                sum = gate_sum(c, w, d, 2, j, x, zero, memory, 0) - (double)w->b[(d * 6 + 5) * n + j] + r * own;
            }
            next[j] = (1 - z) * tanh(sum) + z * h[j];
        } else {
            double state[MOST_HIDDEN];
            memcpy(state, memory, sizeof state);
            const double i = sigmoid(gate_sum(c, w, d, 0, j, x, h, memory, 0));
            const double f = sigmoid(gate_sum(c, w, d, 2, j, x, h, memory, 2));
            cell plain = *c;
            plain.peepholes = false;
            state[j] = f * memory[j] + i * tanh(gate_sum(&plain, w, d, 3, j, x, h, memory, 0));
            next[j] = sigmoid(gate_sum(c, w, d, 1, j, x, h, state, 1)) * tanh(state[j]);
            reset[j] = state[j];
        }
    }
    memcpy(h, next, (size_t)n * sizeof *h);
    if (c->gates == 4) {
        memcpy(memory, reset, (size_t)n * sizeof *memory);
    }
}

static void expect_outputs(const cell *c, const weights *w, const float *x, const float *y)
{
    const int directions = strcmp(c->direction, "bidirectional") == 0 ? 2 : 1, n = c->hidden;
    for (int item = 0; item < ITEMS; item++) {
        for (int d = 0; d < directions; d++) {
            double h[MOST_HIDDEN] = {0}, memory[MOST_HIDDEN] = {0};
            const bool backwards = d == 1 || strcmp(c->direction, "reverse") == 0;
            for (int s = 0; s < STEPS; s++) {
                const int t = backwards ? STEPS - 1 - s : s;
                step(c, w, d, x + (item * STEPS + t) * INPUTS, h, memory);
                for (int j = 0; j < n; j++) {
                    const float found = y[((item * STEPS + t) * directions + d) * n + j];
                    if (!(fabs((double)found - h[j]) <= 2e-6)) {
                        fail_msg("%s %s, item %d, step %d, unit %d: %.9g, not %.9g", c->type, c->direction, item, t, j,
                                 (double)found, h[j]);
                    }
                }
            }
        }
    }
}

/* Weights that are computed while the network runs: x, in other words, times 0. */
static void made(qn_graph *g, const char *name, int rank, const int64_t *dims, const float *values, bool constant)
{
    if (constant) {
        qn_test_floats(g, name, rank, dims, values);
        return;
    }
    char stored[16], both[64];
    snprintf(stored, sizeof stored, "%s0", name);
    snprintf(both, sizeof both, "%s nothing", stored);
    qn_test_floats(g, stored, rank, dims, values);
    NODE(g, "Add", both, name);
}

static void expect_cell(const cell *c, qn_engine engine)
{
    static weights w;
    static float x[ITEMS * STEPS * INPUTS], y[ITEMS * STEPS * 2 * MOST_HIDDEN];
    const int64_t d = strcmp(c->direction, "bidirectional") == 0 ? 2 : 1, n = c->hidden, gates = c->gates;
    net t;
    qn_graph *g = start(&t);
    g->opset = 14;
    fill(x, ITEMS * STEPS * INPUTS, 3);
    fill(w.w, d * gates * n * INPUTS, 4);
    fill(w.r, d * gates * n * n, 5);
    fill(w.b, d * 2 * gates * n, 6);
    fill(w.p, d * 3 * n, 7);
    for (int64_t i = 0; i < d * gates * n * n; i++) {
        w.r[i] *= 2 / (float)n; /* or states would be chaotic */
    }
    qn_test_input(g, "x", DIMS(-1, STEPS, INPUTS));
    if (!c->constant) {
        qn_test_floats(g, "zero", 0, NULL, (const float[]){0});
        NODE_WITH(g, "ReduceSum", "x", "sum", A_INT("keepdims", 0));
        NODE(g, "Mul", "sum zero", "nothing");
    }
    made(g, "w", DIMS(d, gates * n, INPUTS), w.w, c->constant);
    made(g, "r", DIMS(d, gates * n, n), w.r, c->constant);
    qn_test_floats(g, "b", DIMS(d, 2 * gates * n), w.b);
    qn_test_floats(g, "p", DIMS(d, 3 * n), w.p);
    qn_attribute attributes[] = {A_INT("hidden_size", n), A_INT("layout", 1), A_STRING("direction", c->direction),
                                 A_INT("linear_before_reset", 1)};
    qn_test_node(g, c->type, c->peepholes ? "x w r b - - - p" : "x w r b", "y", c->before_reset ? 4 : 3, attributes);
    qn_test_output(g, "y");
    run(&t, engine, x, STEPS * INPUTS, c->constant ? ITEMS : 1, y, STEPS * d * n);
    if (!c->constant) { /* one by one: the weights are of no item */
        for (int i = 1; i < ITEMS; i++) {
            run(&t, engine, x + i * STEPS * INPUTS, STEPS * INPUTS, 1, y + i * STEPS * d * n, STEPS * d * n);
        }
    }
    expect_outputs(c, &w, x, y);
    qn_graph_free(g);
}

static void cells_are_those_of_plain_loops(void **unused)
{
    (void)unused;
    static const cell rows[] = {
        {"RNN", "forward", 1, 5, false, false, true},        {"RNN", "bidirectional", 1, 70, false, false, true},
        {"GRU", "reverse", 3, 33, false, false, true},       {"GRU", "bidirectional", 3, 20, false, true, true},
        {"GRU", "forward", 3, 64, false, true, false},       {"LSTM", "forward", 4, 16, false, false, true},
        {"LSTM", "bidirectional", 4, 70, true, false, true}, {"LSTM", "reverse", 4, 9, true, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (qn_engine engine = QN_ENGINE_FLOAT; engine <= QN_ENGINE_INTEGER; engine++) {
            expect_cell(&rows[i], engine);
        }
    }
}

static const char *golden(const char *name, const char *ending)
{
    static char path[512];
    snprintf(path, sizeof path, QN_SOURCE_DIR "/tests/golden/recurrent/%s%s", name, ending);
    return path;
}

/* The network as a whole: an input without items says that it has none. */
static void expect_golden(const char *name, qn_engine engine, qn_cpu cpu)
{
    enum { MOST = 512 };
    static const float nothing[1];
    qn_model *model;
    qn_error err;
    qn_tensor x, y;
    qn_value_id id;
    float found[MOST], *to = found;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, golden(name, ".onnx"), &err), &err);
    qn_assert_ok(qn_tensor_read(&x, golden(name, "_x.npy"), &err), &err);
    qn_assert_ok(qn_tensor_read(&y, golden(name, "_y.npy"), &err), &err);
    qn_assert_ok(qn_graph_add_value(&model->graph, "whole", &id, &err), &err);
    model->graph.values[id].dtype = QN_DTYPE_F32;
    model->graph.values[id].rank = 0;
    qn_assert_ok(qn_graph_add_io(&model->graph, false, id, &err), &err);
    const float *inputs[] = {x.data, nothing};
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    options.batch = 1;
    options.cpu = cpu;
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    assert_int_equal(qn_program_output_count(program, 0), qn_tensor_count(&y));
    assert_in_range(qn_tensor_count(&y), 1, MOST);
    qn_assert_ok(qn_program_run(program, workspace, inputs, 1, &to, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&y); i++) {
        const float wanted = ((const float *)y.data)[i];
        if (!(fabsf(found[i] - wanted) <= 2e-6f * (1 + fabsf(wanted)))) {
            fail_msg("%s, output %d: %.9g, not %.9g", name, (int)i, (double)found[i], (double)wanted);
        }
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_tensor_free(&x);
    qn_tensor_free(&y);
    qn_model_free(model);
}

/* Clips, functions with their constants, lengths, states, peepholes, all outputs: as ONNX Runtime has them
 * (tests/golden/make_recurrent_networks.py). */
static void attributes_mean_what_they_mean_to_onnx_runtime(void **unused)
{
    (void)unused;
    static const char *const names[] = {"gru_clip",     "lstm_clip", "lstm_directions", "lstm_functions",
                                        "lstm_reverse", "rnn_clip",  "rnn_directions"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (qn_cpu cpu = QN_CPU_REFERENCE; cpu <= qn_cpu_best(); cpu++) {
            expect_golden(names[i], QN_ENGINE_FLOAT, cpu);
            expect_golden(names[i], QN_ENGINE_INTEGER, cpu);
        }
    }
}

static void expect_refusal(qn_status status, const char *words, int n_attributes, const qn_attribute *attributes,
                           int64_t hidden)
{
    net t;
    qn_graph *g = start(&t);
    qn_binding binding;
    qn_test_input(g, "x", DIMS(STEPS, 1, INPUTS));
    qn_test_floats(g, "w", DIMS(1, hidden, INPUTS), NULL);
    qn_test_floats(g, "r", DIMS(1, hidden, hidden), NULL);
    qn_test_node(g, "RNN", "x w r", "y", n_attributes, attributes);
    qn_test_output(g, "y");
    qn_assert_fails(qn_graph_bind(&binding, g, 1, &t.err), &t.err, status, words);
    qn_graph_free(g);
}

static void what_no_cell_has_is_refused(void **unused)
{
    (void)unused;
    static const char *const names[] = {"Swish"};
    const qn_attribute activations = {.name = "activations", .type = QN_ATTRIBUTE_STRINGS, .strings = names, .n = 1};
    expect_refusal(QN_EFORMAT, "'Swish' is no activation", 1, &activations, 4);
    expect_refusal(QN_EFORMAT, "'up' is none of", 1, (const qn_attribute[]){A_STRING("direction", "up")}, 4);
    expect_refusal(QN_ESHAPE, "R is of 4 units", 1, (const qn_attribute[]){A_INT("hidden_size", 5)}, 4);
    expect_refusal(QN_ESHAPE, "expected float32 of shape 2x4x7", 1,
                   (const qn_attribute[]){A_STRING("direction", "bidirectional")}, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_those_of_plain_loops),
        cmocka_unit_test(attributes_mean_what_they_mean_to_onnx_runtime),
        cmocka_unit_test(what_no_cell_has_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
