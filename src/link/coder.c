/* Memory that is kept from frame to frame. */
#include "link/link.h"

qn_status qn_frame_coder_new(qn_frame_coder **coder, qn_error *err)
{
    qn_frame_coder *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    *coder = made;
    return QN_OK;
}

void qn_coder_empty(qn_frame_coder *coder)
{
    for (int i = 0; i < QN_SLOTS; i++) {
        qn_free(coder->slots[i].data);
    }
    *coder = (qn_frame_coder){0};
}

void qn_frame_coder_free(qn_frame_coder *coder)
{
    if (coder != NULL) {
        qn_coder_empty(coder);
        qn_free(coder);
    }
}

qn_status qn_coder_take(void **memory, qn_frame_coder *coder, qn_slot slot, size_t n_bytes, qn_error *err)
{
    if (coder->slots[slot].data == NULL || coder->slots[slot].n_bytes < n_bytes) {
        qn_free(coder->slots[slot].data);
        coder->slots[slot].n_bytes = n_bytes;
        coder->slots[slot].data = qn_alloc_uncleared(n_bytes);
        if (coder->slots[slot].data == NULL) {
            return qn_fail_memory(err, NULL, n_bytes);
        }
    }
    *memory = coder->slots[slot].data;
    return QN_OK;
}
