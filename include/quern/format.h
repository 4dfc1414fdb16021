/* Number formats: which codes exist and what reals they stand for (doc/formats.md, doc/spec/arithmetic.md section 2).
 *
 * A qn_format is plain data and is passed by value; a text such as "adaptivfloat<8,3>" makes one. A format alone knows
 * no tensor: the parameters that tie codes to one (scales, exponents) are qn_params, kept by a quantizer (codes.h). */
#ifndef QUERN_FORMAT_H
#define QUERN_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/tensor.h"

/* X(kind, value, row): every format of the registry, in the order of listings. `row` is the qn_format_row in the
 * format's own file (src/format/). Values are part of the ABI. */
#define QN_FORMAT_LIST(X)                                                                                              \
    X(QN_FORMAT_INT, 0, qn_format_row_int)                                                                             \
    X(QN_FORMAT_FIXED, 1, qn_format_row_fixed)                                                                         \
    X(QN_FORMAT_FLOAT, 2, qn_format_row_float)                                                                         \
    X(QN_FORMAT_ADAPTIVFLOAT, 3, qn_format_row_adaptivfloat)                                                           \
    X(QN_FORMAT_BFP, 4, qn_format_row_bfp)                                                                             \
    X(QN_FORMAT_MX, 5, qn_format_row_mx)                                                                               \
    X(QN_FORMAT_POSIT, 6, qn_format_row_posit)                                                                         \
    X(QN_FORMAT_PO2, 7, qn_format_row_po2)                                                                             \
    X(QN_FORMAT_TERNARY, 8, qn_format_row_ternary)                                                                     \
    X(QN_FORMAT_BINARY, 9, qn_format_row_binary)                                                                       \
    X(QN_FORMAT_MRFI_SYMMETRIC, 32, qn_format_row_mrfi_symmetric)                                                      \
    X(QN_FORMAT_MRFI_POSITIVE, 33, qn_format_row_mrfi_positive)                                                        \
    X(QN_FORMAT_MRFI_FIXPOINT, 34, qn_format_row_mrfi_fixpoint)                                                        \
    X(QN_FORMAT_PIPEEDGE, 35, qn_format_row_pipeedge)                                                                  \
    X(QN_FORMAT_GOLDENEYE_CAST, 36, qn_format_row_goldeneye_cast)                                                      \
    X(QN_FORMAT_GOLDENEYE_FP, 37, qn_format_row_goldeneye_fp)                                                          \
    X(QN_FORMAT_GOLDENEYE_FXP, 38, qn_format_row_goldeneye_fxp)                                                        \
    X(QN_FORMAT_GOLDENEYE_BFP, 39, qn_format_row_goldeneye_bfp)                                                        \
    X(QN_FORMAT_GOLDENEYE_AFP, 40, qn_format_row_goldeneye_afp)                                                        \
    X(QN_FORMAT_GOLDENEYE_INT, 41, qn_format_row_goldeneye_int)                                                        \
    X(QN_FORMAT_QKERAS_BITS, 42, qn_format_row_qkeras_bits)                                                            \
    X(QN_FORMAT_QKERAS_LINEAR, 43, qn_format_row_qkeras_linear)                                                        \
    X(QN_FORMAT_QKERAS_ACTIVATION, 44, qn_format_row_qkeras_activation)                                                \
    X(QN_FORMAT_QKERAS_PO2, 45, qn_format_row_qkeras_po2)                                                              \
    X(QN_FORMAT_QKERAS_TERNARY, 46, qn_format_row_qkeras_ternary)

typedef enum qn_format_kind {
#define QN_FORMAT_ENUM(kind, value, row) kind = value,
    QN_FORMAT_LIST(QN_FORMAT_ENUM)
#undef QN_FORMAT_ENUM
} qn_format_kind;

/* How a real between two codes is rounded. X(name, value, text, ap_fixed's name). */
#define QN_ROUND_LIST(X)                                                                                               \
    X(QN_ROUND_NEAREST_EVEN, 0, "nearest-even", "RND_CONV")                                                            \
    X(QN_ROUND_NEAREST_AWAY, 1, "nearest-away", "RND_INF")                                                             \
    X(QN_ROUND_TOWARD_ZERO, 2, "toward-zero", "TRN_ZERO")                                                              \
    X(QN_ROUND_FLOOR, 3, "floor", "TRN")                                                                               \
    X(QN_ROUND_NEAREST_UP, 4, "nearest-up", "RND")                                                                     \
    X(QN_ROUND_NEAREST_DOWN, 5, "nearest-down", "RND_MIN_INF")                                                         \
    X(QN_ROUND_NEAREST_ZERO, 6, "nearest-zero", "RND_ZERO")                                                            \
    X(QN_ROUND_STOCHASTIC, 7, "stochastic", "")

typedef enum qn_rounding {
#define QN_ROUND_ENUM(name, value, text, ap_name) name = value,
    QN_ROUND_LIST(QN_ROUND_ENUM)
#undef QN_ROUND_ENUM
} qn_rounding;

/* What becomes of a rounded value beyond the greatest code. */
typedef enum qn_overflow {
    QN_OVERFLOW_SATURATE = 0,
    QN_OVERFLOW_WRAP = 1,      /* fixed: modulo 2^bits */
    QN_OVERFLOW_SYMMETRIC = 2, /* fixed: saturate, and never give the lowest signed code */
    QN_OVERFLOW_ZERO = 3,      /* fixed: become 0 */
    QN_OVERFLOW_INFINITY = 4   /* float with infinities */
} qn_overflow;

/* Which codes of a float are not numbers. */
typedef enum qn_float_variant {
    QN_FLOAT_IEEE = 0,  /* the top exponent is infinity and NaN */
    QN_FLOAT_FN = 1,    /* no infinity; all ones is NaN, with either sign */
    QN_FLOAT_FNUZ = 2,  /* no infinity, no -0; 10...0 is NaN */
    QN_FLOAT_FINITE = 3 /* every code is a number */
} qn_float_variant;

/* How parameters follow from a tensor, where a format knows several ways (formats.md). X(name, value, text). The text
 * is part of a format's name ("int8:po2"); QN_FIT_DEFAULT is never written. */
#define QN_FIT_LIST(X)                                                                                                 \
    X(QN_FIT_DEFAULT, 0, "default")                                                                                    \
    X(QN_FIT_SYMMETRIC, 1, "symmetric")                                                                                \
    X(QN_FIT_SYMMETRIC_FULL, 2, "symmetric-full")                                                                      \
    X(QN_FIT_LLTFI, 3, "lltfi")                                                                                        \
    X(QN_FIT_AFFINE, 4, "affine")                                                                                      \
    X(QN_FIT_POSITIVE, 5, "positive")                                                                                  \
    X(QN_FIT_QKERAS_AUTO, 6, "qkeras-auto")                                                                            \
    X(QN_FIT_QKERAS_PO2, 7, "qkeras-po2")                                                                              \
    X(QN_FIT_PO2, 8, "po2")

typedef enum qn_fit_kind {
#define QN_FIT_ENUM(name, value, text) name = value,
    QN_FIT_LIST(QN_FIT_ENUM)
#undef QN_FIT_ENUM
} qn_fit_kind;

/* A format. Unused fields are 0. The first three and kind 0 describe integers: {.bits = 8, .is_signed = true} is int8.
 */
typedef struct qn_format {
    int bits;       /* of one code, 1..32 */
    bool is_signed; /* int: two's complement; fixed: ap_fixed, not ap_ufixed; true for all other formats */
    bool narrow;    /* int: the lowest signed code is unused, so that the range is symmetric */
    bool no_zero;   /* po2: no code for zero */
    bool log;       /* po2: nearest in the logarithm */
    qn_format_kind kind;
    qn_rounding rounding;
    qn_overflow overflow;
    qn_fit_kind fit;
    qn_float_variant variant; /* float, and the elements of mx */
    int exponent_bits;        /* float, adaptivfloat: e; posit: es; mx: of its elements, 0 for int8 elements;
                               * qkeras-bits: parameter sets that share a scale */
    int mantissa_bits;        /* float, adaptivfloat and mx elements: m */
    int exponent_bias;        /* float, mx elements: stored exponent minus real exponent; qkeras-bits: 127 plus the
                               * least exponent of a scale, `mode`: plus the greatest, 0 for no limits */
    int integer_bits;         /* fixed: I, sign included */
    int block;                /* bfp, mx: elements that share an exponent */
    int mode;                 /* compatibility formats: which of the peer's variants; their files say */
    float alpha;              /* qkeras-*: constant factor of decoded values, 0: none */
    float threshold;          /* qkeras-ternary: of zero; qkeras-po2: max_value; qkeras-relu: negative slope; 0: none */
} qn_format;

/* The numbers outside the codes, one set per tensor, channel, group or block. A format uses those in its
 * qn_format_parameters; the others are 0 (scale and multiplier: 1). */
typedef struct qn_params {
    float scale;        /* int: finite, normal, > 0; binary, ternary: >= 0 */
    int32_t zero_point; /* int: within the range of codes */
    int32_t exp_bias;   /* adaptivfloat: of exponent field 0; bfp, mx: the shared exponent; po2: of field 0 */
    float shift;        /* pipeedge, mrfi-symmetric: an offset of reals; finite */
    float multiplier;   /* mrfi-*: what reals are multiplied by before rounding; finite */
} qn_params;
enum {
    QN_PARAM_SCALE = 1,
    QN_PARAM_ZERO_POINT = 2,
    QN_PARAM_EXP_BIAS = 4,
    QN_PARAM_SHIFT = 8,
    QN_PARAM_MULTIPLIER = 16
};

enum { QN_FORMAT_NAME_MAX = 64 };

/* Make a format from its name: "int8", "uint8", "int<8>", "int8:narrow", "ap_fixed<16,6,RND_CONV,SAT>", "fp16",
 * "float<4,3,fn>", "adaptivfloat<8,3>", ... Words after colons are a rounding ("toward-zero", "stochastic"), a fit
 * ("po2"), "narrow" or "inf". `format` is untouched unless QN_OK.
 * Errors: QN_EINVAL, which says what part is wrong, what is legal there, and the nearest known name. */
QN_API QN_NODISCARD qn_status qn_format_parse(qn_format *format, const char *text, qn_error *err);
/* The canonical name of a valid format, which parses to an equal one. */
QN_API void qn_format_name(char name[QN_FORMAT_NAME_MAX], qn_format format);
/* For formats that were not parsed: QN_EINVAL unless all fields are legal and agree. `where` may be NULL. */
QN_API QN_NODISCARD qn_status qn_format_check(qn_format format, const char *where, qn_error *err);
QN_API bool qn_format_equal(qn_format a, qn_format b);

/* The dtype of code tensors inside a model: the smallest one that holds a code, signed (and sign-extended) for signed
 * integers, as ONNX stores them; and the dtype of code files: bit patterns in u8, u16 or u32, high bits 0. */
QN_API qn_dtype qn_format_dtype(qn_format format);
QN_API qn_dtype qn_format_code_dtype(qn_format format);

/* Which QN_PARAM_* a format has outside its codes. */
QN_API unsigned qn_format_parameters(qn_format format);

/* The parts of a code. Bit 0 is the least significant; fields are listed from the top bit down and cover the code. */
typedef struct qn_field {
    const char *name; /* "sign", "exponent", "regime", "mantissa", "integer", "fraction", "magnitude"; static */
    int first_bit, n_bits;
} qn_field;
enum { QN_FIELDS_MAX = 4 };
/* The fields of `code`, which matters only to formats whose fields move (posit). Returns their number. */
QN_API int qn_format_fields(qn_field fields[QN_FIELDS_MAX], qn_format format, uint32_t code);

/* The real that a code stands for, exactly; NaN or infinity for codes that mean them. Bits of `code` above the format's
 * are ignored. */
QN_API double qn_format_value(qn_format format, const qn_params *params, uint32_t code);
/* The code for a real. Infinities saturate (or are infinity, where the format says overflow goes there), NaN is the
 * format's NaN if it has one, the lowest code of an integer, else 0. Stochastic rounding uses the 32 uniform bits
 * `random`. */
QN_API uint32_t qn_format_code(qn_format format, const qn_params *params, double x, uint32_t random);

/* Finite reals a format reaches with these parameters. */
typedef struct qn_format_limits {
    double lowest, highest;
    double smallest; /* least magnitude above 0 */
} qn_format_limits;
QN_API void qn_format_limits_get(qn_format_limits *limits, qn_format format, const qn_params *params);

/* One row of the registry, for listings. Strings are static. */
typedef struct qn_format_description {
    qn_format_kind kind;
    const char *synopsis; /* "adaptivfloat<n,e>" */
    const char *summary;  /* what the parameters are, in one line */
    const char *source;   /* where the definition is from */
    const char *examples; /* legal names, separated by blanks */
} qn_format_description;
QN_API size_t qn_format_count(void);
QN_API qn_format_description qn_format_describe(size_t index);

#endif
