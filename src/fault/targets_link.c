/* Targets on links: the parts of frames. */
#include <string.h>

#include "fault/link_path.h"

/* Where a tensor's channels, rows and columns are is known of the activation that it is. */
static const qn_fault_target *value_target(const qn_fault_targets *targets, const qn_cut_tensor *tensor)
{
    for (int i = 0; i < targets->n; i++) {
        const qn_fault_target *t = &targets->list[i];
        if ((t->where == QN_FAULT_ACTIVATIONS || t->where == QN_FAULT_INPUTS) && t->value == tensor->value &&
            t->n_elems == tensor->count) {
            return t;
        }
    }
    return NULL;
}

static void set_vector(qn_fault_target *t, int64_t n)
{
    t->rank = 1;
    t->dims[0] = n;
}

static void set_payload(qn_fault_target *t, const qn_link_frame *f, const qn_fault_target *value)
{
    const qn_cut_tensor *tensor = f->tensor;
    t->coding = f->layout->raw ? QN_FAULT_F32 : QN_FAULT_CODED;
    t->format = f->layout->format;
    t->unscaled = !f->layout->raw && !f->fixed;
    t->rank = tensor->rank;
    memcpy(t->dims, tensor->dims, sizeof t->dims);
    if (value != NULL) {
        t->rank = value->rank;
        memcpy(t->dims, value->dims, sizeof t->dims);
        t->channel_axis = value->channel_axis;
        t->row_axis = value->row_axis;
        t->column_axis = value->column_axis;
    }
}

static void set_parameter(qn_fault_target *t, const qn_link_frame *f, const qn_frame_field *field)
{
    const bool exponent = field->parameter == QN_PARAM_EXP_BIAS;
    t->coding = exponent && field->bits == 8                          ? QN_FAULT_BYTES
                : exponent || field->parameter == QN_PARAM_ZERO_POINT ? QN_FAULT_S32
                                                                      : QN_FAULT_F32;
    t->format = f->layout->format;
    set_vector(t, field->n);
    t->channel_axis = f->layout->per == QN_LINK_PER_CHANNEL && field->n > 1 ? 0 : -1;
}

static void set_field(qn_fault_target *t, const qn_link_path *path, int frame, const qn_frame_field *field,
                      const qn_fault_target *value)
{
    static const qn_fault_where places[] = {[QN_FRAME_HEADER] = QN_FAULT_LINK_HEADER,
                                            [QN_FRAME_PARAMETER] = QN_FAULT_LINK_PARAMETERS,
                                            [QN_FRAME_PAYLOAD] = QN_FAULT_LINK_PAYLOAD};
    const qn_link_frame *f = &path->frames[frame];
    *t = (qn_fault_target){.where = places[field->part],
                           .node = -1,
                           .value = f->tensor->value,
                           .layer = path->hops[f->link].cut->name,
                           .value_name = f->tensor->name,
                           .op_type = "link",
                           .coding = QN_FAULT_BYTES,
                           .bits = field->bits,
                           .n_elems = field->n,
                           .n_terms = 1,
                           .channel_axis = -1,
                           .row_axis = -1,
                           .column_axis = -1,
                           .field = field->name,
                           .frame = frame,
                           .first_bit = field->first_bit,
                           .frame_bits = 8 * (int64_t)f->layout->n_bytes};
    if (field->part == QN_FRAME_PARAMETER) {
        set_parameter(t, f, field);
    } else if (field->part == QN_FRAME_PAYLOAD && strcmp(field->name, "codes") == 0) {
        set_payload(t, f, value);
    } else {
        set_vector(t, field->n);
    }
}

qn_status qn_fault_targets_to_links(qn_fault_targets *targets, const qn_link_path *path, qn_error *err)
{
    const size_t most = (size_t)path->n_frames * QN_FRAME_FIELDS_MAX;
    qn_fault_target *list = qn_alloc((most + 1) * sizeof *list);
    if (list == NULL) {
        return qn_fail_memory(err, path->file, most * sizeof *list);
    }
    int n = 0;
    for (int k = 0; k < path->n_frames; k++) {
        const qn_link_frame *f = &path->frames[k];
        const qn_link_checksum checksum = path->hops[f->link].unchecked ? QN_LINK_CHECKSUM_OFF : QN_LINK_CHECKSUM_ON;
        const qn_fault_target *value = value_target(targets, f->tensor);
        qn_frame_field fields[QN_FRAME_FIELDS_MAX];
        const int n_fields = qn_frame_fields(fields, f->layout, checksum);
        for (int i = 0; i < n_fields; i++) {
            set_field(&list[n++], path, k, &fields[i], value);
        }
    }
    qn_free(targets->list);
    targets->list = list;
    targets->n = n;
    return QN_OK;
}
