/* Protection modelled on a run of the faults, against arithmetic by hand on a network of one product. */
#include "graph_builder.h"

#include <math.h>
#include <string.h>

#include "fault/store.h"
#include "graph/model.h"
#include "quern/protect.h"

enum { N_ITEMS = 6, N = 3 };
static const float items[N_ITEMS][N] = {{1, 3.5f, 2},   {5, 4.75f, 1},   {-1, 0.3f, 2},
                                        {4, 1.25f, -2}, {1.5f, 1, 0.5f}, {-3, -1, 2}};
static const float weights[N * N] = {1, 0.25f, -0.5f, 0, 1.5f, 0.5f, -0.25f, 0, 1.25f};
static const char by_bit[] =
    "faults:\n"
    "  - {name: w, where: weights, sample: 'all per layer,bit'}\n"
    "  - {name: r, where: activations, values: [r], bits: [20-31], sample: 'all per layer,bit'}\n";

typedef struct {
    qn_tensor x, other;
    qn_dataset *set, *other_set;
    qn_model *model, *other_model;
    qn_fault_spec *spec;
    qn_campaign_options options;
    qn_error err;
} fixture;

/* y = W max(x, 0) */
static qn_model *make_model(float last)
{
    qn_model *model = qn_alloc(sizeof *model);
    assert_non_null(model);
    float w[N * N];
    memcpy(w, weights, sizeof w);
    w[N * N - 1] = last;
    model->graph.opset = 13;
    model->graph.file = "product.onnx";
    strcpy(model->graph.sha256, last == weights[N * N - 1] ? "a1" : "b2");
    qn_test_input(&model->graph, "x", DIMS(-1, N));
    qn_test_floats(&model->graph, "w", DIMS(N, N), w);
    NODE(&model->graph, "Relu", "x", "r");
    NODE_WITH(&model->graph, "Gemm", "r w", "y", A_INT("transB", 1));
    qn_test_output(&model->graph, "y");
    return model;
}

static void setup(fixture *f, const char *store)
{
    memset(f, 0, sizeof *f);
    qn_error_init(&f->err);
    qn_assert_ok(qn_tensor_alloc(&f->x, QN_DTYPE_F32, 2, (int64_t[]){N_ITEMS, N}, &f->err), &f->err);
    qn_assert_ok(qn_tensor_alloc(&f->other, QN_DTYPE_F32, 2, (int64_t[]){N_ITEMS, N}, &f->err), &f->err);
    memcpy(f->x.data, items, sizeof items);
    memcpy(f->other.data, items, sizeof items);
    ((float *)f->other.data)[0] = 2;
    qn_assert_ok(qn_dataset_of_tensor(&f->set, &f->x, NULL, &f->err), &f->err);
    qn_assert_ok(qn_dataset_of_tensor(&f->other_set, &f->other, NULL, &f->err), &f->err);
    f->model = make_model(weights[N * N - 1]);
    f->other_model = make_model(7);
    qn_assert_ok(qn_fault_spec_of_text(&f->spec, by_bit, "by_bit", &f->err), &f->err);
    qn_assert_ok(qn_campaign_options_init(&f->options, f->model, &f->err), &f->err);
    f->options.data = f->set;
    f->options.spec = f->spec;
    f->options.store = store;
    f->options.n_threads = 2;
    f->options.overwrite = true;
    qn_campaign_stats stats;
    qn_assert_ok(qn_campaign_run(&f->options, &stats, &f->err), &f->err);
    assert_true(stats.complete);
}

static void teardown(fixture *f)
{
    qn_fault_spec_close(f->spec);
    qn_model_free(f->model);
    qn_model_free(f->other_model);
    qn_dataset_close(f->set);
    qn_dataset_close(f->other_set);
    qn_tensor_free(&f->x);
    qn_tensor_free(&f->other);
}

static qn_protection *protect(fixture *f, unsigned schemes, unsigned by)
{
    qn_protect_options options;
    qn_protection *p = NULL;
    qn_protect_options_init(&options);
    options.schemes = schemes;
    options.by = by;
    options.budget_bits = 100000;
    qn_assert_ok(qn_protection_make(&p, f->options.store, &options, &f->err), &f->err);
    return p;
}

static float flipped(float x, uint32_t mask)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits ^= mask;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static float relu(float x)
{
    return x > 0 ? x : 0;
}

static int top1(const float *r)
{
    float y[N];
    for (int i = 0; i < N; i++) {
        y[i] = 0;
        for (int k = 0; k < N; k++) {
            y[i] += weights[i * N + k] * r[k];
        }
    }
    for (int i = 0; i < N; i++) {
        if (!isfinite(y[i])) {
            return -1; /* non-finite outputs are no silent corruption */
        }
    }
    int best = 0;
    for (int i = 1; i < N; i++) {
        best = y[i] > y[best] ? i : best;
    }
    return best;
}

static bool hits(int64_t image, int64_t element, uint32_t mask, bool clamp, bool *clamped)
{
    float r[N], highest = 0;
    for (int i = 0; i < N_ITEMS * N; i++) {
        highest = fmaxf(highest, relu(items[i / N][i % N]));
    }
    for (int k = 0; k < N; k++) {
        r[k] = relu(items[image][k]);
    }
    const int before = top1(r);
    r[element] = flipped(r[element], mask);
    *clamped = clamp && (r[element] < 0 || r[element] > highest);
    if (*clamped) {
        r[element] = r[element] < 0 ? 0 : highest;
    }
    const int after = top1(r);
    return after >= 0 && after != before;
}

static void clamped_values_are_the_ends_of_the_range(void **state)
{
    (void)state;
    fixture f;
    setup(&f, qn_scratch_file("clamp.db"));
    qn_protection *p = protect(&f, 1u << QN_SCHEME_RANGE_CLAMP, QN_PROTECT_LAYERS);
    assert_int_equal(qn_protection_about(p)->extra_bits, 0);
    qn_protect_measure measure;
    qn_assert_ok(qn_protection_apply(p, &f.options, &measure, &f.err), &f.err);
    qn_store *store;
    qn_assert_ok(qn_store_open(&store, f.options.store, &f.err), &f.err);
    double rate = 0, plain = 0, weight = 0; /* all strata are exhausted: populations weigh as their faults' pairs */
    int64_t n_clamped = 0, n_values = 0;
    qn_fault_row row;
    bool found = true;
    for (int64_t id = 0;; id++) {
        qn_assert_ok(qn_store_row(store, id, &row, &found, &f.err), &f.err);
        if (!found) {
            break;
        }
        weight += (double)row.pairs;
        plain += (double)row.counts[2];
        if (row.pairs == N_ITEMS) { /* a weight: nothing changes */
            rate += (double)row.counts[2];
            continue;
        }
        bool clamped;
        n_values++;
        assert_int_equal(hits(row.first_image, row.element, row.mask, false, &clamped), row.counts[2]);
        rate += hits(row.first_image, row.element, row.mask, true, &clamped);
        n_clamped += clamped;
    }
    assert_true(n_values == N * 12 || n_values == N * 12 * N_ITEMS);
    assert_int_equal(measure.clamped, n_clamped);
    assert_true(n_clamped > 5 && rate < plain);
    assert_true(fabs(measure.rate.rate - rate / weight) < 1e-12);
    qn_store_close(store);
    qn_protection_free(p);
    teardown(&f);
}

/* The schemes that end faults leave what the choice said, of the same faults; and as good as that, of others. */
static void measured_is_predicted(void **state)
{
    (void)state;
    static const unsigned schemes[] = {1u << QN_SCHEME_ECC, 1u << QN_SCHEME_PARITY, 1u << QN_SCHEME_TMR, 7};
    fixture f;
    setup(&f, qn_scratch_file("ends.db"));
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        for (unsigned by = 1; by < 8; by++) {
            qn_protect_options options;
            qn_protection *p = NULL;
            qn_protect_options_init(&options);
            options.schemes = schemes[i];
            options.by = by;
            options.budget_bits = schemes[i] == 1u << QN_SCHEME_PARITY ? 4 : 60;
            qn_assert_ok(qn_protection_make(&p, f.options.store, &options, &f.err), &f.err);
            const qn_protect_summary *about = qn_protection_about(p);
            qn_protect_measure measure;
            qn_assert_ok(qn_protection_apply(p, &f.options, &measure, &f.err), &f.err);
            assert_int_equal(measure.faults, about->n_faults);
            assert_int_equal(measure.pairs, about->n_pairs);
            assert_true(fabs(measure.rate.rate - about->left_all.rate) < 1e-12);
            assert_true((measure.corrected + measure.detected > 0) == (about->n_protected > 0));
            assert_true(about->left_all.rate <= about->before.rate);
            qn_protection_free(p);
        }
    }
    teardown(&f);
}

static void refusals(void **state)
{
    (void)state;
    fixture f;
    setup(&f, qn_scratch_file("refused.db"));
    qn_protection *p = protect(&f, 1u << QN_SCHEME_ECC, QN_PROTECT_BITS);
    qn_protect_measure measure;
    qn_campaign_options options = f.options;
    options.model = f.other_model;
    qn_assert_fails(qn_protection_apply(p, &options, &measure, &f.err), &f.err, QN_ECONFLICT, "give that model");
    options = f.options;
    options.data = f.other_set;
    qn_error_init(&f.err);
    qn_assert_fails(qn_protection_apply(p, &options, &measure, &f.err), &f.err, QN_ECONFLICT, "the same data");
    const sig_atomic_t stop = 1;
    options = f.options;
    options.stop = &stop;
    qn_error_init(&f.err);
    qn_assert_fails(qn_protection_apply(p, &options, &measure, &f.err), &f.err, QN_ECANCELED, "stopped");
    qn_protection_free(p);
    qn_protect_options critical;
    qn_protect_options_init(&critical);
    critical.outcome = "critical";
    qn_error_init(&f.err);
    qn_assert_ok(qn_protection_make(&p, f.options.store, &critical, &f.err), &f.err);
    qn_assert_fails(qn_protection_apply(p, &f.options, &measure, &f.err), &f.err, QN_EINVAL, "labels");
    qn_protection_free(p);
    teardown(&f);
}

static void memory_that_is_not_there(void **state)
{
    (void)state;
    fixture f;
    setup(&f, qn_scratch_file("memory.db"));
    f.options.n_threads = 1;
    qn_protection *p = protect(&f, 1u << QN_SCHEME_ECC | 1u << QN_SCHEME_RANGE_CLAMP, QN_PROTECT_LAYERS);
    qn_protect_measure measure;
    qn_status status = QN_ENOMEM;
    int64_t countdown = 0;
    for (; status != QN_OK && countdown < 5000; countdown += 3) {
        qn_error_init(&f.err);
        qn_alloc_fail_after(countdown);
        status = qn_protection_apply(p, &f.options, &measure, &f.err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
    }
    assert_true(countdown > 30 && countdown < 5000);
    qn_protection_free(p);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clamped_values_are_the_ends_of_the_range),
        cmocka_unit_test(measured_is_predicted),
        cmocka_unit_test(refusals),
        cmocka_unit_test(memory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
