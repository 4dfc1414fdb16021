/* Counts on grids of powers of two, and the histograms they become. */
#include "calib/tally.h"

#include <float.h>
#include <math.h>

#include "format/histogram.h"

enum { HALF_BITS = 11, LEAST = FLT_MIN_EXP - 1 }; /* below, an inverse width is no float */
_Static_assert(1 << HALF_BITS == QN_TALLY_HALF, "bins of a side");

static int exponent_of(float magnitude)
{
    int e;
    (void)frexpf(magnitude, &e); /* magnitude < 2^e */
    return e - HALF_BITS > LEAST ? e - HALF_BITS : LEAST;
}

/* floor(bin / 2^by) */
static int64_t coarser(int64_t bin, int by)
{
    for (; by > 0 && bin != 0 && bin != -1; by--) {
        bin = (bin - (bin < 0 ? 1 : 0)) / 2;
    }
    return bin;
}

/* Move the counts of a side, 0 or 1, to the bins of exponent e, which is no less than theirs. Going outwards, a bin goes
 * to one that was read already. */
static void side_reach(qn_tally *t, int side, int e)
{
    int by = t->used[side] ? e - t->exponent[side] : 0;
    if (!t->used[side]) {
        t->used[side] = true;
        t->exponent[side] = e;
    }
    if (by <= 0) {
        return;
    }
    int64_t *zero = t->counts + QN_TALLY_HALF;
    for (int64_t k = 0; k < QN_TALLY_HALF; k++) {
        int64_t bin = side == 0 ? -1 - k : k, count = zero[bin];
        zero[bin] = 0;
        zero[coarser(bin, by)] += count;
    }
    t->exponent[side] = e;
}

void qn_tally_reach(qn_tally *t, float min, float max)
{
    if (min < 0.0f) {
        side_reach(t, 0, exponent_of(-min));
    }
    if (max > 0.0f) {
        side_reach(t, 1, exponent_of(max));
    }
}

qn_count_grid qn_tally_grid(const qn_tally *t)
{
    return (qn_count_grid){{ldexpf(1.0f, -t->exponent[0]), ldexpf(1.0f, -t->exponent[1])}, t->counts + QN_TALLY_HALF};
}

void qn_tally_join(qn_tally *t, qn_tally *other)
{
    for (int side = 0; side < 2; side++) {
        if (other->used[side]) {
            side_reach(t, side, other->exponent[side]);
            side_reach(other, side, t->exponent[side]);
        }
    }
    for (int i = 0; i < 2 * QN_TALLY_HALF; i++) {
        t->counts[i] += other->counts[i];
    }
    t->n += other->n;
    t->n_zeros += other->n_zeros;
}

/* The least exponent from e on for which QN_TALLY_HALF bins reach over zero from min to max. */
static int common_exponent(int e, float min, float max)
{
    double lo = fmin((double)min, 0.0), hi = fmax((double)max, 0.0);
    while (floor(ldexp(hi, -e)) - floor(ldexp(lo, -e)) >= QN_TALLY_HALF) {
        e++;
    }
    return e;
}

qn_status qn_tally_histogram(qn_histogram **histogram, const qn_tally *t, bool positive, float min, float max,
                             qn_error *err)
{
    int64_t counts[QN_TALLY_LENGTH] = {0}, n_negative = 0, first = QN_TALLY_HALF, last = -QN_TALLY_HALF;
    bool use[2] = {t->used[0] && !positive, t->used[1]};
    int e = use[0] && use[1]
                ? common_exponent(t->exponent[0] > t->exponent[1] ? t->exponent[0] : t->exponent[1], min, max)
                : t->exponent[use[1] ? 1 : 0];
    for (int64_t k = -QN_TALLY_HALF; k < QN_TALLY_HALF; k++) {
        int64_t count = t->counts[QN_TALLY_HALF + k];
        int side = k < 0 ? 0 : 1;
        n_negative += side == 0 ? count : 0;
        if (count > 0 && use[side]) {
            int64_t bin = coarser(k, e - t->exponent[side]);
            counts[QN_TALLY_HALF + bin] += count;
            first = bin < first ? bin : first;
            last = bin > last ? bin : last;
        }
    }
    qn_histogram_view view = {.n = t->n,
                              .n_zeros = t->n_zeros + (positive ? n_negative : 0),
                              .min = (double)min,
                              .max = (double)max,
                              .width = ldexp(1.0, e)};
    if (first <= last) {
        view.first_bin = first;
        view.n_bins = (int)(last - first) + 1;
        view.counts = counts + QN_TALLY_HALF + first;
    }
    return qn_histogram_of_counts(histogram, &view, QN_TALLY_HALF, NULL, err);
}
