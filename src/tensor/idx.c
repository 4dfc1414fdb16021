/* MNIST IDX: two zero bytes, an element type, the rank, and each dimension as 4 big-endian bytes; elements follow, big
 * endian, in C order. */
#include "tensor/npy.h"

enum { PREFIX = 4, MAX_TYPE = 0x0E };

static const qn_dtype types[MAX_TYPE + 1] = {
    [0x08] = QN_DTYPE_U8,  [0x09] = QN_DTYPE_S8,  [0x0B] = QN_DTYPE_S16,
    [0x0C] = QN_DTYPE_S32, [0x0D] = QN_DTYPE_F32, [0x0E] = QN_DTYPE_F64,
};

bool qn_idx_recognize(const unsigned char *head, size_t n_head)
{
    return n_head >= PREFIX && head[0] == 0 && head[1] == 0 && head[2] <= MAX_TYPE && types[head[2]] != QN_DTYPE_NONE &&
           head[3] > 0;
}

qn_status qn_idx_parse(qn_array_header *h, const unsigned char *head, size_t n_head, const char *where, qn_error *err)
{
    const uint16_t probe = 1;
    int rank = head[3];
    if (rank > QN_MAX_RANK) {
        return qn_fail_at(err, QN_ELIMIT, 3, where, "the IDX array has %d dimensions; the most is %d", rank,
                          QN_MAX_RANK);
    }
    size_t length = PREFIX + 4 * (size_t)rank;
    if (n_head < length) {
        return qn_fail(err, QN_EFORMAT, where, "truncated: the IDX header has %zu bytes, of which %zu are there",
                       length, n_head);
    }
    *h = (qn_array_header){.dtype = types[head[2]], .rank = rank, .data_offset = (int64_t)length};
    h->swapped = qn_dtype_size(h->dtype) > 1 && *(const unsigned char *)&probe == 1;
    for (int d = 0; d < rank; d++) {
        const unsigned char *bytes = head + PREFIX + 4 * d;
        h->dims[d] = (int64_t)bytes[0] * 0x1000000 + bytes[1] * 0x10000 + bytes[2] * 0x100 + bytes[3];
    }
    return qn_array_header_size(h, where, err);
}
