/* The network that exports are printed from, computed by its own words alone, in wide integers; with places to step in,
 * so that faults can be put into it. */
#ifndef QN_TESTS_EXPORT_BRUTE_H
#define QN_TESTS_EXPORT_BRUTE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "export/network.h"

enum { BRUTE_NOTHING = INT16_MIN }; /* of codes: not computed */

/*  codes    per tensor that is its own base
 *  term, partial, sum   NULL, or what becomes of term number t of output element `at` of a layer; of the sum once
 *           that is in it; of the whole sum */
typedef struct brute {
    const qn_export_network *network;
    int16_t **codes;
    int64_t (*term)(void *ctx, int layer, int64_t at, int64_t t, int64_t product);
    int64_t (*partial)(void *ctx, int layer, int64_t at, int64_t t, int64_t sum);
    int64_t (*sum)(void *ctx, int layer, int64_t at, int64_t sum);
    void *ctx;
} brute;

static const int16_t *brute_codes(const brute *b, int tensor)
{
    const qn_export_tensor *t = &b->network->tensors[tensor];
    return t->constant != NULL ? t->constant : b->codes[qn_export_base(b->network, tensor)];
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

static int64_t brute_held(const qn_export_conv *c, int64_t sum)
{
    const int64_t most = ((int64_t)1 << (c->accumulator_bits - 1)) - 1;
    return c->saturate ? clamp64(sum, -most - 1, most) : wrapped(sum, c->accumulator_bits);
}

/* (x - zero_x) * (w - zero_w); padding counts 0. */
static int64_t brute_product(const brute *b, const qn_export_layer *l, int64_t at, int r, int t, int ch)
{
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *x = &b->network->tensors[l->input[0]], *out = &b->network->tensors[l->output];
    const int k = (int)(at % out->channels), ox = (int)(at / out->channels % out->width);
    const int oy = (int)(at / out->channels / out->width);
    const int y = oy * c->stride[0] - c->pad[0] + r * c->dilation[0];
    const int xx = ox * c->stride[1] - c->pad[1] + t * c->dilation[1];
    if (y < 0 || y >= x->height || xx < 0 || xx >= x->width) {
        return 0;
    }
    const int in = k / c->group_outputs * c->group_inputs + ch;
    const int64_t code = brute_codes(b, l->input[0])[((int64_t)y * x->width + xx) * x->channels + in];
    const int64_t w = c->weights[((k * c->kernel[0] + r) * c->kernel[1] + t) * c->group_inputs + ch];
    return (code - x->zero_point) * (w - c->zero_w[k]);
}

/* Sum of output element `at`, in the order of 4.5. */
static int64_t brute_sum(const brute *b, int layer, int64_t at)
{
    const qn_export_layer *l = &b->network->layers[layer];
    const qn_export_conv *c = &l->u.conv;
    const int64_t taps = (int64_t)c->kernel[0] * c->kernel[1], n = taps * c->group_inputs;
    int64_t sum = brute_held(c, c->bias[at % b->network->tensors[l->output].channels]);
    for (int64_t t = 0; t < n; t++) {
        const int tap = (int)(c->by_matrix ? t % taps : t / c->group_inputs);
        const int ch = (int)(c->by_matrix ? t / taps : t % c->group_inputs);
        int64_t product = brute_product(b, l, at, tap / c->kernel[1], tap % c->kernel[1], ch);
        product = b->term != NULL ? b->term(b->ctx, layer, at, t, product) : product;
        sum = brute_held(c, sum + product);
        sum = b->partial != NULL ? b->partial(b->ctx, layer, at, t, sum) : sum;
    }
    return b->sum != NULL ? b->sum(b->ctx, layer, at, sum) : sum;
}

/* Place in C order of element `at`: (channels, rows, columns) unless plain. */
static int64_t brute_c_order(const qn_export_tensor *y, int64_t at)
{
    const int64_t pixels = (int64_t)y->height * y->width;
    return y->plain ? at : at % y->channels * pixels + at / y->channels;
}

static void brute_conv(const brute *b, int layer, int16_t *codes, float *reals, int32_t *sums)
{
    const qn_export_layer *l = &b->network->layers[layer];
    const qn_export_conv *c = &l->u.conv;
    const qn_export_tensor *y = &b->network->tensors[l->output];
    const qn_export_requantize *r = &c->requantize;
    for (int64_t i = 0; i < y->count; i++) {
        const int k = (int)(i % y->channels);
        const int64_t sum = brute_sum(b, layer, i);
        sums[i] = (int32_t)sum;
        if (c->decodes) {
            float v = (float)sum * c->out_scale[k];
            v = c->out_bias != NULL ? v + c->out_bias[k] : v;
            v = v > c->out_lo ? v : c->out_lo;
            v = v < c->out_hi ? v : c->out_hi;
            reals[brute_c_order(y, i)] = v;
            continue;
        }
        codes[i] = (int16_t)(r->kind == QN_REQUANTIZE_FLOAT
                                 ? code_of((float)sum * r->ratio[k], y)
                                 : clamp64(by_ratio(sum, r->multiplier[k], r->shift[k], r->how) + y->zero_point, y->lo,
                                           y->hi));
    }
}

static void brute_add(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_add *a = &l->u.add;
    const qn_export_tensor *y = &b->network->tensors[l->output];
    for (int64_t i = 0; i < y->count; i++) {
        const int k = (int)(i % y->channels), ox = (int)(i / y->channels % y->width);
        const int oy = (int)(i / y->channels / y->width);
        int64_t d[2];
        for (int j = 0; j < 2; j++) {
            const qn_export_tensor *x = &b->network->tensors[l->input[j]];
            const int row = a->broadcast[j][0] ? 0 : oy, column = a->broadcast[j][1] ? 0 : ox;
            d[j] = brute_codes(b, l->input[j])[((int64_t)row * x->width + column) * x->channels + k] - x->zero_point;
        }
        const int64_t sign[2] = {1, l->kind == QN_EXPORT_SUB ? -1 : 1};
        if (a->is_fixed) {
            int64_t q = l->kind == QN_EXPORT_MUL ? d[0] * d[1] : 0;
            for (int j = 0; j < 2 && l->kind != QN_EXPORT_MUL; j++) {
                q += sign[j] * by_ratio(d[j] * (1 << a->left), a->fixed[j].multiplier, a->fixed[j].shift, a->how);
            }
            q = by_ratio(q, a->fixed[2].multiplier, a->fixed[2].shift, a->how);
            codes[i] = (int16_t)clamp64(q + y->zero_point, y->lo, y->hi);
        } else if (l->kind == QN_EXPORT_MUL) { /* an f32 product, and a sum of it, in double and rounded */
            const float product = (float)((double)(d[0] * d[1]) * (double)a->ratio[0]);
            const float v = (float)((double)product + y->zero_point);
            codes[i] = (int16_t)clamp64((int64_t)rint(fmax(-1e6, fmin(1e6, (double)v))), y->lo, y->hi);
        } else if (l->kind == QN_EXPORT_SUB) {
            const float left = (float)d[0] * a->ratio[0], right = (float)d[1] * a->ratio[1];
            const float difference = left - right;
            codes[i] = (int16_t)code_of(difference / a->ratio[2], y);
        } else {
            const float left = (float)d[0] * a->ratio[0], right = (float)d[1] * a->ratio[1];
            codes[i] = (int16_t)code_of(left + right, y);
        }
    }
}

static int64_t brute_average(const qn_export_pool *p, const qn_export_tensor *y, int64_t sum, float in_order, int64_t n)
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

static void brute_pool(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_pool *p = &l->u.pool;
    const qn_export_tensor *x = &b->network->tensors[l->input[0]], *y = &b->network->tensors[l->output];
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
                const int64_t code = brute_codes(b, l->input[0])[((int64_t)row * x->width + column) * x->channels + k];
                greatest = code > greatest ? code : greatest;
                sum += code - (p->is_fixed ? p->centre : x->zero_point);
                const float term = p->scale_x * (float)(code - x->zero_point);
                in_order = in_order + term;
                n++;
            }
        }
        codes[i] = (int16_t)(l->kind == QN_EXPORT_MAX_POOL ? greatest : brute_average(p, y, sum, in_order, n));
    }
}

static void brute_lookup(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_lookup *t = &l->u.lookup;
    const qn_export_tensor *x = &b->network->tensors[l->input[0]], *y = &b->network->tensors[l->output];
    const int16_t *from = brute_codes(b, l->input[0]);
    for (int64_t i = 0; i < x->count; i++) {
        const int k = (int)(i % x->channels) + t->k, ox = (int)(i / x->channels % x->width) + t->x;
        const int oy = (int)(i / x->channels / x->width) + t->y;
        codes[((int64_t)oy * y->width + ox) * y->channels + k] =
            t->table != NULL ? t->table[from[i] - qn_export_lowest(x)] : from[i];
    }
}

/* n / d to nearest, ties to even. */
static int64_t brute_divide(__int128 n, __int128 d)
{
    __int128 q = n / d, rest = n % d;
    if (rest < 0) {
        rest += d, q--;
    }
    return (int64_t)(q + (2 * rest > d || (2 * rest == d && (q & 1) != 0)));
}

static void brute_softmax(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_softmax *s = &l->u.softmax;
    const qn_export_tensor *y = &b->network->tensors[l->output];
    const int16_t *x = brute_codes(b, l->input[0]);
    for (int64_t i = 0; i < y->count; i++) {
        const int64_t first = i / ((int64_t)s->n * s->inner) * s->n * s->inner + i % s->inner;
        int most = x[first];
        __int128 sum = 0;
        for (int j = 0; j < s->n; j++) {
            most = x[first + j * s->inner] > most ? x[first + j * s->inner] : most;
        }
        for (int j = 0; j < s->n; j++) {
            sum += s->share[most - x[first + j * s->inner]];
        }
        const int64_t q = brute_divide((__int128)s->part[most - x[i]] << s->left, sum << s->right);
        codes[i] = (int16_t)clamp64(q + y->zero_point, y->lo, y->hi);
    }
}

static void brute_norm(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_norm *p = &l->u.norm;
    const qn_export_tensor *y = &b->network->tensors[l->output];
    for (int64_t i = 0; i < y->count; i++) {
        const int16_t *x = brute_codes(b, l->input[0]) + i / p->n * p->n;
        __int128 sum = 0, squares = 0, z = 0;
        for (int j = 0; j < p->n; j++) {
            sum += x[j], squares += x[j] * x[j];
        }
        if (p->n * squares != sum * sum) {
            unsigned __int128 v = ((unsigned __int128)(p->n * squares - sum * sum) << 2 * p->half) + (uint64_t)p->add;
            int up = 0;
            for (; v << 2 < (unsigned __int128)1 << 64; v <<= 2) {
                up++;
            }
            unsigned __int128 root = 0;
            for (int bit = 32; bit >= 0; bit--) {
                const unsigned __int128 more = root + ((unsigned __int128)1 << bit);
                root = more * more <= v ? more : root;
            }
            const int shift = 42 - up - p->half;
            const __int128 factor = (__int128)((((unsigned __int128)1 << 62) - 1) / root);
            z = ((p->n * (__int128)x[i % p->n] - sum) * factor + ((__int128)1 << (shift - 1))) >> shift;
        }
        const int64_t q = brute_divide(z * p->gain[i % p->n] + p->bias[i % p->n], (__int128)1 << p->right);
        codes[i] = (int16_t)clamp64(q + y->zero_point, y->lo, y->hi);
    }
}

static void brute_products(const brute *b, const qn_export_layer *l, int16_t *codes)
{
    const qn_export_product *p = &l->u.product;
    const qn_export_requantize *r = &p->requantize;
    const qn_export_tensor *left = &b->network->tensors[l->input[0]], *right = &b->network->tensors[l->input[1]];
    const qn_export_tensor *y = &b->network->tensors[l->output];
    const int64_t limit = INT64_C(1) << (p->accumulator_bits - 1);
    for (int64_t i = 0; i < y->count; i++) {
        const int64_t batch = i / ((int64_t)p->m * p->n), row = i / p->n % p->m, column = i % p->n;
        int64_t sum = 0;
        for (int k = 0; k < p->k; k++) {
            const int64_t u = brute_codes(b, l->input[0])[(p->left[batch] + row) * p->k + k] - left->zero_point;
            const int64_t v = brute_codes(b, l->input[1])[(p->right[batch] + k) * p->n + column] - right->zero_point;
            sum += u * v;
            sum = p->saturate ? clamp64(sum, -limit, limit - 1) : sum;
        }
        sum = ((sum + limit) & (2 * limit - 1)) - limit;
        codes[i] =
            (int16_t)(r->ratio != NULL ? code_of((float)sum * r->ratio[0], y)
                                       : clamp64(by_ratio(sum, r->multiplier[0], r->shift[0], r->how) + y->zero_point,
                                                 y->lo, y->hi));
    }
}

/* What a layer makes, into `codes` of its output's count, or `reals` (C order) where it decodes; a lookup fills a
 * part. sums: of convolutions. Nothing of layers in float. */
static void brute_layer(const brute *b, int layer, int16_t *codes, float *reals, int32_t *sums)
{
    const qn_export_layer *l = &b->network->layers[layer];
    switch (l->kind) {
    case QN_EXPORT_CONV:
        brute_conv(b, layer, codes, reals, sums);
        break;
    case QN_EXPORT_ADD:
    case QN_EXPORT_MUL:
    case QN_EXPORT_SUB:
        brute_add(b, l, codes);
        break;
    case QN_EXPORT_MAX_POOL:
    case QN_EXPORT_AVERAGE:
        brute_pool(b, l, codes);
        break;
    case QN_EXPORT_LOOKUP:
        brute_lookup(b, l, codes);
        break;
    case QN_EXPORT_PAD:
    case QN_EXPORT_GATHER:
        for (int64_t i = 0; i < b->network->tensors[l->output].count; i++) {
            codes[i] = (int16_t)(l->u.index[i] < 0 ? l->fill : brute_codes(b, l->input[0])[l->u.index[i]]);
        }
        break;
    case QN_EXPORT_SOFTMAX:
        brute_softmax(b, l, codes);
        break;
    case QN_EXPORT_NORM:
        brute_norm(b, l, codes);
        break;
    case QN_EXPORT_PRODUCT:
        brute_products(b, l, codes);
        break;
    case QN_EXPORT_FLOAT:
        break;
    }
}

#endif
