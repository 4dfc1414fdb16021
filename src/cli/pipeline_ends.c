#include "cli/pipeline_ends.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/labels.h"
#include "graph/model.h"

static const char *file_of(const qn_cuts *cuts)
{
    return qn_cuts_model(cuts)->graph.file;
}

/* Every label is a class of the network. */
static qn_status check_labels(const cli_pipeline_ends *ends, const char *name, qn_error *err)
{
    QN_TRY(qn_labels_check(ends->labels, name, ends->data, err));
    for (int64_t i = 0; ends->labels != NULL && i < ends->n_items; i++) {
        const int64_t label = qn_label_at(ends->labels, i);
        if (label < 0 || label >= ends->count_out) {
            return qn_fail(err, QN_ERANGE, name,
                           "label of item %" PRId64 " is %" PRId64 ", but the network has classes "
                           "0 to %" PRId64,
                           i, label, ends->count_out - 1);
        }
    }
    return QN_OK;
}

qn_status cli_pipeline_ends_open(cli_pipeline_ends *ends, const qn_cuts *cuts, const qn_dataset *data,
                                 const qn_tensor *labels, const char *labels_name, int64_t microbatch, bool keep,
                                 qn_error *err)
{
    *ends = (cli_pipeline_ends){
        .model = file_of(cuts), .data = data, .labels = labels, .n_items = qn_dataset_count(data), .count_in = 1};
    const qn_cut *first = qn_cuts_at(cuts, 0), *last = qn_cuts_at(cuts, qn_cuts_last(cuts));
    if (first->n_tensors != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, file_of(cuts), "it has %zu inputs; quern pipeline reads the data of one",
                       first->n_tensors);
    }
    int64_t dims[QN_MAX_RANK];
    const int rank = qn_dataset_item_shape(data, dims);
    for (int i = 0; i < rank; i++) {
        ends->count_in *= dims[i];
    }
    if (ends->count_in != first->tensors[0].count ||
        (rank == first->tensors[0].rank && memcmp(dims, first->tensors[0].dims, (size_t)rank * sizeof *dims) != 0)) {
        char have[CLI_SHAPE_MAX], want[CLI_SHAPE_MAX];
        return qn_fail(err, QN_ESHAPE, qn_dataset_name(data), "items are %s, but input '%s' of %s takes %s",
                       cli_shape(have, rank, dims), first->tensors[0].name, file_of(cuts),
                       cli_shape(want, first->tensors[0].rank, first->tensors[0].dims));
    }
    const qn_cut_tensor *out = &last->tensors[0];
    ends->count_out = out->count;
    QN_TRY(check_labels(ends, labels_name, err));
    ends->in = qn_alloc((size_t)(microbatch * ends->count_in) * sizeof *ends->in);
    ends->inputs[0] = ends->in;
    if (ends->in == NULL) {
        return qn_fail_memory(err, qn_dataset_name(data), (size_t)(microbatch * ends->count_in) * sizeof *ends->in);
    }
    if (keep) {
        int64_t all[QN_MAX_RANK + 1] = {ends->n_items};
        memcpy(all + 1, out->dims, (size_t)out->rank * sizeof *all);
        const int whole = out->rank < QN_MAX_RANK ? out->rank + 1 : QN_MAX_RANK;
        return qn_tensor_alloc(&ends->outputs, QN_DTYPE_F32, whole, all, err);
    }
    return QN_OK;
}

void cli_pipeline_ends_close(cli_pipeline_ends *ends)
{
    qn_free(ends->in);
    qn_tensor_free(&ends->outputs);
    *ends = (cli_pipeline_ends){0};
}

qn_status cli_pipeline_read(cli_pipeline_ends *ends, int64_t first, int64_t n, const float *const **inputs,
                            qn_error *err)
{
    *inputs = ends->inputs;
    return qn_dataset_read(ends->data, first, n, ends->in, err);
}

qn_status cli_pipeline_write(cli_pipeline_ends *ends, int64_t first, int64_t n, const float *y, qn_error *err)
{
    for (int64_t i = 0; i < n * ends->count_out; i++) {
        if (!isfinite(y[i])) {
            return qn_fail(err, QN_ERANGE, ends->model, "the output is %s on item %lld",
                           isnan(y[i]) ? "NaN" : "infinite", (long long)(first + i / ends->count_out));
        }
    }
    for (int64_t i = 0; ends->labels != NULL && i < n; i++) {
        ends->correct += qn_argmax(y + i * ends->count_out, ends->count_out) == qn_label_at(ends->labels, first + i);
    }
    if (ends->outputs.data != NULL) {
        memcpy((float *)ends->outputs.data + first * ends->count_out, y, (size_t)(n * ends->count_out) * sizeof *y);
    }
    return QN_OK;
}
