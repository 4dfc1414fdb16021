/* QKeras' quantized activations, function and quantizer in one, in f32:
 *  qkeras-relu<bits,integer,use_sigmoid,negative_slope>  z = clip(rint(x 2^(bits-integer)), 0, 2^bits-1)
 *  qkeras-sigmoid<bits,symmetric,hard|smooth|real>       z = clip(rint(s(x) 2^bits), symmetric, 2^bits-1)
 *  qkeras-tanh<bits,symmetric,real>                      z = clip(rint(t(x) 2^u), -2^u+symmetric, 2^u-1), u = bits-1
 *  qkeras-hswish<bits,integer,symmetric>                 z likewise of h(x) 2^(u-integer)
 * hard: s(x) = clip(x/2 + 1/2, 0, 1), smooth: clip(3x/16 + 1/2, 0, 1); t = 2s-1; h(x) = x clip(x+3, 0, 6) / 6.
 * `mode` is the function, `exponent_bits` its variant (use_sigmoid, the sigmoid, real). */
#include "format/compat/qkeras.h"

enum { RELU, SIGMOID, TANH, HSWISH, N_FUNCTIONS };
enum { HARD, SMOOTH, REAL };
static const char *const heads[] = {"qkeras-relu", "qkeras-sigmoid", "qkeras-tanh", "qkeras-hswish", NULL};
static const char *const sigmoids[] = {[HARD] = "hard", [SMOOTH] = "smooth", [REAL] = "real"};

/* With a slope the codes are signed, and half as many are positive. */
static void derive(qn_format *f)
{
    f->is_signed = f->mode == TANH || f->mode == HSWISH || (f->mode == RELU && f->threshold != 0.0f);
}

static qn_status parse_variant(qn_format *f, const qn_format_text *text, qn_error *err)
{
    bool flag = false;
    if (f->mode == SIGMOID) {
        return qn_format_text_word(&f->exponent_bits, text->args[2], sigmoids, 3, "sigmoid", text->where, err);
    }
    QN_TRY(qn_qkeras_text_flag(&flag, text, 2, f->mode == RELU ? "value of use_sigmoid" : "value of symmetric or real",
                               err));
    if (f->mode == HSWISH) {
        f->narrow = flag;
    } else {
        f->exponent_bits = !flag ? 0 : f->mode == TANH ? REAL : 1;
    }
    return QN_OK;
}

static qn_status parse(qn_format *f, int head, const qn_format_text *text, qn_error *err)
{
    f->mode = head;
    QN_TRY(qn_format_text_int(&f->bits, text, 0, "bits", err));
    if (text->n_args > 1 && (head == RELU || head == HSWISH)) {
        QN_TRY(qn_format_text_int(&f->integer_bits, text, 1, "integer", err));
    } else if (text->n_args > 1) {
        QN_TRY(qn_qkeras_text_flag(&f->narrow, text, 1, "value of symmetric", err));
    }
    if (text->n_args > 2) {
        QN_TRY(parse_variant(f, text, err));
    }
    if (text->n_args > 3) {
        if (head != RELU) {
            return qn_fail(err, QN_EINVAL, text->where, "%s takes at most 3 arguments", heads[head]);
        }
        return qn_compat_text_float(&f->threshold, text, 3, 0.0f, 1.0f, "negative_slope", err);
    }
    return QN_OK;
}

static int bounds(const qn_format *f, qn_bound b[QN_BOUNDS_MAX])
{
    static const int variants[N_FUNCTIONS] = {[RELU] = 1, [SIGMOID] = REAL, [TANH] = REAL};
    int function = f->mode < 0 || f->mode >= N_FUNCTIONS ? 0 : f->mode;
    b[0] = QN_BOUND("function", mode, 0, N_FUNCTIONS - 1);
    b[1] = QN_BOUND("bits", bits, f->is_signed ? 2 : 1, 23);
    b[2] = QN_BOUND("integer", integer_bits, -60, 60);
    b[3] = QN_BOUND("variant", exponent_bits, 0, variants[function]);
    return 4;
}

static const char *refuse(const qn_format *f)
{
    int exponent;
    if (f->threshold != 0.0f && frexpf(f->threshold, &exponent) != 0.5f) {
        return "negative_slope is a power of two in QKeras";
    }
    return f->threshold != 0.0f && f->exponent_bits != 0 ? "use_sigmoid goes without negative_slope" : NULL;
}

static void print(char name[QN_FORMAT_NAME_MAX], const qn_format *f, qn_format *implied)
{
    (void)implied;
    const char *head = heads[f->mode < 0 || f->mode >= N_FUNCTIONS ? 0 : f->mode];
    switch (f->mode) {
    case SIGMOID:
        snprintf(name, QN_FORMAT_NAME_MAX, "%s<%d,%d,%s>", head, f->bits, f->narrow, sigmoids[f->exponent_bits % 3]);
        break;
    case TANH:
        snprintf(name, QN_FORMAT_NAME_MAX, "%s<%d,%d,%d>", head, f->bits, f->narrow, f->exponent_bits == REAL);
        break;
    case HSWISH:
        snprintf(name, QN_FORMAT_NAME_MAX, "%s<%d,%d,%d>", head, f->bits, f->integer_bits, f->narrow);
        break;
    default:
        snprintf(name, QN_FORMAT_NAME_MAX, "%s<%d,%d,%d,%.9g>", head, f->bits, f->integer_bits, f->exponent_bits,
                 (double)f->threshold);
    }
}

static float clip(float x, float lo, float hi)
{
    return x < lo ? lo : x > hi ? hi : x;
}

static float sigmoid(int variant, float x)
{
    if (variant == REAL) {
        return (float)(1.0 / (1.0 + exp(-(double)x)));
    }
    return clip((variant == SMOOTH ? 0.1875f : 0.5f) * x + 0.5f, 0.0f, 1.0f);
}

/* log2 of the levels up to 1 (relu, hswish: up to 2^integer). */
static int level_bits(const qn_format *f)
{
    return f->bits - (f->is_signed ? 1 : 0);
}

static float relu_z(const qn_format *f, float x)
{
    float m = ldexpf(1.0f, level_bits(f)), v = ldexpf(x, level_bits(f) - f->integer_bits);
    if (f->exponent_bits != 0) {
        return 2.0f * rintf(sigmoid(HARD, ldexpf(x, -f->integer_bits)) * m) - m;
    }
    /* A slope below a step leaves one negative code, which decodes to -slope. */
    return v < 0.0f ? fmaxf(rintf(v * f->threshold), -fmaxf(f->threshold * m, 1.0f)) : rintf(v);
}

static uint32_t encode(const qn_format *f, const qn_params *p, double x, uint32_t random)
{
    (void)p;
    (void)random;
    float v = isnan(x) ? 0.0f : (float)x, m = ldexpf(1.0f, level_bits(f)), lowest, z;
    v = clip(v, -1e30f, 1e30f); /* infinities; beyond this all functions are flat, or out of every range */
    lowest = f->is_signed ? -m : 0.0f;
    switch (f->mode) {
    case SIGMOID:
        z = rintf(sigmoid(f->exponent_bits, v) * m);
        break;
    case TANH:
        z = rintf((f->exponent_bits == REAL ? (float)tanh((double)v) : 2.0f * sigmoid(HARD, v) - 1.0f) * m);
        break;
    case HSWISH:
        z = rintf(ldexpf(v * clip(v + 3.0f, 0.0f, 6.0f) / 6.0f, level_bits(f) - f->integer_bits));
        break;
    default:
        z = relu_z(f, v);
    }
    return qn_compat_integer_code(f, clip(z, lowest + (f->narrow ? 1.0f : 0.0f), m - 1.0f));
}

static double decode(const qn_format *f, const qn_params *p, uint32_t code)
{
    (void)p;
    double value = ldexp((double)qn_compat_integer(f, code), -level_bits(f));
    if (f->mode == RELU && value < 0.0) {
        value = fmax(value, -(double)f->threshold);
    }
    return ldexp(value, f->mode == RELU || f->mode == HSWISH ? f->integer_bits : 0);
}

/* Values pass through a function, so no code need be that of its own value. */
static bool canonical(const qn_format *f, uint32_t code)
{
    (void)f;
    (void)code;
    return false;
}

static void limits(qn_format_limits *l, const qn_format *f, const qn_params *p)
{
    uint32_t sign = (uint32_t)1 << (f->bits - 1);
    l->highest = decode(f, p, f->is_signed ? sign - 1 : qn_code_mask(f->bits));
    l->lowest = decode(f, p, f->is_signed ? sign : 0);
    l->smallest = decode(f, p, 1);
}

const qn_format_row qn_format_row_qkeras_activation = {
    .about = {QN_FORMAT_QKERAS_ACTIVATION, "qkeras-relu<>, qkeras-sigmoid<>, qkeras-tanh<>, qkeras-hswish<>",
              "QKeras' quantized activations, bit for bit: relu<bits,integer,use_sigmoid,negative_slope>, "
              "sigmoid<bits,symmetric,hard|smooth|real>, tanh<bits,symmetric,real>, hswish<bits,integer,symmetric>",
              "QKeras 0.9.0",
              "qkeras-relu<8,2> qkeras-relu<4,0,0,0.25> qkeras-sigmoid<8,0,hard> qkeras-tanh<4,1> "
              "qkeras-hswish<8,2>"},
    .heads = heads,
    .args_min = 1,
    .args_max = 4,
    .parse = parse,
    .derive = derive,
    .bounds = bounds,
    .refuse = refuse,
    .print = print,
    .fields = qn_compat_integer_fields,
    .encode = encode,
    .decode = decode,
    .canonical = canonical,
    .order = qn_compat_integer,
    .limits = limits,
};
