/* Sensitivity: one node quantized alone, and one node left float, for every node. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ptq/study.h"

struct qn_sensitivity {
    qn_arena arena;
    qn_sensitivity_row *rows;
    size_t n_rows;
    qn_study_result whole;
};

static qn_status measure_unit(qn_study *study, const qn_study_unit *unit, qn_sensitivity_row *row, qn_error *err)
{
    qn_quantize_set only[2 + QN_STUDY_FOLLOWERS] = {{"*", "keep=float"}}, without[1 + QN_STUDY_FOLLOWERS];
    for (int i = 0; i < unit->n_globs; i++) {
        only[1 + i] = (qn_quantize_set){unit->globs[i], "keep=codes"};
        without[i] = (qn_quantize_set){unit->globs[i], "keep=float"};
    }
    qn_study_result result = {0};
    QN_TRY(qn_study_try_sets(study, only, 1 + (size_t)unit->n_globs, &result, NULL, NULL, err));
    row->only_sqnr_db = result.evaluation.sqnr_db;
    row->only_correct = result.evaluation.correct;
    row->only_top1 = result.evaluation.top1;
    QN_TRY(qn_study_try_sets(study, without, (size_t)unit->n_globs, &result, NULL, NULL, err));
    row->without_sqnr_db = result.evaluation.sqnr_db;
    row->without_correct = result.evaluation.correct;
    row->without_top1 = result.evaluation.top1;
    return QN_OK;
}

static qn_status start_row(qn_sensitivity *s, const qn_study *study, const qn_study_unit *unit, const qn_model *whole,
                           const qn_quantize_report *report, qn_error *err)
{
    char reason[256];
    qn_study_explain(study, whole, report, unit->name, reason, sizeof reason);
    qn_sensitivity_row *row = &s->rows[s->n_rows++];
    row->node_name = qn_arena_string(&s->arena, unit->name);
    row->op_type = qn_arena_string(&s->arena, unit->op_type);
    row->output_name = qn_arena_string(&s->arena, unit->output_name);
    row->reason = qn_arena_string(&s->arena, reason);
    return row->node_name != NULL && row->op_type != NULL && row->output_name != NULL && row->reason != NULL
               ? QN_OK
               : qn_fail_memory(err, NULL, 0);
}

static qn_status start_rows(qn_sensitivity *s, qn_study *study, qn_study_unit **units, qn_error *err)
{
    qn_model *whole = NULL;
    qn_quantize_report *report = NULL;
    size_t n_units = 0;
    QN_TRY(qn_study_try_sets(study, NULL, 0, &s->whole, &whole, &report, err));
    qn_status status = qn_study_find_units(study, whole, units, &n_units, err);
    if (status == QN_OK) {
        s->rows = qn_arena_array(&s->arena, n_units, sizeof *s->rows);
        status = s->rows != NULL ? QN_OK : qn_fail_memory(err, NULL, n_units * sizeof *s->rows);
    }
    for (size_t i = 0; i < n_units && status == QN_OK; i++) {
        status = start_row(s, study, &(*units)[i], whole, report, err);
    }
    qn_quantize_report_free(report);
    qn_model_free(whole);
    return status;
}

static int by_damage(const void *a, const void *b)
{
    const qn_sensitivity_row *x = a, *y = b;
    if (x->only_sqnr_db != y->only_sqnr_db) {
        return x->only_sqnr_db < y->only_sqnr_db ? -1 : 1;
    }
    if (x->without_sqnr_db != y->without_sqnr_db) {
        return x->without_sqnr_db > y->without_sqnr_db ? -1 : 1;
    }
    return strcmp(x->node_name, y->node_name);
}

static qn_status measure(qn_sensitivity *s, qn_study *study, qn_error *err)
{
    qn_study_unit *units = NULL;
    study->step = 0;
    study->n_steps = 1;
    study->quick = true;
    qn_status status = start_rows(s, study, &units, err);
    study->n_steps = 1 + 2 * (int64_t)s->n_rows;
    study->step = 1;
    study->simulate = true;
    for (size_t i = 0; i < s->n_rows && status == QN_OK; i++) {
        status = measure_unit(study, &units[i], &s->rows[i], err);
    }
    study->simulate = false;
    study->quick = false;
    QN_TRY(status);
    qsort(s->rows, s->n_rows, sizeof *s->rows, by_damage);
    return QN_OK;
}

qn_status qn_sensitivity_measure(qn_sensitivity **sensitivity, qn_study *study, qn_error *err)
{
    *sensitivity = NULL;
    qn_sensitivity *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    qn_status status = measure(made, study, err);
    if (status != QN_OK) {
        qn_sensitivity_free(made);
        return status;
    }
    *sensitivity = made;
    return QN_OK;
}

void qn_sensitivity_free(qn_sensitivity *sensitivity)
{
    if (sensitivity != NULL) {
        qn_arena_free(&sensitivity->arena);
        qn_free(sensitivity);
    }
}

size_t qn_sensitivity_count(const qn_sensitivity *sensitivity)
{
    return sensitivity->n_rows;
}

const qn_sensitivity_row *qn_sensitivity_at(const qn_sensitivity *sensitivity, size_t index)
{
    return index < sensitivity->n_rows ? &sensitivity->rows[index] : NULL;
}

const qn_study_result *qn_sensitivity_whole(const qn_sensitivity *sensitivity)
{
    return &sensitivity->whole;
}
