/* Shapes, quantizers and frames of what crosses at a position. */
#include "link/crossing.h"

#include <string.h>

#include "link/link.h"
#include "link/message.h"

static qn_status take_shape(qn_crossing_tensor *t, const qn_cuts *cuts, const qn_cut_tensor *from, qn_error *err)
{
    t->leads = qn_cuts_batched(cuts);
    t->rank = from->rank + (t->leads ? 1 : 0);
    t->count = from->count;
    if (t->rank > QN_MAX_RANK) {
        return qn_fail(err, QN_EINVAL, from->name, "of %d dimensions and the number of items; frames hold %d",
                       from->rank, QN_MAX_RANK);
    }
    memcpy(t->dims + (t->leads ? 1 : 0), from->dims, (size_t)from->rank * sizeof *t->dims);
    return QN_OK;
}

/* A model's quantizer is for one item. Where each element of the leading dimension has sets of its own, all items get
 * copies of them; otherwise they share them. */
static qn_status take_quantizer(qn_crossing *c, qn_crossing_tensor *t, const qn_quantizer *of_item, int64_t microbatch,
                                qn_error *err)
{
    const bool one = of_item->n == 1 && of_item->format.block == 0;
    qn_quantizer like = *of_item;
    like.axis = one ? -1 : of_item->axis;
    like.group = one ? 0 : of_item->group;
    t->sets = !t->leads || one || (of_item->axis > 0 && of_item->group == 0) ? 0 : of_item->n;
    if (t->sets > 0 && (of_item->axis == 0 || (of_item->axis < 0 && t->count % of_item->group != 0))) {
        return QN_OK; /* sets that would reach from item to item: it travels as fp32 */
    }
    like.n = t->sets > 0 ? microbatch * t->sets : of_item->n;
    size_t n_bytes;
    if (!qn_quantizer_bytes(&n_bytes, like.n)) {
        return QN_OK;
    }
    void *memory = qn_arena_alloc(&c->arena, n_bytes);
    if (memory == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    qn_quantizer *q = qn_quantizer_place(memory, &like);
    for (int64_t set = 0; set < like.n; set++) {
        qn_quantizer_set(q, set, qn_quantizer_get(of_item, set % of_item->n));
    }
    qn_frame ignored;
    int64_t dims[QN_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    dims[0] = t->leads ? microbatch : dims[0];
    t->fixed = qn_frame_plan_for(&ignored, q, NULL, t->rank, dims, NULL) == QN_OK ? q : NULL;
    return QN_OK;
}

static qn_status take_choice(qn_crossing *c, qn_crossing_choice *choice, const qn_link_choice *from, bool checksum,
                             qn_error *err)
{
    choice->codes = strcmp(from->format, "codes") == 0;
    qn_link_choice_options(&choice->options, from);
    choice->options.checksum = checksum ? QN_LINK_CHECKSUM_ON : QN_LINK_CHECKSUM_OFF;
    choice->frames = qn_arena_array(&c->arena, c->n_tensors + 1, sizeof *choice->frames);
    return choice->frames != NULL ? QN_OK : qn_fail_memory(err, NULL, c->n_tensors * sizeof *choice->frames);
}

static qn_status take(qn_crossing *c, const qn_cuts *cuts, const qn_cut *cut, const qn_plan_link *link,
                      int64_t microbatch, qn_error *err)
{
    c->n_tensors = cut->n_tensors;
    c->n_choices = link != NULL ? link->n_choices : 0;
    c->tensors = qn_arena_array(&c->arena, c->n_tensors + 1, sizeof *c->tensors);
    c->choices = qn_arena_array(&c->arena, c->n_choices + 1, sizeof *c->choices);
    if (c->tensors == NULL || c->choices == NULL) {
        return qn_fail_memory(err, NULL, c->n_tensors * sizeof *c->tensors);
    }
    for (size_t i = 0; i < c->n_tensors; i++) {
        const qn_cut_tensor *from = &cut->tensors[i];
        QN_TRY(take_shape(&c->tensors[i], cuts, from, err));
        if (from->coded) {
            QN_TRY(take_quantizer(c, &c->tensors[i], cuts->coding[from->value], microbatch, err));
        }
    }
    for (size_t k = 0; k < c->n_choices; k++) {
        const qn_frame *ignored;
        QN_TRY(take_choice(c, &c->choices[k], &link->choices[k], link->checksum, err));
        QN_TRY(qn_crossing_plan(&ignored, c, k, microbatch, err));
    }
    return QN_OK;
}

qn_status qn_crossing_init(qn_crossing *crossing, const qn_cuts *cuts, size_t position, const qn_plan_link *link,
                           int64_t microbatch, qn_error *err)
{
    *crossing = (qn_crossing){0};
    if (microbatch > 1 && !qn_cuts_batched(cuts)) {
        return qn_fail(err, QN_EINVAL, cuts->model->graph.file,
                       "micro-batches of %lld items, but stages of this network take one item at a time",
                       (long long)microbatch);
    }
    const qn_status status = take(crossing, cuts, qn_cuts_at(cuts, position), link, microbatch, err);
    if (status != QN_OK) {
        qn_crossing_free(crossing);
    }
    return status;
}

void qn_crossing_free(qn_crossing *crossing)
{
    qn_arena_free(&crossing->arena);
    *crossing = (qn_crossing){0};
}

const qn_quantizer *qn_crossing_fixed(qn_quantizer *q, const qn_crossing *c, size_t choice, size_t index, int64_t n)
{
    const qn_crossing_tensor *t = &c->tensors[index];
    if (!c->choices[choice].codes || t->fixed == NULL) {
        return NULL;
    }
    *q = *t->fixed;
    q->n = t->sets > 0 ? n * t->sets : q->n;
    return q;
}

static qn_status plan_frame(qn_frame *frame, const qn_crossing *c, size_t choice, size_t index, int64_t n,
                            qn_error *err)
{
    const qn_crossing_tensor *t = &c->tensors[index];
    const qn_link_options *o = &c->choices[choice].options;
    int64_t dims[QN_MAX_RANK];
    qn_quantizer q;
    memcpy(dims, t->dims, sizeof dims);
    dims[0] = t->leads ? n : dims[0];
    return qn_crossing_fixed(&q, c, choice, index, n) != NULL ? qn_frame_plan_for(frame, &q, o, t->rank, dims, err)
                                                              : qn_frame_plan(frame, o, t->rank, dims, err);
}

qn_status qn_crossing_plan(const qn_frame **frames, qn_crossing *c, size_t choice, int64_t n, qn_error *err)
{
    qn_crossing_choice *of = &c->choices[choice];
    if (of->items != n) {
        of->items = 0;
        for (size_t i = 0; i < c->n_tensors; i++) {
            QN_TRY(plan_frame(&of->frames[i], c, choice, i, n, err));
        }
        of->items = n;
    }
    *frames = of->frames;
    return QN_OK;
}

size_t qn_crossing_bytes(const qn_crossing *c, size_t choice, int64_t n)
{
    size_t sum = QN_ENVELOPE_BYTES;
    for (size_t i = 0; i < c->n_tensors; i++) {
        qn_frame frame;
        if (plan_frame(&frame, c, choice, i, n, NULL) != QN_OK || !qn_add_size(sum, frame.n_bytes, &sum)) {
            return 0;
        }
    }
    return sum;
}
