/* The columns of a node's input: windows of a Conv, rows of a Gemm or MatMul. */
#include <string.h>

#include "base/random.h"
#include "ptq/moments.h"

static qn_status conv_columns(qn_columns *columns, const qn_binding *binding, const qn_node *node, qn_error *err)
{
    qn_window *w = &columns->window;
    QN_TRY(qn_window_of_node(w, binding, node, err));
    columns->is_conv = true;
    columns->n_groups = w->group;
    columns->k = w->c_in / w->group * w->kernel[0] * w->kernel[1];
    columns->n_positions = w->out[0] * w->out[1];
    return QN_OK;
}

static bool is_matrix_product(const qn_binding *binding, const qn_node *node)
{
    const qn_bound_value *x = &binding->values[node->inputs[0]];
    bool transposed = node->op == QN_OP_GEMM && qn_node_int(node, "transA", 0) != 0;
    return x->rank >= 2 && binding->values[node->inputs[1]].rank == 2 && !transposed;
}

qn_status qn_columns_of_node(qn_columns *columns, bool *has, const qn_binding *binding, const qn_node *node,
                             qn_error *err)
{
    const qn_bound_value *x = &binding->values[node->inputs[0]], *w = &binding->values[node->inputs[1]];
    *columns = (qn_columns){.n_groups = 1};
    *has = w->known != NULL && w->dtype == QN_DTYPE_F32 && x->dtype == QN_DTYPE_F32 && x->known == NULL &&
           x->rank >= 1 && (node->op != QN_OP_CONV || x->rank < 5) && x->n_elems > 0 && w->n_elems > 0 &&
           x->dims[0] == binding->batch;
    if (*has && node->op == QN_OP_CONV) {
        QN_TRY(conv_columns(columns, binding, node, err));
    } else if (*has && is_matrix_product(binding, node)) {
        columns->k = x->dims[x->rank - 1];
        columns->n_positions = x->n_elems / binding->batch / columns->k;
    } else {
        *has = false;
    }
    columns->n_elems = *has ? x->n_elems / binding->batch : 0;
    columns->rank = x->rank - 1;
    memcpy(columns->dims, x->dims + 1, (size_t)(x->rank > 1 ? x->rank - 1 : 0) * sizeof *columns->dims);
    *has = *has && columns->n_positions > 0;
    return QN_OK;
}

/* One channel's window: kernel[0] * kernel[1] elements. */
static void read_window(const qn_window *w, const float *map, int64_t top, int64_t left, float *out)
{
    for (int64_t i = 0; i < w->kernel[0]; i++) {
        int64_t y = top + i * w->dilation[0];
        for (int64_t j = 0; j < w->kernel[1]; j++) {
            int64_t x = left + j * w->dilation[1];
            bool inside = y >= 0 && y < w->in[0] && x >= 0 && x < w->in[1];
            *out++ = inside ? map[y * w->in[1] + x] : 0.0f;
        }
    }
}

void qn_columns_read(const qn_columns *columns, const float *item, int64_t position, float *out, int64_t stride)
{
    const qn_window *w = &columns->window;
    if (!columns->is_conv) {
        memcpy(out, item + position * columns->k, (size_t)columns->k * sizeof *out);
        return;
    }
    int64_t top = position / w->out[1] * w->stride[0] - w->pad_begin[0];
    int64_t left = position % w->out[1] * w->stride[1] - w->pad_begin[1];
    int64_t per_group = w->c_in / w->group, taps = w->kernel[0] * w->kernel[1];
    for (int64_t c = 0; c < w->c_in; c++) {
        float *to = out + c / per_group * stride + c % per_group * taps;
        read_window(w, item + c * w->in[0] * w->in[1], top, left, to);
    }
}

int64_t qn_columns_sample(const qn_columns *columns, int64_t item, int64_t s, int64_t n)
{
    int64_t begin = s * columns->n_positions / n, end = (s + 1) * columns->n_positions / n;
    if (end - begin <= 1) {
        return begin;
    }
    uint32_t random = qn_random_u32(0, (uint64_t)item, (uint64_t)s);
    return begin + (int64_t)(((uint64_t)random * (uint64_t)(end - begin)) >> 32);
}
