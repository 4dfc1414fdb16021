/* Protection against faults: which bits, channels or layers to harden for a given number of extra bits, and what is left.
 *
 * Made from the store of a campaign. Candidates are groups of like faults (layer x bit, channel, layer); each can be left as
 * it is or get a scheme, whose extra bits are known and whose benefit is the rate that the group's faults add to the
 * campaign's, weighted by population. A multiple-choice knapsack picks what leaves least within the budget; where nothing is
 * known to do harm any more, what is left of the budget goes to groups in which a sample could have missed most. */
#ifndef QUERN_PROTECT_H
#define QUERN_PROTECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/fault.h"

/* X(NAME, number, text)
 *  parity       one more bit per word: a fault in one bit of a code is detected, so it is not silent; the word must be had again
 *  ecc          SEC-DED (Hamming, and a parity bit): one bit of a code is corrected, two are detected
 *  tmr          three copies and a vote: one faulty code is corrected, whatever its bits
 *  range-clamp  activations and inputs are held to the range they have without faults: no bits, a comparison */
#define QN_SCHEME_LIST(X)                                                                                              \
    X(QN_SCHEME_PARITY, 0, "parity")                                                                                   \
    X(QN_SCHEME_ECC, 1, "ecc")                                                                                         \
    X(QN_SCHEME_TMR, 2, "tmr")                                                                                         \
    X(QN_SCHEME_RANGE_CLAMP, 3, "range-clamp")
typedef enum qn_scheme {
#define QN_SCHEME_ENUM(name, number, text) name = number,
    QN_SCHEME_LIST(QN_SCHEME_ENUM)
#undef QN_SCHEME_ENUM
        QN_N_SCHEMES
} qn_scheme;
/* "ecc"; "none" for what is no scheme. */
QN_API const char *qn_scheme_text(int scheme);

enum { QN_PROTECT_LAYERS = 1, QN_PROTECT_BITS = 2, QN_PROTECT_CHANNELS = 4 };

/*  by           bit set of QN_PROTECT_*: what groups have in common; channels are those of layers. Default: layers and bits
 *  schemes      bit set of 1 << qn_scheme. Default: ecc
 *  budget       extra bits as a share of the bits of all weights and biases; `of_targets`: of what the campaign struck
 *  budget_bits  negative: `budget` counts; else the extra bits themselves
 *  word_bits    bits that share check bits, 1..1024: bits of one group, side by side, so placed that one event
 *               strikes one of them (interleaved); 0: each code by itself. Default 64
 *  outcome      column of the store that is to become rare: "sdc1" (default), "sdc5", "sdc10", "sdc20", "critical", "nonfinite"
 *  confidence   of intervals; 0 (default): the campaign's
 *  clopper      intervals after Clopper and Pearson in place of Wilson */
typedef struct qn_protect_options {
    size_t struct_size;
    unsigned by, schemes;
    double budget;
    int64_t budget_bits;
    bool of_targets;
    int word_bits;
    const char *outcome;
    double confidence;
    bool clopper;
} qn_protect_options;
QN_API void qn_protect_options_init(qn_protect_options *options);

typedef struct qn_protect_rate {
    double rate, low, high;
} qn_protect_rate;

/*  place, layer, format  "" and bit, channel -1 where several
 *  bits         bits of the network that the group is;  extra_bits: what its scheme adds
 *  scheme       -1: none
 *  hits         pairs with the outcome, which `share` rests on
 *  share        what its faults add to the campaign's rate;  removed: of that, by the scheme. All three as the faults that
 *               the choice is made by say */
typedef struct qn_protect_group {
    const char *place, *layer, *format;
    int bit;
    int64_t channel, bits, extra_bits, hits;
    int scheme;
    double share, removed;
} qn_protect_group;

/*  before       the rate of the campaign as it is
 *  left         with the protection, by faults that the choice was not made by: of sampled strata one half of the draws makes
 *               the choice, the other tells what is left, as a choice looks better than it is to what it was made by; of
 *               exhausted strata all faults do both. `left_all`: by all faults, what a re-run of the same faults gives
 *  detected     share of pairs that end in a detection, by the faults of `left`
 *  n_faults     in the store;  n_choosing, n_judging: of them, by what they serve for
 *  n_fleeting   of n_faults, those that strike products or partial sums, which are in no memory
 *  n_several    others that change several codes: no scheme helps
 *  n_wide       others that change several bits of a code where groups are told apart by bit: in no group
 *  n_unmet      others that no scheme of the options corrects, detects or clamps
 *  bits         that the budget is a share of;  budget_bits, extra_bits: what may be and what is spent
 *  n_groups, n_protected   groups seen, and with a scheme */
typedef struct qn_protect_summary {
    const char *outcome;
    double confidence;
    qn_protect_rate before, left, left_all;
    double detected;
    int64_t n_faults, n_pairs, n_choosing, n_judging;
    int64_t n_fleeting, n_several, n_wide, n_unmet;
    int64_t bits, budget_bits, extra_bits;
    size_t n_groups, n_protected;
} qn_protect_summary;

typedef struct qn_protection qn_protection;
/* Errors: QN_EINVAL (options, a store without faults); those of opening stores; QN_ELIMIT; QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_protection_make(qn_protection **protection, const char *store,
                                                 const qn_protect_options *options, qn_error *err);
QN_API void qn_protection_free(qn_protection *protection);
QN_API const qn_protect_summary *qn_protection_about(const qn_protection *protection);
/* Groups: protected ones first, by what they remove; then the others by what they add. NULL beyond. */
QN_API const qn_protect_group *qn_protection_at(const qn_protection *protection, size_t index);

/* The same faults again, or fresh ones of the same specification, with the protection modelled: faults that are corrected or
 * detected change nothing, values that are clamped become the end of the range that the value has over all images
 * without faults (what qn_protection_make only knows from the faults: it takes them to do as much harm as faults that
 * stay in the range).
 *  faults, pairs         run;  corrected, detected, clamped: faults */
typedef struct qn_protect_measure {
    int64_t faults, pairs, corrected, detected, clamped;
    qn_protect_rate rate;
} qn_protect_measure;
/*  options  model and data (and labels where the outcome is "critical") of the campaign, cpu, batch, n_threads, memory_bytes,
 *           stop, progress (without seconds), as for the campaign; has_seed: draw fresh faults with that seed, as many in each stratum. The rest is the
 *           store's
 * Errors: QN_ECONFLICT: the model or its fault-free answers are not the campaign's; QN_ECANCELED; those of qn_campaign_run that
 * concern no store. */
QN_API QN_NODISCARD qn_status qn_protection_apply(const qn_protection *protection, const qn_campaign_options *options,
                                                  qn_protect_measure *measure, qn_error *err);

#endif
