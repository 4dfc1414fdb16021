/* The onnx room: ONNX files <-> graphs (doc/spec/onnx.md).
 *
 * Import: bytes -> ModelProto (tensor/protobuf.h) -> float graph with QuantizeLinear, DequantizeLinear and org.quern nodes
 * (to which qn_qoperator_import adds those of operators on codes) -> qn_qdq_fold turns them into quantizers on values.
 * Export: a copy of the graph -> qn_onnx_unfold makes the nodes again -> qn_opset_raise where QDQ needs a later opset -> ModelProto -> bytes. Import of an export gives the graph back:
 * names, constants, codes, quantizers and metadata. Ownership: a ModelProto lives in an arena, which the graph takes
 * where most of it is weights and else is dropped at the end. Everything is reentrant. */
#ifndef QN_ONNX_ONNX_H
#define QN_ONNX_ONNX_H

#include "base/file.h"
#include "graph/graph.h"
#include "proto/onnx.pb-c.h"
#include "quern/model.h"
#include "tensor/tensor_proto.h"

enum { QN_OPSET_MIN = 7, QN_OPSET_MAX = 21, QN_IR_MIN = 3, QN_IR_MAX = 10 };

/* Fill an empty graph from the bytes of an ONNX file. `home` says where external data may lie. `spent` (may be NULL)
 * is the file that `data` is of; it is freed as soon as it is parsed, so that large models need less memory.
 * On failure the graph is partly filled and to be freed by the caller. */
qn_status qn_onnx_import(qn_graph *graph, const void *data, size_t n_bytes, const qn_tensor_home *home,
                         qn_file_bytes *spent, qn_error *err);

/* The steps of import. */
/* Initializers, inputs and nodes, in which no control flow is left. */
qn_status qn_onnx_import_parts(qn_graph *graph, const Onnx__GraphProto *proto, const qn_tensor_home *home,
                               qn_error *err);
/* Operators of domain com.microsoft become ONNX' own where quern knows how. The graph is sorted, before and after. */
qn_status qn_microsoft_import(qn_graph *graph, qn_error *err);
/* Nodes that quantize become quantizers of a sorted graph: qn_microsoft_import, qn_qoperator_import, then qn_qdq_fold. */
qn_status qn_onnx_read_quantizers(qn_graph *graph, qn_error *err);
qn_status qn_onnx_import_nodes(qn_graph *graph, const Onnx__GraphProto *proto, const qn_tensor_home *home,
                               qn_error *err);
/* numbers.c: QN_ERANGE where a constant holds NaN, or a parameter of a layer an infinity. */
qn_status qn_onnx_check_numbers(const qn_tensor *tensor, const char *where, qn_error *err);
qn_status qn_onnx_check_infinities(const qn_graph *graph, qn_error *err);
/* Make value `name` (new, or declared already) the constant `tensor`, if it passes qn_onnx_check_numbers. Its elements are copied, unless they last as long as the graph. */
qn_status qn_onnx_set_constant(qn_graph *graph, const char *name, const qn_tensor *tensor, bool lasting,
                               const char *where, qn_error *err);
/* Operators on codes become DequantizeLinear, an operator on floats and QuantizeLinear, and nodes that only move codes move
 * floats where the coding is known. The graph is sorted, before and after. QN_EUNSUPPORTED listing those that are
 * incomplete. */
qn_status qn_qoperator_import(qn_graph *graph, qn_error *err);
/* Fold all QuantizeLinear/DequantizeLinear pairs and org.quern nodes of a sorted graph. Errors: QN_EUNSUPPORTED listing
 * those whose codes quern does not know, QN_EFORMAT (a node that is wrong), QN_ERANGE (a constant decodes to NaN or infinity). */
qn_status qn_qdq_fold(qn_graph *graph, qn_error *err);

/* Do the metadata or the producer say that quern wrote the file? If not, networks get ONNX Runtime's ways. */
bool qn_qdq_is_quern(const qn_graph *graph);
/* Before folding: float biases of layers on codes with coded results become int32 codes. The graph is sorted. */
qn_status qn_qdq_code_biases(qn_graph *graph, qn_error *err);
/* Of a network whose metadata say nothing: "quern.sums" is "fused" where codes would differ. */
qn_status qn_qdq_choose_sums(qn_graph *graph, qn_error *err);
/* Do Trunc nodes of QONNX have the inputs that the imported version of their domain asks for? QN_EFORMAT naming the node. */
qn_status qn_qonnx_check_versions(const Onnx__ModelProto *model, qn_error *err);

/* What a file that does not parse as ONNX looks like ("a zip archive"), or NULL. */
const char *qn_onnx_sniff(const unsigned char *data, size_t n_bytes);

/* A graph as the bytes of an ONNX file, the same for the same graph; *data is released with qn_free.
 * Errors: QN_EUNSUPPORTED listing nodes that cannot be written; QN_ELIMIT (2 GiB); QN_ENOMEM. */
qn_status qn_onnx_export(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_error *err);
/* The same in another form than QN_ONNX_AUTO; errors as qn_model_save_as. */
qn_status qn_onnx_export_form(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_onnx_form form,
                              qn_error *err);

/* The steps of export. `unfolded` starts as {0}, receives what the outputs of `graph` need, with nodes for its
 * quantizers as a file of this opset has them, and is freed by the caller. Constants with a quantizer but no codes are
 * encoded. Errors: QN_EUNSUPPORTED (operators, values), QN_EINVAL (a quantizer that breaks its rules). */
qn_status qn_onnx_unfold(qn_graph *unfolded, const qn_graph *graph, qn_onnx_form form, int64_t opset, qn_error *err);
/* Rewrite nodes in place for a later opset; nothing happens when the graph has it already. */
qn_status qn_opset_raise(qn_graph *graph, int64_t opset, qn_error *err);
/* The graph as it is, as a ModelProto's bytes. */
qn_status qn_onnx_serialize(unsigned char **data, size_t *n_bytes, const qn_graph *graph, qn_error *err);

#endif
