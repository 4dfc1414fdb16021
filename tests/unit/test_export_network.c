/* The network that exports are printed from: computed by its own words alone, layer by layer in wide integers, it gives the
 * engine's codes and sums, in every arithmetic. */
#include "random_networks.h"

#include "base/memory.h"
#include "export/network.h"

enum { N_SEEDS = 120, N_IMAGES = 2 };

typedef struct scene {
    random_net net;
    qn_export_network *network;
    qn_export_run *run;
    int16_t **codes; /* per tensor that is its own base */
    int n_sums, n_tensors;
} scene;

static const int16_t *codes_of(const scene *s, int tensor)
{
    return s->codes[qn_export_base(s->network, tensor)];
}

static int64_t clamp64(int64_t x, int64_t lo, int64_t hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

/* x to the nearest integer, ties to even, when it is not beyond 2^40. */
static int64_t nearest(float x)
{
    return (int64_t)llrintf(x);
}

static int32_t code_of(float v, const qn_export_tensor *y)
{
    const float lo = (float)(y->lo - y->zero_point), hi = (float)(y->hi - y->zero_point);
    v = v < lo ? lo : v > hi ? hi : v;
    return (int32_t)nearest(v) + y->zero_point;
}

/* floor(n / 2^p + 1/2) and its like, by division of integers of 128 bits. */
static int64_t rounded(__int128 n, int p, qn_rounding rounding)
{
    const __int128 one = (__int128)1 << p, half = one / 2;
    __int128 q = n / one, r = n % one;
    if (r < 0) {
        q--, r += one;
    }
    switch (rounding) {
    case QN_ROUND_FLOOR:
        break;
    case QN_ROUND_NEAREST_UP:
        q += r >= half;
        break;
    case QN_ROUND_NEAREST_AWAY:
        q += r > half || (r == half && n >= 0);
        break;
    default:
        q += r > half || (r == half && q % 2 != 0);
    }
    return (int64_t)q;
}

static int64_t saturated(__int128 x)
{
    return x < INT32_MIN ? INT32_MIN : x > INT32_MAX ? INT32_MAX : (int64_t)x;
}

/* arithmetic.md 4.2, 4.3. */
static int64_t by_ratio(int64_t x, int32_t m, int32_t p, qn_ratio_rounding how)
{
    if (how.twice) {
        const int e = 31 - p;
        const __int128 left = saturated((__int128)x * ((__int128)1 << (e > 0 ? e : 0)));
        const int64_t h = rounded(left * m, 31, QN_ROUND_NEAREST_UP);
        return e < 0 ? rounded(h, -e, QN_ROUND_NEAREST_AWAY) : h;
    }
    const __int128 product = (__int128)x * m;
    return p > 0 ? saturated(rounded(product, p, how.rounding)) : saturated(product * ((__int128)1 << -p));
}

static int64_t wrapped(int64_t x, int bits)
{
    const int64_t span = (int64_t)1 << bits;
    const int64_t r = ((x % span) + span) % span;
    return r >= span / 2 ? r - span : r;
}

/* Sums of one output, in the order of 4.5. */
static int64_t sum_at(const scene *s, const qn_export_layer *l, int oy, int ox, int k)
{
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *x = &s->network->tensors[l->input[0]];
    const int16_t *codes = codes_of(s, l->input[0]);
    const int64_t most = ((int64_t)1 << (c->accumulator_bits - 1)) - 1;
    int64_t sum = c->saturate ? clamp64(c->bias[k], -most - 1, most) : c->bias[k];
    const int first = c->by_matrix ? c->group_inputs : 1, second = c->by_matrix ? 1 : c->group_inputs;
    for (int i = 0; i < first; i++) {
        for (int r = 0; r < c->kernel[0]; r++) {
            for (int t = 0; t < c->kernel[1]; t++) {
                for (int j = 0; j < second; j++) {
                    const int ch = i + j, y = oy * c->stride[0] - c->pad[0] + r * c->dilation[0];
                    const int xx = ox * c->stride[1] - c->pad[1] + t * c->dilation[1];
                    if (y < 0 || y >= x->height || xx < 0 || xx >= x->width) {
                        continue;
                    }
                    const int in = k / c->group_outputs * c->group_inputs + ch;
                    const int64_t code = codes[((int64_t)y * x->width + xx) * x->channels + in];
                    const int64_t w = c->weights[((k * c->kernel[0] + r) * c->kernel[1] + t) * c->group_inputs + ch];
                    sum += (code - x->zero_point) * (w - c->zero_w[k]);
                    sum = c->saturate ? clamp64(sum, -most - 1, most) : sum;
                }
            }
        }
    }
    return c->saturate ? sum : wrapped(sum, c->accumulator_bits);
}

static void check_conv(scene *s, int layer)
{
    const qn_export_layer *l = &s->network->layers[layer];
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *y = &s->network->tensors[l->output];
    assert_int_equal(c->outputs, y->channels);
    int32_t *sums = malloc((size_t)y->count * sizeof *sums);
    float *reals = malloc((size_t)y->count * sizeof *reals);
    qn_export_run_sums(s->run, layer, sums);
    if (c->decodes) {
        qn_export_run_reals(s->run, l->output, reals);
    }
    for (int64_t i = 0; i < y->count; i++) {
        const int k = (int)(i % y->channels), ox = (int)(i / y->channels % y->width);
        const int oy = (int)(i / y->channels / y->width);
        const int64_t sum = sum_at(s, l, oy, ox, k);
        assert_int_equal(sums[i], sum);
        assert_true(c->saturate || c->accumulator_bits < 32 || llabs(sum) <= c->bound[k]);
        s->n_sums++;
        if (c->decodes) {
            float v = (float)sum * c->out_scale[k];
            v = c->out_bias != NULL ? v + c->out_bias[k] : v;
            v = v > c->out_lo ? v : c->out_lo;
            v = v < c->out_hi ? v : c->out_hi;
            const int64_t at = y->plain ? i : ((int64_t)k * y->height + oy) * y->width + ox;
            assert_memory_equal(&reals[at], &v, sizeof v);
            continue;
        }
        const qn_export_requantize *r = &c->requantize;
        const int64_t code =
            r->kind == QN_REQUANTIZE_FLOAT
                ? code_of((float)sum * r->ratio[k], y)
                : clamp64(by_ratio(sum, r->multiplier[k], r->shift[k], r->how) + y->zero_point, y->lo, y->hi);
        assert_int_equal(codes_of(s, l->output)[i], code);
    }
    free(reals);
    free(sums);
}

static void check_add(scene *s, const qn_export_layer *l)
{
    const qn_export_add *a = &l->u.add;
    const qn_export_tensor *y = &s->network->tensors[l->output];
    for (int64_t i = 0; i < y->count; i++) {
        const int k = (int)(i % y->channels), ox = (int)(i / y->channels % y->width);
        const int oy = (int)(i / y->channels / y->width);
        int64_t d[2];
        for (int j = 0; j < 2; j++) {
            const qn_export_tensor *x = &s->network->tensors[l->input[j]];
            const int row = a->broadcast[j][0] ? 0 : oy, column = a->broadcast[j][1] ? 0 : ox;
            const int16_t *codes = x->constant != NULL ? x->constant : codes_of(s, l->input[j]);
            d[j] = codes[((int64_t)row * x->width + column) * x->channels + k] - x->zero_point;
        }
        int64_t code;
        if (a->is_fixed) {
            int64_t q = 0;
            for (int j = 0; j < 2; j++) {
                q += by_ratio(d[j] * (1 << a->left), a->fixed[j].multiplier, a->fixed[j].shift, a->how);
            }
            q = by_ratio(q, a->fixed[2].multiplier, a->fixed[2].shift, a->how);
            code = clamp64(q + y->zero_point, y->lo, y->hi);
        } else {
            const float left = (float)d[0] * a->ratio[0], right = (float)d[1] * a->ratio[1];
            code = code_of(left + right, y);
        }
        assert_int_equal(codes_of(s, l->output)[i], code);
    }
}

static int64_t average_code(const qn_export_pool *p, const qn_export_tensor *y, int64_t sum, float in_order, int64_t n)
{
    n = p->divisor != 0 ? p->divisor : n;
    if (p->is_fixed) {
        const int64_t q = p->rescales ? by_ratio(sum, p->ratio.multiplier, p->ratio.shift, p->how) : sum;
        return clamp64((q > 0 ? (q + n / 2) / n : (q - n / 2) / n) + p->offset, y->lo, y->hi);
    }
    if (p->whole) {
        return code_of((float)sum * p->multiplier, y);
    }
    float v = in_order / (float)n;
    v = v / p->scale_y;
    v = v + (float)y->zero_point;
    v = v < (float)y->lo ? (float)y->lo : v > (float)y->hi ? (float)y->hi : v;
    return nearest(v);
}

static void check_pool(scene *s, const qn_export_layer *l)
{
    const qn_export_pool *p = &l->u.pool;
    const qn_export_tensor *x = &s->network->tensors[l->input[0]], *y = &s->network->tensors[l->output];
    for (int64_t i = 0; i < y->count; i++) {
        const int k = (int)(i % y->channels), ox = (int)(i / y->channels % y->width);
        const int oy = (int)(i / y->channels / y->width);
        int64_t sum = 0, n = 0, greatest = INT32_MIN;
        float in_order = 0;
        for (int r = 0; r < p->kernel[0]; r++) {
            for (int t = 0; t < p->kernel[1]; t++) {
                const int row = oy * p->stride[0] - p->pad[0] + r * p->dilation[0];
                const int column = ox * p->stride[1] - p->pad[1] + t * p->dilation[1];
                if (row < 0 || row >= x->height || column < 0 || column >= x->width) {
                    continue;
                }
                const int64_t code = codes_of(s, l->input[0])[((int64_t)row * x->width + column) * x->channels + k];
                greatest = code > greatest ? code : greatest;
                sum += code - (p->is_fixed ? p->centre : x->zero_point);
                const float term = p->scale_x * (float)(code - x->zero_point);
                in_order = in_order + term;
                n++;
            }
        }
        const int64_t code = l->kind == QN_EXPORT_MAX_POOL ? greatest : average_code(p, y, sum, in_order, n);
        assert_int_equal(codes_of(s, l->output)[i], code);
    }
}

static void check_lookup(scene *s, const qn_export_layer *l)
{
    const qn_export_lookup *t = &l->u.lookup;
    const qn_export_tensor *x = &s->network->tensors[l->input[0]], *y = &s->network->tensors[l->output];
    const int16_t *from = x->constant != NULL ? x->constant : codes_of(s, l->input[0]);
    for (int64_t i = 0; i < x->count; i++) {
        const int k = (int)(i % x->channels) + t->k, ox = (int)(i / x->channels % x->width) + t->x;
        const int oy = (int)(i / x->channels / x->width) + t->y;
        const int16_t code = t->table != NULL ? t->table[from[i] - qn_export_lowest(x)] : from[i];
        assert_int_equal(codes_of(s, l->output)[((int64_t)oy * y->width + ox) * y->channels + k], code);
    }
}

static void check_layer(scene *s, int i)
{
    const qn_export_layer *l = &s->network->layers[i];
    const qn_export_tensor *y = &s->network->tensors[l->output];
    switch (l->kind) {
    case QN_EXPORT_CONV:
        check_conv(s, i);
        break;
    case QN_EXPORT_ADD:
        check_add(s, l);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        check_pool(s, l);
        break;
    case QN_EXPORT_LOOKUP:
        check_lookup(s, l);
        break;
    case QN_EXPORT_GATHER:
        for (int64_t j = 0; j < y->count; j++) {
            assert_int_equal(codes_of(s, l->output)[j], codes_of(s, l->input[0])[l->u.index[j]]);
        }
        break;
    case QN_EXPORT_FLOAT:
        assert_non_null(l->reason);
        break;
    }
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
            assert_int_equal(codes_of(s, tensor)[j], code);
        }
    }
}

static void run_scene(uint64_t seed, int kinds[QN_EXPORT_FLOAT + 1])
{
    scene s = {0};
    if (seed % 3 == 2) {
        net_of_tokens(&s.net, seed);
    } else {
        net_of_maps(&s.net, seed);
    }
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
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_float_layers_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
