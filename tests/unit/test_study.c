/* Studies: the knapsack against all assignments, mixed precision and sensitivity of a small network against single quantizations. */
#include "graph_builder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/knapsack.h"
#include "graph/model.h"
#include "ptq/ptq.h"
#include "quern/study.h"

enum { MAX_GROUPS = 6, MAX_CHOICES = 4 };

/* The least damage of all assignments within the budget; INFINITY when there is none. */
static double least_damage(const qn_choice *choices, int n_groups, int n_choices, int64_t budget)
{
    int total = 1;
    for (int g = 0; g < n_groups; g++) {
        total *= n_choices;
    }
    double least = (double)INFINITY;
    for (int code = 0; code < total; code++) {
        int64_t cost = 0;
        double damage = 0;
        for (int g = 0, rest = code; g < n_groups; g++, rest /= n_choices) {
            cost += choices[g * n_choices + rest % n_choices].cost;
            damage += choices[g * n_choices + rest % n_choices].damage;
        }
        least = cost <= budget && damage < least ? damage : least;
    }
    return least;
}

static void knapsack_is_the_best_of_all_assignments(void **state)
{
    (void)state;
    uint64_t seed = 7;
    qn_error err;
    int infeasible = 0;
    for (int round = 0; round < 400; round++) {
        qn_choice choices[MAX_GROUPS * MAX_CHOICES];
        int chosen[MAX_GROUPS];
        const int n_groups = 1 + (int)(qn_test_random(&seed) % MAX_GROUPS);
        const int n_choices = 1 + (int)(qn_test_random(&seed) % MAX_CHOICES);
        for (int i = 0; i < n_groups * n_choices; i++) {
            choices[i] = (qn_choice){(int64_t)(qn_test_random(&seed) % 50), (double)(qn_test_random(&seed) % 1000)};
        }
        const int64_t budget = (int64_t)(qn_test_random(&seed) % 150);
        const double least = least_damage(choices, n_groups, n_choices, budget);
        qn_error_init(&err);
        const qn_status status = qn_knapsack_choose(chosen, choices, n_groups, n_choices, budget, &err);
        if (isinf(least)) {
            infeasible++;
            qn_assert_fails(status, &err, QN_EINVAL, "least cost");
            continue;
        }
        qn_assert_ok(status, &err);
        int64_t cost = 0;
        double damage = 0;
        for (int g = 0; g < n_groups; g++) {
            cost += choices[g * n_choices + chosen[g]].cost;
            damage += choices[g * n_choices + chosen[g]].damage;
        }
        assert_true(cost <= budget);
        assert_true(damage == least);
    }
    assert_true(infeasible > 0 && infeasible < 300);
}

/* More sums than are kept: what comes out is within the budget, and hardly worse than the linear relaxation. */
static void knapsack_of_many_groups_stays_within_the_budget(void **state)
{
    (void)state;
    enum { GROUPS = 60, CHOICES = 4 };
    static qn_choice choices[GROUPS * CHOICES];
    int chosen[GROUPS];
    uint64_t seed = 11;
    double bound = 0;
    int64_t budget = 0, cost = 0;
    for (int g = 0; g < GROUPS; g++) {
        const int64_t n = 1000 + (int64_t)(qn_test_random(&seed) % 1000003);
        for (int k = 0; k < CHOICES; k++) {
            choices[g * CHOICES + k] = (qn_choice){n * (k + 1), (double)n / (double)(1 << (2 * k))};
        }
        budget += 2 * n;
    }
    /* Damages per unit of cost are alike in all groups and convex in the width: the second width for all is the best that
     * the relaxation knows. */
    for (int g = 0; g < GROUPS; g++) {
        bound += choices[g * CHOICES + 1].damage;
    }
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_knapsack_choose(chosen, choices, GROUPS, CHOICES, budget, &err), &err);
    double damage = 0;
    for (int g = 0; g < GROUPS; g++) {
        cost += choices[g * CHOICES + chosen[g]].cost;
        damage += choices[g * CHOICES + chosen[g]].damage;
    }
    assert_true(cost <= budget);
    assert_true(damage >= bound * (1 - 1e-12) && damage <= bound * (1 + 1e-6));
}

/* Two layers without names and a Relu between them. */
static void make_network(qn_model *model)
{
    qn_graph *graph = &model->graph;
    *model = (qn_model){.graph = {.opset = 13, .file = "two-layers.onnx"}};
    qn_test_input(graph, "x", DIMS(-1, 6));
    qn_test_floats(graph, "w1", DIMS(6, 5), NULL);
    qn_test_floats(graph, "w2", DIMS(5, 3), NULL);
    NODE(graph, "MatMul", "x w1", "h");
    NODE(graph, "Relu", "h", "r");
    NODE(graph, "MatMul", "r w2", "y");
    qn_test_output(graph, "y");
}

typedef struct {
    qn_model model;
    qn_tensor inputs, labels;
    qn_dataset *data;
    qn_quantize_options how;
    qn_study_options options;
    qn_study *study;
    qn_error err;
} fixture;

static void set_up(fixture *f)
{
    enum { ITEMS = 24 };
    *f = (fixture){0};
    qn_error_init(&f->err);
    make_network(&f->model);
    qn_assert_ok(qn_tensor_alloc(&f->inputs, QN_DTYPE_F32, 2, (const int64_t[]){ITEMS, 6}, &f->err), &f->err);
    uint64_t seed = 3;
    for (int i = 0; i < 6 * ITEMS; i++) {
        ((float *)f->inputs.data)[i] = qn_test_uniform(&seed, -2, 2);
    }
    qn_assert_ok(qn_dataset_of_tensor(&f->data, &f->inputs, NULL, &f->err), &f->err);
    qn_assert_ok(qn_study_options_init(&f->options, &f->err), &f->err);
    f->options.data = f->data;
    f->options.n_threads = 1;
    qn_assert_ok(qn_study_create(&f->study, &f->model, &f->options, &f->err), &f->err);
}

static void tear_down(fixture *f)
{
    qn_study_free(f->study);
    qn_dataset_close(f->data);
    qn_tensor_free(&f->inputs);
    qn_graph_free(&f->model.graph);
}

/* Where all assignments are tried, the best of them is what comes out. */
static void mixed_precision_finds_the_best_assignment(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    const int widths[] = {8, 5, 3};
    const int64_t n[] = {30, 15}, budget = 45 * 5;
    double best = -(double)INFINITY;
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            char first[32], second[32];
            snprintf(first, sizeof first, "weights=int%d", widths[a]);
            snprintf(second, sizeof second, "weights=int%d", widths[b]);
            const qn_quantize_set sets[] = {{"h", first}, {"y", second}};
            qn_quantize_options how;
            qn_quantize_options_init(&how);
            how.sets = sets;
            how.n_sets = 2;
            qn_study_result result;
            qn_assert_ok(qn_study_try(f.study, &how, &result, NULL, NULL, &f.err), &f.err);
            if (n[0] * widths[a] + n[1] * widths[b] <= budget && result.evaluation.sqnr_db > best) {
                best = result.evaluation.sqnr_db;
            }
        }
    }
    qn_mixed_options options;
    qn_mixed_options_init(&options);
    options.n_widths = 3;
    memcpy(options.widths, widths, sizeof widths);
    options.budget_kind = QN_BUDGET_PER_WEIGHT;
    options.budget = 5;
    qn_mixed *mixed;
    qn_model *quantized;
    qn_assert_ok(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err);
    const qn_mixed_summary *about = qn_mixed_about(mixed);
    assert_true(about->whole.evaluation.sqnr_db == best);
    assert_int_equal(about->base, 45 * 8);
    assert_int_equal(about->budget, budget);
    assert_int_equal(about->uniform_width, 5);
    assert_int_equal(qn_mixed_count(mixed), 2);
    int64_t used = 0;
    for (size_t i = 0; i < 2; i++) {
        const qn_mixed_row *row = qn_mixed_at(mixed, i);
        assert_string_equal(row->node_name, i == 0 ? "h" : "y");
        assert_int_equal(row->n_weights, n[i]);
        const qn_value_id weights = qn_graph_find(&quantized->graph, i == 0 ? "w1" : "w2");
        assert_int_equal(quantized->graph.values[weights].quantizer->format.bits, row->width);
        used += row->n_weights * row->width;
    }
    assert_int_equal(about->used, used);
    assert_true(used <= budget);
    assert_non_null(strstr(qn_model_metadata(quantized, "quern.mixed_precision"), "\"widths\":{\"h\":"));
    qn_mixed_free(mixed);
    qn_model_free(quantized);
    tear_down(&f);
}

/* Widths of inputs, too: what is told is what the network holds. */
static void bit_operations_count_weights_and_inputs(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    qn_mixed_options options;
    qn_mixed_options_init(&options);
    options.cost = QN_MIXED_BITOPS;
    options.budget = 0.5;
    options.n_activation_widths = 2;
    options.activation_widths[0] = 8;
    options.activation_widths[1] = 5;
    qn_mixed *mixed;
    qn_model *quantized;
    qn_assert_ok(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err);
    const qn_mixed_summary *about = qn_mixed_about(mixed);
    const qn_graph *graph = &quantized->graph;
    const int64_t macs[] = {30, 15};
    int64_t used = 0;
    for (size_t i = 0; i < 2; i++) {
        const qn_mixed_row *row = qn_mixed_at(mixed, i);
        const qn_quantizer *w = graph->values[qn_graph_find(graph, i == 0 ? "w1" : "w2")].quantizer;
        const qn_quantizer *x = graph->values[qn_graph_find(graph, i == 0 ? "x" : "r")].quantizer;
        assert_int_equal(w->format.bits, row->width);
        assert_int_equal(x->format.bits, row->input_width);
        used += macs[i] * w->format.bits * x->format.bits;
    }
    assert_int_equal(about->base, 45 * 8 * 8);
    assert_int_equal(about->budget, 45 * 8 * 8 / 2);
    assert_int_equal(about->used, used);
    assert_true(used <= about->budget);
    assert_true(about->whole.evaluation.sqnr_db >= about->uniform.evaluation.sqnr_db);
    qn_mixed_free(mixed);
    qn_model_free(quantized);
    qn_error_init(&f.err);
    options.cost = QN_MIXED_SIZE;
    qn_assert_fails(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err, QN_EINVAL,
                    "under a budget of bit operations");
    tear_down(&f);
}

static void budgets_that_cannot_be_are_refused(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    qn_mixed *mixed;
    qn_model *quantized;
    qn_mixed_options options;
    qn_mixed_options_init(&options);
    options.budget = 0;
    qn_assert_fails(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err, QN_EINVAL,
                    "must be above 0");
    qn_error_init(&f.err);
    options.budget = 0.1;
    qn_assert_fails(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err, QN_EINVAL,
                    "the budget is 36 bits, but the narrowest widths take 90");
    qn_error_init(&f.err);
    options.metric = QN_MIXED_TOP1;
    qn_assert_fails(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err, QN_EINVAL,
                    "needs labels");
    qn_error_init(&f.err);
    qn_mixed_options_init(&options);
    options.cost = QN_MIXED_BITOPS;
    options.budget_kind = QN_BUDGET_PER_WEIGHT;
    qn_assert_fails(qn_mixed_precision(&mixed, f.study, &options, &quantized, NULL, &f.err), &f.err, QN_EINVAL,
                    "not of bit operations");
    assert_null(mixed);
    assert_null(quantized);
    tear_down(&f);
}

/* Sensitivity of nodes without names: each number is that of the quantization it stands for. */
static void sensitivity_takes_one_node_at_a_time(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    qn_quantize_options_init(&f.how);
    f.how.recipe = "minmax"; /* others have passes that sensitivity leaves out */
    f.options.how = &f.how;
    qn_study_free(f.study);
    qn_assert_ok(qn_study_create(&f.study, &f.model, &f.options, &f.err), &f.err);
    qn_sensitivity *s;
    qn_assert_ok(qn_sensitivity_measure(&s, f.study, &f.err), &f.err);
    assert_int_equal(qn_sensitivity_count(s), 2);
    for (size_t i = 0; i < 2; i++) {
        const qn_sensitivity_row *row = qn_sensitivity_at(s, i);
        const bool first = strcmp(row->node_name, "h") == 0;
        assert_string_equal(row->output_name, first ? "r" : "y"); /* the Relu is part of the layer */
        assert_string_equal(row->op_type, "MatMul");
        /* keep_float of both the layer and its Relu, or of the last layer */
        const char *const nodes[2][2] = {{"h", "r"}, {"y", "y"}};
        for (int only = 0; only < 2; only++) {
            qn_quantize_options how;
            qn_quantize_options_init(&how);
            how.recipe = "minmax";
            how.keep_float = nodes[first == (only == 0) ? 0 : 1];
            how.n_keep_float = 2;
            qn_study_result result;
            qn_assert_ok(qn_study_try(f.study, &how, &result, NULL, NULL, &f.err), &f.err);
            assert_true(result.evaluation.sqnr_db == (only ? row->only_sqnr_db : row->without_sqnr_db));
        }
    }
    assert_true(qn_sensitivity_at(s, 0)->only_sqnr_db <= qn_sensitivity_at(s, 1)->only_sqnr_db);
    qn_sensitivity_free(s);
    tear_down(&f);
}

static void names_are_apart(void **state)
{
    (void)state;
    qn_graph graph = {.opset = 13};
    qn_error err;
    qn_error_init(&err);
    qn_test_input(&graph, "x", DIMS(-1, 4));
    NODE(&graph, "Relu", "x", "a");
    NODE(&graph, "Relu", "a", "b");
    NODE(&graph, "Neg", "b", "c");
    NODE(&graph, "Neg", "c", "d");
    qn_test_output(&graph, "d");
    graph.nodes[0].name = "Neg";
    graph.nodes[1].name = "";
    graph.nodes[2].name = graph.nodes[3].name = "twin";
    qn_assert_ok(qn_ptq_name_nodes_apart(&graph, &err), &err);
    assert_string_equal(graph.nodes[0].name, "Neg_2");
    assert_string_equal(graph.nodes[1].name, "b");
    assert_string_equal(graph.nodes[2].name, "twin_2");
    assert_string_equal(graph.nodes[3].name, "twin");
    qn_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knapsack_is_the_best_of_all_assignments),
        cmocka_unit_test(knapsack_of_many_groups_stays_within_the_budget),
        cmocka_unit_test(mixed_precision_finds_the_best_assignment),
        cmocka_unit_test(bit_operations_count_weights_and_inputs),
        cmocka_unit_test(budgets_that_cannot_be_are_refused),
        cmocka_unit_test(sensitivity_takes_one_node_at_a_time),
        cmocka_unit_test(names_are_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
