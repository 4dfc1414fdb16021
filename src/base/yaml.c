/* YAML documents, loaded with limits. */
#include "base/yaml.h"

#include <string.h>

#include "base/memory.h"

int qn_yaml_line(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

const char *qn_yaml_kind(const yaml_node_t *node)
{
    return node->type == YAML_MAPPING_NODE    ? "a mapping"
           : node->type == YAML_SEQUENCE_NODE ? "a list"
                                              : "a single value";
}

static qn_status fail_syntax(const yaml_parser_t *parser, const char *where, qn_error *err)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return qn_fail_memory(err, where, 0);
    }
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_READER_ERROR) {
        return qn_fail(err, QN_EFORMAT, where, "is no YAML: byte %zu: %s", parser->problem_offset, problem);
    }
    const char *context = parser->context != NULL ? parser->context : "";
    return qn_fail(err, QN_EFORMAT, where, "is no YAML: line %zu: %s %s%s", parser->problem_mark.line + 1, problem,
                   context,
                   strstr(context, "alias") != NULL ? "; names and globs that begin with * stand in quotes" : "");
}

static qn_status load_one(yaml_document_t *document, yaml_parser_t *parser, const char *where, qn_error *err)
{
    yaml_document_t rest;
    if (!yaml_parser_load(parser, document)) {
        return fail_syntax(parser, where, err);
    }
    if (yaml_document_get_root_node(document) == NULL) {
        return QN_OK;
    }
    qn_status status = QN_OK;
    if (!yaml_parser_load(parser, &rest)) {
        status = fail_syntax(parser, where, err);
    } else {
        const yaml_node_t *root = yaml_document_get_root_node(&rest);
        status = root == NULL ? QN_OK
                              : qn_fail(err, QN_EFORMAT, where, "line %d: a second document; one file holds one",
                                        qn_yaml_line(root));
        yaml_document_delete(&rest);
    }
    if (status != QN_OK) {
        yaml_document_delete(document);
    }
    return status;
}

/* Refused before the document is made: libyaml's time grows with the square of the depth. What is no YAML is told by who
 * reads it. */
static qn_status check_depth(yaml_parser_t *parser, const char *where, qn_error *err)
{
    enum { MAX_DEPTH = 16 };
    yaml_event_t event;
    int depth = 0;
    for (bool more = true; more && depth <= MAX_DEPTH;) {
        if (!yaml_parser_parse(parser, &event)) {
            return QN_OK;
        }
        const yaml_event_type_t type = event.type;
        depth += type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT;
        depth -= type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT;
        more = type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return depth <= MAX_DEPTH ? QN_OK
                              : qn_fail(err, QN_EFORMAT, where, "line %zu: lists and mappings nested more than %d deep",
                                        parser->mark.line + 1, MAX_DEPTH);
}

static bool start(yaml_parser_t *parser, const char *text, size_t n)
{
    if (!yaml_parser_initialize(parser)) {
        return false;
    }
    yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(parser, (const unsigned char *)text, n);
    return true;
}

qn_status qn_yaml_load(yaml_document_t *document, const char *text, size_t n, const char *where, qn_error *err)
{
    yaml_parser_t parser;
    if (!start(&parser, text, n)) {
        return qn_fail_memory(err, where, sizeof parser);
    }
    qn_status status = check_depth(&parser, where, err);
    yaml_parser_delete(&parser);
    QN_TRY(status);
    if (!start(&parser, text, n)) {
        return qn_fail_memory(err, where, sizeof parser);
    }
    status = load_one(document, &parser, where, err);
    yaml_parser_delete(&parser);
    return status;
}
