/* Following few changed elements of a value without running: through Relu, Clip, MaxPool, views and kept quantizers.
 *
 * An operator is followed only where its definition gives golden's bytes of golden's operands, and never into a case that
 * kernels may settle in either way: NaN, and zeros of both signs. */
#include <math.h>
#include <string.h>

#include "fault/inject_float.h"

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Where a step takes elements from, and what it makes of them. */
typedef struct following {
    const qn_injector *injector;
    const qn_restart *restart;
    const qn_node *node;
    int64_t slot;
    qn_value_id from, to;
    const qn_floats_write *writes; /* changed elements of `from` */
    int n;
    bool unsure;
    const qn_quantizer *q; /* of `to`; NULL: none */
    const qn_float_quantized *quantized;
    qn_clip clip;
    qn_window window;
} following;

static float golden(following *f, int64_t element)
{
    const float x = qn_restart_golden_at(f->restart, f->from, f->slot, element);
    f->unsure |= isnan(x) || bits_of(x) == UINT32_C(0x80000000);
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
    const float lo = (float)f->clip.lo, hi = (float)f->clip.hi;
    return x < lo ? lo : x > hi ? hi : x;
}

/* The greatest of a window; `element` of the result. */
static float greatest(following *f, int64_t element, operand_fn *operand)
{
    const qn_window *w = &f->window;
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
    if (f->q == NULL) {
        return x;
    }
    int64_t count = 1;
    for (int i = 0; i < f->quantized->rank; i++) {
        count *= f->quantized->dims[i];
    }
    const qn_floats_place place = {.quantizer = f->q, .rank = f->quantized->rank};
    qn_floats_place shaped = place;
    memcpy(shaped.dims, f->quantized->dims, sizeof shaped.dims);
    const int64_t k = (f->slot * qn_restart_item_count(f->restart, f->to) + element) % count;
    const int64_t set = qn_floats_set(&shaped, k);
    return qn_floats_decode(f->q, set, k, qn_floats_encode(f->q, set, k, x));
}

static float make(following *f, int64_t element, operand_fn *operand)
{
    float x;
    switch (f->node->op) {
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
    const float was = qn_restart_golden_at(f->restart, f->to, f->slot, element);
    const float is = make(f, element, changed);
    if (bits_of(make(f, element, golden)) != bits_of(was) || f->unsure || *n == QN_FLOATS_FOLLOWED) {
        return false;
    }
    made[*n] = (qn_floats_write){element, is};
    *n += bits_of(was) != bits_of(is);
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
    const qn_window *w = &f->window;
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

/* Is the only reader of `from` an operator that is followed, and what is it? */
static bool describe(following *f, const qn_floats_injector *state)
{
    const qn_program *program = f->injector->options.program;
    const int32_t reader = state->reader[f->from];
    if (reader < 0) {
        return false;
    }
    f->node = &program->graph.nodes[reader];
    f->to = f->node->outputs[0];
    const bool followed =
        f->node->op == QN_OP_RELU || f->node->op == QN_OP_CLIP || f->node->op == QN_OP_MAX_POOL || is_view(f->node->op);
    if (!followed || f->node->inputs[0] != f->from || f->to == QN_NO_VALUE || !qn_restart_has(f->restart, f->to) ||
        !qn_restart_is_by_item(f->restart, f->to)) {
        return false;
    }
    f->q = program->graph.values[f->to].quantizer;
    f->quantized = qn_restart_quantized(f->restart, f->to);
    f->q = f->quantized != NULL ? f->q : NULL;
    if (f->q != NULL && (f->q->dynamic || program->options.engine != QN_ENGINE_SIMULATE)) {
        return false;
    }
    f->clip = (qn_clip){0, INFINITY};
    if (f->node->op == QN_OP_CLIP) {
        return qn_clip_of_node(&f->clip, &program->binding, f->node, NULL) == QN_OK && f->clip.lo <= f->clip.hi;
    }
    return f->node->op != QN_OP_MAX_POOL || (qn_window_of_node(&f->window, &program->binding, f->node, NULL) == QN_OK &&
                                             f->window.n == program->options.batch);
}

void qn_floats_follow(const qn_injector *injector, const qn_floats_worker *worker, int64_t slot, qn_value_id *value,
                      qn_floats_write writes[QN_FLOATS_FOLLOWED], int *n, int32_t *node)
{
    const qn_floats_injector *state = qn_floats_state(injector);
    *node = -1;
    while (*n > 0) {
        following f = {
            .injector = injector, .restart = worker->restart, .slot = slot, .from = *value, .writes = writes, .n = *n};
        if (!describe(&f, state)) {
            return;
        }
        qn_floats_write made[QN_FLOATS_FOLLOWED];
        int n_made = 0;
        bool sure = true;
        for (int i = 0; sure && i < *n; i++) {
            sure = !isnan(writes[i].x) && bits_of(writes[i].x) != UINT32_C(0x80000000) &&
                   (f.node->op == QN_OP_MAX_POOL ? make_windows(&f, writes[i].element, made, &n_made)
                                                 : make_one(&f, writes[i].element, made, &n_made));
        }
        if (!sure) {
            return;
        }
        *node = (int32_t)(f.node - injector->options.program->graph.nodes);
        *value = f.to;
        *n = n_made;
        memcpy(writes, made, (size_t)n_made * sizeof *made);
    }
}
