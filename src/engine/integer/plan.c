/* Planning memory: borders wide enough for every reader, lifetimes, places in one arena; then the offsets that depend
 * on them. */
#include "engine/integer/integer.h"

#include <string.h>

#include "base/memory.h"

static int greater(int64_t a, int64_t b)
{
    int64_t most = a > b ? a : b;
    return most > INT32_MAX ? INT32_MAX : (int)most;
}

/* The border that windows of one axis reach into, before and behind. */
static void widen(const qn_integer_conv *conv, int axis, int size, int n_out, int *before, int *behind)
{
    int64_t reach =
        (int64_t)(n_out - 1) * conv->stride[axis] + (int64_t)(conv->kernel[axis] - 1) * conv->dilation[axis];
    *before = greater(*before, conv->pad[axis]);
    *behind = greater(*behind, reach + 1 - conv->pad[axis] - size);
}

static void touch(qn_integer_tensor *t, int step)
{
    t->first_step = t->first_step < 0 ? step : t->first_step;
    t->last_step = step;
}

static void find_borders_and_lifetimes(qn_integer_code *code)
{
    for (int i = 0; i < code->n_steps; i++) {
        qn_integer_step *step = &code->steps[i];
        int n_inputs;
        const int *inputs = qn_integer_inputs(step, &n_inputs);
        for (int input = 0; input < n_inputs; input++) {
            if (inputs[input] >= 0) {
                const int base = code->tensors[inputs[input]].base;
                touch(&code->tensors[inputs[input]], i);
                touch(&code->tensors[base >= 0 ? base : inputs[input]], i);
            }
        }
        if (step->output >= 0) {
            touch(&code->tensors[step->output], i);
        }
        if (step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE) {
            qn_integer_tensor *x = &code->tensors[step->input[0]];
            const qn_integer_tensor *y = &code->tensors[step->output];
            widen(&step->u.conv, 0, x->height, y->height, &x->top, &x->bottom);
            widen(&step->u.conv, 1, x->width, y->width, &x->left, &x->right);
        }
    }
}

/* Steps and size of a tensor within its border. Until the plan has placed it, the offset of element (0, 0, 0) is relative
 * to its start. */
static qn_status measure(qn_integer_tensor *t, const char *name, qn_error *err)
{
    int64_t width = (int64_t)t->left + t->width + t->right, height = (int64_t)t->top + t->height + t->bottom;
    int64_t row, bytes;
    if (__builtin_mul_overflow(width, t->channels, &row) || __builtin_mul_overflow(row, height, &bytes) ||
        bytes > PTRDIFF_MAX / 8) {
        return qn_fail(err, QN_ELIMIT, name, "a padded map of %lld x %lld pixels is too large", (long long)height,
                       (long long)width);
    }
    if (t->real) {
        row *= (int64_t)sizeof(float);
        bytes *= (int64_t)sizeof(float);
    }
    t->pixel = t->channels;
    t->row = (ptrdiff_t)row;
    t->n_bytes = (size_t)bytes;
    t->offset = (size_t)((ptrdiff_t)t->top * t->row + t->left * t->pixel);
    return QN_OK;
}

/* Tensors in memory at one moment, by their place. */
typedef struct live {
    size_t start, end;
    int last_step;
} live;

/* First gap among the live ones that fits; keeps `set` sorted. */
static bool place(live *set, int *n, size_t n_bytes, int last_step, size_t *start)
{
    size_t at = 0;
    int i = 0;
    while (i < *n && set[i].start - at < n_bytes) {
        at = set[i].end;
        i++;
    }
    size_t end;
    if (!qn_add_size(at, (n_bytes + QN_CACHE_LINE - 1) / QN_CACHE_LINE * QN_CACHE_LINE, &end) || end > PTRDIFF_MAX) {
        return false;
    }
    memmove(&set[i + 1], &set[i], (size_t)(*n - i) * sizeof *set);
    set[i] = (live){at, end, last_step};
    (*n)++;
    *start = at;
    return true;
}

static void expire(live *set, int *n, int step)
{
    int kept = 0;
    for (int i = 0; i < *n; i++) {
        if (set[i].last_step >= step) {
            set[kept++] = set[i];
        }
    }
    *n = kept;
}

/* Constants, and all tensors where values are kept, live throughout; the others were made in the order of the steps
 * that write them. */
static qn_status place_all(qn_integer_code *code, live *set, bool keep, qn_error *err)
{
    int n = 0;
    size_t start, most = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < code->n_tensors; i++) {
            qn_integer_tensor *t = &code->tensors[i];
            bool constant = t->initial != NULL;
            if (constant != (pass == 0) || t->first_step < 0 || t->base >= 0) {
                continue;
            }
            expire(set, &n, constant ? -1 : t->first_step);
            if (!place(set, &n, t->n_bytes, constant || keep ? code->n_steps : t->last_step, &start)) {
                return qn_fail(err, QN_ELIMIT, NULL, "the network's values do not fit an address space");
            }
            t->offset += start;
            most = most > start + t->n_bytes ? most : start + t->n_bytes;
        }
    }
    for (int i = 0; i < code->n_tensors; i++) { /* views are plain: their first byte is that of what they show */
        if (code->tensors[i].base >= 0) {
            code->tensors[i].offset = code->tensors[code->tensors[i].base].offset;
        }
    }
    code->arena_bytes = most;
    return QN_OK;
}

/* What was written in pixels becomes bytes now that rows are known. */
static void finish_step(qn_integer_code *code, qn_integer_step *step, size_t *overread)
{
    const qn_integer_tensor *x = step->input[0] >= 0 ? &code->tensors[step->input[0]] : NULL;
    if (step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE) {
        qn_integer_conv *conv = &step->u.conv;
        for (int i = 0; i < conv->layout.n_segments; i++) {
            int r = conv->rows_adjoin ? i : i / conv->kernel[1], s = conv->rows_adjoin ? 0 : i % conv->kernel[1];
            conv->segment[i] = (ptrdiff_t)r * conv->dilation[0] * x->row + (ptrdiff_t)s * conv->dilation[1] * x->pixel;
        }
        const qn_conv_job job = {.x_pixel = conv->stride[1] * x->pixel};
        size_t beyond = qn_conv_overread(step->kernel, &job);
        *overread = *overread > beyond ? *overread : beyond;
    } else if (step->kind == QN_STEP_ADD) {
        for (int i = 0; i < 2; i++) {
            step->u.add.row[i] *= code->tensors[step->input[i]].row;
            step->u.add.pixel[i] *= code->tensors[step->input[i]].pixel;
        }
    }
}

qn_status qn_integer_plan(qn_program *program, qn_integer_code *code, qn_error *err)
{
    find_borders_and_lifetimes(code);
    for (int i = 0; i < code->n_tensors; i++) {
        QN_TRY(measure(&code->tensors[i], program->graph.values[code->tensors[i].value].name, err));
    }
    live *set = qn_arena_array(&program->arena, (size_t)code->n_tensors + 1, sizeof *set);
    if (set == NULL) {
        return qn_fail_memory(err, NULL, (size_t)code->n_tensors * sizeof *set);
    }
    QN_TRY(place_all(code, set, program->options.keep_values, err));
    size_t overread = 0;
    for (int i = 0; i < code->n_steps; i++) {
        finish_step(code, &code->steps[i], &overread);
    }
    if (!qn_add_size(code->arena_bytes, overread, &code->arena_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "the network's values do not fit an address space");
    }
    return QN_OK;
}
