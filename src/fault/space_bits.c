/* Which bits of a code a fault strikes: choices of bits, numbered. */
#include "fault/space_plan.h"

static int count_bits(uint32_t mask)
{
    return __builtin_popcount(mask);
}

bool qn_plan_strikes_bits(const qn_fault_set *set)
{
    return set->model == QN_FAULT_FLIP || set->model == QN_FAULT_STUCK_AT_0 || set->model == QN_FAULT_STUCK_AT_1;
}

bool qn_plan_is_drawn(const qn_fault_set *set)
{
    return set->model == QN_FAULT_RANDOM_CODE || qn_fault_is_uniform(set->model) || qn_fault_is_normal(set->model) ||
           set->pattern == QN_FAULT_RATE || set->pattern == QN_FAULT_COUNT;
}

uint32_t qn_plan_turns(const qn_fault_set *set)
{
    uint32_t mask = 0;
    for (int i = 0; i < set->n_turns; i++) {
        mask |= (uint32_t)1 << set->turns[i];
    }
    return mask;
}

static uint32_t run_of(int n)
{
    return n >= 32 ? UINT32_MAX : ((uint32_t)1 << n) - 1;
}

/* Bit f of the result: bits f .. f + n - 1 are all in the mask. */
static uint32_t burst_starts(uint32_t mask, int n)
{
    uint32_t starts = 0;
    for (int first = 0; first + n <= 32; first++) {
        const uint32_t burst = run_of(n) << first;
        starts |= (mask & burst) == burst ? (uint32_t)1 << first : 0;
    }
    return starts;
}

/* n over k, at most 32 over 16. */
static int64_t choose(int n, int k)
{
    int64_t ways = k <= n ? 1 : 0;
    for (int i = 0; i < k && ways > 0; i++) {
        ways = ways * (n - i) / (i + 1);
    }
    return ways;
}

int64_t qn_plan_bit_sites(const qn_fault_set *set, uint32_t mask)
{
    if (!qn_plan_strikes_bits(set)) {
        return set->model == QN_FAULT_RANDOM_CODE ? mask != 0 : 1;
    }
    if (set->n_turns > 0) {
        return (qn_plan_turns(set) & ~mask) == 0;
    }
    if (set->n_bits == 1) {
        return count_bits(mask);
    }
    return set->burst ? count_bits(burst_starts(mask, set->n_bits)) : choose(count_bits(mask), set->n_bits);
}

/* The k-th bit of the mask, from below. */
static uint32_t nth_bit(uint32_t mask, int64_t k)
{
    for (; k > 0; k--) {
        mask &= mask - 1;
    }
    return mask & (~mask + 1);
}

uint32_t qn_plan_bits_of_site(const qn_fault_set *set, uint32_t mask, int64_t k)
{
    if (!qn_plan_strikes_bits(set) || set->n_turns > 0) {
        return mask;
    }
    if (set->n_bits == 1) {
        return nth_bit(mask, k);
    }
    if (set->burst) {
        return nth_bit(burst_starts(mask, set->n_bits), k) * run_of(set->n_bits);
    }
    uint32_t bits =
        0; /* the combinatorial number system: the greatest bit that leaves enough choices below it, and so on */
    for (int left = set->n_bits, at = count_bits(mask); left > 0; left--) {
        do {
            at--;
        } while (choose(at, left) > k);
        k -= choose(at, left);
        bits |= nth_bit(mask, at);
    }
    return bits;
}
