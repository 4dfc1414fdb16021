/* Messages: the envelope, written and read. */
#include "link/message.h"

#include <string.h>

#include "base/arch.h" /* little-endian */
#include "link/crc32c.h"

enum {
    VERSION = 1,
    AT_VERSION = 4,
    AT_KIND = 6,
    AT_RESERVED = 7,
    AT_STAGE = 8,
    AT_CHOICE = 12,
    AT_SEQUENCE = 16,
    AT_ITEMS = 24,
    AT_BYTES = 32,
    AT_FRAMES = 40,
    AT_BODY_CRC = 44,
    AT_CRC = 48,
    FRAME_LEAST = 40
};
static const unsigned char magic[AT_VERSION] = {0x89, 'Q', 'N', 'M'};

static const char *const fault_texts[] = {
#define FAULT_TEXT(name, value, text) [name] = text,
    QN_MESSAGE_FAULT_LIST(FAULT_TEXT)
#undef FAULT_TEXT
};

const char *qn_message_fault_text(qn_message_fault fault)
{
    return (unsigned)fault < sizeof fault_texts / sizeof fault_texts[0] ? fault_texts[fault] : "?";
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

void qn_message_write(void *data, const qn_message *m)
{
    unsigned char *at = data;
    memset(at, 0, QN_ENVELOPE_BYTES);
    memcpy(at, magic, sizeof magic);
    put(at + AT_VERSION, VERSION, 2);
    at[AT_KIND] = (unsigned char)m->kind;
    put(at + AT_STAGE, m->stage, 4);
    put(at + AT_CHOICE, m->choice, 4);
    put(at + AT_SEQUENCE, m->sequence, 8);
    put(at + AT_ITEMS, (uint64_t)m->items, 8);
    put(at + AT_BYTES, m->n_bytes, 8);
    put(at + AT_FRAMES, m->frames, 4);
    if (m->kind != QN_MESSAGE_DATA) {
        put(at + AT_BODY_CRC, qn_crc32c(0, at + QN_ENVELOPE_BYTES, m->n_bytes - QN_ENVELOPE_BYTES), 4);
    }
    put(at + AT_CRC, qn_crc32c(0, at, AT_CRC), 4);
}

static qn_frame_state bad(qn_message_verdict *v, qn_message_fault fault, size_t offset)
{
    v->fault = fault;
    v->offset = offset;
    return QN_FRAME_BAD;
}

static qn_frame_state more(qn_message_verdict *v, size_t need)
{
    v->need = need;
    return QN_FRAME_MORE;
}

/* An envelope whose CRC is right. */
static qn_frame_state parse_fields(qn_message *m, qn_message_verdict *v, const unsigned char *at, size_t limit)
{
    const unsigned kind = at[AT_KIND];
    const uint64_t items = get(at + AT_ITEMS, 8), n_bytes = get(at + AT_BYTES, 8);
    *m = (qn_message){.kind = (qn_message_kind)kind,
                      .stage = (uint32_t)get(at + AT_STAGE, 4),
                      .choice = (uint32_t)get(at + AT_CHOICE, 4),
                      .frames = (uint32_t)get(at + AT_FRAMES, 4),
                      .sequence = get(at + AT_SEQUENCE, 8),
                      .items = (int64_t)items};
    const bool data = kind == QN_MESSAGE_DATA, error = kind == QN_MESSAGE_ERROR;
    if (kind > QN_MESSAGE_NOTE || at[AT_RESERVED] != 0) {
        return bad(v, QN_MESSAGE_KIND, kind > QN_MESSAGE_NOTE ? AT_KIND : AT_RESERVED);
    }
    if (items > INT64_MAX || (data && items == 0) || (error && items != 0)) {
        return bad(v, QN_MESSAGE_FIELD, AT_ITEMS);
    }
    if (data != (m->frames > 0)) {
        return bad(v, QN_MESSAGE_FIELD, AT_FRAMES);
    }
    if ((error || kind == QN_MESSAGE_END) && m->choice != 0) {
        return bad(v, QN_MESSAGE_FIELD, AT_CHOICE);
    }
    if (error && m->sequence != 0) {
        return bad(v, QN_MESSAGE_FIELD, AT_SEQUENCE);
    }
    if (data && get(at + AT_BODY_CRC, 4) != 0) {
        return bad(v, QN_MESSAGE_FIELD, AT_BODY_CRC);
    }
    const uint64_t body = n_bytes - QN_ENVELOPE_BYTES;
    const bool fits = n_bytes >= QN_ENVELOPE_BYTES && (data    ? body / FRAME_LEAST >= m->frames
                                                       : error ? body > 0 && body <= QN_MESSAGE_TEXT_MAX
                                                               : body == (kind == QN_MESSAGE_END ? 0 : QN_NOTE_BYTES));
    if (!fits) {
        return bad(v, QN_MESSAGE_LENGTH, AT_BYTES);
    }
    if (n_bytes > limit) {
        return bad(v, QN_MESSAGE_LIMIT, AT_BYTES);
    }
    m->n_bytes = (size_t)n_bytes;
    return QN_FRAME_COMPLETE;
}

qn_frame_state qn_message_parse(qn_message *message, qn_message_verdict *verdict, const void *data, size_t n,
                                size_t limit)
{
    const unsigned char *at = data;
    *message = (qn_message){0};
    *verdict = (qn_message_verdict){0};
    for (size_t i = 0; i < sizeof magic && i < n; i++) {
        if (at[i] != magic[i]) {
            return bad(verdict, QN_MESSAGE_MAGIC, i);
        }
    }
    if (n >= AT_KIND && get(at + AT_VERSION, 2) != VERSION) {
        return bad(verdict, QN_MESSAGE_VERSION, AT_VERSION);
    }
    if (n < QN_ENVELOPE_BYTES) {
        return more(verdict, QN_ENVELOPE_BYTES);
    }
    if (get(at + AT_CRC, 4) != qn_crc32c(0, at, AT_CRC)) {
        return bad(verdict, QN_MESSAGE_CRC, AT_CRC);
    }
    const qn_frame_state state = parse_fields(message, verdict, at, limit);
    if (state != QN_FRAME_COMPLETE) {
        return state;
    }
    if (n < message->n_bytes) {
        return more(verdict, message->n_bytes);
    }
    const size_t body_bytes = message->n_bytes - QN_ENVELOPE_BYTES;
    if (message->kind != QN_MESSAGE_DATA &&
        get(at + AT_BODY_CRC, 4) != qn_crc32c(0, at + QN_ENVELOPE_BYTES, body_bytes)) {
        return bad(verdict, QN_MESSAGE_BODY_CRC, QN_ENVELOPE_BYTES);
    }
    verdict->need = message->n_bytes;
    message->body = at + QN_ENVELOPE_BYTES;
    return QN_FRAME_COMPLETE;
}

bool qn_message_next(qn_frame *frame, size_t *at, qn_frame_verdict *verdict, const qn_message *m, size_t limit)
{
    const size_t body_bytes = m->n_bytes - QN_ENVELOPE_BYTES;
    *verdict = (qn_frame_verdict){0};
    if (*at == body_bytes) {
        return false;
    }
    const qn_frame_state state = qn_frame_parse(frame, verdict, m->body + *at, body_bytes - *at, limit);
    if (state == QN_FRAME_COMPLETE) {
        *at += frame->n_bytes;
        return true;
    }
    if (state == QN_FRAME_MORE) { /* all there will ever be is there */
        *verdict = (qn_frame_verdict){.fault = QN_FRAME_TRUNCATED, .offset = body_bytes - *at};
    }
    verdict->offset += QN_ENVELOPE_BYTES + *at;
    return false;
}

size_t qn_message_end(void *data, uint32_t stage, uint64_t sequence, int64_t items)
{
    const qn_message m = {
        .kind = QN_MESSAGE_END, .stage = stage, .sequence = sequence, .items = items, .n_bytes = QN_ENVELOPE_BYTES};
    qn_message_write(data, &m);
    return m.n_bytes;
}

size_t qn_message_error(void *data, uint32_t stage, const char *text)
{
    size_t n = strlen(text);
    if (n > QN_MESSAGE_TEXT_MAX) {
        n = QN_MESSAGE_TEXT_MAX;
        while (n > 0 && (text[n] & 0xC0) == 0x80) { /* not within a character of UTF-8 */
            n--;
        }
    }
    const char *shown = n > 0 ? text : "?";
    n = n > 0 ? n : 1;
    const qn_message m = {.kind = QN_MESSAGE_ERROR, .stage = stage, .n_bytes = QN_ENVELOPE_BYTES + n};
    memcpy((unsigned char *)data + QN_ENVELOPE_BYTES, shown, n);
    qn_message_write(data, &m);
    return m.n_bytes;
}
