/* What a form of file does not hold, listed by name. Inside the onnx room only. */
#ifndef QN_ONNX_EXPORT_FORMS_H
#define QN_ONNX_EXPORT_FORMS_H

#include "graph/graph.h"
#include "quern/model.h"

typedef struct qn_refusal {
    const char *what, *reason, *names;
    size_t n;
} qn_refusal;

/* A list under way. Starts as {0}; released with qn_refusals_free. */
typedef struct qn_refusals {
    qn_arena arena;
    qn_refusal *rows;
    size_t n, capacity;
} qn_refusals;

/* `what` is a format or an operator, `name` a value's or a node's. All are copied. */
qn_status qn_refusals_add(qn_refusals *list, const char *what, const char *name, const char *reason, qn_error *err);
/* Fail with "form qdq cannot hold posit<8,1> of 'a', 'b': reason; ..."; QN_OK when the list is empty. */
qn_status qn_refusals_fail(const qn_refusals *list, const qn_graph *graph, qn_onnx_form form, qn_error *err);
void qn_refusals_free(qn_refusals *list);

#endif
