/* The recipe from beginning to end, and running its result. */
#include <math.h>
#include <string.h>

#include "graph/model.h"
#include "ptq/aidge/aidge.h"

static qn_status run_stages(qn_aidge *aidge, const qn_graph *graph, const qn_dataset *data, qn_error *err)
{
    qn_aidge_net *net = &aidge->net;
    const qn_aidge_options *options = &aidge->options;
    QN_TRY(qn_aidge_build(net, graph, err));
    QN_TRY(qn_aidge_insert_scalings(net, options, err));
    QN_TRY(qn_aidge_equalize(net, err));
    QN_TRY(qn_aidge_normalize_parameters(net, options->input, err));
    QN_TRY(qn_aidge_observe_ranges(net, data, options, err));
    QN_TRY(qn_aidge_adjust_ranges(net, data, options, err));
    QN_TRY(qn_aidge_normalize_activations(net, err));
    if (options->signs) {
        qn_aidge_map_signs(net);
    }
    qn_aidge_make_integers(net, options);
    if (options->shift) {
        qn_aidge_single_shift(net, options);
    }
    return qn_dataset_sha256(data, aidge->data_sha256, err);
}

qn_status qn_aidge_quantize(qn_aidge **result, const qn_model *model, const qn_dataset *data,
                            const qn_aidge_options *options, qn_error *err)
{
    *result = NULL;
    qn_aidge_options defaults;
    qn_aidge_options_init(&defaults);
    options = options != NULL ? options : &defaults;
    QN_TRY(qn_aidge_check_options(options, err));
    qn_graph graph = {0};
    QN_TRY(qn_aidge_prepare(&graph, model, err));
    qn_aidge *aidge = qn_alloc(sizeof *aidge);
    qn_status status = aidge == NULL ? qn_fail_memory(err, NULL, sizeof *aidge) : QN_OK;
    if (status == QN_OK) {
        aidge->options = *options;
        aidge->preprocess = *qn_dataset_preprocess(data);
        memcpy(aidge->model_sha256, model->graph.sha256, sizeof aidge->model_sha256);
        status = run_stages(aidge, &graph, data, err);
    }
    qn_graph_free(&graph);
    if (status != QN_OK) {
        qn_aidge_free(aidge);
        return status;
    }
    aidge->options.progress = NULL;
    *result = aidge;
    return QN_OK;
}

void qn_aidge_free(qn_aidge *aidge)
{
    if (aidge != NULL) {
        qn_arena_free(&aidge->net.arena);
        qn_free(aidge);
    }
}

const char *qn_aidge_note(const qn_aidge *aidge, size_t index)
{
    const qn_aidge_remark *note = aidge->net.notes;
    while (note != NULL && index-- > 0) {
        note = note->next;
    }
    return note != NULL ? note->text : NULL;
}

int64_t qn_aidge_input_count(const qn_aidge *aidge)
{
    return aidge->net.n_input;
}

int64_t qn_aidge_output_count(const qn_aidge *aidge)
{
    return aidge->net.nodes[aidge->net.output].n;
}

double qn_aidge_input_scale(const qn_aidge *aidge)
{
    return qn_aidge_signed_max(aidge->options.bits) / aidge->options.input;
}

double qn_aidge_output_scale(const qn_aidge *aidge)
{
    return aidge->net.output_scale;
}

qn_status qn_aidge_run(const qn_aidge *aidge, const float *x, int64_t n, double *y, qn_error *err)
{
    const qn_aidge_net *net = &aidge->net;
    int64_t n_out = qn_aidge_output_count(aidge);
    double levels = qn_aidge_signed_max(aidge->options.bits);
    double *input = qn_alloc((size_t)net->n_input * sizeof *input);
    double **values = qn_aidge_values_new(net);
    qn_status status = input != NULL && values != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
    for (int64_t item = 0; status == QN_OK && item < n; item++) {
        for (int64_t i = 0; i < net->n_input; i++) {
            double v = (double)x[item * net->n_input + i] / aidge->options.input * levels;
            input[i] = aidge->options.round ? rint(v) : v;
        }
        qn_aidge_forward(net, input, values);
        memcpy(y + item * n_out, values[net->output], (size_t)n_out * sizeof *y);
    }
    qn_free(input);
    qn_free(values);
    return status;
}
