/* Regions: golden values, spreading of differences, restoring. */
#include "engine/integer/region.h"

#include <string.h>

#include "base/memory.h"

void qn_region_free(qn_region *region)
{
    qn_free(region->arena);
    qn_free(region->inputs);
    qn_free(region->outputs);
    qn_free(region->all_outputs);
    qn_free(region->dirty);
    qn_free(region->is_dirty);
    qn_free(region->dirty_list);
    qn_free(region->output_dirty);
    qn_free(region->pending);
    qn_free(region->sums);
    *region = (qn_region){0};
}

static size_t codes_bytes(const qn_region_plan *plan)
{
    return plan->code->sums_offset < plan->code->arena_bytes ? plan->code->sums_offset : plan->code->arena_bytes;
}

qn_status qn_region_make(qn_region *region, const qn_region_plan *plan, qn_error *err)
{
    const qn_program *program = plan->program;
    const size_t n_tensors = (size_t)plan->code->n_tensors + 1, n_outputs = program->n_outputs;
    region->plan = plan;
    region->n_words = plan->code->n_steps / 64 + 1;
    region->arena = qn_alloc(plan->code->arena_bytes);
    region->inputs = qn_alloc((program->n_inputs + 1) * sizeof *region->inputs);
    region->outputs = qn_alloc((n_outputs + 1) * sizeof *region->outputs);
    region->all_outputs = qn_alloc((plan->output_first[n_outputs] + 1) * sizeof *region->all_outputs);
    region->dirty = qn_alloc(n_tensors * sizeof *region->dirty);
    region->is_dirty = qn_alloc(n_tensors);
    region->dirty_list = qn_alloc(n_tensors * sizeof *region->dirty_list);
    region->output_dirty = qn_alloc((n_outputs + 1) * sizeof *region->output_dirty);
    region->pending = qn_alloc((size_t)region->n_words * sizeof *region->pending);
    region->sums = qn_alloc((plan->most_sums + 16) * sizeof *region->sums);
    if (region->arena == NULL || region->inputs == NULL || region->outputs == NULL || region->all_outputs == NULL ||
        region->dirty == NULL || region->is_dirty == NULL || region->dirty_list == NULL ||
        region->output_dirty == NULL || region->pending == NULL || region->sums == NULL) {
        qn_region_free(region);
        return qn_fail_memory(err, program->graph.file, plan->code->arena_bytes);
    }
    for (size_t i = 0; i < n_outputs; i++) {
        region->outputs[i] = region->all_outputs + plan->output_first[i];
    }
    qn_integer_place_constants(plan->code, region->arena);
    region->run = (qn_integer_run){plan->code, region->arena, region->inputs, region->outputs};
    return QN_OK;
}

void qn_region_compute(qn_region *region, const float *const *inputs, uint8_t *golden)
{
    const qn_region_plan *plan = region->plan;
    memcpy(region->inputs, inputs, plan->program->n_inputs * sizeof *inputs);
    qn_integer_run_steps(&region->run, 0, plan->code->n_steps);
    int32_t *sums = (int32_t *)(void *)(golden + plan->sums_offset);
    for (int i = 0; i < plan->code->n_steps; i++) {
        if (plan->steps[i].n_sums > 0) {
            const qn_box box = qn_integer_full_box(plan->code, i);
            qn_integer_accumulators(&region->run, i, &box, sums + plan->steps[i].sums);
        }
    }
    memcpy(golden, region->run.memory, codes_bytes(plan));
    memcpy(golden + plan->outputs_offset, region->all_outputs,
           plan->output_first[plan->program->n_outputs] * sizeof(float));
}

void qn_region_load(qn_region *region, const uint8_t *golden)
{
    const qn_region_plan *plan = region->plan;
    region->golden = golden;
    region->golden_sums = (const int32_t *)(const void *)(golden + plan->sums_offset);
    region->golden_outputs = (const float *)(const void *)(golden + plan->outputs_offset);
    memcpy(region->run.memory, golden, codes_bytes(plan));
    memcpy(region->all_outputs, region->golden_outputs, plan->output_first[plan->program->n_outputs] * sizeof(float));
    memset(region->is_dirty, 0, (size_t)plan->code->n_tensors);
    region->n_dirty = 0;
    region->outputs_differ = false;
}

static void mark(qn_region *region, int tensor, const qn_box *box)
{
    const qn_region_plan *plan = region->plan;
    if (region->is_dirty[tensor]) {
        region->dirty[tensor] = qn_box_join(&region->dirty[tensor], box);
    } else {
        region->is_dirty[tensor] = 1;
        region->dirty[tensor] = *box;
        region->dirty_list[region->n_dirty++] = tensor;
    }
    for (int i = plan->reader_first[tensor]; i < plan->reader_first[tensor + 1]; i++) {
        region->pending[plan->readers[i] / 64] |= UINT64_C(1) << (plan->readers[i] % 64);
    }
}

/* Kernels run best over whole rows: what acts on each element takes all channels, where they are few and more than one is
 * wanted, and most of a step's output is done whole. What is computed besides comes out as it was. */
static qn_box widened(const qn_region *region, int index, const qn_box *box)
{
    enum { FEW = 128 };
    const qn_integer_step *step = &region->plan->code->steps[index];
    const qn_box full = qn_integer_full_box(region->plan->code, index);
    qn_box wide = *box;
    const bool each = step->kind == QN_STEP_LOOKUP || (step->kind == QN_STEP_ADD && box->k1 - box->k0 > 1);
    if (each && full.k1 <= FEW && box->x1 - box->x0 > 1) {
        wide.k0 = 0;
        wide.k1 = full.k1;
    }
    return qn_box_count(&wide) * 4 > qn_box_count(&full) * 3 ? full : wide;
}

/* An output of the program. */
static void run_output(qn_region *region, int index)
{
    const qn_region_plan *plan = region->plan;
    const size_t io = plan->code->steps[index].io;
    const size_t first = plan->output_first[io], n = plan->output_first[io + 1] - first;
    qn_integer_run_box(&region->run, index, &(qn_box){0});
    if (memcmp(region->all_outputs + first, region->golden_outputs + first, n * sizeof(float)) == 0) {
        region->died_at = index;
        return;
    }
    region->output_dirty[io] = true;
    region->outputs_differ = true;
}

static bool makes_codes_by_box(qn_integer_kind kind)
{
    return kind != QN_STEP_ENCODE && kind != QN_STEP_DECODE && kind != QN_STEP_LOAD && kind != QN_STEP_STORE &&
           kind != QN_STEP_ISLAND;
}

/* What the step's inputs and its alteration change, in work memory. */
static qn_box run_step(qn_region *region, int index, const qn_region_alteration *a)
{
    const qn_integer_step *step = &region->plan->code->steps[index];
    const bool conv = step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
    qn_box box = qn_region_reach(region, index);
    if (a != NULL && conv && !qn_box_is_empty(&a->box)) {
        box = qn_box_join(&box, &a->box);
        qn_region_sums(region, index, &box, region->sums);
        if (a->sums != NULL) {
            a->sums(a->ctx, region, &box, region->sums);
        }
        qn_region_finish_sums(region, index, a->finish != NULL ? a->finish : &region->plan->steps[index].finish, &box,
                              region->sums);
    } else if (!qn_box_is_empty(&box)) {
        if (conv && qn_region_prefers_sums(region, index, &box)) {
            qn_region_add_changes(region, index, &box);
        } else {
            box = makes_codes_by_box(step->kind) ? widened(region, index, &box)
                                                 : qn_integer_full_box(region->plan->code, index);
            qn_integer_run_box(&region->run, index, &box);
        }
    }
    if (a != NULL && a->codes != NULL) {
        qn_box touched = {0};
        a->codes(a->ctx, region, &touched);
        box = qn_box_join(&box, &touched);
    }
    return box;
}

static void visit(qn_region *region, int index, const qn_region_alteration *a)
{
    const qn_region_step *s = &region->plan->steps[index];
    if (s->output < 0) {
        run_output(region, index);
        return;
    }
    const qn_box box = run_step(region, index, a);
    const qn_box differ = qn_box_is_empty(&box) ? (qn_box){0} : qn_region_differ(region, s->output, &box);
    if (qn_box_is_empty(&differ)) {
        region->died_at = index;
        return;
    }
    mark(region, s->output, &differ);
}

void qn_region_spread(qn_region *region, const qn_region_alteration *list, int n)
{
    region->died_at = -1;
    region->ended = false;
    for (int i = 0; i < n; i++) {
        region->pending[list[i].step / 64] |= UINT64_C(1) << (list[i].step % 64);
    }
    int next = 0;
    for (int word = 0; word < region->n_words; word++) {
        while (region->pending[word] != 0) {
            const int index = word * 64 + __builtin_ctzll(region->pending[word]);
            region->pending[word] &= region->pending[word] - 1;
            const bool altered = next < n && list[next].step == index;
            visit(region, index, altered ? &list[next] : NULL);
            next += altered;
            if (region->ends != NULL && next == n && region->died_at != index && region->ends(region->ends_ctx, index)) {
                memset(region->pending, 0, (size_t)region->n_words * sizeof *region->pending);
                region->ended = true;
                return;
            }
        }
    }
}

/* More than the box may be copied: outside it both are the same. One long copy is worth some more bytes. */
static void restore_codes(qn_region *region, const qn_integer_tensor *t, const qn_box *box)
{
    const size_t first = qn_region_offset(t, (qn_region_place){box->y0, box->x0, box->k0});
    const size_t last = qn_region_offset(t, (qn_region_place){box->y1 - 1, box->x1 - 1, box->k1 - 1});
    if ((int64_t)(last - first) <= 4 * qn_box_count(box) + 64) {
        memcpy(region->run.memory + first, region->golden + first, last - first + 1);
        return;
    }
    const size_t n = (size_t)((box->x1 - box->x0 - 1) * t->pixel + box->k1 - box->k0); /* of a row */
    for (int row = box->y0; row < box->y1; row++) {
        const size_t at = first + (size_t)((row - box->y0) * t->row);
        if ((int64_t)n <= 4 * (int64_t)(box->x1 - box->x0) * (box->k1 - box->k0) + 64) {
            memcpy(region->run.memory + at, region->golden + at, n);
            continue;
        }
        for (int column = 0; column < box->x1 - box->x0; column++) {
            const size_t pixel = at + (size_t)(column * t->pixel);
            for (int k = 0; k < box->k1 - box->k0; k++) {
                region->run.memory[pixel + (size_t)k] = region->golden[pixel + (size_t)k];
            }
        }
    }
}

static void restore_reals(qn_region *region, const qn_integer_tensor *t, const qn_box *box)
{
    const size_t first = qn_region_offset(t, (qn_region_place){box->y0, box->x0, box->k0});
    const size_t last = qn_region_offset(t, (qn_region_place){box->y1 - 1, box->x1 - 1, box->k1 - 1});
    memcpy(region->run.memory + first, region->golden + first, last - first + sizeof(float));
}

void qn_region_restore(qn_region *region)
{
    const qn_region_plan *plan = region->plan;
    for (int i = 0; i < region->n_dirty; i++) {
        const int tensor = region->dirty_list[i];
        const qn_integer_tensor *t = &plan->code->tensors[tensor];
        if (t->real) {
            restore_reals(region, t, &region->dirty[tensor]);
        } else {
            restore_codes(region, t, &region->dirty[tensor]);
        }
        region->is_dirty[tensor] = 0;
    }
    region->n_dirty = 0;
    for (size_t io = 0; region->outputs_differ && io < plan->program->n_outputs; io++) {
        if (region->output_dirty[io]) {
            const size_t first = plan->output_first[io], n = plan->output_first[io + 1] - first;
            memcpy(region->all_outputs + first, region->golden_outputs + first, n * sizeof(float));
            region->output_dirty[io] = false;
        }
    }
    region->outputs_differ = false;
}
