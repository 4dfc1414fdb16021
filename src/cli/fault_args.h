/* What plan and inject share: a campaign from the command line. */
#ifndef QN_CLI_FAULT_ARGS_H
#define QN_CLI_FAULT_ARGS_H

#include "cli/session.h"
#include "fault/spec.h"
#include "quern/fault.h"

/* The rows of both commands' option lists. */
#define CLI_FAULT_OPTIONS                                                                                              \
    {"data", 0, "X", "inputs the faults meet; required"},                                                              \
        {"labels", 0, "Y", "one integer class per input: tells which faults turn right answers wrong"},                \
        {"images", 0, "N", "take the first N inputs only"},                                                            \
        {"spec", 0, "FILE", "faults.yaml, which faults (doc/faults.md); else the options up to --sample say it"},      \
        {"where", 0, "W,..",                                                                                           \
         "weights, biases, activations, inputs, accumulators, products, scales, tables, link, .."},                    \
        {"layers", 0, "GLOB...",                                                                                       \
         "layers by name ('quern inspect --json' has them); repeat it for more, as the next two"},                     \
        {"values", 0, "GLOB...", "values by name"}, {"ops", 0, "TYPE...", "layers by operator type"},                  \
        {"channels", 0, "LIST", "output channels, such as 0,3,8-15; likewise:"},                                       \
        {"rows", 0, "LIST", "rows of the map or of the kernel"},                                                       \
        {"columns", 0, "LIST", "columns of the map or of the kernel"},                                                 \
        {"elements", 0, "LIST", "elements, counted through the tensor"},                                               \
        {"terms", 0, "LIST", "terms of sums, of partial-sums and products"},                                           \
        {"bits", 0, "LIST", "all, numbers such as 0,7 (0 is the least), or sign, exponent, mantissa, msb, .."},        \
        {"frame", 0, "GLOB...",                                                                                        \
         "fields of frames on links: version, dims, scale, codes, .. (--frame '?' lists them)"},                       \
        {"after", 0, "NAME...", "faults on links: the network is cut behind NAME ('quern cuts'); repeat it for more"}, \
        {"link", 0, "CHOICE", "how all tensors cross: codes, fp32, int8, int4/channel/mse, .. (doc/links.md)"},        \
        {"checksum", 0, "S", "of frames: on (default) or off"},                                                        \
        {"fault", 0, "MODEL",                                                                                          \
         "flip (default), 'flip n-bits 3 burst true', stuck-at-0, random-code, 'set-value value 1'"},                  \
        {"pattern", 0, "P",                                                                                            \
         "single (default), channel, 'word 32', 'rate 1e-6', 'count 10', 'array 16x16', all, frame"},                  \
        {"per", 0, "WHAT", "faults of rate and count are drawn per campaign (default) or per item"},                   \
        {"lifetime", 0, "L", "transient, permanent, or a number of inferences"},                                       \
        {"sample", 0, "TEXT",                                                                                          \
         "1000 (per lifetime), all, 'margin 1% confidence 99%' (default), 'until ..'; '.. per layer'"},                \
        {"engine", 0, "ENGINE", "integer, simulate or float (default: as eval)"},                                      \
        {"batch", 0, "B", "inputs per run of the float engine (default 8)"},                                           \
        {"seed", 0, "N", "of all that is drawn (default: the file's, or 0)"},                                          \
        {"verify", 0, "SHARE", "share of (fault, input) pairs to run again from scratch, such as 1%"},                 \
        {"memory", 0, "SIZE", "for fault-free values, such as 512M or 4G (default 1G)"},                               \
        {"shard", 0, "I/N", "part I of N of the campaign, for job arrays; 'quern merge' joins their stores"},          \
        {"block", 0, "PAIRS", "pairs kept at once, which shards share out (default: some seconds' work)"},             \
        {"float-model", 0, "MODEL", "the network before quantization, whose answers tell the error of that"},          \
        {"confidence", 0, "C", "of intervals (default 95%)"},                                                          \
        {"prove", 0, "WAY", "margin, or margin-everywhere: settle pairs by a bound on the outputs (default none)"},    \
    {                                                                                                                  \
        "rmse-threshold", 0, "R", "outputs are no classes; an RMSE beyond R counts as SDC-1"                           \
    }

typedef struct cli_campaign {
    qn_model *model, *float_model;
    qn_dataset *data;
    qn_tensor labels;
    qn_preprocess pre;
    qn_fault_spec *spec;
    qn_campaign_options options;
    char *arguments;
} cli_campaign;

/* Models, data, specification and options. CLI_USAGE for misuse, else what cli_fail gives. */
cli_exit cli_campaign_open(const cli_args *args, cli_campaign *c, qn_error *err);
void cli_campaign_close(cli_campaign *c);
/* As cli_fail; what the library finds in a specification that does not fit the model is an input refused, not misuse. */
cli_exit cli_campaign_fail(const qn_error *err);

/* "95%" or "0.95", between the ends of what --confidence can be. */
cli_exit cli_parse_confidence(const cli_args *args, double *confidence);

#endif
