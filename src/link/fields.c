/* The parts of a frame, named. */
#include "link/frame_layout.h"

/* One more field behind those there are. */
static void add(qn_frame_field *fields, int *n, const char *name, qn_frame_part part, int64_t n_elems, int bits)
{
    if (n_elems > 0) {
        const qn_frame_field *before = *n > 0 ? &fields[*n - 1] : NULL;
        const int64_t first = before != NULL ? before->first_bit + before->n * before->bits : 0;
        fields[(*n)++] = (qn_frame_field){.name = name, .part = part, .first_bit = first, .n = n_elems, .bits = bits};
    }
}

static void add_header(qn_frame_field *fields, int *n, const qn_frame *f, bool checked)
{
    const int64_t dims = AT_DIMS + 8 * (int64_t)f->rank, crc = (int64_t)f->header_bytes - CRC_BYTES;
    const struct {
        const char *name;
        int64_t from, to;
    } parts[] = {
        {"signature", 0, AT_VERSION},
        {"version", AT_VERSION, AT_FLAGS},
        {"flags", AT_FLAGS, AT_PER},
        {"granularity", AT_PER, AT_RANK},
        {"rank", AT_RANK, AT_NAME_BYTES},
        {"name-length", AT_NAME_BYTES, AT_RESERVED},
        {"reserved", AT_RESERVED, AT_BODY_CRC},
        {checked ? "body-crc" : "zeros", AT_BODY_CRC, AT_GROUP},
        {"group", AT_GROUP, AT_BODY_BYTES},
        {"length", AT_BODY_BYTES, AT_DIMS},
        {"dims", AT_DIMS, dims},
        {"format", dims, crc},
        {checked ? "header-crc" : "zeros", crc, crc + CRC_BYTES},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        add(fields, n, parts[i].name, QN_FRAME_HEADER, parts[i].to - parts[i].from, 8);
    }
}

static const char *parameter_name(unsigned parameter)
{
    switch (parameter) {
    case QN_PARAM_SCALE:
        return "scale";
    case QN_PARAM_ZERO_POINT:
        return "zero-point";
    case QN_PARAM_EXP_BIAS:
        return "exponent-bias";
    case QN_PARAM_SHIFT:
        return "shift";
    default:
        return "multiplier";
    }
}

int qn_frame_fields(qn_frame_field fields[QN_FRAME_FIELDS_MAX], const qn_frame *frame, qn_link_checksum checksum)
{
    int n = 0;
    add_header(fields, &n, frame, checksum == QN_LINK_CHECKSUM_ON);
    qn_frame_array arrays[QN_FRAME_PARAMETERS];
    const int n_arrays = frame->raw ? 0 : qn_frame_arrays(arrays, &frame->format);
    for (int i = 0; i < n_arrays; i++) {
        const int before = n;
        add(fields, &n, parameter_name(arrays[i].parameter), QN_FRAME_PARAMETER, frame->n_sets,
            8 * (int)arrays[i].bytes);
        if (n > before) {
            fields[before].parameter = arrays[i].parameter;
        }
    }
    const int bits = frame->raw ? 32 : frame->format.bits;
    add(fields, &n, "codes", QN_FRAME_PAYLOAD, frame->n_elems, bits);
    const int64_t rest = 8 * (int64_t)frame->code_bytes - frame->n_elems * bits;
    add(fields, &n, "padding", QN_FRAME_PAYLOAD, rest > 0, (int)rest);
    return n;
}
