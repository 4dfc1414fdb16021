/* The link room: tensors as bytes between machines (doc/spec/link.md).
 *
 * frame.c lays out and reads headers, frame_encode.c and frame_decode.c fill and take bodies, prepare.c has what
 * happens to values before, coder.c the memory for it; pipeedge.c has PipeEdge's arrays. Bytes from outside are never
 * trusted: a qn_frame is what qn_frame_parse found consistent and within the caller's limit, and all else is computed
 * from it.
 *
 * Invariants: all numbers in frames are little-endian, as this machine's are (base/arch.h). Encoding and decoding are
 * the format room's; nothing here rounds. Ownership: buffers are the caller's; what a call allocates it frees, or
 * leaves in the caller's coder, but for tensors it returns. Threads: everything is reentrant. */
#ifndef QN_LINK_LINK_H
#define QN_LINK_LINK_H

#include "base/error.h"
#include "base/memory.h"
#include "format/dynamic.h"
#include "quern/link.h"

/* "fp32" */
extern const char qn_link_raw_name[];

/* From name, per, group, rank and dims to the rest; what is wrong, or QN_FRAME_FINE. */
qn_frame_fault qn_frame_lay_out(qn_frame *frame);
/* Write the header before a body that is there. */
void qn_frame_write_header(unsigned char *data, const qn_frame *frame);

/* The parameters of a frame, in the order in which they lie. */
enum { QN_FRAME_PARAMETERS = 5 };
typedef struct qn_frame_array {
    unsigned parameter; /* QN_PARAM_* */
    size_t bytes;       /* of each: 4, or 1 or 2 of exponents */
} qn_frame_array;
/* Returns their number. */
int qn_frame_arrays(qn_frame_array arrays[QN_FRAME_PARAMETERS], const qn_format *f);

/* Are the frames of one format, granularity and shape? Codes and parameters are the sender's. */
bool qn_frame_same_layout(const qn_frame *a, const qn_frame *b);

/* The parts of a frame by name, for those who look at damage: they lie one after another and are all of it.
 *  parameter  QN_PARAM_*; 0 of what is none
 *  first_bit  bit k of a frame is bit k % 8 of byte k / 8, bit 0 being the least significant
 *  n, bits    elements of so many bits each, packed: bytes of the header, parameters, codes, the bits that fill up the
 *             last byte */
typedef enum qn_frame_part { QN_FRAME_HEADER, QN_FRAME_PARAMETER, QN_FRAME_PAYLOAD } qn_frame_part;
typedef struct qn_frame_field {
    const char *name;
    qn_frame_part part;
    unsigned parameter;
    int64_t first_bit, n;
    int bits;
} qn_frame_field;
enum { QN_FRAME_FIELDS_MAX = 13 + QN_FRAME_PARAMETERS + 2 };
/* Of a frame from qn_frame_plan, with the checksums that it will have. Returns their number. */
int qn_frame_fields(qn_frame_field fields[QN_FRAME_FIELDS_MAX], const qn_frame *frame, qn_link_checksum checksum);

/* The options, checked; NULL for the defaults. */
qn_status qn_link_take_options(qn_link_options *taken, const qn_link_options *options, qn_error *err);

/* What one frame needs, by purpose; each grows and is kept. A zeroed coder is an empty one. */
typedef enum qn_slot { QN_SLOT_VALUES, QN_SLOT_COPY, QN_SLOT_FIT, QN_SLOT_PARAMETERS, QN_SLOTS } qn_slot;
struct qn_frame_coder {
    struct {
        void *data;
        size_t n_bytes;
    } slots[QN_SLOTS];
    qn_dynamic dynamic; /* for the frame before, when has_dynamic */
    qn_cpu cpu;
    bool has_dynamic;
};
/* At least n_bytes, not cleared; what was in the slot is lost. Errors: QN_ENOMEM. */
qn_status qn_coder_take(void **memory, qn_frame_coder *coder, qn_slot slot, size_t n_bytes, qn_error *err);
void qn_coder_empty(qn_frame_coder *coder);

/* Values ready for codes of a format: as they are, or a copy in the coder, in which NaN that the format lacks is 0, and
 * values are clamped. flags: what was done. Errors: QN_EINVAL (element type), QN_ERANGE, QN_ENOMEM. */
typedef struct qn_link_values {
    const qn_tensor *x;
    qn_tensor copy;
    unsigned flags;
} qn_link_values;
qn_status qn_link_prepare(qn_link_values *values, qn_frame_coder *coder, const qn_tensor *x, const qn_format *f,
                          const qn_link_options *o, qn_error *err);
/* Parameters for values, in the coder. Errors: QN_EINVAL, QN_ELIMIT, QN_ENOMEM. */
qn_status qn_link_fit(const qn_quantizer **q, qn_frame_coder *coder, const qn_tensor *x, const qn_format *f, int axis,
                      int64_t group, qn_link_clamp clamp, qn_error *err);

#endif
