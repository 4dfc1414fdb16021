/* A frame back into numbers. */
#include <string.h>

#include "format/codec.h"
#include "format/round.h"
#include "link/link.h"

/* One array of parameters into words: float32 and int32 as they are, exponents widened. */
static void read_array(unsigned char *to, const unsigned char *from, int64_t n, size_t bytes)
{
    if (bytes == 4) {
        memcpy(to, from, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++, from += bytes, to += 4) {
        int16_t half;
        int32_t word = bytes == 1 ? *from - 127 : 0; /* E8M0 */
        if (bytes == 2) {
            memcpy(&half, from, sizeof half);
            word = half;
        }
        memcpy(to, &word, sizeof word);
    }
}

qn_status qn_frame_quantizer(qn_quantizer *q, const qn_frame *frame, qn_frame_coder *coder, qn_error *err)
{
    if (frame->codes == NULL || frame->raw) {
        return qn_fail(err, QN_EINVAL, NULL, frame->raw ? "fp32 has no parameters" : "the frame is not complete");
    }
    qn_frame_array arrays[QN_FRAME_PARAMETERS];
    const int n_arrays = qn_frame_arrays(arrays, &frame->format);
    const size_t array_bytes = (size_t)frame->n_sets * sizeof(float);
    void *memory;
    QN_TRY(qn_coder_take(&memory, coder, QN_SLOT_PARAMETERS, (size_t)n_arrays * array_bytes, err));
    qn_quantizer made = {.format = frame->format, .axis = frame->axis, .group = frame->axis_group, .n = frame->n_sets};
    const unsigned char *from = frame->parameters;
    for (int i = 0; i < n_arrays; i++) {
        unsigned char *to = (unsigned char *)memory + (size_t)i * array_bytes;
        const void *words = to;
        read_array(to, from, frame->n_sets, arrays[i].bytes);
        from += (size_t)frame->n_sets * arrays[i].bytes;
        made.scale = arrays[i].parameter == QN_PARAM_SCALE ? words : made.scale;
        made.zero_point = arrays[i].parameter == QN_PARAM_ZERO_POINT ? words : made.zero_point;
        made.exp_bias = arrays[i].parameter == QN_PARAM_EXP_BIAS ? words : made.exp_bias;
        made.shift = arrays[i].parameter == QN_PARAM_SHIFT ? words : made.shift;
        made.multiplier = arrays[i].parameter == QN_PARAM_MULTIPLIER ? words : made.multiplier;
    }
    qn_error inner;
    qn_error_init(&inner);
    if (qn_quantizer_check(&made, frame->rank, frame->dims, "parameters", &inner) != QN_OK) {
        return qn_fail(err, QN_EFORMAT, inner.where, "%s", inner.message);
    }
    *q = made;
    return QN_OK;
}

static qn_packed packed_of(const qn_frame *frame)
{
    return (qn_packed){(void *)(uintptr_t)frame->codes, frame->n_elems, frame->format.bits, QN_PACKING_DENSE};
}

qn_status qn_frame_codes(void *codes, const qn_frame *frame, qn_error *err)
{
    if (frame->codes == NULL || frame->raw) {
        return qn_fail(err, QN_EINVAL, NULL, frame->raw ? "fp32 has no codes" : "the frame is not complete");
    }
    const qn_packed packed = packed_of(frame);
    const size_t size = qn_dtype_size(qn_format_dtype(frame->format));
    qn_unpack(codes, &packed, size);
    const bool extend = frame->format.kind == QN_FORMAT_INT && frame->format.is_signed;
    for (int64_t i = 0; extend && i < frame->n_elems; i++) {
        if (size == 1) {
            ((int8_t *)codes)[i] = (int8_t)qn_code_signed(((uint8_t *)codes)[i], frame->format.bits);
        } else if (size == 2) { /* the rest fills its 32 bits */
            ((int16_t *)codes)[i] = (int16_t)qn_code_signed(((uint16_t *)codes)[i], frame->format.bits);
        }
    }
    return QN_OK;
}

qn_status qn_frame_decode_with(float *y, const qn_frame *frame, qn_frame_coder *coder, qn_error *err)
{
    if (frame->codes == NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "the frame is not complete");
    }
    if (frame->raw) {
        memcpy(y, frame->codes, frame->code_bytes);
        return QN_OK;
    }
    qn_frame_coder own = {0};
    qn_quantizer q;
    qn_status status = qn_frame_quantizer(&q, frame, coder != NULL ? coder : &own, err);
    if (status == QN_OK && frame->n_elems > 0) {
        const qn_packed packed = packed_of(frame);
        const qn_format_kernel kernel = qn_format_kernel_default(&frame->format);
        qn_codec_run(&(qn_codec){.y = y, .const_packed = &packed}, &q, &kernel, frame->rank, frame->dims);
    }
    qn_coder_empty(&own);
    return status;
}

qn_status qn_frame_decode(float *y, const qn_frame *frame, qn_error *err)
{
    return qn_frame_decode_with(y, frame, NULL, err);
}
