/* How many faults of which stratum, in which order, and where blocks end. Everything here follows from the space and from
 * rows that are the same in every run. */
#include <math.h>

#include "fault/campaign.h"

enum {
    MOST_FAULTS = 1 << 18, /* of a block: memory */
    LEAST_SAMPLE = 30,     /* of a stratum that is sampled until its interval is narrow */
    DEFAULT_BLOCK_PAIRS = 16384,
    MOST_TIMES = 32 /* as much work as a flip, of a fault that needs all of the network */
};

int64_t qn_campaign_block_pairs(int64_t macs)
{
    if (macs <= 0) {
        return DEFAULT_BLOCK_PAIRS;
    }
    const double work = 2e11; /* multiply-accumulates: a second or two from scratch, less with less work */
    const int64_t pairs = work / (double)macs > 1e9 ? 1000000000 : (int64_t)(work / (double)macs);
    return pairs < 1024 ? 1024 : pairs > 1 << 19 ? 1 << 19 : pairs;
}

static const qn_fault_set *set_of(const qn_fault_space *space, int stratum)
{
    return &space->spec->sets[space->strata[stratum].set];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Up, but for what the last bits of a C library's functions may add: numbers of faults are the same on every machine. */
static double round_up(double n)
{
    return ceil(n - 1e-9 * n);
}

/* Fewer faults than these cannot give an interval of +- margin, even when none does harm: Wilson's half width at rate 0 is
 * z^2 / (n + z^2) / 2, with n (N - 1) / (N - n) in place of n in a finite population. */
static int64_t least_until(const qn_fault_sample *sample, int64_t population)
{
    const double z = qn_normal_quantile(0.5 + sample->confidence / 2);
    double n = z * z * (1 / (2 * sample->margin) - 1);
    if (population != INT64_MAX) {
        n = n / (1 + n / (double)population);
    }
    n = round_up(n);
    return least(population, n < LEAST_SAMPLE ? LEAST_SAMPLE : n > 1e15 ? (int64_t)1e15 : (int64_t)n);
}

void qn_campaign_sizes(const qn_fault_space *space, int stratum, int64_t *n_min, int64_t *n_max)
{
    const qn_fault_sample *sample = &set_of(space, stratum)->sample;
    const int64_t population = space->strata[stratum].population;
    switch (sample->how) {
    case QN_FAULT_EXHAUSTIVE:
        *n_min = *n_max = population;
        return;
    case QN_FAULT_N:
        *n_min = *n_max = least(sample->n, population);
        return;
    case QN_FAULT_MARGIN:
        *n_min = *n_max = qn_sample_size(population, sample->margin, sample->confidence, sample->p);
        return;
    case QN_FAULT_UNTIL:
        *n_max = sample->n > 0 ? least(sample->n, population) : population;
        *n_min = least(*n_max, least_until(sample, population));
        return;
    }
    *n_min = *n_max = 0;
}

/* Faults the stratum is to have after the next round, from what those it has say: as many as an interval of that spread
 * needs, at least an eighth more than there are, and at most four times as many, for the spread is an estimate. */
static int64_t grow_until(const qn_fault_space *space, int stratum, const qn_fault_tally *tally)
{
    int64_t n_min, n_max;
    qn_campaign_sizes(space, stratum, &n_min, &n_max);
    const qn_fault_sample *sample = &set_of(space, stratum)->sample;
    const int64_t n = tally->n_faults;
    if (sample->how != QN_FAULT_UNTIL || n >= n_max) {
        return n;
    }
    const qn_interval interval = qn_fault_rate(tally, 1, sample->confidence, false);
    const double ratio = (interval.high - interval.low) / 2 / sample->margin;
    if (ratio <= 1 + 1e-9) {
        return n;
    }
    const double wanted = round_up((double)n * ratio * ratio), most = 4.0 * (double)n;
    const int64_t low = n + n / 8 + 1;
    int64_t next = wanted < most ? (int64_t)wanted : (int64_t)most;
    next = next < low ? low : next;
    return least(next, n_max);
}

static qn_status add_part(qn_campaign_rounds *rounds, int stratum, int64_t first_draw, int64_t n, qn_error *err)
{
    if (n > INT64_MAX - rounds->n_faults) {
        return qn_fail(err, QN_ELIMIT, NULL, "the campaign has more faults than can be numbered; sample fewer");
    }
    QN_TRY(qn_grow((void **)&rounds->parts, &rounds->parts_capacity, rounds->n_parts, sizeof *rounds->parts, err));
    rounds->parts[rounds->n_parts++] = (qn_store_part){
        .first_id = rounds->n_faults, .n = n, .round = rounds->n_rounds, .stratum = stratum, .first_draw = first_draw};
    rounds->n_faults += n;
    return QN_OK;
}

static qn_status add_block(qn_campaign_rounds *rounds, const qn_campaign_block *block, qn_error *err)
{
    QN_TRY(qn_grow((void **)&rounds->blocks, &rounds->blocks_capacity, rounds->n_blocks, sizeof *rounds->blocks, err));
    rounds->blocks[rounds->n_blocks] = *block;
    rounds->blocks[rounds->n_blocks].number = (int64_t)rounds->n_blocks;
    rounds->n_blocks++;
    return QN_OK;
}

/* How many times the work of a flip a fault of the stratum is taken for: those of many codes touch much of the network, and
 * of parameters other models are made. */
static int64_t times_of(const qn_fault_space *space, int stratum)
{
    const unsigned parameters = 1u << QN_FAULT_SCALES | 1u << QN_FAULT_ZERO_POINTS | 1u << QN_FAULT_EXPONENT_BIASES |
                                1u << QN_FAULT_SHARED_EXPONENTS;
    const int where = space->strata[stratum].where;
    const unsigned places = where >= 0 ? 1u << where : set_of(space, stratum)->select.where;
    const double changes = space->strata[stratum].n_changes;
    if ((places & parameters) != 0 || changes >= MOST_TIMES) {
        return MOST_TIMES;
    }
    return changes > 1 ? (int64_t)changes : 1;
}

/* Cut the parts from `first` on into blocks: each ends with the fault that fills it. */
static qn_status cut_blocks(qn_campaign_rounds *rounds, const qn_fault_space *space, size_t first, qn_error *err)
{
    const int64_t limit = rounds->block_pairs;
    qn_campaign_block block = {0};
    int64_t work = 0; /* of the block under way, in pairs of flips */
    double n_changes = 0;
    for (size_t p = first; p < rounds->n_parts; p++) {
        const qn_store_part *part = &rounds->parts[p];
        const int64_t images = space->strata[part->stratum].images;
        const int64_t each = images * times_of(space, part->stratum);
        const double changes = space->strata[part->stratum].n_changes;
        for (int64_t done = 0; done < part->n;) {
            if (block.n == 0) {
                block = (qn_campaign_block){.first_id = part->first_id + done, .first_part = p};
            }
            const int64_t room = (limit - work + each - 1) / each;
            const int64_t fit = (int64_t)((QN_BLOCK_CHANGES - n_changes) / changes);
            const int64_t most = least(room, least(fit > 0 ? fit : 1, MOST_FAULTS - block.n));
            const int64_t n = least(part->n - done, most);
            block.n += n;
            n_changes += (double)n * changes;
            block.n_pairs += n * images;
            work += n * each;
            rounds->n_pairs += n * images;
            done += n;
            if (work >= limit || block.n == MOST_FAULTS || n_changes + changes > QN_BLOCK_CHANGES) {
                QN_TRY(add_block(rounds, &block, err));
                block = (qn_campaign_block){0};
                work = 0;
                n_changes = 0;
            }
        }
    }
    return block.n > 0 ? add_block(rounds, &block, err) : QN_OK;
}

static qn_status check_exhaustible(const qn_fault_space *space, int stratum, qn_error *err)
{
    const qn_fault_stratum *s = &space->strata[stratum];
    int64_t n_min, n_max;
    qn_campaign_sizes(space, stratum, &n_min, &n_max);
    if (n_min < INT64_MAX) {
        return QN_OK;
    }
    return qn_fail(
        err, QN_EINVAL, space->spec->where,
        "fault set '%s' (line %d), stratum %s: there are infinitely many faults of this kind, which cannot be "
        "exhausted; give a number, a margin or 'until'",
        space->spec->sets[s->set].name, space->spec->sets[s->set].line, s->label);
}

qn_status qn_campaign_rounds_next(qn_campaign_rounds *rounds, const qn_fault_space *space,
                                  const qn_fault_tally *tallies, bool *more, qn_error *err)
{
    const size_t first = rounds->n_parts;
    for (int s = 0; s < space->n_strata; s++) {
        int64_t n_min, n_max, have = 0;
        if (rounds->n_rounds == 0) {
            QN_TRY(check_exhaustible(space, s, err));
            qn_campaign_sizes(space, s, &n_min, &n_max);
        } else {
            have = tallies[s].n_faults;
            n_min = grow_until(space, s, &tallies[s]);
        }
        if (n_min > have) {
            QN_TRY(add_part(rounds, s, have, n_min - have, err));
        }
    }
    *more = rounds->n_parts > first;
    rounds->n_rounds += *more;
    return cut_blocks(rounds, space, first, err);
}

void qn_campaign_rounds_free(qn_campaign_rounds *rounds)
{
    qn_free(rounds->parts);
    qn_free(rounds->blocks);
    *rounds = (qn_campaign_rounds){0};
}
