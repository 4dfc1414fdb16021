#include "cli/pipeline_ends.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "engine/feed.h"
#include "engine/labels.h"
#include "graph/model.h"
#include "link/cut.h"

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
    *ends =
        (cli_pipeline_ends){.model = file_of(cuts), .data = data, .labels = labels, .n_items = qn_dataset_count(data)};
    const qn_cut *first = qn_cuts_at(cuts, 0), *last = qn_cuts_at(cuts, qn_cuts_last(cuts));
    if (first->n_tensors != 1) {
        return qn_fail(err, QN_EUNSUPPORTED, file_of(cuts), "it has %zu inputs; quern pipeline reads the data of one",
                       first->n_tensors);
    }
    QN_TRY(qn_cuts_check_items(cuts, err));
    const qn_cut_tensor *in = &first->tensors[0], *out = &last->tensors[0];
    int64_t dims[QN_MAX_RANK];
    int rank = qn_cuts_item_shape(dims, cuts, in);
    if (out->count < 1) {
        return qn_fail(err, QN_ESHAPE, file_of(cuts), "the first output has no elements");
    }
    QN_TRY(qn_feed_check_items(&qn_cuts_model(cuts)->graph, in->name, dims, rank, data, err));
    ends->count_in = in->count;
    ends->count_out = out->count;
    QN_TRY(check_labels(ends, labels_name, err));
    ends->in = qn_alloc((size_t)(microbatch * ends->count_in) * sizeof *ends->in);
    ends->inputs[0] = ends->in;
    if (ends->in == NULL) {
        return qn_fail_memory(err, qn_dataset_name(data), (size_t)(microbatch * ends->count_in) * sizeof *ends->in);
    }
    if (keep) {
        int64_t all[QN_MAX_RANK + 1] = {ends->n_items};
        rank = qn_cuts_item_shape(dims, cuts, out);
        memcpy(all + 1, dims, (size_t)rank * sizeof *all);
        return qn_tensor_alloc(&ends->outputs, QN_DTYPE_F32, rank + 1, all, err);
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
