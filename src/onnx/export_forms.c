/* The names of forms, and lists of what a form does not hold. */
#include "onnx/export_forms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"

static const struct {
    const char *name, *summary;
} rows[] = {
#define ROW(id, value, text, summary) [value] = {text, summary},
    QN_ONNX_FORM_LIST(ROW)
#undef ROW
};
enum { N_FORMS = sizeof rows / sizeof rows[0], NAMES_SHOWN = 50 };

const char *qn_onnx_form_text(qn_onnx_form form)
{
    return (unsigned)form < N_FORMS ? rows[form].name : NULL;
}

const char *qn_onnx_form_summary(qn_onnx_form form)
{
    return (unsigned)form < N_FORMS ? rows[form].summary : NULL;
}

qn_status qn_onnx_form_parse(qn_onnx_form *form, const char *text, qn_error *err)
{
    const char *names[N_FORMS];
    for (int i = 0; i < N_FORMS; i++) {
        names[i] = rows[i].name;
        if (strcmp(text, names[i]) == 0) {
            *form = (qn_onnx_form)i;
            return QN_OK;
        }
    }
    char all[128];
    qn_list_names(all, sizeof all, names, N_FORMS);
    return qn_fail(err, QN_EINVAL, NULL, "'%.60s' is no form of quantized ONNX; did you mean %s? There are %s", text,
                   names[qn_nearest_name(text, names, N_FORMS)], all);
}

qn_status qn_refusals_add(qn_refusals *list, const char *what, const char *name, const char *reason, qn_error *err)
{
    qn_refusal *row = NULL;
    for (size_t i = 0; row == NULL && i < list->n; i++) {
        if (strcmp(list->rows[i].what, what) == 0 && strcmp(list->rows[i].reason, reason) == 0) {
            row = &list->rows[i];
        }
    }
    if (row == NULL) {
        void *grown = list->rows;
        const qn_status status = qn_grow(&grown, &list->capacity, list->n, sizeof *list->rows, err);
        list->rows = grown;
        QN_TRY(status);
        row = &list->rows[list->n++];
        *row = (qn_refusal){qn_arena_string(&list->arena, what), qn_arena_string(&list->arena, reason), "", 0};
    }
    if (row->n++ < NAMES_SHOWN) {
        row->names = qn_arena_printf(&list->arena, "%s%s'%s'", row->names, row->n > 1 ? ", " : "", name);
    }
    return row->what != NULL && row->reason != NULL && row->names != NULL ? QN_OK : qn_fail_memory(err, name, 0);
}

qn_status qn_refusals_fail(const qn_refusals *list, const qn_graph *graph, qn_onnx_form form, qn_error *err)
{
    if (list->n == 0) {
        return QN_OK;
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return qn_fail_memory(err, graph->file, 0);
    }
    for (size_t i = 0; i < list->n; i++) {
        const qn_refusal *row = &list->rows[i];
        fprintf(out, "%s%s of %s", i > 0 ? "; " : "", row->what, row->names);
        if (row->n > NAMES_SHOWN) {
            fprintf(out, " and %zu more", row->n - NAMES_SHOWN);
        }
        fprintf(out, ": %s", row->reason);
    }
    const bool failed = fclose(out) != 0;
    const qn_status status =
        failed ? qn_fail_memory(err, graph->file, 0)
               : qn_fail(err, QN_EUNSUPPORTED, graph->file, "form %s cannot hold %s", qn_onnx_form_text(form), text);
    free(text);
    return status;
}

void qn_refusals_free(qn_refusals *list)
{
    qn_free(list->rows);
    qn_arena_free(&list->arena);
    *list = (qn_refusals){0};
}
