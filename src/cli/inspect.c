/* quern inspect: what is in a model. */
#include <stdio.h>
#include <string.h>

#include "cli/inspect_widths.h"

static const cli_option options[] = {
    {"data", 0, "X", "inputs: observe the sums of a quantized model"},
    {NULL, 0, NULL, NULL},
};

static json_t *json_io(const qn_io_info *io)
{
    json_t *dims = json_array();
    for (int i = 0; i < io->rank; i++) {
        json_array_append_new(dims, io->dims[i] < 0 ? json_null() : json_integer(io->dims[i]));
    }
    return json_pack("{s:o, s:s, s:o}", "name", cli_json_string(io->name), "dtype", qn_dtype_text(io->dtype), "shape",
                     dims);
}

static json_t *json_node(const qn_node_info *node)
{
    json_t *dims = json_array();
    for (int i = 0; i < node->rank; i++) {
        json_array_append_new(dims, json_integer(node->dims[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:b, s:b, s:b, s:s?, s:s, s:s, s:b}", "name",
                     cli_json_string(node->name), "op", cli_json_string(node->op_type), "domain",
                     cli_json_string(node->domain), "output", cli_json_string(node->output_name), "shape", dims, "macs",
                     (json_int_t)node->macs, "parameters", (json_int_t)node->n_parameters, "supported", node->supported,
                     "integer", node->integer, "folded", node->folded, "island", node->island_reason, "output_format",
                     node->output_format, "weight_format", node->weight_format, "org_quern", node->org_quern);
}

enum { MAX_FORMATS = 64 };

static json_t *json_formats(const qn_model *model)
{
    qn_format_use uses[MAX_FORMATS];
    json_t *formats = json_array();
    size_t n = qn_model_formats(model, uses, MAX_FORMATS);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(formats, json_pack("{s:s, s:b, s:s, s:I, s:I}", "format", uses[i].format, "dynamic",
                                                 uses[i].dynamic, "nodes", uses[i].org_quern ? "org.quern" : "qdq",
                                                 "constants", (json_int_t)uses[i].n_constants, "activations",
                                                 (json_int_t)uses[i].n_activations));
    }
    return formats;
}

/* "formats     20 uint8, 16 int8; in nodes of org.quern: 1 posit<8,1>" */
static void print_formats(const qn_model *model)
{
    qn_format_use uses[MAX_FORMATS];
    size_t n = qn_model_formats(model, uses, MAX_FORMATS), printed = 0;
    if (n == 0) {
        return;
    }
    printf("formats     ");
    for (int org = 0; org < 2; org++) {
        const char *lead = org == 0 ? "" : printed > 0 ? "; in nodes of org.quern: " : "in nodes of org.quern: ";
        for (size_t i = 0; i < n; i++) {
            if (uses[i].org_quern != (org == 1)) {
                continue;
            }
            printf("%s%zu %s%s", lead, uses[i].n_constants + uses[i].n_activations, uses[i].format,
                   uses[i].dynamic ? " (dynamic)" : "");
            lead = ", ";
            printed++;
        }
    }
    printf("\n");
}

static cli_exit print_json(const cli_args *args, const qn_model *model, const qn_inspection *inspection,
                           const cli_widths *widths)
{
    const qn_model_info *info = qn_inspection_model(inspection);
    json_t *inputs = json_array(), *outputs = json_array(), *nodes = json_array();
    qn_error err;
    qn_error_init(&err);
    qn_io_info io;
    for (size_t i = 0; i < info->n_inputs && qn_model_input(model, i, &io, &err) == QN_OK; i++) {
        json_array_append_new(inputs, json_io(&io));
    }
    for (size_t i = 0; i < info->n_outputs && qn_model_output(model, i, &io, &err) == QN_OK; i++) {
        json_array_append_new(outputs, json_io(&io));
    }
    for (size_t i = 0; i < info->n_nodes; i++) {
        json_array_append_new(nodes, json_node(qn_inspection_node(inspection, i)));
    }
    json_t *object = cli_json_start(args);
    json_object_set_new(object, "formats", json_formats(model));
    json_object_update_new(
        object,
        json_pack("{s:{s:o, s:s, s:o, s:o, s:I, s:I}, s:I, s:I, s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:o, s:o, s:o}",
                  "model", "file", cli_json_string(info->file), "sha256", info->sha256, "producer",
                  cli_json_string(info->producer), "graph", cli_json_string(info->graph_name), "opset",
                  (json_int_t)info->opset, "ir_version", (json_int_t)info->ir_version, "parameters",
                  (json_int_t)info->n_parameters, "macs", (json_int_t)info->macs, "shape_error",
                  info->shape_error != NULL ? cli_json_string(info->shape_error) : json_null(), "integer_error",
                  info->integer_error != NULL ? cli_json_string(info->integer_error) : json_null(), "quantized",
                  qn_model_is_quantized(model), "quantized_values", (json_int_t)info->n_quantized_values, "unsupported",
                  (json_int_t)info->n_unsupported, "no_integer_form", (json_int_t)info->n_no_integer, "islands",
                  (json_int_t)info->n_islands, "inputs", inputs, "outputs", outputs, "nodes", nodes));
    if (err.status != QN_OK) {
        json_decref(object);
        return cli_fail(&err);
    }
    cli_json_widths(object, widths);
    cli_print_json(object);
    return CLI_OK;
}

static const char *node_remark(const qn_node_info *node)
{
    if (!node->supported) {
        return "not supported";
    }
    if (node->folded) {
        return "folds into the layer before";
    }
    return node->island ? node->island_reason : node->integer ? "" : "no integer form";
}

static qn_status print_io(const qn_model *model, const qn_model_info *info, qn_error *err)
{
    qn_io_info io;
    char shape[CLI_SHAPE_MAX], name[CLI_NAME_MAX];
    for (size_t i = 0; i < info->n_inputs; i++) {
        if (qn_model_input(model, i, &io, err) != QN_OK) {
            return err->status;
        }
        printf("input       %s %s %s\n", cli_name(name, io.name), qn_dtype_text(io.dtype),
               cli_shape(shape, io.rank, io.dims));
    }
    for (size_t i = 0; i < info->n_outputs; i++) {
        if (qn_model_output(model, i, &io, err) != QN_OK) {
            return err->status;
        }
        printf("output      %s %s %s\n", cli_name(name, io.name), qn_dtype_text(io.dtype),
               cli_shape(shape, io.rank, io.dims));
    }
    return QN_OK;
}

static int operator_width(const qn_inspection *inspection)
{
    int width = CLI_OPERATOR_WIDTH;
    const qn_node_info *node;
    for (size_t i = 0; (node = qn_inspection_node(inspection, i)) != NULL; i++) {
        width = cli_wider(width, node->op_type);
    }
    return width;
}

static void print_nodes(const qn_inspection *inspection)
{
    char shape[CLI_SHAPE_MAX], macs[CLI_COUNT_MAX], parameters[CLI_COUNT_MAX], op[CLI_NAME_MAX], output[CLI_NAME_MAX];
    const int width = operator_width(inspection);
    printf("\n%-*s %-28s %-16s %9s %9s  %s\n", width, "operator", "output", "shape", "params", "MACs", "remarks");
    const qn_node_info *node;
    for (size_t i = 0; (node = qn_inspection_node(inspection, i)) != NULL; i++) {
        const char *remark = node_remark(node);
        const bool values = node->output_format[0] != '\0', weights = node->weight_format[0] != '\0';
        printf("%-*s %-28s %-16s %9s %9s  %s%s%s%s%s%s\n", width, cli_name(op, node->op_type),
               cli_name(output, node->output_name), cli_shape(shape, node->rank, node->dims),
               node->n_parameters > 0 ? cli_count(parameters, (double)node->n_parameters) : "",
               node->macs > 0 ? cli_count(macs, (double)node->macs) : "", node->output_format,
               !weights ? ""
               : values ? ", weights "
                        : "weights ",
               node->weight_format, node->org_quern ? " (org.quern)" : "",
               (values || weights) && remark[0] != '\0' ? ", " : "", remark);
    }
}

static cli_exit print_text(const cli_args *args, const qn_model *model, const qn_inspection *inspection,
                           const cli_widths *widths)
{
    const qn_model_info *info = qn_inspection_model(inspection);
    char parameters[CLI_COUNT_MAX], macs[CLI_COUNT_MAX], file[CLI_NAME_MAX], producer[CLI_NAME_MAX];
    qn_error err;
    qn_error_init(&err);
    printf("model       %s (opset %lld%s%s)\n", cli_name(file, info->file), (long long)info->opset,
           info->producer[0] != '\0' ? ", made by " : "", cli_name(producer, info->producer));
    if (args->verbose > 0) {
        char graph[CLI_NAME_MAX];
        printf("graph       '%s' (IR version %lld)\nSHA-256     %s\n", cli_name(graph, info->graph_name),
               (long long)info->ir_version, info->sha256);
    }
    if (print_io(model, info, &err) != QN_OK) {
        return cli_fail(&err);
    }
    printf("parameters  %s\nMACs        %s per item\n", cli_count(parameters, (double)info->n_parameters),
           cli_count(macs, (double)info->macs));
    if (qn_model_is_quantized(model)) {
        const char *none = info->n_quantized_values == 0 ? ": it quantizes while it runs" : "";
        printf("quantized   %zu value%s%s\n", info->n_quantized_values, info->n_quantized_values == 1 ? "" : "s", none);
        print_formats(model);
    } else {
        printf("quantized   no\n");
    }
    printf("nodes       %zu", info->n_nodes);
    if (info->n_unsupported > 0) {
        printf(", %zu not supported", info->n_unsupported);
    }
    if (info->n_no_integer > 0) {
        printf(", %zu without an integer form", info->n_no_integer);
    }
    printf("\n");
    if (info->n_islands > 0) {
        printf("islands     %zu node%s in float in the integer engine\n", info->n_islands,
               info->n_islands == 1 ? " runs" : "s run");
    }
    if (info->integer_error != NULL && info->shape_error == NULL) {
        char reason[CLI_NAME_MAX];
        printf("engine      simulate; not the integer one: %s\n", cli_name(reason, info->integer_error));
    }
    if (info->shape_error != NULL) {
        char reason[CLI_NAME_MAX];
        printf("shapes      unknown: %s\n", cli_name(reason, info->shape_error));
    }
    print_nodes(inspection);
    cli_print_widths(widths);
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model;
    if (qn_model_load_any(&model, args->positional[0], &err) != QN_OK) {
        return cli_fail(&err);
    }
    qn_inspection *inspection = NULL;
    cli_widths widths = {0};
    cli_exit code = cli_find_widths(args, model, &widths);
    if (code == CLI_OK && qn_inspect(&inspection, model, &err) != QN_OK) {
        code = cli_fail(&err);
    } else if (code == CLI_OK) {
        code = args->json ? print_json(args, model, inspection, &widths) : print_text(args, model, inspection, &widths);
    }
    qn_widths_free(widths.widths);
    qn_inspection_free(inspection);
    qn_model_free(model);
    return code;
}

const cli_command cli_inspect = {
    .name = "inspect",
    .summary = "show what is in a model",
    .usage = "MODEL [--data X [preprocessing]]",
    .description =
        "Prints inputs, outputs, operators with shapes, parameters and multiply-accumulate operations per node, the\n"
        "quantization found in the file, and the nodes that quern cannot run or has no integer form for.\n"
        "Of a quantized model also the bits that the sums of each layer need, proven from its weights, and the "
        "headroom\n"
        "to the accumulator; with --data what the sums of real inputs need; and which nodes the integer engine runs "
        "in\n"
        "float, and why.",
    .example = "quern inspect model.onnx\nquern inspect q.onnx --data x.npy",
    .positional = {"MODEL"},
    .options = options,
    .preprocess = true,
    .run = run,
};
