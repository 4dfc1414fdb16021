/* The two ends of a pipeline: items of a data set go in, outputs come out, are compared with labels and kept. */
#ifndef QN_CLI_PIPELINE_ENDS_H
#define QN_CLI_PIPELINE_ENDS_H

#include "cli/cli.h"
#include "link/worker.h"

/*  labels   one integer class per item, or NULL
 *  keep     the first output of all items is wanted, in `outputs`
 *  correct  items whose greatest output is at their label, of those written so far; ties go to the lowest index */
typedef struct cli_pipeline_ends {
    const char *model; /* the file, for messages */
    const qn_dataset *data;
    const qn_tensor *labels;
    int64_t n_items, count_in, count_out, correct;
    float *in;
    const float *inputs[1];
    qn_tensor outputs; /* f32 [n_items, ...]; without data unless kept */
} cli_pipeline_ends;

/* Does the data fit the network, and do labels fit the data? The network has one input. Errors: QN_ESHAPE,
 * QN_EUNSUPPORTED, QN_EINVAL (a fixed batch, no items), QN_ERANGE (a label that is no class), QN_ENOMEM. */
qn_status cli_pipeline_ends_open(cli_pipeline_ends *ends, const qn_cuts *cuts, const qn_dataset *data,
                                 const qn_tensor *labels, const char *labels_name, int64_t microbatch, bool keep,
                                 qn_error *err);
void cli_pipeline_ends_close(cli_pipeline_ends *ends);
/* Items first to first + n - 1, n <= microbatch: one pointer per input, valid until the next call. */
qn_status cli_pipeline_read(cli_pipeline_ends *ends, int64_t first, int64_t n, const float *const **inputs,
                            qn_error *err);
/* Their first output, f32[n * count_out]. Errors: QN_ERANGE: what is not finite, for argmax means nothing then. */
qn_status cli_pipeline_write(cli_pipeline_ends *ends, int64_t first, int64_t n, const float *y, qn_error *err);

#endif
