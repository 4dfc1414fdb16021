/* Layers in a manifest: the numbers that the engine computes by, and formulas that name them. */
#include "export_dir.h"

#include "export/constants.h"
#include "export/manifest.h"

static void equal_ints(const json_t *list, const int32_t *x, int n)
{
    assert_int_equal(json_array_size(list), n);
    for (int i = 0; i < n; i++) {
        assert_int_equal(json_integer_value(json_array_get(list, (size_t)i)), x[i]);
    }
}

static void equal_reals(const json_t *object, const char *decimal, const char *hex, const float *x, int n)
{
    const json_t *a = json_object_get(object, decimal), *b = json_object_get(object, hex);
    assert_int_equal(json_array_size(a), n);
    assert_int_equal(json_array_size(b), n);
    for (size_t i = 0; i < (size_t)n; i++) {
        assert_true((float)json_real_value(json_array_get(a, i)) == x[i]);
        assert_true(strtof(json_string_value(json_array_get(b, i)), NULL) == x[i]);
    }
}

static void equal_ratio(const json_t *object, const qn_ratio *ratio)
{
    assert_int_equal(integer(object, "multiplier"), ratio->multiplier);
    assert_int_equal(integer(object, "shift"), ratio->shift);
}

static void equal_geometry(const json_t *layer, const int kernel[2], const int stride[2], const int dilation[2],
                           const int pad[2])
{
    const json_t *g = json_object_get(layer, "geometry");
    equal_ints(json_object_get(g, "kernel"), kernel, 2);
    equal_ints(json_object_get(g, "stride"), stride, 2);
    equal_ints(json_object_get(g, "dilation"), dilation, 2);
    equal_ints(json_object_get(g, "pad_before"), pad, 2);
}

/* The network's weights [k][r][s][c] are those of the constant, by the letters of its axes. */
static void equal_weights(const json_t *tensor, const qn_export_conv *conv, const qn_tensor *codes)
{
    const char *axes = json_string_value(json_object_get(tensor, "axes"));
    const int taps = conv->kernel[0] * conv->kernel[1];
    const bool window = strchr(axes, 'H') != NULL || strchr(axes, 'W') != NULL;
    for (int64_t i = 0; i < conv->n_weights; i++) {
        const int64_t c = i % conv->group_inputs, tap = i / conv->group_inputs % taps;
        const int64_t k = i / conv->group_inputs / taps, r = tap / conv->kernel[1], x = tap % conv->kernel[1];
        int64_t at = 0;
        for (size_t d = 0; axes[d] != '\0'; d++) {
            const int64_t index = axes[d] == 'O'   ? k
                                  : axes[d] == 'H' ? r
                                  : axes[d] == 'W' ? x
                                  : window         ? c
                                                   : (c * conv->kernel[0] + r) * conv->kernel[1] + x;
            at = at * codes->dims[d] + index;
        }
        assert_int_equal(qn_export_code_at(codes, at), conv->weights[i]);
    }
}

static void check_conv(const random_net *t, const json_t *root, const json_t *layer, const qn_export_conv *conv)
{
    const json_t *r = json_object_get(layer, "requantization"), *g = json_object_get(layer, "geometry");
    const char *kind = json_string_value(json_object_get(r, "kind"));
    equal_geometry(layer, conv->kernel, conv->stride, conv->dilation, conv->pad);
    assert_int_equal(integer(g, "groups"), conv->groups);
    assert_int_equal(integer(g, "group_inputs"), conv->group_inputs);
    assert_int_equal(integer(g, "group_outputs"), conv->group_outputs);
    const json_t *zeros = json_object_get(layer, "weight_zero_points");
    for (int k = 0; k < conv->outputs; k++) {
        const size_t i = json_array_size(zeros) == 1 ? 0 : (size_t)k;
        assert_int_equal(json_integer_value(json_array_get(zeros, i)), conv->zero_w[k]);
    }
    const json_t *tensor =
        member(json_object_get(root, "tensors"), "id", json_string_value(json_object_get(layer, "weights")));
    assert_string_equal(json_string_value(json_object_get(tensor, "name")), conv->weight_name);
    equal_weights(tensor, conv, t->model.graph.values[qn_graph_find(&t->model.graph, conv->weight_name)].codes);
    if (conv->decodes) {
        assert_string_equal(kind, "decode");
        equal_reals(r, "scales", "scales_hex", conv->out_scale, conv->outputs);
    } else if (conv->requantize.ratio != NULL) {
        assert_string_equal(kind, "float");
        equal_reals(r, "ratios", "ratios_hex", conv->requantize.ratio, conv->outputs);
    } else {
        assert_string_equal(kind, qn_requantize_text(conv->requantize.kind));
        equal_ints(json_object_get(r, "multipliers"), conv->requantize.multiplier, conv->outputs);
        equal_ints(json_object_get(r, "shifts"), conv->requantize.shift, conv->outputs);
        assert_string_equal(json_string_value(json_object_get(r, "rounding")),
                            conv->requantize.how.twice ? "twice"
                                                       : qn_requantize_rounding_text(conv->requantize.how.rounding));
    }
}

static void check_sum(const json_t *layer, const qn_export_add *add)
{
    const json_t *r = json_object_get(layer, "requantization");
    if (!add->is_fixed) {
        equal_reals(r, "ratios", "ratios_hex", add->ratio, add->n_ratios);
        return;
    }
    assert_int_equal(integer(r, "left_shift"), add->left);
    equal_ratio(json_array_get(json_object_get(r, "operands"), 0), &add->fixed[0]);
    equal_ratio(json_array_get(json_object_get(r, "operands"), 1), &add->fixed[1]);
    equal_ratio(json_object_get(r, "sum"), &add->fixed[2]);
}

static void check_pool(const json_t *layer, const qn_export_pool *pool, bool averages)
{
    const json_t *r = json_object_get(layer, "requantization"), *divisor = json_object_get(layer, "divisor");
    equal_geometry(layer, pool->kernel, pool->stride, pool->dilation, pool->pad);
    if (!averages) {
        return;
    }
    assert_int_equal(json_is_integer(divisor) ? json_integer_value(divisor) : 0, pool->divisor);
    if (pool->is_fixed) {
        assert_int_equal(integer(r, "centre"), pool->centre);
        assert_int_equal(integer(r, "offset"), pool->offset);
        assert_int_equal(json_is_object(json_object_get(r, "ratio")), pool->rescales);
        if (pool->rescales) {
            equal_ratio(json_object_get(r, "ratio"), &pool->ratio);
        }
    } else if (pool->whole) {
        equal_reals(r, "ratios", "ratios_hex", &pool->multiplier, 1);
    } else {
        equal_reals(r, "scales", "scales_hex", (float[]){pool->scale_x, pool->scale_y}, 2);
    }
}

/* What the engine computes by, which test_export_network has proven, is what the manifest says; and the formula names
 * all that goes in. */
static void check_layer(const random_net *t, const json_t *root, const qn_export_network *n, int i, int counts[])
{
    const qn_export_layer *l = &n->layers[i];
    const json_t *layer = json_array_get(json_object_get(root, "layers"), (size_t)i);
    const json_t *lines = json_object_get(layer, "formula"), *table = json_object_get(layer, "table");
    counts[l->kind]++;
    assert_string_equal(json_string_value(json_object_get(layer, "id")), l->id);
    assert_string_equal(json_string_value(json_object_get(layer, "kind")), qn_export_kind_text(l->kind));
    assert_string_equal(json_string_value(json_object_get(layer, "output")), n->tensors[l->output].id);
    char all[4096] = "";
    for (size_t k = 0; k < json_array_size(lines); k++) {
        strncat(all, json_string_value(json_array_get(lines, k)), sizeof all - strlen(all) - 1);
    }
    assert_true(strlen(all) > 10);
    assert_int_equal(json_array_size(json_object_get(layer, "inputs")), l->n_inputs);
    for (int k = 0; k < l->n_inputs; k++) {
        const char *id = n->tensors[l->input[k]].id;
        const json_t *zero = json_array_get(json_object_get(layer, "input_zero_points"), (size_t)k);
        assert_string_equal(json_string_value(json_array_get(json_object_get(layer, "inputs"), (size_t)k)), id);
        assert_true(l->kind == QN_EXPORT_FLOAT || strstr(all, id) != NULL);
        if (!n->tensors[l->input[k]].real) {
            assert_int_equal(json_integer_value(zero), n->tensors[l->input[k]].zero_point);
        }
    }
    switch (l->kind) {
    case QN_EXPORT_CONV:
        check_conv(t, root, layer, &l->u.conv);
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        check_sum(layer, &l->u.add);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        check_pool(layer, &l->u.pool, l->kind == QN_EXPORT_AVERAGE);
        break;
    case QN_EXPORT_LOOKUP:
        assert_int_equal(json_array_size(table), l->u.lookup.n_table);
        for (int k = 0; k < l->u.lookup.n_table; k++) {
            assert_int_equal(json_integer_value(json_array_get(table, (size_t)k)), l->u.lookup.table[k]);
        }
        equal_ints(json_object_get(layer, "place"), (int[]){l->u.lookup.y, l->u.lookup.x, l->u.lookup.k}, 3);
        break;
    case QN_EXPORT_PAD:
        assert_int_equal(json_integer_value(json_object_get(layer, "fill")), l->fill);
        equal_ints(json_object_get(layer, "index"), l->u.index, (int)n->tensors[l->output].count);
        break;
    case QN_EXPORT_GATHER:
        equal_ints(json_object_get(layer, "index"), l->u.index, (int)n->tensors[l->output].count);
        break;
    case QN_EXPORT_SOFTMAX:
        assert_int_equal(json_integer_value(json_object_get(layer, "line")), l->u.softmax.n);
        for (int k = 0; k < 256; k++) {
            assert_int_equal(json_integer_value(json_array_get(json_object_get(layer, "share"), (size_t)k)),
                             l->u.softmax.share[k]);
            assert_int_equal(json_integer_value(json_array_get(json_object_get(layer, "part"), (size_t)k)),
                             l->u.softmax.part[k]);
        }
        break;
    case QN_EXPORT_NORM:
        equal_ints(json_object_get(layer, "gain"), l->u.norm.gain, l->u.norm.n);
        assert_int_equal(json_array_size(json_object_get(layer, "bias")), l->u.norm.n);
        assert_int_equal(json_integer_value(json_object_get(layer, "add")), l->u.norm.add);
        break;
    case QN_EXPORT_PRODUCT:
        equal_ints(json_object_get(json_object_get(layer, "geometry"), "left"), l->u.product.left,
                   l->u.product.n_batches);
        assert_int_equal(json_integer_value(json_object_get(layer, "macs")),
                         (int64_t)l->u.product.n_batches * l->u.product.m * l->u.product.n * l->u.product.k);
        break;
    case QN_EXPORT_FLOAT:
        assert_true(strlen(json_string_value(json_object_get(layer, "reason"))) > 5);
    }
}

static void test_layers_are_the_networks(void **state)
{
    (void)state;
    int counts[QN_EXPORT_FLOAT + 1] = {0};
    for (uint64_t seed = 0; seed < 80; seed++) {
        random_net t;
        qn_export_network *network;
        if (seed < 64) {
            export_net(&t, seed);
        } else {
            const qn_arithmetic arithmetic = net_arithmetic(seed);
            net_of_gates(&t, seed);
            qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
        }
        export_to(&t, qn_scratch_file("layers"), NULL);
        json_t *root = manifest_of(qn_scratch_file("layers"));
        qn_assert_ok(qn_export_network_make(&network, &t.model, &t.err), &t.err);
        assert_int_equal(json_array_size(json_object_get(root, "layers")), network->n_layers);
        for (int i = 0; i < network->n_layers; i++) {
            check_layer(&t, root, network, i, counts);
        }
        qn_export_network_free(network);
        json_decref(root);
        net_release(&t);
    }
    for (int kind = 0; kind <= QN_EXPORT_FLOAT; kind++) {
        assert_in_range(counts[kind], 10, 100000);
    }
}

/* A network whose numbers are chosen by hand: x of scale 2^-3 and zero point 5, w of 2^-4, y of 2^-2. */
static void test_formulas_have_the_numbers(void **state)
{
    (void)state;
    static const struct {
        qn_arithmetic arithmetic;
        const char *lines[4];
    } rows[] = {
        {{0},
         {"sum(k) = sum over c < 4 of (t_x[c] - 5) * w_y[c, k]; k: output channel, c: input channel",
          "no sum leaves 14 bits, in any order (proven); the model's accumulator has 32",
          "v = float32(sum) * 0.03125, one float32 product",
          "0.03125 is 2^-5: a shift by 5, to the right by 5, rounded to nearest, halves to even, gives the same: sums "
          "fit "
          "24 bits and a sign"}},
        {{.requantize = QN_REQUANTIZE_SHIFT, .rounding = QN_ROUND_NEAREST_UP},
         {NULL, NULL, "q = sum shifted to the right by 5: a shift by 5, rounded to nearest, halves up",
          "t_y[k] = clamp(q - 7, -128, 127)"}},
        {{.accumulator_bits = 10},
         {NULL, "the accumulator has 10 bits and wraps (two's complement); 14 bits would hold every sum"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        random_net t;
        qn_graph *g = net_start(&t, 1);
        qn_test_input(g, "x", DIMS(-1, 4));
        net_code(&t, "x", -3, 5, true);
        const qn_value_id w = qn_test_floats(g, "w", DIMS(4, 2), NULL);
        const qn_quantizer q = {.format = {.bits = 8, .is_signed = true},
                                .axis = -1,
                                .n = 1,
                                .scale = (float[]){0.0625f},
                                .zero_point = (int32_t[]){0}};
        const qn_tensor codes = {
            .dtype = QN_DTYPE_S8, .rank = 2, .dims = {4, 2}, .data = (int8_t[]){10, 1, -20, 2, 12, 3, 7, 4}};
        qn_assert_ok(qn_ptq_set_coded(g, w, &q, &codes, &t.err), &t.err);
        NODE(g, "MatMul", "x w", "y");
        net_code(&t, "y", -2, -7, true);
        qn_test_output(g, "y");
        qn_assert_ok(qn_graph_set_arithmetic(g, &rows[i].arithmetic, &t.err), &t.err);
        export_to(&t, qn_scratch_file("formula"), NULL);
        json_t *root = manifest_of(qn_scratch_file("formula"));
        const json_t *lines = json_object_get(json_array_get(json_object_get(root, "layers"), 0), "formula");
        for (size_t k = 0; k < 4; k++) {
            if (rows[i].lines[k] != NULL) {
                assert_string_equal(json_string_value(json_array_get(lines, k)), rows[i].lines[k]);
            }
        }
        json_decref(root);
        net_release(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_are_the_networks),
        cmocka_unit_test(test_formulas_have_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
