/* Packing weights for the kernels: zero points, biases and accumulator bounds (doc/spec/arithmetic.md 3.2, 3.8). */
#include "base/arith.h"
#include "engine/integer/lower.h"

static int32_t plain_weight(const qn_plain_weights *plain, int k, int r, int s, int c)
{
    int64_t at = k * plain->step_k + c * plain->step_c + r * plain->step_r + s * plain->step_s;
    const qn_quantizer *q = plain->quantizer;
    int32_t code = plain->codes->dtype == QN_DTYPE_S8 ? ((const int8_t *)plain->codes->data)[at]
                                                      : ((const uint8_t *)plain->codes->data)[at];
    return code - q->zero_point[q->n == 1 ? 0 : k];
}

typedef void each_weight_fn(void *ctx, int k, int segment, int j, int32_t w);

static void each_weight(const qn_integer_conv *conv, const qn_plain_weights *plain, each_weight_fn *fn, void *ctx)
{
    for (int k = 0; k < conv->n_groups * conv->group_outputs; k++) {
        for (int r = 0; r < conv->kernel[0]; r++) {
            for (int s = 0; s < conv->kernel[1]; s++) {
                for (int c = 0; c < conv->group_inputs; c++) {
                    int segment = conv->rows_adjoin ? r : r * conv->kernel[1] + s;
                    fn(ctx, k, segment, conv->rows_adjoin ? s * conv->group_inputs + c : c,
                       plain_weight(plain, k, r, s, c));
                }
            }
        }
    }
}

typedef struct range {
    int32_t lo, hi;
} range;

static void widen(void *ctx, int k, int segment, int j, int32_t w)
{
    range *r = ctx;
    (void)k, (void)segment, (void)j;
    r->lo = w < r->lo ? w : r->lo;
    r->hi = w > r->hi ? w : r->hi;
}

/* The kernel of the highest level, over s8 weights where they fit; tiles only pay for several output pixels. */
static const qn_kernel *choose(const qn_lowering *l, qn_kernel_op op, bool fits_s8, int64_t n_pixels)
{
    qn_cpu cpu = n_pixels < 8 && l->cpu == QN_CPU_AMX ? QN_CPU_VNNI : l->cpu;
    const qn_kernel *narrow = qn_kernel_select(op, cpu, 1), *wide = qn_kernel_select(op, cpu, 2);
    return fits_s8 && narrow->cpu >= wide->cpu ? narrow : wide;
}

static qn_weight_layout make_layout(const qn_integer_step *step, int elem_bytes)
{
    const qn_integer_conv *conv = &step->u.conv;
    if (step->kind == QN_STEP_DEPTHWISE) {
        return qn_depthwise_layout(conv->n_groups, conv->kernel[0] * conv->kernel[1], elem_bytes);
    }
    int n_segments = conv->kernel[0] * (conv->rows_adjoin ? 1 : conv->kernel[1]);
    int elems = conv->group_inputs * (conv->rows_adjoin ? conv->kernel[1] : 1);
    return qn_conv_layout(conv->group_outputs, n_segments, elems, elem_bytes, step->kernel->tiles);
}

static qn_status allocate(qn_lowering *l, qn_integer_conv *conv, int n_layouts, qn_error *err)
{
    size_t one, all;
    if (!qn_layout_bytes(&conv->layout, &one) || !qn_mul_size(one, (size_t)n_layouts, &all)) {
        return qn_fail(err, QN_ELIMIT, NULL, "weights of more bytes than fit an address");
    }
    size_t n_channels = (size_t)conv->n_groups * (size_t)conv->group_outputs;
    conv->group_bytes = one;
    conv->group_entries = (size_t)qn_layout_channels(&conv->layout);
    conv->weights = qn_arena_alloc(l->arena, all);
    /* 16 more: kernels load whole vectors of the last block's parameters. */
    conv->bias = qn_arena_array(l->arena, conv->group_entries * (size_t)n_layouts + 16, sizeof(int32_t));
    conv->multiplier = qn_arena_array(l->arena, conv->group_entries * (size_t)n_layouts + 16, sizeof(float));
    conv->bound = qn_arena_array(l->arena, n_channels, sizeof(int64_t));
    conv->segment = qn_arena_array(l->arena, (size_t)conv->layout.n_segments, sizeof(ptrdiff_t));
    if (conv->weights == NULL || conv->bias == NULL || conv->multiplier == NULL || conv->bound == NULL ||
        conv->segment == NULL) {
        return qn_fail_memory(err, NULL, all);
    }
    return QN_OK;
}

typedef struct packing {
    qn_integer_conv *conv;
    int per_layout;     /* output channels of one layout */
    int32_t zero_point; /* of the input */
    int64_t greatest;   /* |x - zero_point| */
} packing;

/* sum (x - z) w + b = sum x w + (b - z sum w), in wrapping arithmetic on both sides. */
static void pack_one(void *ctx, int k, int segment, int j, int32_t w)
{
    const packing *p = ctx;
    qn_integer_conv *conv = p->conv;
    int group = k / p->per_layout, within = k % p->per_layout;
    char *weights = (char *)conv->weights + (size_t)group * conv->group_bytes;
    qn_layout_set(&conv->layout, weights, within, segment, j, w);
    int32_t *bias = &conv->bias[(size_t)group * conv->group_entries + (size_t)qn_layout_channel(&conv->layout, within)];
    *bias = qn_add_wrap_s32(*bias, qn_mul_wrap_s32(-p->zero_point, w));
    conv->bound[k] += (w < 0 ? -(int64_t)w : w) * p->greatest;
}

static int32_t plain_bias(const qn_plain_weights *plain, int k)
{
    if (plain->bias == NULL) {
        return 0;
    }
    return ((const int32_t *)plain->bias->data)[qn_tensor_count(plain->bias) == 1 ? 0 : k];
}

qn_status qn_integer_pack(qn_lowering *l, qn_integer_step *step, const qn_plain_weights *plain,
                          const qn_integer_tensor *input, qn_error *err)
{
    qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *output = &l->code->tensors[step->output];
    bool depthwise = step->kind == QN_STEP_DEPTHWISE;
    range r = {0, 0};
    each_weight(conv, plain, widen, &r);
    step->kernel = choose(l, depthwise ? QN_KERNEL_DEPTHWISE : QN_KERNEL_CONV, r.lo >= -128 && r.hi <= 127,
                          (int64_t)output->height * output->width);
    int elem_bytes = step->kernel->elem_bytes != 0 ? step->kernel->elem_bytes : 2;
    l->code->tiles |= step->kernel->tiles;
    conv->sums =
        qn_kernel_select(depthwise ? QN_KERNEL_DEPTHWISE_SUMS : QN_KERNEL_CONV_SUMS, l->cpu, elem_bytes)->run.conv;
    conv->weights_value = plain->value;
    conv->bias_value = plain->bias != NULL || plain->float_bias != NULL ? plain->bias_value : QN_NO_VALUE;
    conv->layout = make_layout(step, elem_bytes);
    QN_TRY(allocate(l, conv, depthwise ? 1 : conv->n_groups, err));
    int n_channels = conv->n_groups * conv->group_outputs;
    packing p = {conv, depthwise ? n_channels : conv->group_outputs, input->zero_point, 0};
    int32_t below = input->zero_point - input->lo, above = input->hi - input->zero_point;
    p.greatest = below > above ? below : above;
    for (int k = 0; k < n_channels; k++) {
        size_t at = (size_t)(k / p.per_layout) * conv->group_entries +
                    (size_t)qn_layout_channel(&conv->layout, k % p.per_layout);
        int64_t b = plain_bias(plain, k);
        conv->bias[at] = (int32_t)b;
        conv->bound[k] = b < 0 ? -b : b;
    }
    each_weight(conv, plain, pack_one, &p);
    return QN_OK;
}
