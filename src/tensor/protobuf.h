/* Protobuf messages from files that nobody vouches for.
 *
 * protobuf-c trusts its input in ways a reader of downloaded files cannot: it recurses as deep as the file says, cuts
 * strings at an embedded zero, and allocates whatever the message asks for. So the bytes are walked once beforehand,
 * without recursion, and unpacked with a budget. Reentrant. */
#ifndef QN_TENSOR_PROTOBUF_H
#define QN_TENSOR_PROTOBUF_H

#include <protobuf-c/protobuf-c.h>

#include "base/memory.h"

/* Nested messages; ONNX needs 8 plus 3 for every level of subgraphs. */
enum { QN_PROTOBUF_MAX_DEPTH = 100 };

/* Is this one message of the given type, whole and well-formed? `where` (may be NULL) names the file.
 * Errors: QN_EFORMAT with the position and field; QN_ELIMIT for deep nesting. */
qn_status qn_protobuf_check(const ProtobufCMessageDescriptor *type, const void *data, size_t n_bytes, const char *where,
                            qn_error *err);

/* Check and unpack into `arena`, which owns the message: never call protobuf_c_message_free_unpacked on it.
 * Errors: those of qn_protobuf_check; QN_ELIMIT when the message would take absurdly more memory than its file;
 * QN_ENOMEM. */
qn_status qn_protobuf_unpack(ProtobufCMessage **message, const ProtobufCMessageDescriptor *type, qn_arena *arena,
                             const void *data, size_t n_bytes, const char *where, qn_error *err);

#endif
