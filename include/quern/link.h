/* Links between machines: a tensor packed into a frame, bytes that say themselves what they are (doc/spec/link.md), and
 * PipeEdge's five tensors for interchange.
 *
 * A frame is self-contained: format, shape, parameters and codes, with a CRC-32C of the header and one of the rest. All
 * calls are reentrant; the same input gives the same bytes on every CPU. */
#ifndef QUERN_LINK_H
#define QUERN_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/codes.h"
#include "quern/format.h"
#include "quern/tensor.h"

/* Which elements share a parameter set. X(name, value, text); values are those of frames. Of a tensor without
 * dimensions all are `tensor`.
 *  tensor   all
 *  item     those with the same first index
 *  channel  those with the same index along the last axis of matrices and of [items, tokens, features], else along
 *           axis 1 (axis 0 of vectors)
 *  token    those that differ in the last index alone
 *  group    `group` consecutive ones in C order; the last set may be short
 *  block    the blocks of bfp and mx, along the last axis */
#define QN_LINK_PER_LIST(X)                                                                                            \
    X(QN_LINK_PER_TENSOR, 0, "tensor")                                                                                 \
    X(QN_LINK_PER_ITEM, 1, "item")                                                                                     \
    X(QN_LINK_PER_CHANNEL, 2, "channel")                                                                               \
    X(QN_LINK_PER_TOKEN, 3, "token")                                                                                   \
    X(QN_LINK_PER_GROUP, 4, "group")                                                                                   \
    X(QN_LINK_PER_BLOCK, 5, "block")
typedef enum qn_link_per {
#define QN_LINK_PER_ENUM(name, value, text) name = value,
    QN_LINK_PER_LIST(QN_LINK_PER_ENUM)
#undef QN_LINK_PER_ENUM
} qn_link_per;

/* What happens to values before parameters are made of them. X(name, value, text).
 *  none                     nothing; parameters by the format's own fit
 *  laplace, gelu, ds-aciq   the whole tensor is clamped to +-a, as PipeEdge clamps a micro-batch, then as `none`: the
 *                           a of the rules aciq-laplace, aciq-gelu, ds-aciq (quern/fit.h)
 *  mse                      no clamp of its own: each set's parameters are those of the rule mse */
#define QN_LINK_CLAMP_LIST(X)                                                                                          \
    X(QN_LINK_CLAMP_NONE, 0, "none")                                                                                   \
    X(QN_LINK_CLAMP_LAPLACE, 1, "laplace")                                                                             \
    X(QN_LINK_CLAMP_GELU, 2, "gelu")                                                                                   \
    X(QN_LINK_CLAMP_DS_ACIQ, 3, "ds-aciq")                                                                             \
    X(QN_LINK_CLAMP_MSE, 4, "mse")
typedef enum qn_link_clamp {
#define QN_LINK_CLAMP_ENUM(name, value, text) name = value,
    QN_LINK_CLAMP_LIST(QN_LINK_CLAMP_ENUM)
#undef QN_LINK_CLAMP_ENUM
} qn_link_clamp;

/* Has a frame checksums of header and body? X(name, value, text). Without them it is the same frame otherwise; it shows
 * what errors of a link do to numbers, and is not for data that anybody needs. */
#define QN_LINK_CHECKSUM_LIST(X)                                                                                       \
    X(QN_LINK_CHECKSUM_ON, 0, "on")                                                                                    \
    X(QN_LINK_CHECKSUM_OFF, 1, "off")
typedef enum qn_link_checksum {
#define QN_LINK_CHECKSUM_ENUM(name, value, text) name = value,
    QN_LINK_CHECKSUM_LIST(QN_LINK_CHECKSUM_ENUM)
#undef QN_LINK_CHECKSUM_ENUM
} qn_link_checksum;

typedef struct qn_link_options {
    size_t struct_size;
    const char *format; /* name of a format, or "fp32": bits of float32 as they are; default "fp32" */
    qn_link_per per;    /* default: tensor; formats with blocks: block, or group with the block's length */
    int64_t group;      /* per group: 1 or more; else 0 */
    qn_link_clamp clamp;
    qn_nan_policy nan; /* of NaN and infinities that the format's codes cannot be: refuse (default), zero, clamp */
    qn_inf_policy inf;
    uint64_t seed; /* of stochastic rounding */
    qn_link_checksum checksum;
} qn_link_options;
QN_API void qn_link_options_init(qn_link_options *options);
/* The value of "item", "group:16", ..., of "mse", ... and of "on" or "off": QN_EINVAL, which names those there are. */
QN_API QN_NODISCARD qn_status qn_link_per_parse(qn_link_per *per, int64_t *group, const char *text, qn_error *err);
QN_API QN_NODISCARD qn_status qn_link_clamp_parse(qn_link_clamp *clamp, const char *text, qn_error *err);
QN_API QN_NODISCARD qn_status qn_link_checksum_parse(qn_link_checksum *checksum, const char *text, qn_error *err);

/* What is wrong with a frame. X(name, value, text). */
#define QN_FRAME_FAULT_LIST(X)                                                                                         \
    X(QN_FRAME_FINE, 0, "nothing is wrong")                                                                            \
    X(QN_FRAME_MAGIC, 1, "not a frame: the first bytes are not its signature")                                         \
    X(QN_FRAME_VERSION, 2, "a version of frames that this quern does not know")                                        \
    X(QN_FRAME_HEADER_CRC, 3, "the header is damaged: its checksum differs")                                           \
    X(QN_FRAME_FLAGS, 4, "flags or a reserved byte that version 1 does not have, or checksums in spite of the flags")  \
    X(QN_FRAME_FORMAT, 5, "the format's name is not the canonical one of a format")                                    \
    X(QN_FRAME_SHAPE, 6, "the shape has more than 8 dimensions, or too many elements")                                 \
    X(QN_FRAME_PER, 7, "the granularity is unknown, or not one of the format")                                         \
    X(QN_FRAME_LENGTH, 8, "the length of the body is not what format and shape need")                                  \
    X(QN_FRAME_LIMIT, 9, "larger than the limit")                                                                      \
    X(QN_FRAME_BODY_CRC, 10, "the body is damaged: its checksum differs")                                              \
    X(QN_FRAME_TRUNCATED, 11, "the frame ends too early")
typedef enum qn_frame_fault {
#define QN_FRAME_FAULT_ENUM(name, value, text) name = value,
    QN_FRAME_FAULT_LIST(QN_FRAME_FAULT_ENUM)
#undef QN_FRAME_FAULT_ENUM
} qn_frame_fault;
QN_API const char *qn_frame_fault_text(qn_frame_fault fault); /* never NULL; static */

/* A frame's flags: what was done to values, and whether there are no checksums. Who needs them insists, once a frame is
 * complete, on !(flags & QN_FRAME_UNCHECKED). */
enum {
    QN_FRAME_NAN_ZEROED = 1,
    QN_FRAME_INF_CLAMPED = 2,
    QN_FRAME_VALUES_CLAMPED = 4,
    QN_FRAME_UNCHECKED = 8,
    QN_FRAME_FLAGS_KNOWN = 15
};

/* A frame, described: plain data, that owns nothing. */
typedef struct qn_frame {
    int version;
    unsigned flags;
    char name[QN_FORMAT_NAME_MAX]; /* of the format */
    bool raw;                      /* "fp32": codes are the float32 themselves, and `format` is not set */
    qn_format format;
    qn_link_per per;
    int64_t group;
    int rank;
    int64_t dims[QN_MAX_RANK];
    int64_t n_elems, n_sets; /* elements; parameter sets */
    int axis;                /* granularity as in qn_quantizer */
    int64_t axis_group;
    size_t header_bytes, parameter_bytes, code_bytes, n_bytes; /* n_bytes: the sum */
    size_t decoded_bytes; /* memory that decoding needs: elements as float32, and parameters as in qn_quantizer */
    const unsigned char *parameters, *codes; /* into the bytes that were parsed, when those are complete */
} qn_frame;

/* Description and length of the frame that a tensor of this shape gets. Errors: QN_EINVAL (format, granularity),
 * QN_ELIMIT. */
QN_API QN_NODISCARD qn_status qn_frame_plan(qn_frame *frame, const qn_link_options *options, int rank,
                                            const int64_t *dims, qn_error *err);
/* The same for values whose parameters are known: format and granularity are the quantizer's, those of the options do
 * not matter. QN_EINVAL when no granularity of frames has its sets, or when it is dynamic; the message says which
 * there are. */
QN_API QN_NODISCARD qn_status qn_frame_plan_for(qn_frame *frame, const qn_quantizer *q, const qn_link_options *options,
                                                int rank, const int64_t *dims, qn_error *err);

/* Memory of one thread that makes or reads frame after frame. It grows when a frame needs more than those before and is
 * kept, so that the next one like it allocates nothing; clamp mse does nevertheless. Where a call takes one, NULL
 * stands for memory that is there for this call. */
typedef struct qn_frame_coder qn_frame_coder;
/* Errors: QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_frame_coder_new(qn_frame_coder **coder, qn_error *err);
QN_API void qn_frame_coder_free(qn_frame_coder *coder); /* NULL is allowed */

/* Make the frame of a tensor.
 *  data     frame->n_bytes of the caller's, not aligned
 *  frame    from qn_frame_plan for these options and x's shape; its flags, parameters and codes are set
 *  x        f32 or f64; doubles are not narrowed first, but by "fp32"
 * Errors: QN_EINVAL (frame does not belong to x), QN_ERANGE (NaN or infinity, the element named), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_frame_encode(void *data, qn_frame *frame, const qn_tensor *x,
                                              const qn_link_options *options, qn_error *err);

/* The same with known parameters (static ones of a model), and without allocating.
 *  frame    from qn_frame_plan or qn_frame_plan_for
 *  x        as above; with q also codes, u8 to u32 or s8 to s32 in the size of qn_format_code_dtype, which travel as
 *           they are (bits above the format's are ignored, and so are the policies for what is not a number)
 *  q        the parameters, for x's shape, in the frame's format and granularity; NULL: made of x
 *  options  with q: no clamp
 * Errors: those of qn_frame_encode; QN_EINVAL (q does not fit, has parameters that are out of order or that a frame
 * cannot hold). */
QN_API QN_NODISCARD qn_status qn_frame_encode_with(void *data, qn_frame *frame, const qn_tensor *x,
                                                   const qn_quantizer *q, const qn_link_options *options,
                                                   qn_frame_coder *coder, qn_error *err);

typedef enum qn_frame_state { QN_FRAME_MORE, QN_FRAME_COMPLETE, QN_FRAME_BAD } qn_frame_state;
/* More about the state.
 *  need    more: the bytes from the start that are needed to go on, as far as is known; complete: the frame's length */
typedef struct qn_frame_verdict {
    size_t need;
    qn_frame_fault fault; /* bad */
    size_t offset;        /* bad: of the byte, or the first of those, that are wrong */
} qn_frame_verdict;

/* Read the frame at the start of n bytes, which nobody vouches for and of which there may be fewer or more than a
 * frame. Allocates nothing. A frame is refused as soon as a prefix shows what is wrong, so that nobody waits for
 * absurd lengths.
 *  limit  bytes: neither n_bytes nor decoded_bytes may be greater */
QN_API QN_NODISCARD qn_frame_state qn_frame_parse(qn_frame *frame, qn_frame_verdict *verdict, const void *data,
                                                  size_t n, size_t limit);
/* Reals of a complete frame's codes; its bytes are still there.
 *  y  frame->n_elems floats of the caller's
 * Allocates parameters, decoded_bytes less those of y. Errors: QN_EFORMAT (a parameter that the format does not allow),
 * QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_frame_decode(float *y, const qn_frame *frame, qn_error *err);

/* The same without allocating. */
QN_API QN_NODISCARD qn_status qn_frame_decode_with(float *y, const qn_frame *frame, qn_frame_coder *coder,
                                                   qn_error *err);
/* The parts of a complete frame that is not raw: its parameters as a quantizer, which lies in the coder until that is
 * used again; and its codes as they are in a model, of dtype qn_format_dtype, signed integers with their sign.
 *  codes  frame->n_elems of the caller's
 * Errors: QN_EINVAL (raw, not complete), QN_EFORMAT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_frame_quantizer(qn_quantizer *q, const qn_frame *frame, qn_frame_coder *coder,
                                                 qn_error *err);
QN_API QN_NODISCARD qn_status qn_frame_codes(void *codes, const qn_frame *frame, qn_error *err);

/* What PipeEdge sends for a tensor of B items (tensor_encode_outerdim), bit for bit; released by qn_pipeedge_free.
 *  comm   u8 [B, bytes]: codes of pipeedge<bit> in words of 32 bits (QN_PACKING_WORD32), item by item;
 *         bit 0: f32 [B, ...], the items themselves
 *  shape  s32 [B, rank - 1] (bit 0: s64): dimensions of each item
 *  scale, shift  f32 [B]
 *  bit    s8 [B] */
typedef struct qn_pipeedge {
    qn_tensor comm, shape, scale, shift, bit;
} qn_pipeedge;

/* Encode a tensor of one item or more.
 *  x        f32, or f64, which PipeEdge narrows first
 *  options  format pipeedge<1> to pipeedge<32>, or "fp32" for bit 0; per item; clamp, nan and inf as for frames
 * Errors: QN_EINVAL, QN_ERANGE (the element named), QN_ELIMIT (a dimension beyond int32), QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_pipeedge_encode(qn_pipeedge *sent, const qn_tensor *x, const qn_link_options *options,
                                                 qn_error *err);
/* Back to f32 [B, ...]. Arrays that contradict each other, items of different shape or width, and parameters that are
 * not finite are refused. Errors: QN_EFORMAT, QN_ENOMEM. */
QN_API QN_NODISCARD qn_status qn_pipeedge_decode(qn_tensor *y, const qn_pipeedge *sent, qn_error *err);
/* As an .npz of these names. Errors: QN_EEXIST unless `overwrite`, QN_EIO, QN_ENOMEM; those of qn_tensor_read. */
QN_API QN_NODISCARD qn_status qn_pipeedge_write(const qn_pipeedge *sent, const char *path, bool overwrite,
                                                qn_error *err);
QN_API QN_NODISCARD qn_status qn_pipeedge_read(qn_pipeedge *sent, const char *path, qn_error *err);
QN_API size_t qn_pipeedge_bytes(const qn_pipeedge *sent); /* of all five */
QN_API void qn_pipeedge_free(qn_pipeedge *sent);

#endif
