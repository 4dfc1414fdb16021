/* How far outputs can be from golden ones, without running the rest of the network: integer engine. Inside the fault
 * room.
 *
 * Where a fault's own changes are done, what is left is the golden network, and its codes differ from golden ones in
 * known places by known amounts. A **bound** follows these through the steps left, with two numbers for each channel
 * of a tensor:
 *
 *   total  at least the sum over the channel's pixels of |code - golden|
 *   most   at least the greatest of these differences
 *
 * Sums of products are linear: the real that is rounded to a code moves by no more than the gains of the layer
 * (|weight| times the ratio of scales) times what moved before. Which codes follow is told by **thresholds**: a code
 * at a distance t from the next that its sum would be rounded to (also below a clamp, where the sum has to come up
 * first) stays the same while the sum moves by less, and moves by no more than x - t + 1 when it moves by x. Golden
 * sums give every t of an image; per channel they are counted in bins. What is not reached does not move. All is
 * rounded upwards; doc/faults.md says what is made of it.
 *
 * Steps have no bound where a sum may wrap, where they compute in float (islands), or in another shape than their
 * input has; tensors that only reach outputs through such have none. Ownership: a plan belongs to a region plan and
 * serves all threads; a margin belongs to one. */
#ifndef QN_FAULT_MARGIN_H
#define QN_FAULT_MARGIN_H

#include "engine/integer/region.h"

typedef struct qn_margin_plan qn_margin_plan;
typedef struct qn_margin qn_margin;

/*  bits, saturates   of accumulators
 *  n_outputs         the first so many floats of all outputs are those that count: what bounds are of
 *  most              bounds beyond are of no use
 *  least_work        multiplications that have to be left for a bound to be sought: 0: always */
qn_status qn_margin_plan_make(qn_margin_plan **plan, const qn_region_plan *region, int bits, bool saturates,
                              int64_t n_outputs, double most, double least_work, qn_error *err);
void qn_margin_plan_free(qn_margin_plan *plan);

/* region: that of the plan which differences are in; it must outlive the margin. */
qn_status qn_margin_make(qn_margin **margin, const qn_margin_plan *plan, const qn_region *region, qn_error *err);
void qn_margin_free(qn_margin *margin);
/* Take up the image that the region has loaded. allowance: bounds of interest are no greater; negative: none are. */
void qn_margin_load(qn_margin *margin, double allowance);

/* At least the greatest |output - golden output| that the region's dirty tensors can come to, where the steps that are
 * pending are yet to run, and none that is altered; INFINITY where there is no bound. */
double qn_margin_bound(qn_margin *margin);
/* May a bound after this step, which has just run, be within the allowance, and less work than going on? Then the
 * step's number among those that are worth it for some image, below QN_MARGIN_PLACES; else -1. */
enum { QN_MARGIN_PLACES = 8 };
/* Multiplications that are left, from which on a bound is less work. As decided for vectors of 64 products: a choice that
 * knew the processor would let machines prove different pairs. */
#define QN_MARGIN_LEAST_WORK 2e6
int qn_margin_place(qn_margin *margin, int step);

#endif
