/* The walk that makes the variables of channels.h; inside channels*.c only. */
#ifndef QN_PTQ_CHANNELS_WALK_H
#define QN_PTQ_CHANNELS_WALK_H

#include "ptq/channels.h"

typedef struct qn_channels_walk {
    qn_ptq_channels *c;
    const qn_ptq *ptq;
    const qn_graph *graph;
    const qn_binding *binding;
    const qn_node *node;
    bool free_caps;
    qn_error *err;
    qn_arena *arena;
} qn_channels_walk;

bool qn_channels_has(const qn_channels_walk *w, qn_value_id id);
/* Channels of a value that has variables. */
int64_t qn_channels_count(const qn_channels_walk *w, qn_value_id id);
/* Let two variables share a factor; let one be 1; let all of the node's inputs be 1. */
void qn_channels_tie(const qn_channels_walk *w, int32_t a, int32_t b);
void qn_channels_pin(const qn_channels_walk *w, int32_t variable);
void qn_channels_pin_inputs(const qn_channels_walk *w);
/* New variables for `id` along `axis`; none where its factors cannot be free. */
qn_status qn_channels_give(const qn_channels_walk *w, qn_value_id id, int axis);
/* The output's channels are those of `from`, along `axis` of the output. */
void qn_channels_share(const qn_channels_walk *w, qn_value_id from, int axis);

/* Visits of the operators that move elements (channels_moves.c): each ties, shares or pins. */
typedef qn_status (*qn_channels_visit)(const qn_channels_walk *w);
qn_status qn_channels_visit_same(const qn_channels_walk *w);
qn_status qn_channels_visit_concat(const qn_channels_walk *w);
qn_status qn_channels_visit_reshape(const qn_channels_walk *w);
qn_status qn_channels_visit_transpose(const qn_channels_walk *w);
qn_status qn_channels_visit_slice(const qn_channels_walk *w);
qn_status qn_channels_visit_pad(const qn_channels_walk *w);
qn_status qn_channels_visit_mean(const qn_channels_walk *w);

#endif
