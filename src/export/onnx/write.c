/* Target onnx: the model as QDQ, QOperator and QONNX, each in a file of its own, where the form holds it. A form
 * that is asked for by name must. */
#include "export/onnx/forms.h"

#include <stdio.h>

#include "export/manifest.h"
#include "graph/model.h"
#include "onnx/onnx.h"

static const qn_onnx_form default_forms[] = {QN_ONNX_QDQ, QN_ONNX_QOPERATOR, QN_ONNX_QONNX};
enum { N_DEFAULT = sizeof default_forms / sizeof default_forms[0] };

qn_status qn_export_onnx_form(qn_export_job *job, qn_onnx_form form, const char *path, qn_error *why, qn_error *err)
{
    char what[96];
    unsigned char *bytes;
    size_t n_bytes;
    qn_error_init(why);
    const qn_status status = qn_onnx_export_form(&bytes, &n_bytes, &job->model->graph, form, why);
    if (status == QN_EUNSUPPORTED) {
        return QN_OK;
    }
    if (status != QN_OK) {
        return qn_fail(err, status, why->where, "%s", why->message);
    }
    snprintf(what, sizeof what, "the model: %s", qn_onnx_form_summary(form));
    const qn_status written = qn_export_file(job, path, what, bytes, n_bytes, err);
    qn_free(bytes);
    return written;
}

qn_onnx_form qn_export_onnx_form_of(const json_t *section)
{
    const char *text = json_string_value(json_object_get(section, "form"));
    qn_onnx_form form;
    return text != NULL && qn_onnx_form_parse(&form, text, NULL) == QN_OK ? form : QN_ONNX_AUTO;
}

/* One form, and what the manifest says of it. *held: it holds the model. */
static qn_status write_form(qn_export_job *job, json_t *list, qn_onnx_form form, bool *held, qn_error *err)
{
    char path[64];
    qn_error why;
    const char *name = qn_onnx_form_text(form);
    snprintf(path, sizeof path, "onnx/model_%s.onnx", name);
    QN_TRY(qn_export_onnx_form(job, form, path, &why, err));
    *held = why.status == QN_OK;
    json_t *row = json_pack("{s:s, s:s?, s:o?}", "form", name, "file", *held ? path : NULL, "reason",
                            *held ? NULL : qn_export_json_string(why.message));
    if (row == NULL || json_array_append_new(list, row) != 0) {
        return qn_fail_memory(err, path, 0);
    }
    if (!*held) {
        if (job->options->onnx_form != QN_ONNX_AUTO) {
            return qn_fail(err, QN_EUNSUPPORTED, job->network->graph->file, "cannot be exported to onnx: %s",
                           why.message);
        }
        qn_export_printf(job->report, "onnx: not as %s: %s\n", name, why.message);
    }
    return QN_OK;
}

qn_status qn_export_write_onnx(qn_export_job *job, qn_error *err)
{
    const qn_onnx_form asked = job->options->onnx_form;
    const qn_onnx_form *forms = asked == QN_ONNX_AUTO ? default_forms : &asked;
    const int n = asked == QN_ONNX_AUTO ? N_DEFAULT : 1;
    json_t *list = json_array();
    if (list == NULL || json_object_set_new(job->section, "forms", list) != 0 ||
        json_object_set_new(job->section, "form", json_string(qn_onnx_form_text(asked))) != 0) {
        return qn_fail_memory(err, job->network->graph->file, 0);
    }
    int n_held = 0;
    for (int i = 0; i < n; i++) {
        bool held;
        QN_TRY(write_form(job, list, forms[i], &held, err));
        n_held += held;
    }
    return n_held > 0 ? QN_OK
                      : qn_fail(err, QN_EUNSUPPORTED, job->network->graph->file,
                                "cannot be exported to onnx: %s; --form org holds every model",
                                job->report->n > 0 ? job->report->data : "no form holds it");
}
