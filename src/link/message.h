/* Messages between stages (doc/spec/link.md, section 5): an envelope, and what it announces.
 *
 * As with frames, bytes from outside are not trusted and all else follows from an envelope that was found consistent.
 * Nothing here allocates; everything is reentrant. */
#ifndef QN_LINK_MESSAGE_H
#define QN_LINK_MESSAGE_H

#include "base/error.h"
#include "quern/link.h"

/*  data   a micro-batch: `frames` frames
 *  end    no more data come: sequence and items count what came
 *  error  the stage failed: text, not 0-terminated
 *  note   how a stage fares: QN_NOTE_BYTES */
typedef enum qn_message_kind {
    QN_MESSAGE_DATA = 0,
    QN_MESSAGE_END = 1,
    QN_MESSAGE_ERROR = 2,
    QN_MESSAGE_NOTE = 3
} qn_message_kind;

enum { QN_ENVELOPE_BYTES = 52, QN_MESSAGE_TEXT_MAX = 1024, QN_NOTE_BYTES = 96 };

/* What is wrong with an envelope. X(name, value, text). */
#define QN_MESSAGE_FAULT_LIST(X)                                                                                       \
    X(QN_MESSAGE_FINE, 0, "nothing is wrong")                                                                          \
    X(QN_MESSAGE_MAGIC, 1, "not a message: the first bytes are not its signature")                                     \
    X(QN_MESSAGE_VERSION, 2, "a version of messages that this quern does not know")                                    \
    X(QN_MESSAGE_CRC, 3, "the envelope is damaged: its checksum differs")                                              \
    X(QN_MESSAGE_KIND, 4, "a kind, or a reserved byte, that version 1 does not have")                                  \
    X(QN_MESSAGE_FIELD, 5, "fields that a message of this kind does not have")                                         \
    X(QN_MESSAGE_LENGTH, 6, "a length that a message of this kind cannot have")                                        \
    X(QN_MESSAGE_LIMIT, 7, "longer than the limit")                                                                    \
    X(QN_MESSAGE_BODY_CRC, 8, "the body is damaged: its checksum differs")
typedef enum qn_message_fault {
#define QN_MESSAGE_FAULT_ENUM(name, value, text) name = value,
    QN_MESSAGE_FAULT_LIST(QN_MESSAGE_FAULT_ENUM)
#undef QN_MESSAGE_FAULT_ENUM
} qn_message_fault;
const char *qn_message_fault_text(qn_message_fault fault); /* never NULL; static */

/* An envelope.
 *  stage   that sent it
 *  choice  data and notes: the link's choice
 *  n_bytes of the whole message
 *  body    what follows the envelope, in the bytes that were parsed, when those are complete */
typedef struct qn_message {
    qn_message_kind kind;
    uint32_t stage, choice, frames;
    uint64_t sequence;
    int64_t items;
    size_t n_bytes;
    const unsigned char *body;
} qn_message;

/* As qn_frame_verdict. */
typedef struct qn_message_verdict {
    size_t need;
    qn_message_fault fault;
    size_t offset;
} qn_message_verdict;

/* Write the envelope of a message of message->n_bytes, whose body, unless it is frames, is there. */
void qn_message_write(void *data, const qn_message *message);
/* Read the message at the start of n bytes, of which there may be fewer or more: as qn_frame_parse, which reads the
 * frames. */
qn_frame_state qn_message_parse(qn_message *message, qn_message_verdict *verdict, const void *data, size_t n,
                                size_t limit);
/* The next frame of a complete message of data; *at is 0 for the first, and then goes on. `limit` as in qn_frame_parse.
 * False when there is no more: the verdict's fault is QN_FRAME_FINE and every byte was used, or tells what is wrong,
 * its offset counted from the message's first byte. */
bool qn_message_next(qn_frame *frame, size_t *at, qn_frame_verdict *verdict, const qn_message *message, size_t limit);

/* Whole messages without frames, into QN_ENVELOPE_BYTES and what follows; their length is returned. */
size_t qn_message_end(void *data, uint32_t stage, uint64_t sequence, int64_t items);
size_t qn_message_error(void *data, uint32_t stage, const char *text); /* cut at QN_MESSAGE_TEXT_MAX */

#endif
