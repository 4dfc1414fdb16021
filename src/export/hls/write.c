/* The target `hls`: refusals, then all files. */
#include "export/hls/hls.h"
#include "export/manifest.h"
#include "export/onnx/forms.h"

/* X(symbol, name, what): texts.S has them. */
#define FIXED_FILES(X)                                                                                                 \
    X(quern_ap_h, "quern_ap.h", "ap_int and ap_fixed without AMD's headers")                                           \
    X(quern_hls_h, "quern_hls.h", "layers as templates")                                                               \
    X(testbench_h, "testbench.h", "what test benches have in common")                                                  \
    X(makefile, "Makefile", "make check builds and runs the test bench with g++ or clang++")                           \
    X(vitis_hls_tcl, "vitis_hls.tcl", "C simulation and synthesis by Vitis HLS")
#define DECLARE(symbol, name, what) extern const char qn_hls_##symbol##_begin[], qn_hls_##symbol##_end[];
FIXED_FILES(DECLARE)
#undef DECLARE

static const struct {
    const char *begin, *end, *path, *what;
} fixed_files[] = {
#define ROW(symbol, name, what) {qn_hls_##symbol##_begin, qn_hls_##symbol##_end, "hls/" name, what},
    FIXED_FILES(ROW)
#undef ROW
};

/* Inputs that go to an output as they are have no codes. */
static qn_status check_inputs(const qn_export_network *n, qn_error *err)
{
    bool any = false;
    for (int i = 0; i < n->n_inputs; i++) {
        any = any || n->inputs[i].tensor >= 0;
        if (n->inputs[i].tensor >= 0 && n->tensors[n->inputs[i].tensor].real) {
            return qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                           "cannot be exported to hls: input '%s' has no quantizer; give it one", n->inputs[i].name);
        }
    }
    return any ? QN_OK
               : qn_fail(err, QN_EUNSUPPORTED, n->graph->file,
                         "cannot be exported to hls: no layer reads an input, so that there is nothing to compute");
}

/* What the manifest has to say: each layer's number, in names of types and files, and whether it can be ap_fixed. */
static qn_status fill_section(const qn_hls *hls, qn_error *err)
{
    json_t *layers = json_array();
    bool ok = layers != NULL;
    for (int i = 0; ok && i < hls->network->n_layers; i++) {
        const char *reason = hls->fixed[i].reason;
        ok =
            json_array_append_new(layers, json_pack("{s:s, s:i, s:b, s:s?}", "id", hls->network->layers[i].id, "number",
                                                    i + 1, "ap_fixed", reason == NULL, "ap_fixed_reason", reason)) == 0;
    }
    ok = ok && json_object_set_new(hls->job->section, "function", json_string("model_top")) == 0;
    if (!ok) {
        json_decref(layers);
        return qn_fail_memory(err, hls->network->graph->file, 0);
    }
    return json_object_set_new(hls->job->section, "layers", layers) == 0
               ? QN_OK
               : qn_fail_memory(err, hls->network->graph->file, 0);
}

/* The network as hls4ml reads it, where QONNX holds it. */
static qn_status write_qonnx(const qn_hls *hls, qn_error *err)
{
    static const char path[] = "hls/model_qonnx.onnx";
    qn_error why;
    QN_TRY(qn_export_onnx_form(hls->job, QN_ONNX_QONNX, path, &why, err));
    const bool held = why.status == QN_OK;
    if (!held) {
        qn_export_printf(hls->job->report, "hls: no %s for hls4ml: %s\n", path, why.message);
    }
    json_t *row = json_pack("{s:s?, s:o?}", "file", held ? path : NULL, "reason",
                            held ? NULL : qn_export_json_string(why.message));
    return row != NULL && json_object_set_new(hls->job->section, "qonnx", row) == 0
               ? QN_OK
               : qn_fail_memory(err, hls->network->graph->file, 0);
}

static qn_status write_all(qn_hls *hls, qn_error *err)
{
    QN_TRY(qn_hls_decide(hls, err));
    QN_TRY(qn_hls_write_defines(hls, err));
    QN_TRY(qn_hls_write_parameters(hls, err));
    QN_TRY(qn_hls_write_weights(hls, err));
    QN_TRY(qn_hls_write_model(hls, err));
    QN_TRY(qn_hls_write_bench(hls, err));
    QN_TRY(qn_hls_write_vectors(hls, err));
    for (size_t i = 0; i < sizeof fixed_files / sizeof fixed_files[0]; i++) {
        QN_TRY(qn_export_file(hls->job, fixed_files[i].path, fixed_files[i].what, fixed_files[i].begin,
                              (size_t)(fixed_files[i].end - fixed_files[i].begin), err));
    }
    QN_TRY(fill_section(hls, err));
    QN_TRY(write_qonnx(hls, err));
    int n_arithmetic = 0;
    for (int i = 0; i < hls->network->n_layers; i++) {
        const qn_export_kind kind = hls->network->layers[i].kind;
        n_arithmetic += kind == QN_EXPORT_CONV || kind == QN_EXPORT_ADD;
    }
    qn_export_printf(hls->job->report, "hls: %d of %d convolutions and sums can be ap_fixed (QUERN_AP_FIXED)\n",
                     hls->n_fixed, n_arithmetic);
    return QN_OK;
}

qn_status qn_export_write_hls(qn_export_job *job, qn_error *err)
{
    QN_TRY(qn_export_need_integers(job->network, "hls", err));
    QN_TRY(qn_export_need_other_kinds(job->network, "hls", QN_EXPORT_ONLY_C, err));
    QN_TRY(check_inputs(job->network, err));
    qn_hls hls = {.job = job, .network = job->network};
    QN_TRY(qn_export_constants_list(&hls.constants, job->network, err));
    const qn_status status = write_all(&hls, err);
    qn_export_constants_free(&hls.constants);
    qn_arena_free(&hls.arena);
    return status;
}
