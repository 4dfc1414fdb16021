/* Sums without an order. */
#include "calib/sum.h"

#include <math.h>
#include <string.h>

enum { DIGIT_BITS = 32, FRACTION_BITS = 52, BIAS = 1023, EXPONENT_MASK = 2047 };
static const uint64_t DIGIT_MASK = UINT32_MAX;

/* Let the lowest place be `place` or the higher one it is at already. */
static void rise(qn_sum *s, int32_t place)
{
    int32_t by = s->used ? place - s->place : 0;
    if (!s->used) {
        s->used = true;
        s->place = place;
    }
    if (by <= 0) {
        return;
    }
    for (int k = 0; k < QN_SUM_PLACES; k++) {
        s->digit[k] = by < QN_SUM_PLACES - k ? s->digit[k + by] : 0;
    }
    s->place = place;
}

static void add_digit(qn_sum *s, int32_t place, int64_t digit)
{
    if (place >= s->place) {
        s->digit[place - s->place] += digit;
    }
}

void qn_sum_add(qn_sum *s, double x)
{
    if (x == 0.0) {
        return;
    }
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> FRACTION_BITS) & EXPONENT_MASK;
    uint64_t mantissa = bits & ((UINT64_C(1) << FRACTION_BITS) - 1);
    if (exponent > 0) {
        mantissa |= UINT64_C(1) << FRACTION_BITS;
    } else {
        exponent = 1;
    }
    /* x = mantissa * 2^(at - 1088): a multiple of the digit's bits is added to keep the quotient positive. */
    int at = exponent - BIAS - FRACTION_BITS + 34 * DIGIT_BITS;
    int32_t place = at / DIGIT_BITS;
    int shift = at % DIGIT_BITS;
    uint64_t low = (mantissa & DIGIT_MASK) << shift, high = ((mantissa >> DIGIT_BITS) << shift) + (low >> DIGIT_BITS);
    int64_t sign = (bits >> 63) != 0 ? -1 : 1;
    rise(s, place);
    add_digit(s, place, sign * (int64_t)(low & DIGIT_MASK));
    add_digit(s, place + 1, sign * (int64_t)(high & DIGIT_MASK));
    add_digit(s, place + 2, sign * (int64_t)(high >> DIGIT_BITS));
}

void qn_sum_join(qn_sum *s, const qn_sum *other)
{
    if (!other->used) {
        return;
    }
    rise(s, other->place);
    for (int k = 0; k < QN_SUM_PLACES; k++) {
        add_digit(s, other->place + k, other->digit[k]);
    }
}

double qn_sum_value(const qn_sum *s)
{
    double sum = 0.0;
    for (int k = QN_SUM_PLACES - 1; k >= 0; k--) {
        sum += ldexp((double)s->digit[k], DIGIT_BITS * (s->place + k - 34));
    }
    return sum;
}
