/* From sums to codes. Part of quern, Apache License 2.0. */
#include "quern_inline.h"

void quern_requantize_once(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y)
{
    const quern_codes *c = r->codes;
    const int32_t *multiplier = (const int32_t *)r->multiplier + k * c->multiplier_step;
    const int8_t *shift = r->shift + k * c->shift_step;
    uint8_t *to = (uint8_t *)y;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t q = quern_scale_once(sums[i], *multiplier, *shift, c->rounding);
        to[i] = (uint8_t)(quern_clamp(q, c->lo - c->zero, c->hi - c->zero) + c->zero);
        multiplier += c->multiplier_step;
        shift += c->shift_step;
    }
}

void quern_requantize_twice(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y)
{
    const quern_codes *c = r->codes;
    const int32_t *multiplier = (const int32_t *)r->multiplier + k * c->multiplier_step;
    const int8_t *shift = r->shift + k * c->shift_step;
    uint8_t *to = (uint8_t *)y;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t q = quern_scale_twice(sums[i], *multiplier, *shift);
        to[i] = (uint8_t)(quern_clamp(q, c->lo - c->zero, c->hi - c->zero) + c->zero);
        multiplier += c->multiplier_step;
        shift += c->shift_step;
    }
}

void quern_requantize_shift(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y)
{
    const quern_codes *c = r->codes;
    const int8_t *shift = r->shift + k * c->shift_step;
    uint8_t *to = (uint8_t *)y;
    int32_t i;
    for (i = 0; i < n; i++) {
        const int32_t q = quern_scale_once(sums[i], 1, *shift, c->rounding);
        to[i] = (uint8_t)(quern_clamp(q, c->lo - c->zero, c->hi - c->zero) + c->zero);
        shift += c->shift_step;
    }
}

void quern_store_sums(const quern_requantize *r, const int32_t *sums, int32_t k, int32_t n, void *y)
{
    int32_t *to = (int32_t *)y;
    int32_t i;
    (void)r;
    (void)k;
    for (i = 0; i < n; i++) {
        to[i] = sums[i];
    }
}
