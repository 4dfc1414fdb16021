/* A frame back into numbers. */
#include <string.h>

#include "format/codec.h"
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

qn_status qn_frame_decode(float *y, const qn_frame *frame, qn_error *err)
{
    if (frame->codes == NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "the frame is not complete");
    }
    if (frame->n_elems == 0) {
        return QN_OK;
    }
    if (frame->raw) {
        memcpy(y, frame->codes, frame->code_bytes);
        return QN_OK;
    }
    qn_frame_array arrays[QN_FRAME_PARAMETERS];
    const int n_arrays = qn_frame_arrays(arrays, &frame->format);
    const size_t array_bytes = (size_t)frame->n_sets * sizeof(float), n_bytes = (size_t)n_arrays * array_bytes;
    unsigned char *memory = qn_alloc_uncleared(n_bytes);
    if (memory == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    qn_quantizer q = {.format = frame->format, .axis = frame->axis, .group = frame->axis_group, .n = frame->n_sets};
    const unsigned char *from = frame->parameters;
    for (int i = 0; i < n_arrays; i++) {
        unsigned char *to = memory + (size_t)i * array_bytes;
        const void *words = to;
        read_array(to, from, frame->n_sets, arrays[i].bytes);
        from += (size_t)frame->n_sets * arrays[i].bytes;
        q.scale = arrays[i].parameter == QN_PARAM_SCALE ? words : q.scale;
        q.zero_point = arrays[i].parameter == QN_PARAM_ZERO_POINT ? words : q.zero_point;
        q.exp_bias = arrays[i].parameter == QN_PARAM_EXP_BIAS ? words : q.exp_bias;
        q.shift = arrays[i].parameter == QN_PARAM_SHIFT ? words : q.shift;
        q.multiplier = arrays[i].parameter == QN_PARAM_MULTIPLIER ? words : q.multiplier;
    }
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = QN_OK;
    if (qn_quantizer_check(&q, frame->rank, frame->dims, "parameters", &inner) != QN_OK) {
        status = qn_fail(err, QN_EFORMAT, inner.where, "%s", inner.message);
    } else {
        const qn_packed packed = {(void *)(uintptr_t)frame->codes, frame->n_elems, frame->format.bits,
                                  QN_PACKING_DENSE};
        const qn_format_kernel kernel = qn_format_kernel_default(&frame->format);
        qn_codec_run(&(qn_codec){.y = y, .const_packed = &packed}, &q, &kernel, frame->rank, frame->dims);
    }
    qn_free(memory);
    return status;
}
