/* The ONNX loader: any bytes load or are refused. What loads and can be written is written the same again after another
 * round; what is written in another form can be read. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "graph/model.h"
#include "onnx/onnx.h"

static void check_round_trip(const qn_model *model, qn_onnx_form form)
{
    unsigned char *first, *second;
    size_t n_first, n_second;
    if (qn_onnx_export_form(&first, &n_first, &model->graph, form, NULL) != QN_OK) {
        return;
    }
    qn_model *again;
    if (qn_model_load_any_memory(&again, first, n_first, "again.onnx", NULL) != QN_OK) {
        abort();
    }
    if (form == QN_ONNX_AUTO) { /* of the others bytes may differ: readers choose names where they are taken */
        if (qn_onnx_export(&second, &n_second, &again->graph, NULL) != QN_OK || n_first != n_second ||
            memcmp(first, second, n_first) != 0) {
            abort();
        }
        qn_free(second);
    }
    qn_model_free(again);
    qn_free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    qn_status status = qn_model_load_any_memory(&model, data, size, "fuzz.onnx", &err);
    if (status == QN_OK) {
        for (int form = 0; qn_onnx_form_text((qn_onnx_form)form) != NULL; form++) {
            check_round_trip(model, (qn_onnx_form)form);
        }
        qn_model_free(model);
    } else if (err.status != status || err.message[0] == '\0' || strchr(err.message, '\n') != NULL) {
        abort(); /* every refusal has one line that says why */
    }
    return 0;
}
