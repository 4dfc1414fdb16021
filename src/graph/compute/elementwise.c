/* Arithmetic, comparisons and choices element by element, with broadcasting, of any type (doc/spec/arithmetic.md 6.2). */
#include <math.h>
#include <string.h>

#include "base/arch.h"
#include "graph/compute/grid.h"
#include "graph/compute/job.h"
#include "graph/compute/real_math.h"

typedef enum {
    ABSOLUTE = 1,
    ADD,
    AND,
    BIT_AND,
    BIT_NOT,
    BIT_OR,
    BIT_XOR,
    DIV,
    EQUAL,
    FMOD,
    GREATER,
    GREATER_EQUAL,
    INFINITE,
    INFINITE_ABOVE,
    INFINITE_BELOW,
    INFINITE_NEVER,
    LESS,
    LESS_EQUAL,
    MAX,
    MIN,
    MOD,
    MUL,
    NEG,
    NOT,
    NOT_A_NUMBER,
    OR,
    PRELU,
    RELU,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    SIGN,
    SUB,
    XOR,
    N_KINDS
} kind;

typedef void row_fn(void *restrict y, const void *a, const void *b, const void *c, int64_t n);

#define LANES_AVX512   "avx512f,avx512bw,avx512dq,avx512vl"
#define LANES_TEMPLATE "graph/compute/elementwise_template.h"
#include "base/each_isa.inc"

/* Elements per turn: what is not dense is made so here. */
enum { CHUNK = 512, OPERANDS = 3 };

/*  sizes  bytes per element of the operands and, last, of the output */
typedef struct elementwise_params {
    row_fn *row;
    qn_grid grid;
    size_t sizes[OPERANDS], out_size;
} elementwise_params;

static void spread(void *to, const char *from, int64_t n, int64_t stride, size_t size)
{
    char *y = to;
    for (int64_t i = 0; i < n; i++) {
        memcpy(y + (size_t)i * size, from + i * stride * (int64_t)size, size);
    }
}

static void run_row(const elementwise_params *p, char *y, const char *const *x, int64_t n)
{
    uint64_t buffers[OPERANDS][CHUNK];
    const int last = p->grid.rank - 1;
    for (int64_t i = 0; i < n; i += CHUNK) {
        const int64_t now = n - i < CHUNK ? n - i : CHUNK;
        const void *operands[OPERANDS] = {NULL};
        for (int k = 0; k < p->grid.n; k++) {
            const int64_t stride = p->grid.strides[k][last];
            operands[k] = stride == 1 ? x[k] + i * (int64_t)p->sizes[k] : (const char *)buffers[k];
            if (stride != 1 && (stride != 0 || i == 0)) {
                spread(buffers[k], x[k] + i * stride * (int64_t)p->sizes[k], now, stride, p->sizes[k]);
            }
        }
        p->row(y + i * (int64_t)p->out_size, operands[0], operands[1], operands[2], now);
    }
}

static void run_elementwise(const void *params, void *to, const void *const *x)
{
    const elementwise_params *p = params;
    const int64_t n = p->grid.dims[p->grid.rank - 1];
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    char *y = to;
    do {
        const char *at[QN_GRID_OPERANDS] = {NULL};
        for (int k = 0; k < p->grid.n; k++) {
            at[k] = (const char *)x[k] + offsets[k] * (int64_t)p->sizes[k];
        }
        run_row(p, y, at, n);
        y += n * (int64_t)p->out_size;
    } while (qn_grid_next(&p->grid, index, offsets));
}

static void start(elementwise_params *p, const qn_bound_value *y)
{
    *p = (elementwise_params){.grid = {.rank = y->rank}, .out_size = qn_dtype_size(y->dtype)};
    memcpy(p->grid.dims, y->dims, sizeof y->dims);
}

static void add_operand(elementwise_params *p, const qn_bound_value *x)
{
    p->sizes[p->grid.n] = qn_dtype_size(x->dtype);
    qn_grid_add(&p->grid, x);
}

static const struct {
    qn_op op;
    kind kind;
    int operands;
    bool variadic;
} rows[] = {
    {QN_OP_ABS, ABSOLUTE, 1, false},
    {QN_OP_ADD, ADD, 2, false},
    {QN_OP_AND, AND, 2, false},
    {QN_OP_BITWISE_AND, BIT_AND, 2, false},
    {QN_OP_BITWISE_NOT, BIT_NOT, 1, false},
    {QN_OP_BITWISE_OR, BIT_OR, 2, false},
    {QN_OP_BITWISE_XOR, BIT_XOR, 2, false},
    {QN_OP_BIT_SHIFT, SHIFT_LEFT, 2, false},
    {QN_OP_DIV, DIV, 2, false},
    {QN_OP_EQUAL, EQUAL, 2, false},
    {QN_OP_GREATER, GREATER, 2, false},
    {QN_OP_GREATER_OR_EQUAL, GREATER_EQUAL, 2, false},
    {QN_OP_IS_INF, INFINITE, 1, false},
    {QN_OP_IS_NAN, NOT_A_NUMBER, 1, false},
    {QN_OP_LESS, LESS, 2, false},
    {QN_OP_LESS_OR_EQUAL, LESS_EQUAL, 2, false},
    {QN_OP_MAX, MAX, 2, true},
    {QN_OP_MEAN, ADD, 2, true},
    {QN_OP_MIN, MIN, 2, true},
    {QN_OP_MOD, MOD, 2, false},
    {QN_OP_MUL, MUL, 2, false},
    {QN_OP_NEG, NEG, 1, false},
    {QN_OP_NOT, NOT, 1, false},
    {QN_OP_OR, OR, 2, false},
    {QN_OP_PRELU, PRELU, 2, false},
    {QN_OP_RELU, RELU, 1, false},
    {QN_OP_SIGN, SIGN, 1, false},
    {QN_OP_SUB, SUB, 2, false},
    {QN_OP_SUM, ADD, 2, true},
    {QN_OP_XOR, XOR, 2, false},
};

typedef struct quotient_params {
    int64_t n;
    float divisor;
} quotient_params;

static void run_quotient(const void *params, void *to, const void *const *x)
{
    const quotient_params *p = params;
    float *y = to;
    const float *sum = x[0];
#pragma omp simd
    for (int64_t i = 0; i < p->n; i++) {
        y[i] = sum[i] / p->divisor;
    }
}

/* Min, Max, Sum, Mean: input by input. A single one is copied. */
static qn_status prepare_part(qn_compute *compute, const qn_compute_job *job, elementwise_params *p)
{
    const qn_bound_value y = qn_job_output(job);
    const int n = job->node->n_inputs;
    compute->parts = (n > 1 ? n - 1 : 1) + (job->node->op == QN_OP_MEAN && n > 1 ? 1 : 0);
    if (n == 1) {
        return qn_prepare_cast(compute, job);
    }
    if (job->part == n - 1) {
        const quotient_params q = {y.n_elems, (float)n};
        QN_TRY(qn_job_set(compute, job, run_quotient, &q, sizeof q, 1));
        compute->args[0] = QN_COMPUTE_PREVIOUS;
        return QN_OK;
    }
    const qn_bound_value first = job->part == 0 ? qn_job_input(job, 0) : y, next = qn_job_input(job, job->part + 1);
    add_operand(p, &first);
    add_operand(p, &next);
    qn_grid_simplify(&p->grid);
    QN_TRY(qn_job_set(compute, job, run_elementwise, p, sizeof *p, 2));
    compute->args[0] = job->part == 0 ? 0 : QN_COMPUTE_PREVIOUS;
    compute->args[1] = job->part + 1;
    return QN_OK;
}

/* What attributes choose. */
static kind kind_of_node(const qn_node *node, kind usual)
{
    const bool above = qn_node_int(node, "detect_positive", 1) != 0,
               below = qn_node_int(node, "detect_negative", 1) != 0;
    switch (usual) {
    case INFINITE:
        return above && below ? INFINITE : above ? INFINITE_ABOVE : below ? INFINITE_BELOW : INFINITE_NEVER;
    case MOD:
        return qn_node_int(node, "fmod", 0) != 0 ? FMOD : MOD;
    case SHIFT_LEFT:
        return strcmp(qn_node_string(node, "direction", ""), "RIGHT") == 0 ? SHIFT_RIGHT : SHIFT_LEFT;
    default:
        return usual;
    }
}

qn_status qn_prepare_elementwise(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job), first = qn_job_input(job, 0);
    elementwise_params p;
    size_t row = 0;
    while (rows[row].op != job->node->op) {
        row++;
    }
    start(&p, &y);
    p.row = QN_LANES_FOR(job->cpu, functions)[first.dtype][kind_of_node(job->node, rows[row].kind)];
    if (p.row == NULL) {
        const qn_infer c = qn_job_infer(job);
        return qn_infer_fail(&c, QN_EUNSUPPORTED, "input 0", "%s of %s cannot be computed; cast it", job->node->op_type,
                             qn_dtype_text(first.dtype));
    }
    if (rows[row].variadic) {
        return prepare_part(compute, job, &p);
    }
    for (int k = 0; k < rows[row].operands; k++) {
        const qn_bound_value x = qn_job_input(job, k);
        add_operand(&p, &x);
    }
    qn_grid_simplify(&p.grid);
    return qn_job_set(compute, job, run_elementwise, &p, sizeof p, rows[row].operands);
}

qn_status qn_prepare_sum_of_previous(qn_compute *compute, const qn_compute_job *job, int input)
{
    const qn_bound_value y = qn_job_output(job), x = qn_job_input(job, input);
    elementwise_params p;
    start(&p, &y);
    p.row = QN_LANES_FOR(job->cpu, functions)[y.dtype][ADD];
    add_operand(&p, &y);
    add_operand(&p, &x);
    qn_grid_simplify(&p.grid);
    QN_TRY(qn_job_set(compute, job, run_elementwise, &p, sizeof p, 2));
    compute->args[0] = QN_COMPUTE_PREVIOUS;
    compute->args[1] = input;
    return QN_OK;
}

qn_status qn_prepare_where(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job);
    elementwise_params p;
    start(&p, &y);
    p.row = QN_LANES_FOR(job->cpu, choices)[qn_dtype_size(y.dtype)];
    for (int k = 0; k < 3; k++) {
        const qn_bound_value x = qn_job_input(job, k);
        add_operand(&p, &x);
    }
    qn_grid_simplify(&p.grid);
    return qn_job_set(compute, job, run_elementwise, &p, sizeof p, 3);
}

/* Powers: of integers by integers exactly, modulo 2^64; all others by real_powf, and x * x for the one exponent 2. */
typedef struct power_params {
    qn_grid grid;
    qn_dtype base, exponent;
} power_params;

static int64_t integer_power(int64_t base, int64_t exponent)
{
    uint64_t y = 1, square = (uint64_t)base;
    if (exponent < 0) {
        return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
    }
    for (; exponent > 0; exponent /= 2, square *= square) {
        y = exponent % 2 != 0 ? y * square : y;
    }
    return (int64_t)y;
}

static void run_power(const void *params, void *to, const void *const *x)
{
    const power_params *p = params;
    const bool exact = p->base != QN_DTYPE_F32 && p->exponent != QN_DTYPE_F32;
    const int64_t n = p->grid.dims[p->grid.rank - 1];
    const size_t size[2] = {qn_dtype_size(p->base), qn_dtype_size(p->exponent)};
    int64_t index[QN_MAX_RANK] = {0}, offsets[QN_GRID_OPERANDS] = {0};
    char *y = to;
    do {
        for (int64_t i = 0; i < n; i++, y += size[0]) {
            const void *at[2];
            for (int k = 0; k < 2; k++) {
                at[k] = (const char *)x[k] + (offsets[k] + i * p->grid.strides[k][p->grid.rank - 1]) * (int64_t)size[k];
            }
            if (exact) {
                int64_t v[2];
                qn_convert_elements(QN_DTYPE_S64, &v[0], p->base, at[0], 1);
                qn_convert_elements(QN_DTYPE_S64, &v[1], p->exponent, at[1], 1);
                v[0] = integer_power(v[0], v[1]);
                qn_convert_elements(p->base, y, QN_DTYPE_S64, v, 1);
            } else {
                float v[2];
                qn_convert_elements(QN_DTYPE_F32, &v[0], p->base, at[0], 1);
                qn_convert_elements(QN_DTYPE_F32, &v[1], p->exponent, at[1], 1);
                v[0] = v[1] == 2 ? v[0] * v[0] : real_powf(v[0], v[1]);
                qn_convert_elements(p->base, y, QN_DTYPE_F32, v, 1);
            }
        }
    } while (qn_grid_next(&p->grid, index, offsets));
}

qn_status qn_prepare_power(qn_compute *compute, const qn_compute_job *job)
{
    const qn_bound_value y = qn_job_output(job), base = qn_job_input(job, 0), exponent = qn_job_input(job, 1);
    power_params p = {.grid = {.rank = y.rank}, .base = base.dtype, .exponent = exponent.dtype};
    memcpy(p.grid.dims, y.dims, sizeof y.dims);
    qn_grid_add(&p.grid, &base);
    qn_grid_add(&p.grid, &exponent);
    qn_grid_simplify(&p.grid);
    return qn_job_set(compute, job, run_power, &p, sizeof p, 2);
}
