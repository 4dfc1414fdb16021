/* Frames of a replayed fault: what changed, what the receiver said, which values arrived. */
#include <math.h>
#include <string.h>

#include "fault/replay.h"

/* One image's way to the link that is struck.
 *  sent, values, faulty   tensors of the link before they are coded, and behind it, without and with the fault */
typedef struct way {
    qn_replay *replay;
    qn_link_runner runner;
    qn_arena arena;
    int link;
    float **sent;
    const float *const *from;
} way;

static const qn_fault_target *target_of(const qn_replay *r, int64_t change)
{
    return &r->site.targets.list[r->fault.changes[change].target];
}

static qn_status tensors_of(way *w, const qn_cut *cut, float ***tensors, qn_error *err)
{
    *tensors = qn_arena_array(&w->arena, cut->n_tensors + 1, sizeof **tensors);
    bool made = *tensors != NULL;
    for (size_t i = 0; made && i < cut->n_tensors; i++) {
        (*tensors)[i] = qn_arena_array(&w->arena, (size_t)cut->tensors[i].count + 1, sizeof(float));
        made = (*tensors)[i] != NULL;
    }
    return made ? QN_OK : qn_fail_memory(err, NULL, cut->n_tensors * sizeof(float *));
}

static qn_status fail_clean(qn_error *err)
{
    return qn_fail(err, QN_EINTERNAL, NULL, "a fault-free message was refused");
}

/* Everything before the link, without faults. */
static qn_status go(way *w, int64_t image, qn_error *err)
{
    const qn_link_path *path = w->replay->site.links;
    float **inputs, **values;
    QN_TRY(tensors_of(w, qn_cuts_at(path->cuts, 0), &inputs, err));
    QN_TRY(qn_dataset_read(w->replay->data, image, 1, inputs[0], err));
    w->from = (const float *const *)inputs;
    for (int stage = 0; stage <= w->link; stage++) {
        const qn_cut *cut = qn_link_path_behind(path, stage);
        bool refused = false;
        QN_TRY(tensors_of(w, cut, &w->sent, err));
        QN_TRY(qn_link_run_stage(&w->runner, stage, w->from, w->sent, &refused, err));
        QN_TRY(tensors_of(w, cut, &values, err));
        for (size_t i = 0; i < cut->n_tensors && stage < w->link && !refused; i++) {
            const int f = path->hops[stage].first_frame + (int)i;
            unsigned char *bytes = qn_arena_alloc(&w->arena, path->frames[f].layout->n_bytes);
            qn_link_verdict verdict;
            if (bytes == NULL) {
                return qn_fail_memory(err, NULL, path->frames[f].layout->n_bytes);
            }
            QN_TRY(qn_link_send(&w->runner, f, image, w->sent[i], bytes, &refused, err));
            QN_TRY(refused ? fail_clean(err) : qn_link_receive(&w->runner, f, bytes, values[i], &verdict, err));
        }
        if (refused) {
            return fail_clean(err);
        }
        w->from = (const float *const *)values;
    }
    return QN_OK;
}

/* The field that a byte is in, the first of those that share it. */
static const char *field_of(const qn_replay *r, int frame, size_t byte)
{
    for (int i = 0; i < r->site.targets.n; i++) {
        const qn_fault_target *t = &r->site.targets.list[i];
        if (t->frame == frame && t->first_bit + t->n_elems * t->bits > 8 * (int64_t)byte) {
            return t->field;
        }
    }
    return "";
}

static void compare_bytes(qn_replay_frame *told, const qn_replay *r, int frame, const unsigned char *was,
                          const unsigned char *is)
{
    for (size_t i = 0; i < told->n_bytes; i++) {
        if (was[i] == is[i]) {
            continue;
        }
        if (told->n_changed < QN_REPLAY_BYTES) {
            told->bytes[told->n_changed] = (qn_replay_byte){i, field_of(r, frame, i), was[i], is[i]};
        }
        told->n_changed++;
    }
}

static void compare_values(qn_replay_frame *told, const float *was, const float *is)
{
    for (int64_t i = 0; i < told->n_values; i++) {
        if (memcmp(&was[i], &is[i], sizeof *is) == 0) {
            continue;
        }
        if (told->n_differ++ == 0) {
            told->first_differ = i;
            told->value_before = (double)was[i];
            told->value_after = (double)is[i];
        }
        const double by = fabs((double)is[i] - (double)was[i]);
        told->max_abs = !isfinite(by) ? INFINITY : by > told->max_abs ? by : told->max_abs;
    }
}

/* One frame of the link; its changes are first .. end - 1. */
static qn_status tell_frame(way *w, int64_t image, int frame, int64_t first, int64_t end, qn_replay_frame_fn *fn,
                            void *ctx, qn_error *err)
{
    qn_replay *r = w->replay;
    const qn_link_frame *f = &r->site.links->frames[frame];
    const size_t n_bytes = f->layout->n_bytes;
    unsigned char *was = qn_arena_alloc(&w->arena, n_bytes), *is = qn_arena_alloc(&w->arena, n_bytes);
    const size_t count = (size_t)f->tensor->count;
    float *before = qn_arena_array(&w->arena, count + 1, sizeof *before);
    float *after = qn_arena_array(&w->arena, count + 1, sizeof *after);
    qn_replay_frame told = {.link = r->site.links->hops[f->link].cut->name,
                            .tensor = f->tensor->name,
                            .n_bytes = n_bytes,
                            .n_values = f->tensor->count};
    bool refused = false;
    if (was == NULL || is == NULL || before == NULL || after == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    const int tensor = frame - r->site.links->hops[f->link].first_frame;
    QN_TRY(qn_link_send(&w->runner, frame, image, w->sent[tensor], was, &refused, err));
    QN_TRY(refused ? fail_clean(err) : qn_link_receive(&w->runner, frame, was, before, &told.verdict, err));
    memcpy(is, was, n_bytes);
    for (int64_t i = first; i < end; i++) {
        uint32_t code, changed;
        qn_link_strike(is, &r->fault.changes[i], target_of(r, i), r->site.program, &code, &changed);
    }
    QN_TRY(qn_link_receive(&w->runner, frame, is, after, &told.verdict, err));
    compare_bytes(&told, r, frame, was, is);
    if (told.verdict.end == QN_LINK_TAKEN) {
        compare_values(&told, before, after);
    }
    fn(ctx, &told);
    return QN_OK;
}

static qn_status tell_frames(way *w, int64_t image, qn_replay_frame_fn *fn, void *ctx, bool *others, qn_error *err)
{
    const qn_replay *r = w->replay;
    const qn_link_path *path = r->site.links;
    w->link = path->frames[target_of(r, 0)->frame].link;
    QN_TRY(qn_link_runner_make(&w->runner, path, err));
    QN_TRY(go(w, image, err));
    for (int64_t first = 0, end; first < r->fault.n_changes; first = end) {
        const int frame = target_of(r, first)->frame;
        for (end = first + 1; end < r->fault.n_changes && target_of(r, end)->frame == frame;) {
            end++;
        }
        if (path->frames[frame].link != w->link) {
            *others = true;
            return QN_OK;
        }
        QN_TRY(tell_frame(w, image, frame, first, end, fn, ctx, err));
    }
    return QN_OK;
}

qn_status qn_replay_frames(qn_replay *replay, int64_t image, qn_replay_frame_fn *fn, void *ctx, bool *others,
                           qn_error *err)
{
    *others = false;
    if (replay->site.links == NULL || replay->fault.n_changes == 0) {
        return QN_OK;
    }
    QN_TRY(qn_replay_check(replay, image, err));
    way w = {.replay = replay};
    const qn_status status = tell_frames(&w, image, fn, ctx, others, err);
    if (w.runner.path != NULL) {
        qn_link_runner_free(&w.runner);
    }
    qn_arena_free(&w.arena);
    return status;
}
