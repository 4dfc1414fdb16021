/* Value names to ids: an open-addressed hash table over graph->values[].name.
 *
 * A file cannot be written to make its names collide (base/hash.h). The table holds ids only; names stay in the graph's arena. */
#ifndef QN_GRAPH_NAME_INDEX_H
#define QN_GRAPH_NAME_INDEX_H

#include "graph/graph.h"

/* The id of the value called `name`, QN_NO_VALUE if there is none. `index` may be NULL (empty). */
qn_value_id qn_name_index_find(const qn_name_index *index, const qn_value *values, const char *name);
/* Make room for one more entry, allocating *index at the first call. After it, one insertion cannot fail. */
qn_status qn_name_index_reserve(qn_name_index **index, qn_error *err);
/* Enter or drop value `id` under its present name. The name must be new, or there. */
void qn_name_index_insert(qn_name_index *index, const qn_value *values, qn_value_id id);
void qn_name_index_remove(qn_name_index *index, const qn_value *values, qn_value_id id);
void qn_name_index_free(qn_name_index *index);

#endif
