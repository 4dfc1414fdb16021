/* Messages between stages, with the checksums of envelope and body put right, so that what lies behind is reached.
 *
 * Whatever the bytes, parsing ends in a verdict and allocates nothing, and a longer prefix never takes back what a
 * shorter one showed; the frames of a complete message lie within it, one behind the other. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/crc32c.h"
#include "link/message.h"

enum { LIMIT = 1 << 20, AT_KIND = 6, AT_BODY_CRC = 44, AT_CRC = 48 };

static void require(bool kept)
{
    if (!kept) {
        abort();
    }
}

static void seal(uint8_t *data, size_t size)
{
    if (size < QN_ENVELOPE_BYTES) {
        return;
    }
    const uint32_t body =
        data[AT_KIND] == QN_MESSAGE_DATA ? 0 : qn_crc32c(0, data + QN_ENVELOPE_BYTES, size - QN_ENVELOPE_BYTES);
    memcpy(data + AT_BODY_CRC, &body, sizeof body);
    const uint32_t crc = qn_crc32c(0, data, AT_CRC);
    memcpy(data + AT_CRC, &crc, sizeof crc);
}

static void check_frames(const qn_message *m)
{
    size_t at = 0, before = 0;
    qn_frame frame;
    qn_frame_verdict verdict;
    while (qn_message_next(&frame, &at, &verdict, m, LIMIT)) {
        require(frame.parameters == m->body + before + frame.header_bytes);
        require(at == before + frame.n_bytes && at <= m->n_bytes - QN_ENVELOPE_BYTES);
        before = at;
    }
    require(verdict.fault == QN_FRAME_FINE ? at == m->n_bytes - QN_ENVELOPE_BYTES : verdict.offset <= m->n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    require(copy != NULL);
    memcpy(copy, data, size);
    seal(copy, size);
    qn_message m;
    qn_message_verdict verdict;
    const uint64_t allocations = qn_alloc_count();
    bool over = false;
    for (size_t n = 0; n <= size; n += n < QN_ENVELOPE_BYTES || n + 97 > size ? 1 : 97) {
        const qn_frame_state state = qn_message_parse(&m, &verdict, copy, n, LIMIT);
        require(!over || state != QN_FRAME_MORE);
        over = state != QN_FRAME_MORE;
        if (state == QN_FRAME_COMPLETE) {
            require(m.n_bytes <= n && m.n_bytes <= LIMIT && verdict.need == m.n_bytes);
            check_frames(&m);
        } else if (state == QN_FRAME_MORE) {
            require(verdict.need > n && verdict.need <= LIMIT);
        } else {
            require(verdict.fault != QN_MESSAGE_FINE && verdict.offset < n);
        }
    }
    require(qn_alloc_count() == allocations);
    free(copy);
    return 0;
}
