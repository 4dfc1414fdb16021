/* Operators whose results are as long as values say: NonZero, Compress, Unique, NonMaxSuppression. What inference counts
 * and what graph/compute writes are one definition. */
#ifndef QN_GRAPH_SELECTION_H
#define QN_GRAPH_SELECTION_H

#include "graph/bind.h"

/* Is element i another than zero? NaN is. */
bool qn_is_non_zero(qn_dtype dtype, const void *x, int64_t i);

/* Compress and Unique: slices along an axis; element (o, k, i) of slice k is at (o * length + k) * inner + i.
 *  flat   without an axis: each element is a slice
 *  given  conditions that there are; slices behind them are dropped
 *  kept   slices of the result */
typedef struct qn_selection {
    bool flat;
    int axis;
    int64_t outer, length, inner, given, kept;
} qn_selection;
qn_status qn_compress_of_node(qn_selection *selection, const qn_binding *binding, const qn_node *node, qn_error *err);

/* Slices are compared each with each. */
enum { QN_UNIQUE_MOST = 1 << 14 };
qn_status qn_unique_of_node(qn_selection *selection, const qn_binding *binding, const qn_node *node, qn_error *err);
/* The first slice that equals slice k: k itself if it is new. */
int64_t qn_unique_first(const qn_selection *s, qn_dtype dtype, const void *x, int64_t k);
/* Slices in ascending order, element by element: below 0, 0, above 0. */
int qn_unique_order(const qn_selection *s, qn_dtype dtype, const void *x, int64_t a, int64_t b);

/* NonMaxSuppression: n boxes in each of `batches`, scored for each of `classes`.
 *  most  boxes to keep of a class, 0: none */
enum { QN_BOXES_MOST = 1 << 13 };
typedef struct qn_boxes {
    int64_t batches, classes, n, most, kept;
    float overlap, least;
    bool has_least, centers;
} qn_boxes;
qn_status qn_boxes_of_node(qn_boxes *boxes, const qn_binding *binding, const qn_node *node, qn_error *err);
/* How many are kept; their (batch, class, box) to `to` unless it is NULL. */
int64_t qn_boxes_select(const qn_boxes *b, const float *boxes, const float *scores, int64_t *to);

#endif
