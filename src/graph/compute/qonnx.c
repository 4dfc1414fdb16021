/* Quant, BipolarQuant, FloatQuant and Trunc of QONNX (doc/spec/onnx.md 6). */
#include "graph/compute/qonnx.h"

#include <string.h>

#include "graph/compute/grid.h"
#include "graph/compute/job.h"

enum { CHUNK = 256, WIDTHS = 2 };

/* Arguments are the operands of the grid, then the bit widths, which are single numbers. */
typedef struct qonnx_params {
    qn_qonnx qonnx;
    qn_op op;
    bool second; /* Trunc of version 2 */
    bool wide;   /* NumPy computes in float64 when the zero points are an array of 32 bits or more */
    qn_grid grid;
    qn_dtype dtypes[QN_GRID_OPERANDS], width_dtypes[WIDTHS];
    int n_widths;
    double fallback; /* of an absent greatest value */
} qonnx_params;

static double quant(const qonnx_params *p, const double *v, double bits, double lo, double hi)
{
    const bool wide = p->wide;
    const double scale = v[1], zero = v[2];
    double y = qn_qonnx_kept(qn_qonnx_kept(v[0] / scale, false) + zero, wide);
    if (bits == 1 && p->qonnx.is_signed) {
        y = y >= 0 ? 1 : -1;
    } else {
        y = y > hi ? hi : y;
        y = y < lo ? lo : y;
        y = qn_qonnx_round(y, p->qonnx.rounding, wide);
    }
    return qn_qonnx_kept(qn_qonnx_kept(y - zero, wide) * scale, wide);
}

static double float_quant(const qonnx_params *p, const double *v, double mantissa)
{
    const double scale = v[1], exponent = v[2], bias = v[3], most = v[4];
    const double x = qn_qonnx_kept(v[0] / scale, false);
    if (!isfinite(x)) {
        return (double)NAN; /* an infinity, too: infinity / infinity */
    }
    const double least = 1 - bias - mantissa;
    double k = qn_qonnx_exponent((float)(fabs(x) + 0x1p-126)) - mantissa;
    k = k >= least ? k : least;
    const double step = qn_qonnx_kept(qn_qonnx_power(k), false);
    double y = qn_qonnx_kept(step * qn_qonnx_round(qn_qonnx_kept(x / step, false), p->qonnx.rounding, false), false);
    const double top = (2 - qn_qonnx_power(-mantissa)) * qn_qonnx_power(qn_qonnx_power(exponent) - 1 - bias);
    const double greatest = qn_qonnx_kept(top <= most || isnan(top) ? top : most, false);
    const bool beyond = y > greatest || y < -greatest;
    if (beyond && !p->qonnx.saturate) {
        y = p->qonnx.has_inf ? copysign((double)INFINITY, y) : (double)NAN;
    } else {
        y = y < -greatest ? -greatest : y;
        y = y > greatest ? greatest : y;
        y = isnan(greatest) ? greatest : y;
    }
    return qn_qonnx_kept(y * scale, false);
}

static double trunc_first(const qonnx_params *p, const double *v, double factor)
{
    const bool wide = p->wide;
    const double scale = v[1], zero = v[2];
    double y = rint(qn_qonnx_kept(qn_qonnx_kept(v[0] / scale, false) + zero, wide));
    y = qn_qonnx_round(qn_qonnx_kept(y / factor, wide), p->qonnx.rounding, wide);
    return qn_qonnx_kept(qn_qonnx_kept(y - zero, wide) * scale, wide);
}

static double trunc_second(const qonnx_params *p, const double *v, double lo, double hi)
{
    const bool wide = p->wide;
    const double scale = v[1], zero = v[2], out_scale = v[3];
    const double factor =
        qn_qonnx_kept(qn_qonnx_power(rint(qn_qonnx_log2(qn_qonnx_kept(out_scale / scale, false)))), false);
    double y = rint(qn_qonnx_kept(qn_qonnx_kept(v[0] / scale, false) + zero, wide));
    y = qn_qonnx_kept(y / factor, wide);
    y = y > hi ? hi : y;
    y = y < lo ? lo : y;
    y = qn_qonnx_round(y, p->qonnx.rounding, wide);
    return qn_qonnx_kept(qn_qonnx_kept(y - qn_qonnx_kept(zero / factor, wide), wide) * out_scale, wide);
}

static void run_row(const qonnx_params *p, float *y, double (*v)[QN_GRID_OPERANDS], int64_t n, const double *widths)
{
    double lo = 0, hi = 0, factor = 0;
    switch (p->op) {
    case QN_OP_BIPOLAR_QUANT:
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)((v[i][0] >= 0 ? 1 : -1) * v[i][1]);
        }
        return;
    case QN_OP_FLOAT_QUANT:
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)float_quant(p, v[i], widths[0]);
        }
        return;
    case QN_OP_QUANT:
        qn_qonnx_range(widths[0], p->qonnx.is_signed, p->qonnx.narrow, &lo, &hi);
        lo = qn_qonnx_kept(lo, p->wide);
        hi = qn_qonnx_kept(hi, p->wide);
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)quant(p, v[i], widths[0], lo, hi);
        }
        return;
    default:
        qn_qonnx_range(widths[1], p->qonnx.is_signed, p->qonnx.narrow, &lo, &hi);
        lo = qn_qonnx_kept(lo, p->wide);
        hi = qn_qonnx_kept(hi, p->wide);
        factor = qn_qonnx_kept(qn_qonnx_power(widths[0] - widths[1]), false);
        for (int64_t i = 0; i < n; i++) {
            y[i] = (float)(p->second ? trunc_second(p, v[i], lo, hi) : trunc_first(p, v[i], factor));
        }
    }
}

/* Operand k of n elements from `from` on, as doubles. */
static void load(double (*v)[QN_GRID_OPERANDS], int k, const char *from, qn_dtype dtype, int64_t n, int64_t stride)
{
    const int64_t size = (int64_t)qn_dtype_size(dtype);
    for (int64_t i = 0; i < n; i++) {
        const char *at = from + i * stride * size;
        if (stride == 0 && i > 0) {
            v[i][k] = v[0][k];
        } else if (dtype == QN_DTYPE_F32) {
            float x;
            memcpy(&x, at, sizeof x);
            v[i][k] = (double)x;
        } else {
            qn_convert_elements(QN_DTYPE_F64, &v[i][k], dtype, at, 1);
        }
    }
}

static void run_qonnx(const void *params, void *to, const void *const *x)
{
    const qonnx_params *p = params;
    const int last = p->grid.rank - 1;
    const int64_t n = p->grid.dims[last];
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    double widths[WIDTHS] = {0}, v[CHUNK][QN_GRID_OPERANDS];
    float *y = to;
    for (int i = 0; i < p->n_widths; i++) {
        qn_convert_elements(QN_DTYPE_F64, &widths[i], p->width_dtypes[i], x[p->grid.n + i], 1);
    }
    for (int i = 0; i < CHUNK; i++) {
        v[i][QN_GRID_OPERANDS - 1] = p->fallback;
    }
    do {
        for (int64_t done = 0; done < n; done += CHUNK) {
            const int64_t now = n - done < CHUNK ? n - done : CHUNK;
            for (int k = 0; k < p->grid.n; k++) {
                const int64_t stride = p->grid.strides[k][last], size = (int64_t)qn_dtype_size(p->dtypes[k]);
                load(v, k, (const char *)x[k] + (offsets[k] + done * stride) * size, p->dtypes[k], now, stride);
            }
            run_row(p, y, v, now, widths);
            y += now;
        }
    } while (qn_grid_next(&p->grid, index, offsets));
}

/* Which inputs are operands, in order, and which are widths; -1 ends a list. */
static const struct {
    qn_op op;
    int n_inputs; /* 0: any */
    int operands[QN_GRID_OPERANDS + 1], widths[WIDTHS + 1];
} rows[] = {
    {QN_OP_BIPOLAR_QUANT, 0, {0, 1, -1}, {-1}},     {QN_OP_FLOAT_QUANT, 0, {0, 1, 2, 4, 5, -1}, {3, -1}},
    {QN_OP_QUANT, 0, {0, 1, 2, -1}, {3, -1}},       {QN_OP_TRUNC, 5, {0, 1, 2, -1}, {3, 4, -1}},
    {QN_OP_TRUNC, 6, {0, 1, 2, 4, -1}, {3, 5, -1}},
};

qn_status qn_prepare_qonnx(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job);
    qonnx_params p = {.op = job->node->op, .second = job->node->n_inputs == 6, .grid = {.rank = y.rank}};
    int args[QN_COMPUTE_ARGS], n_args = 0;
    size_t row = 0;
    while (rows[row].op != p.op || (rows[row].n_inputs != 0 && rows[row].n_inputs != job->node->n_inputs)) {
        row++;
    }
    memcpy(p.grid.dims, y.dims, sizeof y.dims);
    QN_TRY(qn_qonnx_of_node(&p.qonnx, job->binding->graph, job->node, job->err));
    p.fallback = (double)p.qonnx.max_val;
    for (const int *at = rows[row].operands; *at >= 0; at++) {
        const qn_bound_value x = qn_job_input(job, *at);
        if (x.dtype != QN_DTYPE_NONE) {
            p.dtypes[p.grid.n] = x.dtype;
            p.wide |= *at == 2 && p.op != QN_OP_FLOAT_QUANT && x.rank > 0 && x.dtype != QN_DTYPE_F32 &&
                      qn_dtype_size(x.dtype) >= 4;
            qn_grid_add(&p.grid, &x);
            args[n_args++] = *at;
        }
    }
    for (const int *at = rows[row].widths; *at >= 0; at++) {
        p.width_dtypes[p.n_widths++] = qn_job_input(job, *at).dtype;
        args[n_args++] = *at;
    }
    qn_grid_simplify(&p.grid);
    QN_TRY(qn_job_set(compute, job, run_qonnx, &p, sizeof p, n_args));
    memcpy(compute->args, args, (size_t)n_args * sizeof *args);
    return QN_OK;
}
