/* The report of a quantization: one row per coded value, in the order of the network. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/calib.h"
#include "ptq/ptq.h"

struct qn_quantize_report {
    qn_arena arena;
    const char *recipe, *model_file, *model_sha256;
    const char **remarks;
    size_t n_remarks;
    qn_quantize_row *rows;
    size_t n_rows, capacity;
};

void qn_quantize_report_free(qn_quantize_report *report)
{
    if (report != NULL) {
        qn_arena_free(&report->arena);
        qn_free(report->rows);
        qn_free(report);
    }
}

size_t qn_quantize_report_count(const qn_quantize_report *report)
{
    return report->n_rows;
}

const qn_quantize_row *qn_quantize_report_at(const qn_quantize_report *report, size_t index)
{
    return index < report->n_rows ? &report->rows[index] : NULL;
}

/* All that was noted of a value: the oldest remark first. */
static const char *note_text(qn_arena *arena, const qn_ptq *ptq, qn_value_id id, int64_t *n_raised)
{
    const char *text = "";
    *n_raised = 0;
    for (const qn_ptq_note *note = ptq->notes; note != NULL && text != NULL; note = note->next) {
        if (note->value == id) {
            text = qn_arena_printf(arena, "%s%s%s", note->text, text[0] != '\0' ? "; " : "", text);
            *n_raised += note->n_raised;
        }
    }
    return text;
}

/* Of all parameter sets; an int32 bias and wide formats may reach beyond float32, which is infinity. */
static void set_numbers(qn_quantize_row *row, const qn_quantizer *q)
{
    row->n_channels = q->n;
    row->min = row->max = NAN; /* of dynamic ranges nothing is known */
    for (int64_t set = 0; set < q->n; set++) {
        const qn_params params = qn_quantizer_get(q, set);
        qn_format_limits limits;
        qn_format_limits_get(&limits, q->format, &params);
        row->min = set == 0 || limits.lowest < (double)row->min ? (float)limits.lowest : row->min;
        row->max = set == 0 || limits.highest > (double)row->max ? (float)limits.highest : row->max;
        row->scale_min = set == 0 || params.scale < row->scale_min ? params.scale : row->scale_min;
        row->scale_max = params.scale > row->scale_max ? params.scale : row->scale_max;
        row->zero_point = set == 0 ? params.zero_point : row->zero_point;
    }
}

static const char *granularity(const qn_quantizer *q)
{
    return q->dynamic ? " dynamic" : q->group > 0 ? " per group" : q->axis >= 0 ? " per channel" : "";
}

static qn_status add_row(qn_quantize_report *report, const qn_ptq *ptq, const qn_node *node, qn_value_id id,
                         const char *role, qn_error *err)
{
    const qn_value *value = &ptq->graph->values[id];
    void *rows = report->rows;
    QN_TRY(qn_grow(&rows, &report->capacity, report->n_rows, sizeof *report->rows, err));
    report->rows = rows;
    char format[QN_FORMAT_NAME_MAX];
    qn_format_name(format, value->quantizer->format);
    qn_arena *arena = &report->arena;
    qn_quantize_row *row = &report->rows[report->n_rows];
    *row = (qn_quantize_row){.node_name = qn_arena_string(arena, node != NULL ? node->name : ""),
                             .op_type = qn_arena_string(arena, node != NULL ? node->op_type : ""),
                             .value_name = qn_arena_string(arena, value->name),
                             .role = role,
                             .format = qn_arena_printf(arena, "%s%s", format, granularity(value->quantizer))};
    row->note = note_text(arena, ptq, id, &row->n_raised);
    if (row->node_name == NULL || row->op_type == NULL || row->value_name == NULL || row->format == NULL ||
        row->note == NULL) {
        return qn_fail_memory(err, value->name, sizeof *row);
    }
    set_numbers(row, value->quantizer);
    report->n_rows++;
    return QN_OK;
}

/* The coded constants that a node reads, then its outputs. */
static qn_status add_node(qn_quantize_report *report, const qn_ptq *ptq, const qn_node *node, qn_error *err)
{
    bool weighted = qn_ptq_rule_of(node->op)->has_weights || qn_ptq_rule_of(node->op)->only_weights;
    for (int i = 0; i < node->n_inputs; i++) {
        qn_value_id id = node->inputs[i];
        if (id != QN_NO_VALUE && ptq->graph->values[id].codes != NULL) {
            QN_TRY(add_row(report, ptq, node, id, !weighted ? "activation" : i == 1 ? "weight" : "bias", err));
        }
    }
    for (int i = 0; i < node->n_outputs; i++) {
        qn_value_id id = node->outputs[i];
        if (id != QN_NO_VALUE && ptq->graph->values[id].quantizer != NULL) {
            QN_TRY(add_row(report, ptq, node, id, "activation", err));
        }
    }
    return QN_OK;
}

/* The oldest first. */
static qn_status add_remarks(qn_quantize_report *report, const qn_ptq *ptq, qn_error *err)
{
    for (const qn_ptq_remark *remark = ptq->remarks; remark != NULL; remark = remark->next) {
        report->n_remarks++;
    }
    report->remarks = qn_arena_array(&report->arena, report->n_remarks + 1, sizeof *report->remarks);
    if (report->remarks == NULL) {
        return qn_fail_memory(err, NULL, report->n_remarks);
    }
    size_t at = report->n_remarks;
    for (const qn_ptq_remark *remark = ptq->remarks; remark != NULL; remark = remark->next) {
        report->remarks[--at] = qn_arena_string(&report->arena, remark->text);
        if (report->remarks[at] == NULL) {
            return qn_fail_memory(err, NULL, strlen(remark->text));
        }
    }
    return QN_OK;
}

const char *qn_quantize_report_remark(const qn_quantize_report *report, size_t index)
{
    return index < report->n_remarks ? report->remarks[index] : NULL;
}

static qn_status fill(qn_quantize_report *report, const qn_ptq *ptq, const char *recipe, qn_error *err)
{
    const qn_graph *graph = ptq->graph;
    report->recipe = qn_arena_string(&report->arena, recipe);
    report->model_file = qn_arena_string(&report->arena, graph->file != NULL ? graph->file : "");
    report->model_sha256 = qn_arena_string(&report->arena, graph->sha256);
    if (report->recipe == NULL || report->model_file == NULL || report->model_sha256 == NULL) {
        return qn_fail_memory(err, NULL, sizeof graph->sha256);
    }
    QN_TRY(add_remarks(report, ptq, err));
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (graph->values[graph->inputs[i]].quantizer != NULL) {
            QN_TRY(add_row(report, ptq, NULL, graph->inputs[i], "input", err));
        }
    }
    for (size_t n = 0; n < graph->n_nodes; n++) {
        QN_TRY(add_node(report, ptq, &graph->nodes[n], err));
    }
    return QN_OK;
}

qn_status qn_ptq_report_make(qn_quantize_report **report, const qn_ptq *ptq, const char *recipe, qn_error *err)
{
    qn_quantize_report *result = qn_alloc(sizeof *result);
    if (result == NULL) {
        return qn_fail_memory(err, NULL, sizeof *result);
    }
    qn_status status = fill(result, ptq, recipe, err);
    if (status != QN_OK) {
        qn_quantize_report_free(result);
        return status;
    }
    *report = result;
    return QN_OK;
}

/* An int32 bias can reach beyond float32, and JSON has no infinity. */
static json_t *real(float value)
{
    return isfinite(value) ? json_real((double)value) : json_null();
}

static json_t *row_to_json(const qn_quantize_row *row)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:i, s:I, s:I, s:o}", "node",
                     qn_json_record(row->node_name), "op", qn_json_record(row->op_type), "value",
                     qn_json_record(row->value_name), "role", row->role, "format", row->format, "min", real(row->min),
                     "max", real(row->max), "scale_min", real(row->scale_min), "scale_max", real(row->scale_max),
                     "zero_point", (int)row->zero_point, "channels", (json_int_t)row->n_channels, "raised",
                     (json_int_t)row->n_raised, "note", qn_json_record(row->note));
}

qn_status qn_quantize_report_to_json(const qn_quantize_report *report, char **text, qn_error *err)
{
    *text = NULL;
    json_t *rows = json_array(), *remarks = json_array();
    for (size_t i = 0; i < report->n_remarks; i++) {
        (void)json_array_append_new(remarks, qn_json_record(report->remarks[i]));
    }
    for (size_t i = 0; i < report->n_rows; i++) {
        if (json_array_append_new(rows, row_to_json(&report->rows[i])) != 0) {
            json_decref(rows);
            return qn_fail_memory(err, report->rows[i].value_name, sizeof report->rows[i]);
        }
    }
    json_t *root = json_pack("{s:s, s:s, s:{s:o, s:s}, s:o, s:o}", "quern", qn_version(), "recipe", report->recipe,
                             "model", "file", qn_json_record(report->model_file), "sha256", report->model_sha256,
                             "remarks", remarks, "values", rows);
    if (root != NULL) {
        *text = json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        json_decref(root);
    }
    return *text != NULL ? QN_OK : qn_fail_memory(err, report->model_file, report->n_rows * sizeof *report->rows);
}
