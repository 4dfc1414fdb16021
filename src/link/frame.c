/* Frames: the layout of header and body (doc/spec/link.md), written and read. */
#include <stdio.h>
#include <string.h>

#include "base/arch.h" /* little-endian */
#include "link/crc32c.h"
#include "link/frame_layout.h"

static const unsigned char magic[AT_VERSION] = {0x89, 'Q', 'N', 'F'};

const char qn_link_raw_name[] = "fp32";

static const char *const fault_texts[] = {
#define FAULT_TEXT(name, value, text) [name] = text,
    QN_FRAME_FAULT_LIST(FAULT_TEXT)
#undef FAULT_TEXT
};

const char *qn_frame_fault_text(qn_frame_fault fault)
{
    return (unsigned)fault < sizeof fault_texts / sizeof fault_texts[0] ? fault_texts[fault] : "?";
}

int qn_frame_arrays(qn_frame_array arrays[QN_FRAME_PARAMETERS], const qn_format *f)
{
    /* An exponent of mx is a byte of E8M0; those of other formats are within +-4096. */
    const qn_frame_array all[QN_FRAME_PARAMETERS] = {{QN_PARAM_SCALE, 4},
                                                     {QN_PARAM_ZERO_POINT, 4},
                                                     {QN_PARAM_EXP_BIAS, f->kind == QN_FORMAT_MX ? 1 : 2},
                                                     {QN_PARAM_SHIFT, 4},
                                                     {QN_PARAM_MULTIPLIER, 4}};
    int n = 0;
    for (int i = 0; i < QN_FRAME_PARAMETERS; i++) {
        if ((qn_format_parameters(*f) & all[i].parameter) != 0) {
            arrays[n++] = all[i];
        }
    }
    return n;
}

/* Granularity as a quantizer has it; false when the frame may not have it. */
static bool lay_out_sets(qn_frame *f)
{
    const int block = f->raw ? 0 : f->format.block;
    const bool grouped = f->per == QN_LINK_PER_GROUP;
    if ((unsigned)f->per > QN_LINK_PER_BLOCK || (grouped ? f->group < 1 : f->group != 0) ||
        (f->raw && f->per != QN_LINK_PER_TENSOR) || (f->per == QN_LINK_PER_BLOCK && block == 0) ||
        (block > 0 && f->per != QN_LINK_PER_BLOCK && !(grouped && f->group == block))) {
        return false;
    }
    f->axis = -1;
    f->axis_group = grouped ? f->group : f->per == QN_LINK_PER_BLOCK ? block : 0;
    if (f->rank > 0 && !grouped && f->per != QN_LINK_PER_TENSOR) {
        const int last = f->rank - 1;
        f->axis = f->per == QN_LINK_PER_ITEM                                    ? 0
                  : f->per == QN_LINK_PER_CHANNEL && (last == 0 || f->rank > 3) ? (last == 0 ? 0 : 1)
                                                                                : last;
        if (f->per == QN_LINK_PER_TOKEN) {
            f->axis_group = f->dims[last] > 0 ? f->dims[last] : 1;
        }
    }
    return true;
}

/* Bytes of the parts; false when they do not fit a size. */
static bool lay_out_bytes(qn_frame *f)
{
    qn_frame_array arrays[QN_FRAME_PARAMETERS];
    const int n_arrays = f->raw ? 0 : qn_frame_arrays(arrays, &f->format);
    size_t each = 0, decoded = 0;
    for (int i = 0; i < n_arrays; i++) {
        each += arrays[i].bytes;
        decoded += sizeof(float);
    }
    const size_t name_bytes = (strlen(f->name) + 3) / 4 * 4;
    f->header_bytes = (size_t)AT_DIMS + 8 * (size_t)f->rank + name_bytes + CRC_BYTES;
    return qn_mul_size((size_t)f->n_sets, each, &f->parameter_bytes) &&
           qn_add_size(f->parameter_bytes, f->code_bytes, &f->n_bytes) && f->n_bytes < INT64_MAX &&
           qn_add_size(f->n_bytes, f->header_bytes, &f->n_bytes) &&
           qn_mul_size((size_t)f->n_sets, decoded, &f->decoded_bytes) &&
           qn_add_size(f->decoded_bytes, (size_t)f->n_elems * sizeof(float), &f->decoded_bytes);
}

qn_frame_fault qn_frame_lay_out(qn_frame *f)
{
    f->raw = strcmp(f->name, qn_link_raw_name) == 0;
    if (!f->raw) {
        char canonical[QN_FORMAT_NAME_MAX];
        if (qn_format_parse(&f->format, f->name, NULL) != QN_OK) {
            return QN_FRAME_FORMAT;
        }
        qn_format_name(canonical, f->format);
        if (strcmp(canonical, f->name) != 0) {
            return QN_FRAME_FORMAT;
        }
    }
    if (f->rank < 0 || f->rank > QN_MAX_RANK || qn_shape_count(f->dims, f->rank, &f->n_elems, NULL) != QN_OK) {
        return QN_FRAME_SHAPE;
    }
    if (!lay_out_sets(f)) {
        return QN_FRAME_PER;
    }
    f->n_sets = 0;
    if (!f->raw && qn_quantizer_sets(&f->n_sets, f->axis, f->axis_group, f->rank, f->dims, NULL) != QN_OK) {
        return QN_FRAME_PER;
    }
    const int bits = f->raw ? 32 : f->format.bits;
    if (qn_packed_bytes(&f->code_bytes, f->n_elems, bits, QN_PACKING_DENSE, NULL) != QN_OK || !lay_out_bytes(f)) {
        return QN_FRAME_SHAPE;
    }
    return QN_FRAME_FINE;
}

bool qn_frame_same_layout(const qn_frame *a, const qn_frame *b)
{
    return strcmp(a->name, b->name) == 0 && a->per == b->per && a->group == b->group && a->rank == b->rank &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

static void put(unsigned char *at, uint64_t value, size_t n_bytes)
{
    memcpy(at, &value, n_bytes);
}

static uint64_t get(const unsigned char *at, size_t n_bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, n_bytes);
    return value;
}

void qn_frame_write_header(unsigned char *data, const qn_frame *f)
{
    const size_t body_bytes = f->n_bytes - f->header_bytes, crc_at = f->header_bytes - CRC_BYTES;
    memset(data, 0, f->header_bytes);
    memcpy(data, magic, sizeof magic);
    put(data + AT_VERSION, VERSION, 2);
    put(data + AT_FLAGS, f->flags, 2);
    data[AT_PER] = (unsigned char)f->per;
    data[AT_RANK] = (unsigned char)f->rank;
    data[AT_NAME_BYTES] = (unsigned char)strlen(f->name);
    const bool checked = (f->flags & QN_FRAME_UNCHECKED) == 0;
    if (checked) {
        put(data + AT_BODY_CRC, qn_crc32c(0, data + f->header_bytes, body_bytes), CRC_BYTES);
    }
    put(data + AT_GROUP, (uint64_t)f->group, 8);
    put(data + AT_BODY_BYTES, body_bytes, 8);
    for (int d = 0; d < f->rank; d++) {
        put(data + AT_DIMS + 8 * d, (uint64_t)f->dims[d], 8);
    }
    memcpy(data + AT_DIMS + 8 * f->rank, f->name, strlen(f->name));
    if (checked) {
        put(data + crc_at, qn_crc32c(0, data, crc_at), CRC_BYTES);
    }
}

static qn_frame_state bad(qn_frame_verdict *v, qn_frame_fault fault, size_t offset)
{
    v->fault = fault;
    v->offset = offset;
    return QN_FRAME_BAD;
}

static qn_frame_state more(qn_frame_verdict *v, size_t need)
{
    v->need = need;
    return QN_FRAME_MORE;
}

/* The part of the header whose length is known; *header_bytes is the length of all of it. COMPLETE: it is there. */
static qn_frame_state parse_fixed(size_t *header_bytes, qn_frame_verdict *v, const unsigned char *data, size_t n)
{
    for (size_t i = 0; i < sizeof magic && i < n; i++) {
        if (data[i] != magic[i]) {
            return bad(v, QN_FRAME_MAGIC, i);
        }
    }
    if (n >= AT_FLAGS && get(data + AT_VERSION, 2) != VERSION) {
        return bad(v, QN_FRAME_VERSION, AT_VERSION);
    }
    if (n < AT_DIMS) {
        return more(v, HEADER_LEAST);
    }
    const size_t rank = data[AT_RANK], name_bytes = data[AT_NAME_BYTES];
    if (rank > QN_MAX_RANK) {
        return bad(v, QN_FRAME_SHAPE, AT_RANK);
    }
    if (name_bytes == 0 || name_bytes >= QN_FORMAT_NAME_MAX) {
        return bad(v, QN_FRAME_FORMAT, AT_NAME_BYTES);
    }
    *header_bytes = (size_t)AT_DIMS + 8 * rank + (name_bytes + 3) / 4 * 4 + CRC_BYTES;
    return n < *header_bytes ? more(v, *header_bytes) : QN_FRAME_COMPLETE;
}

/* A header that is complete and whose CRC, if it has one, is right. */
static qn_frame_state parse_fields(qn_frame *f, qn_frame_verdict *v, const unsigned char *data, size_t header_bytes,
                                   size_t limit)
{
    const size_t name_bytes = data[AT_NAME_BYTES], name_at = (size_t)AT_DIMS + 8 * (size_t)data[AT_RANK];
    f->version = VERSION;
    f->flags = (unsigned)get(data + AT_FLAGS, 2);
    f->per = (qn_link_per)data[AT_PER];
    f->rank = data[AT_RANK];
    if ((f->flags & ~(unsigned)QN_FRAME_FLAGS_KNOWN) != 0 || data[AT_RESERVED] != 0) {
        return bad(v, QN_FRAME_FLAGS, data[AT_RESERVED] != 0 ? AT_RESERVED : AT_FLAGS);
    }
    const uint64_t group = get(data + AT_GROUP, 8), body_bytes = get(data + AT_BODY_BYTES, 8);
    if (group > INT64_MAX) {
        return bad(v, QN_FRAME_PER, AT_GROUP);
    }
    f->group = (int64_t)group;
    for (int d = 0; d < f->rank; d++) {
        uint64_t dim = get(data + AT_DIMS + 8 * d, 8);
        if (dim > INT64_MAX) {
            return bad(v, QN_FRAME_SHAPE, (size_t)AT_DIMS + 8 * (size_t)d);
        }
        f->dims[d] = (int64_t)dim;
    }
    memcpy(f->name, data + name_at, name_bytes);
    static const char zeros[4] = {0};
    const size_t fill = header_bytes - CRC_BYTES - name_at - name_bytes;
    if (strlen(f->name) != name_bytes || memcmp(data + name_at + name_bytes, zeros, fill) != 0) {
        return bad(v, QN_FRAME_FORMAT, name_at);
    }
    qn_frame_fault fault = qn_frame_lay_out(f);
    if (fault != QN_FRAME_FINE) {
        return bad(v, fault, fault == QN_FRAME_FORMAT ? name_at : fault == QN_FRAME_PER ? AT_PER : AT_DIMS);
    }
    if (body_bytes != f->n_bytes - f->header_bytes) {
        return bad(v, QN_FRAME_LENGTH, AT_BODY_BYTES);
    }
    if (f->n_bytes > limit || f->decoded_bytes > limit) {
        return bad(v, QN_FRAME_LIMIT, AT_BODY_BYTES);
    }
    return QN_FRAME_COMPLETE;
}

qn_frame_state qn_frame_parse(qn_frame *frame, qn_frame_verdict *verdict, const void *data, size_t n, size_t limit)
{
    const unsigned char *bytes = data;
    size_t header_bytes = 0;
    *frame = (qn_frame){0};
    *verdict = (qn_frame_verdict){0};
    qn_frame_state state = parse_fixed(&header_bytes, verdict, bytes, n);
    if (state != QN_FRAME_COMPLETE) {
        return state;
    }
    const size_t crc_at = header_bytes - CRC_BYTES;
    const uint64_t header_crc = get(bytes + crc_at, CRC_BYTES), body_crc = get(bytes + AT_BODY_CRC, CRC_BYTES);
    const bool checked = (get(bytes + AT_FLAGS, 2) & QN_FRAME_UNCHECKED) == 0;
    if (checked && header_crc != qn_crc32c(0, bytes, crc_at)) {
        return bad(verdict, QN_FRAME_HEADER_CRC, crc_at);
    }
    if (!checked && (header_crc != 0 || body_crc != 0)) { /* it had some before that flag was damaged */
        return bad(verdict, QN_FRAME_FLAGS, AT_FLAGS);
    }
    state = parse_fields(frame, verdict, bytes, header_bytes, limit);
    if (state != QN_FRAME_COMPLETE) {
        return state;
    }
    if (n < frame->n_bytes) {
        return more(verdict, frame->n_bytes);
    }
    if (checked && body_crc != qn_crc32c(0, bytes + header_bytes, frame->n_bytes - header_bytes)) {
        return bad(verdict, QN_FRAME_BODY_CRC, header_bytes);
    }
    verdict->need = frame->n_bytes;
    frame->parameters = bytes + header_bytes;
    frame->codes = frame->parameters + frame->parameter_bytes;
    return QN_FRAME_COMPLETE;
}
