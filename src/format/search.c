/* Searches for the clipping range: candidates are [c min, c max] with c in thousandths up to 1. Candidates that give the
 * parameters of the one before are skipped, which leaves formats whose parameters are exponents with a handful. From the
 * best of them on, where parameters follow both ends, each end is tried alone as long as that finds a better one.
 *
 * Values are tried one candidate after the other and dropped as soon as their error passes the best; the histogram says
 * in what order, and of very many values, which candidates are worth it. Bins are tried in steps of 20 thousandths, then
 * all around the best. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "format/histogram.h"
#include "format/kernel.h"
#include "format/moments.h"
#include "format/row.h"

enum { GRID = 1000, COARSE = 20, BLOCK = 256 };

double qn_params_reach(const qn_format *f)
{
    const unsigned narrow = QN_PARAM_SCALE | QN_PARAM_SHIFT | QN_PARAM_MULTIPLIER;
    return (qn_format_parameters(*f) & narrow) != 0 ? (double)FLT_MAX : DBL_MAX;
}

static double within(double x, double limit)
{
    return fmin(fmax(x, -limit), limit);
}

void qn_params_hold(qn_params *params)
{
    params->scale = fminf(params->scale, FLT_MAX);
    params->shift = fminf(fmaxf(params->shift, -FLT_MAX), FLT_MAX);
}

void qn_params_of_range(qn_params *params, const qn_format *f, const qn_fit_rule *rule, double lo, double hi)
{
    const qn_format_row *row = qn_format_row_of(f->kind);
    bool told = rule->kind == QN_RULE_RANGE;
    /* A factor meets a measured range in f32, as it does in the tools that have one; numbers are multiplied as they
     * are. */
    double factor = rule->factor == 0.0 ? 1.0 : told ? rule->factor : (double)(float)rule->factor;
    lo *= factor, hi *= factor;
    const double reach = qn_params_reach(f);
    lo = within(lo, reach) + 0.0, hi = within(hi, reach) + 0.0; /* -0 is 0, whichever of them comes first in a tensor */
    *params = qn_format_params_neutral();
    if (!told && row->from_measured != NULL) {
        row->from_measured(params, f, lo, hi);
    } else if (row->from_range != NULL) {
        row->from_range(params, f, lo, hi);
    }
    qn_params_hold(params);
}

static bool same(const qn_params *a, const qn_params *b)
{
    return a->scale == b->scale && a->zero_point == b->zero_point && a->exp_bias == b->exp_bias &&
           a->shift == b->shift && a->multiplier == b->multiplier;
}

/* How errors are found: by the format's kernel where it has one. */
typedef struct trial {
    qn_fake_kernel fake; /* NULL: by the definition */
    qn_differences_fn differences;
    bool squared;
} trial;

static trial trial_of(const qn_format *f, const qn_fit_rule *rule)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    return (trial){qn_format_kernel_select(f, cpu).fake, qn_differences_for(cpu), rule->kind == QN_RULE_MSE};
}

/* Errors of n <= BLOCK reals: squared, or absolute. */
static double error_of(const trial *t, const qn_run *run, const float *x, const double *count, int64_t n)
{
    uint32_t codes[BLOCK];
    float y[BLOCK];
    if (t->fake != NULL) {
        t->fake(y, x, n, run);
    } else {
        qn_run_encode(codes, x, n, run);
        qn_run_decode(y, codes, n, run);
    }
    return t->differences(x, y, count, n, t->squared);
}

/* What a search minimizes, over bins. */
typedef struct objective {
    const qn_format *f;
    trial trial;
    qn_rule_kind kind;
    double lo, hi; /* the widest range */
    double width;  /* of bins */
    int n;
    const double *count;
    const double *x;
    float *x32;         /* of x */
    uint32_t *codes;    /* scratch of n, for kl */
    qn_params previous; /* of the last candidate that was asked for, and its cost */
    double previous_cost;
} objective;

/* What a bin counts for the divergence. */
static double counted(const objective *o, int bin)
{
    return o->x[bin] != 0.0 ? o->count[bin] : 0.0;
}

/* Divergence of the bins, those beyond the codes' reach added to the last within it, from what is left when the bins that
 * share a code share its mass. Zeros take no part: their code is theirs whatever the range, and what they are among the
 * values (of a Relu's outputs the most) would otherwise be spread over all bins of that code, so that only ranges in
 * which nothing shares it look good. */
static double divergence(const objective *o, const qn_run *run)
{
    qn_format_limits limits;
    qn_format_limits_get(&limits, *o->f, &run->params);
    int first = 0, last = o->n - 1;
    double below = 0.0, above = 0.0, total = 0.0, sum = 0.0;
    while (first < last && (o->x[first] < limits.lowest || o->x[first] == 0.0)) {
        below += counted(o, first++);
    }
    while (last > first && (o->x[last] > limits.highest || o->x[last] == 0.0)) {
        above += counted(o, last--);
    }
    for (int i = first; i <= last; i++) {
        total += counted(o, i);
    }
    if (!(total > 0.0) || limits.highest - limits.lowest < o->width * (ldexp(1.0, o->f->bits) - 1.0)) {
        return INFINITY; /* codes finer than bins: how they round would not show */
    }
    for (int i = first; i <= last; i += BLOCK) {
        qn_run_encode(o->codes + i, o->x32 + i, last + 1 - i < BLOCK ? last + 1 - i : BLOCK, run);
    }
    for (int i = first, end; i <= last; i = end) {
        double mass = 0.0, n = 0.0;
        for (end = i; end <= last && o->codes[end] == o->codes[i]; end++) {
            mass += counted(o, end);
            n += o->x[end] != 0.0 ? 1.0 : 0.0;
        }
        double q = mass / n / total;
        for (int k = i; k < end; k++) {
            double p = counted(o, k) + (k == first ? below : 0.0) + (k == last ? above : 0.0);
            p /= total + below + above;
            sum += p > 0.0 ? p * log(p / q) : 0.0;
        }
    }
    return sum;
}

/* [lo * end[0] / GRID, hi * end[1] / GRID] */
typedef struct candidate {
    int end[2];
} candidate;

static void params_of_candidate(qn_params *params, const qn_format *f, const qn_fit_rule *rule, double lo, double hi,
                                candidate c)
{
    qn_params_of_range(params, f, rule, lo * ((double)c.end[0] / GRID), hi * ((double)c.end[1] / GRID));
}

static double cost_of(objective *o, candidate c)
{
    qn_params params;
    params_of_candidate(&params, o->f, &(qn_fit_rule){.kind = o->kind}, o->lo, o->hi, c);
    if (same(&params, &o->previous)) {
        return o->previous_cost;
    }
    qn_run run = {.format = o->f, .params = params, .stride = 1};
    double cost = 0.0;
    if (o->kind == QN_RULE_KL) {
        cost = divergence(o, &run);
    } else {
        for (int i = 0; i < o->n; i += BLOCK) {
            int n = o->n - i < BLOCK ? o->n - i : BLOCK;
            cost += error_of(&o->trial, &run, o->x32 + i, o->count + i, n);
        }
    }
    o->previous = params, o->previous_cost = cost;
    return cost;
}

/* Bins of twice the width, in place; zeros stay apart. */
static void double_width(qn_bins *bins)
{
    int n = 0;
    double last = NAN; /* unequal to any */
    bins->width *= 2.0;
    for (int i = 0; i < bins->n; i++) {
        double x = bins->x[i], count = bins->count[i], at = x == 0.0 ? NAN : floor(x / bins->width);
        if (at == last) {
            bins->count[n - 1] += count;
            continue;
        }
        bins->x[n] = x == 0.0 ? 0.0 : fmin(fmax((at + 0.5) * bins->width, bins->min), bins->max);
        bins->count[n++] = count;
        last = at;
    }
    bins->n = n;
}

/* Make bins so wide that they hold MEAN values on the average: that few values fall into one bin or another by chance
 * counts as divergence, about 1/2 per value and bin, and a search would clip to have less of it. This MEAN served best at
 * 8 bits on the calibration sets of small networks of images and sounds. */
static void fill_bins(qn_bins *bins)
{
    static const double MEAN = 1024.0;
    for (;;) {
        double count = 0.0;
        int n = 0;
        for (int i = 0; i < bins->n; i++) {
            count += bins->x[i] != 0.0 ? bins->count[i] : 0.0;
            n += bins->x[i] != 0.0 ? 1 : 0;
        }
        if (n <= 2 || count >= MEAN * (double)n) {
            return;
        }
        double_width(bins);
    }
}

/* An objective over bins, with memory of its own (*memory, for qn_free). Errors: QN_ENOMEM. */
static qn_status objective_new(objective *o, void **memory, const qn_format *f, const qn_fit_rule *rule,
                               const qn_bins *bins, qn_error *err)
{
    const size_t n = (size_t)bins->n, n_bytes = n * (2 * sizeof(double) + sizeof(float) + sizeof(uint32_t));
    double *x = qn_alloc(n_bytes);
    if (x == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    qn_bins own = *bins;
    own.x = x;
    own.count = x + n;
    memcpy(own.x, bins->x, n * sizeof *x);
    memcpy(own.count, bins->count, n * sizeof *x);
    if (rule->kind == QN_RULE_KL) {
        fill_bins(&own);
    }
    float *x32 = (float *)(void *)(x + 2 * n);
    for (int i = 0; i < own.n; i++) {
        x32[i] = (float)own.x[i];
    }
    *o = (objective){.f = f,
                     .trial = trial_of(f, rule),
                     .kind = rule->kind,
                     .lo = bins->min,
                     .hi = bins->max,
                     .width = own.width,
                     .n = own.n,
                     .count = own.count,
                     .x = own.x,
                     .x32 = x32,
                     .codes = (uint32_t *)(void *)(x32 + n),
                     .previous_cost = INFINITY,
                     .previous = {.scale = NAN}};
    *memory = x;
    return QN_OK;
}

/* The best of what a candidate becomes when the ends of `which` (1 << end) move together: in coarse steps over all, then
 * all around the best. A candidate of equal cost does not replace it. */
static candidate best_along(objective *o, candidate start, unsigned which, double *cost)
{
    enum { BOTH = 2 };
    candidate best = start;
    int from = GRID, to = 1, step = COARSE;
    for (int pass = 0; pass < 2; pass++) {
        for (int at = from; at >= to; at -= step) {
            candidate c = best;
            for (int end = 0; end < BOTH; end++) {
                c.end[end] = (which >> end & 1) != 0 ? at : c.end[end];
            }
            double found = cost_of(o, c);
            if (found < *cost) {
                best = c, *cost = found;
            }
        }
        int middle = best.end[(which & 1) != 0 ? 0 : 1];
        from = middle + COARSE > GRID ? GRID : middle + COARSE - 1;
        to = middle - COARSE + 1 < 1 ? 1 : middle - COARSE + 1;
        step = 1;
    }
    return best;
}

/* From a candidate on, each end alone. */
static candidate refined(objective *o, candidate start)
{
    enum { ROUNDS = 8 };
    candidate best = start;
    double cost = cost_of(o, start);
    for (int round = 0; round < ROUNDS && qn_params_see_both_ends(o->f, o->lo, o->hi); round++) {
        double before = cost;
        best = best_along(o, best, 1U << 1, &cost);
        best = best_along(o, best, 1U << 0, &cost);
        if (!(cost < before)) {
            break;
        }
    }
    return best;
}

/* The best candidate over the bins. */
static candidate best_candidate(objective *o)
{
    const candidate widest = {{GRID, GRID}};
    double cost = cost_of(o, widest);
    return refined(o, best_along(o, widest, 3U, &cost));
}

bool qn_params_see_both_ends(const qn_format *f, double lo, double hi)
{
    const qn_fit_rule rule = {.kind = QN_RULE_MINMAX};
    qn_params whole, half_lo, half_hi;
    qn_params_of_range(&whole, f, &rule, lo, hi);
    qn_params_of_range(&half_lo, f, &rule, 0.5 * lo, hi);
    qn_params_of_range(&half_hi, f, &rule, lo, 0.5 * hi);
    return lo < 0.0 && hi > 0.0 && !same(&whole, &half_lo) && !same(&whole, &half_hi);
}

/* Without parameters there is nothing to search; of zeros alone, nothing to find. */
static bool nothing_to_search(qn_params *params, const qn_format *f, double lo, double hi)
{
    *params = qn_format_params_neutral();
    return qn_format_row_of(f->kind)->from_range == NULL || (lo == 0.0 && hi == 0.0);
}

qn_status qn_search_bins(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const qn_bins *bins,
                         qn_error *err)
{
    if (nothing_to_search(params, f, bins->min, bins->max)) {
        qn_params_of_range(params, f, rule, bins->min, bins->max);
        return QN_OK;
    }
    objective o;
    void *memory;
    QN_TRY(objective_new(&o, &memory, f, rule, bins, err));
    params_of_candidate(params, f, rule, bins->min, bins->max, best_candidate(&o));
    qn_free(memory);
    return QN_OK;
}

/* A candidate and what the bins say it costs. */
typedef struct guess {
    double cost;
    int candidate; /* of both ends */
} guess;

static int compare_guesses(const void *a, const void *b)
{
    const guess *x = a, *y = b;
    return x->cost != y->cost ? (x->cost > y->cost) - (x->cost < y->cost)
                              : (x->candidate < y->candidate) - (x->candidate > y->candidate);
}

/* Exact cost of values, or anything above `enough` as soon as it is there. */
static double exact_cost(const trial *t, const qn_run *run, const double *x, int64_t n, double enough)
{
    double cost = 0.0;
    for (int64_t i = 0; i < n && cost <= enough; i += BLOCK) {
        float block[BLOCK];
        int64_t length = n - i < BLOCK ? n - i : BLOCK;
#pragma omp simd
        for (int64_t k = 0; k < length; k++) {
            block[k] = (float)x[i + k];
        }
        cost += error_of(t, run, block, NULL, length);
    }
    return cost;
}

static double exact_cost_of(const objective *o, candidate c, qn_params *last, const double *x, int64_t n, double enough)
{
    qn_params params;
    params_of_candidate(&params, o->f, &(qn_fit_rule){.kind = o->kind}, o->lo, o->hi, c);
    if (same(&params, last)) {
        return INFINITY;
    }
    *last = params;
    qn_run run = {.format = o->f, .params = params, .stride = 1};
    return exact_cost(&o->trial, &run, x, n, enough);
}

/* The best of guesses, tried in their order, of which the widest wins of equals; or what the bins find from there. */
static candidate best_exactly(objective *o, const guess *guesses, int n_guesses, const double *x, int64_t n)
{
    int best = 0;
    double best_cost = INFINITY;
    qn_params last = {.scale = NAN};
    for (int i = 0; i < n_guesses; i++) {
        int at = guesses[i].candidate;
        double cost = exact_cost_of(o, (candidate){{at, at}}, &last, x, n, best_cost);
        if (cost < best_cost || (cost == best_cost && cost < INFINITY && at > best)) {
            best = at, best_cost = cost;
        }
    }
    const candidate even = {{best, best}}, moved = refined(o, even);
    bool better =
        (moved.end[0] != best || moved.end[1] != best) && exact_cost_of(o, moved, &last, x, n, best_cost) < best_cost;
    return better ? moved : even;
}

/* Candidates in the order in which to try them. Of many values only those that the bins hold for nearly the best:
 * there the bins' counts err by far less than NEARLY. */
static int order_guesses(guess guesses[GRID], objective *o, int64_t n)
{
    enum { MANY = 1 << 16 };
    static const double NEARLY = 1.05;
    for (int i = 0; i < GRID; i++) {
        guesses[i] = (guess){cost_of(o, (candidate){{GRID - i, GRID - i}}), GRID - i};
    }
    qsort(guesses, GRID, sizeof guesses[0], compare_guesses);
    int n_guesses = GRID;
    while (n > MANY && guesses[n_guesses - 1].cost > NEARLY * guesses[0].cost) {
        n_guesses--;
    }
    return n_guesses;
}

static candidate search_exactly(objective *o, const double *x, int64_t n)
{
    enum { FEW = 8192 };
    guess guesses[GRID];
    int n_guesses = GRID;
    if (n > FEW) {
        n_guesses = order_guesses(guesses, o, n);
    } else {
        for (int i = 0; i < GRID; i++) {
            guesses[i] = (guess){0.0, GRID - i};
        }
    }
    return best_exactly(o, guesses, n_guesses, x, n);
}

qn_status qn_search_values(qn_params *params, const qn_format *f, const qn_fit_rule *rule, const double *x, int64_t n,
                           qn_error *err)
{
    qn_histogram *histogram;
    qn_bins bins;
    objective o;
    void *bins_memory = NULL, *memory = NULL;
    QN_TRY(qn_histogram_new(&histogram, 0, err));
    qn_histogram_count(histogram, x, n);
    qn_status status = qn_histogram_bins_alloc(&bins, &bins_memory, histogram, err);
    if (status == QN_OK && nothing_to_search(params, f, bins.min, bins.max)) {
        qn_params_of_range(params, f, rule, bins.min, bins.max);
    } else if (status == QN_OK) {
        status = objective_new(&o, &memory, f, rule, &bins, err);
        if (status == QN_OK) {
            candidate best = rule->kind == QN_RULE_KL ? best_candidate(&o) : search_exactly(&o, x, n);
            params_of_candidate(params, f, rule, bins.min, bins.max, best);
        }
    }
    qn_free(memory);
    qn_free(bins_memory);
    qn_histogram_free(histogram);
    return status;
}
