/* Intervals.
 *
 * A fault is a cluster of (fault, image) pairs. Of stratum h, of weight W, n faults of N have been seen, with hits h and pairs m
 * each; r = sum h / sum m estimates its rate. The variance between faults (Cochran, 6.4 and 9) is
 *     s^2 / n,  s^2 = sum (h - r m)^2 / (n - 1) / mean(m)^2,
 * and the rate over strata R = sum W r has the variance V = sum W^2 s^2 / n. Its effective number of trials is R (1 - R) / V: that
 * many independent pairs would tell as much; R and that number go into Wilson's or Clopper and Pearson's interval.
 *
 * What was not seen. Rare faults that hit every image make most of a rate, and a sample may have none of them: its
 * variance is then far too small. By the rule of three, faults of a share u / n, u = log(2 / alpha), can go unseen with
 * probability alpha / 2; over strata, whatever their shares p, as long as sum n p <= u. At worst that is max (W / n) u of the rate, so
 * (max (W / n) u / z)^2 is added to V: z times the deviation reaches that far.
 *
 * The floor. However the pairs of a fault hang together, rates of faults lie in 0..1, so s^2 <= r (1 - r), and
 * V <= max (W / n) R (1 - R): at least 1 / max (W / n) trials, in one stratum as many as faults. (Faults with unequal numbers
 * of pairs count as (sum m)^2 / sum m^2.) This is what few faults, and none with a hit, amount to. The effective number is
 * the greater of the two, and never above the pairs.
 *
 * Finite populations. V with each term times (N - n) / (N - 1), over V without, is the square of the factor by which both sides of the
 * interval shrink. That also shrinks the half trial by which the interval of a discrete number must be wider, so it is given back
 * (Cochran, 3.7). Exhausted strata add their rates and no width; and what was not drawn is between no hits and all. */
#include "fault/stats.h"

#include <math.h>

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

qn_interval qn_wilson(double k, double n, double confidence)
{
    if (!(n > 0)) {
        return (qn_interval){0, 0, 1};
    }
    k = clamp(k, 0, n);
    const double z = qn_normal_quantile(0.5 + confidence / 2), zz = z * z, rate = k / n;
    const double half = z * sqrt(k * (1 - rate) + zz / 4);
    /* The two ends are the roots of a quadratic; each small one follows from the other without cancellation. */
    const double high = (k + zz / 2 + half) / (n + zz), low_rest = ((n - k) + zz / 2 + half) / (n + zz);
    return (qn_interval){rate, clamp(k * rate / ((n + zz) * high), 0, rate),
                         clamp(1 - (n - k) * (1 - rate) / ((n + zz) * low_rest), rate, 1)};
}

qn_interval qn_clopper_pearson(double k, double n, double confidence)
{
    if (!(n > 0)) {
        return (qn_interval){0, 0, 1};
    }
    k = clamp(k, 0, n);
    const double tail = (1 - confidence) / 2;
    qn_interval interval = {k / n, 0, 1};
    if (k > 0) {
        interval.low = clamp(qn_beta_quantile(tail, k, n - k + 1), 0, interval.rate);
    }
    if (k < n) {
        interval.high = clamp(1 - qn_beta_quantile(tail, n - k, k + 1), interval.rate, 1);
    }
    return interval;
}

int64_t qn_sample_size(int64_t population, double margin, double confidence, double p)
{
    const double t = qn_normal_quantile(0.5 + confidence / 2);
    double n = t * t * p * (1 - p) / (margin * margin);
    if (population <= 0) {
        return 0;
    }
    if (population < INT64_MAX) { /* N / (1 + e^2 (N - 1) / (t^2 p (1 - p))) */
        n = n > 0 ? (double)population / (1 + ((double)population - 1) / n) : 0;
    }
    n = ceil(n - 1e-9 * n);
    n = n < 1 ? 1 : n;
    return n < (double)population ? (int64_t)n : population;
}

void qn_fault_tally_add(qn_fault_tally *tally, int64_t hits, int64_t pairs)
{
    const double h = (double)hits, m = (double)pairs;
    tally->n_faults++;
    tally->pairs += pairs;
    tally->hits += hits;
    tally->sum_hh += h * h;
    tally->sum_hm += h * m;
    tally->sum_mm += m * m;
}

static bool is_infinite(const qn_fault_tally *stratum)
{
    return stratum->population == INT64_MAX;
}

static bool is_exhausted(const qn_fault_tally *stratum)
{
    return stratum->n_faults >= stratum->population && !is_infinite(stratum);
}

/* Sums over the strata of which something was seen; weights are pairs, in shares only once divided by `all`. */
typedef struct {
    double all, unseen;               /* weight; of strata with nothing seen */
    double hit, exact;                /* weight times rate; the part of it in exhausted strata */
    double sampled;                   /* weight of those that are not exhausted; of these: */
    double differences;               /* sum of (h - r m)^2 */
    double variance, variance_finite; /* of the rate, as seen */
    double heaviest, heaviest_finite; /* max W / n */
    double known_hits, known;         /* weight of what was drawn, and of its hits */
    double pairs;                     /* of all */
} sums;

/* Sum over the faults of a stratum of (h - r m)^2. */
static double differences_of(const qn_fault_tally *t, double rate)
{
    return fmax(t->sum_hh - 2 * rate * t->sum_hm + rate * rate * t->sum_mm, 0);
}

static void add_stratum(sums *s, const qn_fault_tally *t, double overall_pairs)
{
    const double n = (double)t->n_faults, population = (double)t->population;
    if (n == 0 || t->pairs == 0) {
        const double weight = is_infinite(t) ? 0 : population * overall_pairs;
        s->all += weight;
        s->unseen += weight;
        return;
    }
    const double mean_pairs = (double)t->pairs / n, rate = (double)t->hits / (double)t->pairs;
    const double weight = is_infinite(t) ? (double)t->pairs : fmax(population, n) * mean_pairs;
    s->all += weight;
    s->hit += weight * rate;
    s->pairs += (double)t->pairs;
    if (is_exhausted(t)) {
        s->exact += weight * rate;
        return;
    }
    const double alike = (double)t->pairs * (double)t->pairs / t->sum_mm; /* faults of equal numbers of pairs */
    const double finite = is_infinite(t) ? 1 : (population - n) / (population - 1);
    const double differences = differences_of(t, rate);
    const double spread = n > 1 ? differences / (n - 1) / (mean_pairs * mean_pairs) : 1;
    const double variance = weight * weight * spread / n;
    s->differences += differences;
    s->sampled += weight;
    s->variance += variance;
    s->variance_finite += variance * finite;
    s->heaviest = fmax(s->heaviest, weight / alike);
    s->heaviest_finite = fmax(s->heaviest_finite, weight / alike * finite);
    if (!is_infinite(t)) {
        s->known += (double)t->pairs;
        s->known_hits += (double)t->hits;
    }
}

/* (u / z)^2 */
static double unseen_of(double confidence)
{
    const double z = qn_normal_quantile(0.5 + confidence / 2), reach = log(2 / (1 - confidence));
    return reach * reach / (z * z);
}

/* Wilson's interval covers as often as it states on average over rates, but less where few trials hit, or all but few: there
 * it takes the ends of Clopper and Pearson's where these are further out. */
static qn_interval effective_interval(double k, double n, double confidence, bool clopper)
{
    enum { FEW = 15 };
    qn_interval wilson = qn_wilson(k, n, confidence);
    if (!clopper && k >= FEW && n - k >= FEW) {
        return wilson;
    }
    const qn_interval exact = qn_clopper_pearson(k, n, confidence);
    wilson.low = fmin(wilson.low, exact.low);
    wilson.high = fmax(wilson.high, exact.high);
    return clopper ? exact : wilson;
}

/* The rate of the strata that are not exhausted. */
static qn_interval sampled_rate(const sums *s, double confidence, bool clopper)
{
    const double w = s->sampled, rate = clamp((s->hit - s->exact) / w, 0, 1), binomial = rate * (1 - rate);
    const double unseen = unseen_of(confidence) * s->heaviest;
    const double floor_variance = binomial * s->heaviest / w, observed = (s->variance + unseen * s->heaviest) / (w * w);
    double n = w / s->heaviest, shrink = s->heaviest_finite / s->heaviest;
    if (s->differences > 0 && observed < floor_variance) {
        n = fmin(binomial / observed, fmax(s->pairs, n));
        shrink = (s->variance_finite + unseen * s->heaviest_finite) / (s->variance + unseen * s->heaviest);
    }
    qn_interval interval = effective_interval(rate * n, n, confidence, clopper);
    const double factor = sqrt(shrink), half_trial = (1 - factor) * s->heaviest / w / 2;
    interval.rate = rate;
    interval.low = rate - (rate - interval.low) * factor - half_trial;
    interval.high = rate + (interval.high - rate) * factor + half_trial;
    interval.low = clamp(interval.low, s->known_hits / w, rate);
    interval.high = clamp(interval.high, rate, 1 - (s->known - s->known_hits) / w);
    return interval;
}

qn_interval qn_fault_rate(const qn_fault_tally *strata, int n, double confidence, bool clopper)
{
    double faults = 0, pairs = 0;
    for (int i = 0; i < n; i++) {
        faults += (double)strata[i].n_faults;
        pairs += (double)strata[i].pairs;
    }
    if (pairs == 0) {
        return (qn_interval){0, 0, 1};
    }
    sums s = {0};
    for (int i = 0; i < n; i++) {
        add_stratum(&s, &strata[i], pairs / faults);
    }
    const double seen = s.all - s.unseen;
    qn_interval interval = {s.hit / seen, s.hit / seen, s.hit / seen};
    if (s.sampled > 0) {
        const qn_interval sampled = sampled_rate(&s, confidence, clopper);
        interval.low = (s.exact + sampled.low * s.sampled) / seen;
        interval.high = (s.exact + sampled.high * s.sampled) / seen;
    }
    interval.low = clamp(interval.low * seen / s.all, 0, interval.rate);
    interval.high = clamp((interval.high * seen + s.unseen) / s.all, interval.rate, 1);
    return interval;
}
