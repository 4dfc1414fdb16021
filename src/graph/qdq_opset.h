/* Which quantizers ONNX' own QuantizeLinear and DequantizeLinear can hold, and how. */
#ifndef QN_GRAPH_QDQ_OPSET_H
#define QN_GRAPH_QDQ_OPSET_H

#include "graph/graph.h"

/* The format whose codes an ONNX data type holds; false for types that no quantizer makes. */
bool qn_qdq_format(qn_format *format, int32_t type);

/* The first opset at which QuantizeLinear and DequantizeLinear (of a constant: the latter alone) do what the quantizer of
 * a value does, 0 when none does. *type is the ONNX data type of the codes then. How parameters were fitted never matters,
 * nor does what matters only while encoding (narrow range, rounding) for the integers of a constant. */
int64_t qn_qdq_opset(const qn_value *value, int32_t *type);

/* The same type where a file of this opset holds the value of the graph so, else 0: there a node of domain org.quern does.
 * Where the graph's metadata says "quern.store" "int8", coded constants of 2 to 7 signed bits are int8 instead. */
int32_t qn_qdq_type(const qn_graph *graph, const qn_value *value, int64_t opset);
/* Does the type hold codes of fewer bits than it has? The file then says how many (onnx.md 1.1). */
bool qn_qdq_holds_fewer(const qn_format *format, int32_t type);

/* Is a file of some opset raised to the one that such codes need? Not for the types that came after int16. */
bool qn_qdq_raises_opset(int32_t type);

#endif
