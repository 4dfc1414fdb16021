/* Following few changed elements of a value without running: through Relu, Clip, MaxPool, views and kept quantizers.
 *
 * An operator is followed only where its definition gives golden's bytes of golden's operands, and never into a case that
 * kernels may settle in either way: NaN, and zeros of both signs. */
#include <math.h>
#include <string.h>

#include "fault/inject_float.h"

/* Changed elements of a value in one image, on their way.
 *  unsure  a case was met that kernels may settle in either way */
typedef struct following {
    const qn_restart *restart;
    const qn_floats_way *way;
    int64_t slot;
    qn_value_id from;
    const qn_floats_write *writes;
    int n;
    bool unsure;
} following;

static float golden(following *f, int64_t element)
{
    const float x = qn_restart_golden_at(f->restart, f->from, f->slot, element);
    f->unsure |= isnan(x) || qn_bits_of_f32(x) == UINT32_C(0x80000000);
    return x;
}

static float changed(following *f, int64_t element)
{
    for (int i = 0; i < f->n; i++) {
        if (f->writes[i].element == element) {
            return f->writes[i].x;
        }
    }
    return golden(f, element);
}

typedef float operand_fn(following *f, int64_t element);

static float clamp(const following *f, float x)
{
    return x < f->way->lo ? f->way->lo : x > f->way->hi ? f->way->hi : x;
}

/* The greatest of a window; `element` of the result. */
static float greatest(following *f, int64_t element, operand_fn *operand)
{
    const qn_window *w = &f->way->window;
    const int64_t plane = w->out[0] * w->out[1], c = element / plane, row = element % plane / w->out[1],
                  column = element % w->out[1];
    float most = -INFINITY;
    for (int64_t i = 0; i < w->kernel[0]; i++) {
        const int64_t y = row * w->stride[0] - w->pad_begin[0] + i * w->dilation[0];
        for (int64_t j = 0; y >= 0 && y < w->in[0] && j < w->kernel[1]; j++) {
            const int64_t x = column * w->stride[1] - w->pad_begin[1] + j * w->dilation[1];
            if (x >= 0 && x < w->in[1]) {
                const float value = operand(f, (c * w->in[0] + y) * w->in[1] + x);
                most = value > most ? value : most;
            }
        }
    }
    return most;
}

static float put_through(const following *f, int64_t element, float x)
{
    const qn_floats_place *p = &f->way->place;
    if (p->quantizer == NULL) {
        return x;
    }
    const int64_t k = (f->slot * p->per_item + element) % p->count, set = qn_floats_set(p, k);
    return qn_floats_decode(p->quantizer, set, k, qn_floats_encode(p->quantizer, set, k, x));
}

static float make(following *f, int64_t element, operand_fn *operand)
{
    float x;
    switch (f->way->op) {
    case QN_OP_RELU:
    case QN_OP_CLIP:
        x = clamp(f, operand(f, element));
        break;
    case QN_OP_MAX_POOL:
        x = greatest(f, element, operand);
        break;
    default:
        x = operand(f, element);
        break;
    }
    return put_through(f, element, x);
}

/* Add `element` to the result where it changes; false when that is not sure, or there are too many. */
static bool make_one(following *f, int64_t element, qn_floats_write made[QN_FLOATS_FOLLOWED], int *n)
{
    for (int i = 0; i < *n; i++) {
        if (made[i].element == element) {
            return true;
        }
    }
    const float was = qn_restart_golden_at(f->restart, f->way->to, f->slot, element);
    const float is = make(f, element, changed);
    if (qn_bits_of_f32(make(f, element, golden)) != qn_bits_of_f32(was) || f->unsure || *n == QN_FLOATS_FOLLOWED) {
        return false;
    }
    made[*n] = (qn_floats_write){element, is};
    *n += qn_bits_of_f32(was) != qn_bits_of_f32(is);
    return true;
}

/* The windows of a pool that contain an element are those of these rows, or columns. */
static void windows_of(const qn_window *w, int d, int64_t at, int64_t *first, int64_t *last)
{
    const int64_t reach = (w->kernel[d] - 1) * w->dilation[d], low = at + w->pad_begin[d] - reach;
    *first = low <= 0 ? 0 : (low + w->stride[d] - 1) / w->stride[d];
    *last = (at + w->pad_begin[d]) / w->stride[d];
    *last = *last < w->out[d] ? *last : w->out[d] - 1;
}

static bool make_windows(following *f, int64_t element, qn_floats_write made[QN_FLOATS_FOLLOWED], int *n)
{
    const qn_window *w = &f->way->window;
    const int64_t plane = w->in[0] * w->in[1], c = element / plane;
    int64_t rows[2], columns[2];
    windows_of(w, 0, element % plane / w->in[1], &rows[0], &rows[1]);
    windows_of(w, 1, element % w->in[1], &columns[0], &columns[1]);
    for (int64_t row = rows[0]; row <= rows[1]; row++) {
        for (int64_t column = columns[0]; column <= columns[1]; column++) {
            if (!make_one(f, (c * w->out[0] + row) * w->out[1] + column, made, n)) {
                return false;
            }
        }
    }
    return true;
}

static bool is_view(qn_op op)
{
    return op == QN_OP_RESHAPE || op == QN_OP_FLATTEN || op == QN_OP_IDENTITY || op == QN_OP_SQUEEZE ||
           op == QN_OP_UNSQUEEZE || op == QN_OP_DROPOUT;
}

static bool is_followed(qn_op op)
{
    return op == QN_OP_RELU || op == QN_OP_CLIP || op == QN_OP_MAX_POOL || is_view(op);
}

/* Can elements of node's first input be followed into its result? */
static bool describe(qn_floats_way *way, const qn_program *program, const qn_restart *restart, const qn_node *node)
{
    way->op = node->op;
    way->to = node->outputs[0];
    if (!is_followed(node->op) || way->to == QN_NO_VALUE || !qn_restart_has(restart, way->to) ||
        !qn_restart_has(restart, node->inputs[0]) || !qn_restart_is_by_item(restart, way->to)) {
        return false;
    }
    const qn_float_quantized *quantized = qn_restart_quantized(restart, way->to);
    const qn_quantizer *q = quantized != NULL ? program->graph.values[way->to].quantizer : NULL;
    if (q != NULL && (q->dynamic || program->options.engine != QN_ENGINE_SIMULATE)) {
        return false;
    }
    if (q != NULL) {
        way->place = (qn_floats_place){
            .quantizer = q, .rank = quantized->rank, .count = 1, .per_item = qn_restart_item_count(restart, way->to)};
        memcpy(way->place.dims, quantized->dims, sizeof way->place.dims);
        for (int i = 0; i < quantized->rank; i++) {
            way->place.count *= quantized->dims[i];
        }
    }
    qn_clip clip = {0, INFINITY};
    if (node->op == QN_OP_CLIP && qn_clip_of_node(&clip, &program->binding, node, NULL) != QN_OK) {
        return false;
    }
    way->lo = (float)clip.lo;
    way->hi = (float)clip.hi;
    return clip.lo <= clip.hi &&
           (node->op != QN_OP_MAX_POOL || (qn_window_of_node(&way->window, &program->binding, node, NULL) == QN_OK &&
                                           way->window.n == program->options.batch));
}

/* Values that one node alone reads, at one place, and that are no outputs. */
qn_status qn_floats_find_ways(qn_floats_injector *state, const qn_program *program, const qn_restart *restart,
                              qn_error *err)
{
    const qn_graph *graph = &program->graph;
    int32_t *uses = qn_graph_count_uses(graph);
    state->ways = qn_alloc((graph->n_values + 1) * sizeof *state->ways);
    if (uses == NULL || state->ways == NULL) {
        qn_free(uses);
        return qn_fail_memory(err, graph->file, graph->n_values * sizeof *state->ways);
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        state->ways[i].node = -1;
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const qn_node *node = &graph->nodes[i];
        if (node->op == QN_OP_REMOVED || node->n_inputs < 1 || node->inputs[0] == QN_NO_VALUE ||
            uses[node->inputs[0]] != 1) {
            continue;
        }
        qn_floats_way *way = &state->ways[node->inputs[0]];
        way->node = describe(way, program, restart, node) ? (int32_t)i : -1;
    }
    qn_free(uses);
    return QN_OK;
}

void qn_floats_follow(const qn_injector *injector, const qn_floats_worker *worker, int64_t slot, qn_value_id *value,
                      qn_floats_write writes[QN_FLOATS_FOLLOWED], int *n, int32_t *node)
{
    const qn_floats_injector *state = qn_floats_state(injector);
    *node = -1;
    while (*n > 0) {
        following f = {.restart = worker->restart,
                       .way = &state->ways[*value],
                       .slot = slot,
                       .from = *value,
                       .writes = writes,
                       .n = *n};
        if (f.way->node < 0) {
            return;
        }
        qn_floats_write made[QN_FLOATS_FOLLOWED];
        int n_made = 0;
        bool sure = true;
        for (int i = 0; sure && i < *n; i++) {
            sure = !isnan(writes[i].x) && qn_bits_of_f32(writes[i].x) != UINT32_C(0x80000000) &&
                   (f.way->op == QN_OP_MAX_POOL ? make_windows(&f, writes[i].element, made, &n_made)
                                                : make_one(&f, writes[i].element, made, &n_made));
        }
        if (!sure) {
            return;
        }
        *node = f.way->node;
        *value = f.way->to;
        *n = n_made;
        memcpy(writes, made, (size_t)n_made * sizeof *made);
    }
}
