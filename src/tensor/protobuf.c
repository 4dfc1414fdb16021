#include "tensor/protobuf.h"

#include <string.h>

/* Memory for one message: a fixed part for small files, and room for the structs (up to some 250 bytes for an attribute
 * that takes 10 in the file) and the arena's rounding. Beyond the cap a file has to be mostly tensor data. */
static const size_t budget_base = (size_t)64 << 20;
static const size_t budget_factor = 32;
static const size_t budget_cap = (size_t)4 << 30;

/* A message under way: fields up to `end`; which singular message fields have been seen. */
typedef struct level {
    const ProtobufCMessageDescriptor *type;
    size_t end;
    uint64_t seen;
} level;

typedef struct scanner {
    const unsigned char *data;
    size_t pos;
    level levels[QN_PROTOBUF_MAX_DEPTH];
    int depth; /* index of the current level */
    const char *where;
    qn_error *err;
} scanner;

static const level *current(const scanner *s)
{
    return &s->levels[s->depth];
}

static qn_status fail(const scanner *s, size_t pos, const char *reason)
{
    return qn_fail_at(s->err, QN_EFORMAT, (int64_t)pos, s->where, "malformed at byte %zu, in a %s: %s", pos,
                      current(s)->type->short_name, reason);
}

static qn_status fail_truncated(const scanner *s, size_t pos, const char *field, uint64_t wanted)
{
    return qn_fail_at(s->err, QN_EFORMAT, (int64_t)pos, s->where,
                      "%s.%s at byte %zu takes %llu bytes, but only %zu are left", current(s)->type->short_name, field,
                      pos, (unsigned long long)wanted, current(s)->end - pos);
}

/* Base-128 varint of at most 10 bytes, within the current message. */
static qn_status read_varint(scanner *s, uint64_t *value)
{
    size_t start = s->pos;
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->pos == current(s)->end) {
            return fail(s, start, "a number runs past the end");
        }
        unsigned char byte = s->data[s->pos++];
        *value |= shift < 64 ? (uint64_t)(byte & 0x7Fu) << shift : 0;
        if ((byte & 0x80u) == 0) {
            return QN_OK;
        }
    }
    return fail(s, start, "a number is longer than 10 bytes");
}

static qn_status skip(scanner *s, const char *field, uint64_t n_bytes)
{
    if (n_bytes > current(s)->end - s->pos) {
        return fail_truncated(s, s->pos, field, n_bytes);
    }
    s->pos += (size_t)n_bytes;
    return QN_OK;
}

static qn_status enter_message(scanner *s, const ProtobufCFieldDescriptor *field, size_t n_bytes)
{
    level *parent = &s->levels[s->depth];
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        size_t index = (size_t)(field - parent->type->fields);
        uint64_t bit = index < 64 ? (uint64_t)1 << index : 0;
        if ((parent->seen & bit) != 0) { /* legal, merged by protobuf; no writer does it, and merging is fragile */
            return qn_fail_at(s->err, QN_EFORMAT, (int64_t)s->pos, s->where, "%s.%s occurs twice, again at byte %zu",
                              parent->type->short_name, field->name, s->pos);
        }
        parent->seen |= bit;
    }
    if (s->depth + 1 == QN_PROTOBUF_MAX_DEPTH) {
        return qn_fail_at(s->err, QN_ELIMIT, (int64_t)s->pos, s->where, "messages nest deeper than %d at byte %zu",
                          QN_PROTOBUF_MAX_DEPTH, s->pos);
    }
    s->levels[++s->depth] = (level){.type = field->descriptor, .end = s->pos + n_bytes};
    return QN_OK;
}

static qn_status check_delimited(scanner *s, const ProtobufCFieldDescriptor *field)
{
    uint64_t n_bytes;
    QN_TRY(read_varint(s, &n_bytes));
    const char *name = field != NULL ? field->name : "unknown field";
    if (n_bytes > current(s)->end - s->pos) {
        return fail_truncated(s, s->pos, name, n_bytes);
    }
    if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return enter_message(s, field, (size_t)n_bytes);
    }
    if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING &&
        memchr(s->data + s->pos, 0, (size_t)n_bytes) != NULL) {
        return qn_fail_at(s->err, QN_EFORMAT, (int64_t)s->pos, s->where,
                          "text of %s.%s at byte %zu contains a zero byte", current(s)->type->short_name, name, s->pos);
    }
    s->pos += (size_t)n_bytes;
    return QN_OK;
}

static qn_status check_field(scanner *s)
{
    size_t start = s->pos;
    uint64_t tag, ignored;
    QN_TRY(read_varint(s, &tag));
    if (tag >> 3 == 0 || tag > UINT32_MAX) {
        return fail(s, start, "no such field number");
    }
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(current(s)->type, (unsigned)(tag >> 3));
    unsigned wire = (unsigned)(tag & 7);
    bool needs_length =
        field != NULL && (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING ||
                          field->type == PROTOBUF_C_TYPE_BYTES);
    if (needs_length && wire != 2) {
        return fail(s, start, "a field has another type than ONNX gives it");
    }
    const char *name = field != NULL ? field->name : "unknown field";
    switch (wire) {
    case 0:
        return read_varint(s, &ignored);
    case 1:
        return skip(s, name, 8);
    case 2:
        return check_delimited(s, field);
    case 5:
        return skip(s, name, 4);
    default:
        return fail(s, start, "no such wire type");
    }
}

qn_status qn_protobuf_check(const ProtobufCMessageDescriptor *type, const void *data, size_t n_bytes, const char *where,
                            qn_error *err)
{
    scanner s = {.data = data, .where = where, .err = err};
    s.levels[0] = (level){.type = type, .end = n_bytes};
    while (s.depth >= 0) {
        if (s.pos == current(&s)->end) {
            s.depth--;
        } else {
            QN_TRY(check_field(&s));
        }
    }
    return QN_OK;
}

typedef struct budget {
    qn_arena *arena;
    size_t left;
    bool exceeded, exhausted;
} budget;

static void *budget_alloc(void *data, size_t n_bytes)
{
    budget *b = data;
    size_t cost;
    if (!qn_add_size(n_bytes, QN_CACHE_LINE, &cost) || cost > b->left) {
        b->exceeded = true;
        return NULL;
    }
    b->left -= cost;
    void *memory = qn_arena_alloc_uncleared(b->arena, n_bytes);
    b->exhausted = b->exhausted || memory == NULL;
    return memory;
}

static void budget_free(void *data, void *memory)
{
    (void)data, (void)memory; /* the arena's */
}

qn_status qn_protobuf_unpack(ProtobufCMessage **message, const ProtobufCMessageDescriptor *type, qn_arena *arena,
                             const void *data, size_t n_bytes, const char *where, qn_error *err)
{
    QN_TRY(qn_protobuf_check(type, data, n_bytes, where, err));
    size_t extra;
    if (!qn_mul_size(n_bytes, budget_factor, &extra) || extra > budget_cap) {
        extra = budget_cap;
    }
    budget b = {.arena = arena, .left = budget_base + extra + n_bytes};
    ProtobufCAllocator allocator = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &b};
    *message = protobuf_c_message_unpack(type, &allocator, n_bytes, data);
    if (*message != NULL) {
        return QN_OK;
    }
    if (b.exhausted) {
        return qn_fail_memory(err, where, n_bytes);
    }
    if (b.exceeded) {
        return qn_fail(err, QN_ELIMIT, where, "unpacks to more than %zu bytes from a file of %zu",
                       budget_base + extra + n_bytes, n_bytes);
    }
    return qn_fail(err, QN_EFORMAT, where, "a field of the %s has another type than ONNX gives it", type->short_name);
}
