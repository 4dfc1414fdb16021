/* The network that exports are printed from: computed by its own words alone, layer by layer in wide integers, it gives the
 * engine's codes and sums, in every arithmetic. */
#include "random_networks.h"

#include "base/memory.h"
#include "export_brute.h"
#include "quern/inspect.h"

enum { N_SEEDS = 120, N_IMAGES = 2 };

typedef struct scene {
    random_net net;
    qn_export_network *network;
    qn_export_run *run;
    int16_t **codes; /* per tensor that is its own base */
    int n_sums, n_tensors;
} scene;

static void check_layer(scene *s, int i)
{
    const qn_export_layer *l = &s->network->layers[i];
    const qn_export_tensor *y = &s->network->tensors[l->output];
    const size_t n = (size_t)y->count;
    int16_t *codes = malloc(n * sizeof *codes);
    float *reals = malloc(n * sizeof *reals), *made = malloc(n * sizeof *made);
    int32_t *sums = malloc(n * sizeof *sums), *engine = malloc(n * sizeof *engine);
    for (int64_t j = 0; j < y->count; j++) {
        codes[j] = BRUTE_NOTHING;
    }
    assert_true(l->kind != QN_EXPORT_FLOAT || l->reason != NULL);
    brute_layer(&(brute){.network = s->network, .codes = s->codes}, i, codes, reals, sums);
    int64_t n_made = 0;
    for (int64_t j = 0; j < y->count; j++) {
        if (codes[j] != BRUTE_NOTHING) {
            assert_int_equal(brute_codes(&(brute){.network = s->network, .codes = s->codes}, l->output)[j], codes[j]);
            n_made++;
        }
    }
    const bool part = l->kind == QN_EXPORT_LOOKUP, real = l->kind == QN_EXPORT_CONV && l->u.conv.decodes;
    assert_int_equal(n_made, l->kind == QN_EXPORT_FLOAT || real ? 0
                             : part                             ? s->network->tensors[l->input[0]].count
                                                                : y->count);
    if (l->kind == QN_EXPORT_CONV) {
        const qn_export_conv *c = &l->u.conv;
        assert_int_equal(c->outputs, y->channels);
        qn_export_run_sums(s->run, i, engine);
        for (int64_t j = 0; j < y->count; j++) {
            assert_int_equal(engine[j], sums[j]);
            assert_true(c->saturate || c->accumulator_bits < 32 || abs(sums[j]) <= c->bound[j % y->channels]);
            assert_true(c->accumulator_bits < c->proven_bits || (sums[j] >= c->least && sums[j] <= c->greatest));
            s->n_sums++;
        }
    }
    if (real) {
        qn_export_run_reals(s->run, l->output, made);
        assert_memory_equal(made, reals, n * sizeof *made);
    }
    free(codes);
    free(reals);
    free(made);
    free(sums);
    free(engine);
}

/* x = (code - zero_point) * scale, in the order of the value: what the model itself says of the codes. */
static void check_inputs(scene *s, float *const *x)
{
    for (int i = 0; i < s->network->n_inputs; i++) {
        const int tensor = s->network->inputs[i].tensor;
        if (tensor < 0 || s->network->tensors[tensor].real) {
            continue;
        }
        const qn_export_tensor *t = &s->network->tensors[tensor];
        const qn_quantizer *q = s->network->graph->values[t->value].quantizer;
        assert_int_equal(t->bits, q->format.bits);
        assert_int_equal(t->zero_point, q->zero_point[0]);
        for (int64_t j = 0; j < t->count; j++) {
            const int k = (int)(j % t->channels), ox = (int)(j / t->channels % t->width);
            const int oy = (int)(j / t->channels / t->width);
            const int64_t at = t->plain ? j : ((int64_t)k * t->height + oy) * t->width + ox;
            const uint32_t pattern = qn_format_code(
                q->format, &(qn_params){.scale = q->scale[0], .zero_point = q->zero_point[0]}, (double)x[i][at], 0);
            const int16_t code = t->is_signed ? (int8_t)pattern : (int16_t)pattern;
            assert_int_equal(s->codes[tensor][j], code);
        }
    }
}

static void run_scene(uint64_t seed, int kinds[QN_EXPORT_FLOAT + 1])
{
    scene s = {0};
    net_of_any(&s.net, seed);
    qn_error *err = &s.net.err;
    const qn_arithmetic arithmetic = net_arithmetic(seed);
    qn_assert_ok(qn_graph_set_arithmetic(&s.net.model.graph, &arithmetic, err), err);
    qn_assert_ok(qn_export_network_make(&s.network, &s.net.model, err), err);
    qn_assert_ok(qn_export_run_create(&s.run, s.network, err), err);
    s.codes = calloc((size_t)s.network->n_tensors + 1, sizeof *s.codes);
    float *x[4];
    uint64_t random = seed;
    for (int image = 0; image < N_IMAGES; image++) {
        for (int i = 0; i < s.network->n_inputs; i++) {
            x[i] = malloc((size_t)s.network->inputs[i].count * sizeof(float));
            for (int64_t j = 0; j < s.network->inputs[i].count; j++) {
                x[i][j] = qn_test_uniform(&random, -2.5f, 2.5f);
            }
        }
        qn_assert_ok(qn_export_run_image(s.run, (const float *const *)x, err), err);
        for (int t = 0; t < s.network->n_tensors; t++) {
            const qn_export_tensor *tensor = &s.network->tensors[t];
            if (tensor->used && tensor->base < 0 && !tensor->real) {
                s.codes[t] = malloc((size_t)tensor->count * sizeof **s.codes);
                qn_export_run_codes(s.run, t, s.codes[t]);
            }
        }
        check_inputs(&s, x);
        for (int i = 0; i < s.network->n_layers; i++) {
            check_layer(&s, i);
            kinds[s.network->layers[i].kind]++;
        }
        for (int t = 0; t < s.network->n_tensors; t++) {
            free(s.codes[t]);
            s.codes[t] = NULL;
        }
        for (int i = 0; i < s.network->n_inputs; i++) {
            free(x[i]);
        }
    }
    free(s.codes);
    qn_export_run_free(s.run);
    qn_export_network_free(s.network);
    net_release(&s.net);
}

static void test_layers_are_what_the_engine_computes(void **state)
{
    (void)state;
    int kinds[QN_EXPORT_FLOAT + 1] = {0};
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        run_scene(seed, kinds);
    }
    for (int kind = 0; kind <= QN_EXPORT_FLOAT; kind++) {
        assert_true(kinds[kind] > 0);
    }
}

static void put_codes(random_net *net, const char *name, int n, const int8_t *codes)
{
    qn_tensor t;
    net_coded(net, name, DIMS(1, 1, 1, n), -1, 0, 8, false);
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_S8, DIMS(1, 1, 1, n), &net->err), &net->err);
    memcpy(t.data, codes, (size_t)n);
    qn_assert_ok(qn_graph_set_codes(&net->model.graph, qn_graph_find(&net->model.graph, name), &t, &net->err),
                 &net->err);
    qn_tensor_free(&t);
}

/* Behind Clip(1, 2) no code stands for 0, but padding counts 0: at the border a sum lacks terms that all others have. */
static void test_sums_at_borders_of_clipped_maps(void **state)
{
    (void)state;
    for (int sign = -1; sign <= 1; sign += 2) {
        random_net net;
        qn_graph *g = net_start(&net, 1);
        qn_test_input(g, "x", DIMS(-1, 1, 1, 5));
        put_codes(&net, "w", 1, (const int8_t[]){1});
        put_codes(&net, "v", 3, (const int8_t[]){100, 0, -100});
        qn_test_floats(g, "lo", 0, NULL, (const float[]){sign > 0 ? 1 : -2});
        qn_test_floats(g, "hi", 0, NULL, (const float[]){sign > 0 ? 2 : -1});
        NODE(g, "Conv", "x w", "raw");
        NODE(g, "Clip", "raw lo hi", "clipped");
        NODE_WITH(g, "Conv", "clipped v", "y", A_INTS("pads", 0, 1, 0, 1));
        qn_test_output(g, "y");
        net_code(&net, "x", NET_EXPONENT, 0, true);
        net_code(&net, "clipped", NET_EXPONENT, 0, true);
        net_code(&net, "y", NET_EXPONENT, 0, true);
        qn_export_network *n;
        qn_export_run *run;
        qn_assert_ok(qn_export_network_make(&n, &net.model, &net.err), &net.err);
        qn_assert_ok(qn_export_run_create(&run, n, &net.err), &net.err);
        const qn_export_layer *last = &n->layers[n->n_layers - 1];
        assert_true(last->kind == QN_EXPORT_CONV);
        const float far = sign > 0 ? 3 : -3, x[] = {-far, far, -far, far, -far}, *inputs[] = {x};
        int32_t sums[5];
        qn_assert_ok(qn_export_run_image(run, inputs, &net.err), &net.err);
        qn_export_run_sums(run, n->n_layers - 1, sums);
        assert_int_equal(abs(sums[0]), 6400); /* of one term; of two, 3200 at most */
        for (int i = 0; i < 5; i++) {
            assert_true(sums[i] >= last->u.conv.least && sums[i] <= last->u.conv.greatest);
        }
        qn_export_run_free(run);
        qn_export_network_free(n);
        qn_widths *widths;
        qn_assert_ok(qn_widths_prove(&widths, &net.model, &net.err), &net.err);
        const qn_layer_width *width = qn_widths_at(widths, qn_widths_count(widths) - 1);
        assert_true(width->proven_min <= sums[0] && width->proven_max >= sums[0]);
        assert_true(width->proven_min <= -sums[0] && width->proven_max >= -sums[0]); /* the other border */
        qn_widths_free(widths);
        net_release(&net);
    }
}

/* Every id an identifier, and no two the same. */
static void test_ids(void **state)
{
    (void)state;
    random_net net;
    net_of_maps(&net, 3);
    qn_export_network *n;
    qn_assert_ok(qn_export_network_make(&n, &net.model, &net.err), &net.err);
    const char **ids = calloc((size_t)(n->n_tensors + n->n_layers) + 1, sizeof *ids);
    int count = 0;
    for (int i = 0; i < n->n_tensors; i++) {
        ids[count++] = n->tensors[i].id;
    }
    for (int i = 0; i < n->n_layers; i++) {
        ids[count++] = n->layers[i].id;
    }
    for (int i = 0; i < count; i++) {
        assert_true(ids[i][0] >= 'a' && ids[i][0] <= 'z');
        assert_int_equal(strspn(ids[i], "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(ids[i]));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(ids[i], ids[j]);
        }
    }
    free(ids);
    qn_export_network_free(n);
    net_release(&net);
}

static void test_float_layers_are_refused_by_name(void **state)
{
    (void)state;
    int refused = 0;
    for (uint64_t seed = 2; seed < 60; seed += 3) {
        random_net net;
        net_of_tokens(&net, seed);
        qn_export_network *n;
        qn_assert_ok(qn_export_network_make(&n, &net.model, &net.err), &net.err);
        qn_error err;
        qn_error_init(&err);
        const qn_status status = qn_export_need_integers(n, "C", &err);
        assert_int_equal(status, n->n_float > 0 ? QN_EUNSUPPORTED : QN_OK);
        if (n->n_float > 0) {
            refused++;
            assert_non_null(strstr(err.message, "cannot be exported to C"));
            assert_non_null(strchr(err.message, '\''));
        }
        qn_export_network_free(n);
        net_release(&net);
    }
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_are_what_the_engine_computes),
        cmocka_unit_test(test_sums_at_borders_of_clipped_maps),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_float_layers_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
