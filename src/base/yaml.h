/* YAML documents for readers that tell the line of what is wrong. The document is libyaml's, the parser beneath libcyaml,
 * whose schemas can neither say lines nor let a key hold one value or a list. */
#ifndef QN_BASE_YAML_H
#define QN_BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "base/error.h"

/* The one document of n bytes of text; yaml_document_delete releases it. Its root is NULL when the text is empty. Errors:
 * QN_EFORMAT (no YAML, lists and mappings nested too deep, a second document), with the line; QN_ENOMEM. */
qn_status qn_yaml_load(yaml_document_t *document, const char *text, size_t n, const char *where, qn_error *err);
int qn_yaml_line(const yaml_node_t *node);
/* "a mapping", "a list" or "a single value". */
const char *qn_yaml_kind(const yaml_node_t *node);

#endif
