/* Frames of links, with their checksums put right, so that what lies behind those is reached.
 *
 * Whatever the bytes, parsing ends in a verdict and allocates nothing; what is needed is more than is there and within
 * the limit; a frame that is complete decodes, to the same numbers twice, or its parameters are refused with a
 * message. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/crc32c.h"
#include "quern/link.h"

enum { LIMIT = 1 << 20, AT_FLAGS = 6, AT_RANK = 9, AT_NAME_BYTES = 10, AT_BODY_CRC = 12, AT_DIMS = 32 };

static void require(bool kept)
{
    if (!kept) {
        abort();
    }
}

static void put_crc(uint8_t *at, const uint8_t *data, size_t n)
{
    const uint32_t crc = qn_crc32c(0, data, n);
    memcpy(at, &crc, sizeof crc);
}

/* Of what the header's own lengths say is header and body; zeros where flags say that there are none. */
static void seal(uint8_t *data, size_t size)
{
    if (size < AT_DIMS) {
        return;
    }
    const size_t crc_at = (size_t)AT_DIMS + 8 * (size_t)data[AT_RANK] + ((size_t)data[AT_NAME_BYTES] + 3) / 4 * 4;
    if (crc_at + 4 <= size && (data[AT_FLAGS] & QN_FRAME_UNCHECKED) != 0) {
        memset(data + AT_BODY_CRC, 0, 4);
        memset(data + crc_at, 0, 4);
    } else if (crc_at + 4 <= size) {
        put_crc(data + AT_BODY_CRC, data + crc_at + 4, size - crc_at - 4);
        put_crc(data + crc_at, data, crc_at);
    }
}

static void check_decoding(const qn_frame *frame)
{
    const size_t n_bytes = (size_t)frame->n_elems * sizeof(float);
    float *y = malloc(n_bytes + 1), *again = malloc(n_bytes + 1);
    require(y != NULL && again != NULL);
    qn_error err;
    qn_error_init(&err);
    const qn_status status = qn_frame_decode(y, frame, &err);
    if (status == QN_OK) {
        require(qn_frame_decode(again, frame, &err) == QN_OK && memcmp(y, again, n_bytes) == 0);
    } else {
        require(status == QN_EFORMAT && err.message[0] != '\0');
    }
    if (!frame->raw) {
        void *codes = malloc((size_t)frame->n_elems * qn_dtype_size(qn_format_dtype(frame->format)) + 1);
        require(codes != NULL && qn_frame_codes(codes, frame, NULL) == QN_OK);
        free(codes);
    }
    free(y);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    require(copy != NULL);
    memcpy(copy, data, size);
    seal(copy, size);
    qn_frame frame;
    qn_frame_verdict verdict;
    const uint64_t allocations = qn_alloc_count();
    const qn_frame_state state = qn_frame_parse(&frame, &verdict, copy, size, LIMIT);
    require(qn_alloc_count() == allocations);
    if (state == QN_FRAME_COMPLETE) {
        require(frame.n_bytes <= size && frame.n_bytes <= LIMIT && frame.decoded_bytes <= LIMIT);
        check_decoding(&frame);
    } else if (state == QN_FRAME_MORE) {
        require(verdict.need > size && verdict.need <= LIMIT);
    } else {
        require(verdict.fault != QN_FRAME_FINE && verdict.offset < size);
    }
    free(copy);
    return 0;
}
