/* The folder `c` of an export. */
#include <string.h>

#include "export/c/cmsis.h"
#include "export/c/runtime.h"
#include "export/constants.h"

/* Does the network need this file of the runtime? */
static bool needs(const qn_c_plan *plan, const char *file, bool vectors)
{
    const qn_export_network *n = plan->network;
    const char *want = strncmp(file, "quern_float.", 12) == 0    ? "float"
                       : strcmp(file, "quern_soft.c") == 0       ? "integers"
                       : strcmp(file, "quern_packed.c") == 0     ? "packed"
                       : strcmp(file, "quern_rows.c") == 0       ? "rows"
                       : strcmp(file, "quern_saturating.c") == 0 ? "saturating"
                                                                 : "";
    bool is_float = false, soft = false, packed = false, saturates = false, rows = false;
    for (int i = 0; i < plan->n_arrays; i++) {
        is_float = is_float || plan->arrays[i].role == QN_C_RATIO;
        soft = soft || plan->arrays[i].role == QN_C_SOFT;
    }
    for (int i = 0; i < n->n_layers; i++) {
        const qn_export_conv *c = &n->layers[i].u.conv;
        rows = rows || qn_export_is_of_rows(n->layers[i].kind);
        if (n->layers[i].kind == QN_EXPORT_CONV && !qn_c_cmsis_takes(plan, i)) {
            packed = packed || c->saturate || !qn_c_is_plain(c); /* saturating sums unpack, too */
            saturates = saturates || c->saturate;
        }
    }
    return want[0] == 'f'   ? is_float
           : want[0] == 'i' ? soft
           : want[0] == 'p' ? packed
           : want[0] == 's' ? saturates
           : want[0] == 'r' ? rows
                            : vectors || strcmp(file, "test_main.c") != 0;
}

static qn_status write_runtime(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    static const struct {
        const char *file, *begin, *end;
    } files[] = {
#define ROW(symbol, file) {file, symbol##_begin, symbol##_end},
        QN_C_RUNTIME_LIST(ROW)
#undef ROW
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (needs(plan, files[i].file, job->n_vectors > 0)) {
            char path[64] = "c/";
            strncat(path, files[i].file, sizeof path - 3);
            QN_TRY(qn_export_file(job, path, "runtime, the same for all networks", files[i].begin,
                                  (size_t)(files[i].end - files[i].begin), err));
        }
    }
    return QN_OK;
}

static qn_status write_files(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    qn_export_text text = {0};
    qn_c_print_header(&text, plan);
    QN_TRY(qn_export_text_file(job, "c/model.h", "types, quantization of inputs and outputs, sizes", &text, err));
    const qn_status status = qn_c_print_model(&text, plan, err);
    if (status != QN_OK) {
        qn_export_text_free(&text);
        return status;
    }
    QN_TRY(qn_export_text_file(job, "c/model.c", "constants and layers", &text, err));
    QN_TRY(write_runtime(job, plan, err));
    return qn_c_write_vectors(job, plan, err);
}

/* Tell the manifest that model.c holds the constants of the model that arrays are made of. */
static qn_status tell_constants(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    const qn_export_network *n = plan->network;
    qn_export_constants constants;
    QN_TRY(qn_export_constants_list(&constants, n, err));
    qn_status status = QN_OK;
    for (int row = 0; row < constants.n && status == QN_OK; row++) {
        bool there = false;
        for (int i = 0; i < plan->n_arrays; i++) {
            const qn_c_array *a = &plan->arrays[i];
            const qn_value_id value = a->role == QN_C_CODES     ? n->tensors[a->owner].value
                                      : a->role == QN_C_WEIGHTS ? n->layers[a->owner].u.conv.weight_value
                                      : a->role == QN_C_BIAS && n->layers[a->owner].kind == QN_EXPORT_CONV
                                          ? n->layers[a->owner].u.conv.bias_value
                                          : QN_NO_VALUE;
            there = there || (value != QN_NO_VALUE && constants.of_value[value] == row);
        }
        status = there ? qn_export_holds(job, constants.rows[row].id, "c/model.c", err) : QN_OK;
    }
    qn_export_constants_free(&constants);
    return status;
}

qn_status qn_export_write_c(qn_export_job *job, qn_error *err)
{
    qn_c_plan plan;
    QN_TRY(qn_c_plan_make(&plan, job->network, job->options->cmsis_nn, err));
    qn_status status = write_files(job, &plan, err);
    if (status == QN_OK) {
        status = tell_constants(job, &plan, err);
    }
    if (status == QN_OK && job->section != NULL &&
        (json_object_set_new(job->section, "activation_bytes", json_integer(plan.peak)) != 0 ||
         json_object_set_new(job->section, "constant_bytes", json_integer(plan.constant_bytes)) != 0)) {
        status = qn_fail_memory(err, job->network->graph->file, 0);
    }
    if (status == QN_OK && job->report != NULL) {
        qn_export_printf(job->report, "c: %lld bytes of constants, %lld of activations\n",
                         (long long)plan.constant_bytes, (long long)plan.peak);
    }
    if (status == QN_OK) {
        status = qn_c_cmsis_write(job, &plan, err);
    }
    qn_c_plan_free(&plan);
    return status;
}
