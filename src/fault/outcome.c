/* Classes of outcomes. The softmax is in double, of operations in a written order only, so that a pair has the same outcome
 * on every machine: exp of a C library may differ in its last bit from one CPU to the next. */
#include "fault/outcome.h"

#include <math.h>
#include <string.h>

enum { FIRST_FEW = 5 };

/* 2^k, -1022 <= k <= 0. */
static double power_of_two(int k)
{
    const uint64_t bits = (uint64_t)(k + 1023) << 52;
    double result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* e^x for x <= 0, to 2 units in the last place; 0 below -700. x = k ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor series to
 * r^13 / 13!, whose next term is below 2^-57, summed in pairs to shorten the chain. */
static double exp_negative(double x)
{
    if (!(x > -700.0)) {
        return 0.0;
    }
    const double log2_e = 1.4426950408889634074, ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    const int k = (int)(x * log2_e - 0.5);
    const double r = (x - k * ln2_high) - k * ln2_low, r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
    const double t0 = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const double t4 = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const double t8 = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    const double t12 = 1.0 / 479001600 + r * (1.0 / 6227020800);
    return ((t0 + r4 * t4) + r8 * (t8 + r4 * t12)) * power_of_two(k);
}

/* Softmax of logit `at`; greatest: the greatest logit. */
static double softmax_at(const float *logits, int n, int at, float greatest)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += exp_negative((double)logits[i] - greatest);
    }
    return exp_negative((double)logits[at] - greatest) / sum;
}

/* Is a before b? NaN is less than anything; equal ones stay in order. */
static bool is_greater(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

void qn_golden_make(qn_golden *golden, const float *outputs, int n, int label)
{
    *golden = (qn_golden){.outputs = outputs, .label = label, .top5 = {-1, -1, -1, -1, -1}};
    for (int i = 0; i < n; i++) {
        int place = FIRST_FEW;
        while (place > 0 && (golden->top5[place - 1] < 0 || is_greater(outputs[i], outputs[golden->top5[place - 1]]))) {
            place--;
        }
        for (int k = FIRST_FEW - 1; k > place; k--) {
            golden->top5[k] = golden->top5[k - 1];
        }
        if (place < FIRST_FEW) {
            golden->top5[place] = i;
        }
    }
    golden->top1 = golden->top5[0];
    golden->probability = softmax_at(outputs, n, golden->top1, outputs[golden->top1]);
}

static bool is_among_first(const qn_golden *golden, int top1)
{
    for (int k = 0; k < FIRST_FEW; k++) {
        if (golden->top5[k] == top1) {
            return true;
        }
    }
    return false;
}

/* Flags of finite logits. */
static unsigned classify(const qn_golden *golden, const float *outputs, int n, int top1)
{
    unsigned flags = top1 == golden->top1 ? QN_OUTCOME_TOLERATED : QN_OUTCOME_SDC1;
    flags |= is_among_first(golden, top1) ? 0 : QN_OUTCOME_SDC5;
    const double change =
        fabs(softmax_at(outputs, n, golden->top1, outputs[top1]) - golden->probability) / golden->probability;
    flags |= change > 0.1 ? QN_OUTCOME_SDC10 : 0;
    flags |= change > 0.2 ? QN_OUTCOME_SDC20 : 0;
    return flags;
}

qn_outcome qn_outcome_of(const qn_golden *golden, const float *outputs, int n, double rmse_threshold)
{
    if (outputs == NULL) {
        return (qn_outcome){.flags = QN_OUTCOME_MASKED};
    }
    int top1 = 0;
    double sum = 0, nothing = 0; /* nothing: 0 as long as all are finite, NaN from then on */
    for (int i = 0; i < n; i++) {
        const double difference = (double)outputs[i] - golden->outputs[i];
        sum += difference * difference;
        nothing += 0.0 * (double)outputs[i];
        top1 = is_greater(outputs[i], outputs[top1]) ? i : top1;
    }
    const bool was_right = golden->label >= 0 && golden->top1 == golden->label;
    qn_outcome outcome = {.rmse = sqrt(sum / n)};
    if (nothing != 0.0) {
        outcome.rmse = NAN;
        outcome.flags = QN_OUTCOME_NONFINITE;
    } else if (rmse_threshold > 0) {
        outcome.flags = outcome.rmse > rmse_threshold ? QN_OUTCOME_SDC1 : QN_OUTCOME_TOLERATED;
        return outcome;
    } else {
        outcome.flags = classify(golden, outputs, n, top1);
    }
    if (was_right && rmse_threshold == 0 && (top1 != golden->label || isnan(outputs[top1]))) {
        outcome.flags |= QN_OUTCOME_CRITICAL;
    }
    return outcome;
}

/* The greatest x >= 0 with exp(-x) >= least, for 0 < least <= 1, rounded down. */
static double log_of_inverse(double least)
{
    double low = 0, high = 700;
    for (int i = 0; i < 60; i++) {
        const double middle = (low + high) / 2;
        if (exp_negative(-middle) >= least) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* With odds r of the others to top1, p = 1 / (1 + r). Odds become r * f at most and r / f at least, f = e^(2d): p
 * falls by r (f - 1) / (1 + r f) of itself, and grows by r (1 - 1/f) / (1 + r/f). Neither is beyond a share s for 1/f
 * >= r (1 - s) / (s + r) and 1/f >= (r - s) / (r (1 + s)). */
static double allowed_by_odds(double r)
{
    const double share = 0.1, safe = 1 + 1e-9;
    const double fall = r * (1 - share) / (share + r), growth = r > 0 ? (r - share) / (r * (1 + share)) : 0;
    const double least = (fall > growth ? fall : growth) * safe;
    return least <= 1e-300 ? 345 : least > 1 ? -1 : log_of_inverse(least) / 2;
}

double qn_outcome_allowance(const float *outputs, int n, double rmse_threshold)
{
    const float most = 1e30f; /* far from where a change could make infinities */
    int top1 = 0;
    for (int i = 0; i < n; i++) {
        if (!(fabsf(outputs[i]) <= most)) {
            return -1;
        }
        top1 = outputs[i] > outputs[top1] ? i : top1;
    }
    if (rmse_threshold > 0) {
        return rmse_threshold * (1 - 1e-6) < (double)most ? rmse_threshold * (1 - 1e-6) : (double)most;
    }
    double odds = 0, margin = (double)most;
    for (int i = 0; i < n; i++) {
        if (i != top1) {
            const double distance = (double)outputs[top1] - outputs[i];
            odds += exp_negative(-distance);
            margin = distance < margin ? distance : margin;
        }
    }
    const double by_odds = allowed_by_odds(odds), by_margin = margin / 2 * (1 - 1e-9);
    return margin > 0 ? fmin(by_odds, by_margin) : -1;
}
