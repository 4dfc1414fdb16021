/* Write small ONNX models, most of them broken in one way, for the scripts in tests/cli. usage: make_model KIND OUT
 *
 * All start from one network that is in order, input (N,1,28,28) -> Flatten 'flat' -> Gemm 'dense' -> logits (N,10),
 * and each KIND of the table below changes it. Built from protobuf messages alone, so that the library's own writer,
 * which would refuse most of them, takes no part. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "proto/onnx.pb-c.h"

enum { MAX_NODES = 8, MAX_TENSORS = 4, MAX_IO = 4, N_IN = 784, N_CLASSES = 10, W = 0, B = 1, FLAT = 0, DENSE = 1 };

typedef struct {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset;
    Onnx__OperatorSetIdProto *opsets[1];
    Onnx__NodeProto *nodes[MAX_NODES];
    Onnx__TensorProto *tensors[MAX_TENSORS];
    Onnx__ValueInfoProto *inputs[MAX_IO], *outputs[MAX_IO];
    float weights[N_CLASSES * N_IN], bias[N_CLASSES];
} network;

static qn_arena arena;

static void *allocate(size_t n_bytes)
{
    void *memory = qn_arena_alloc(&arena, n_bytes);
    if (memory == NULL) {
        fprintf(stderr, "make_model: out of memory\n");
        exit(1);
    }
    return memory;
}

static char *text(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(allocate(n), s, n);
}

static char **texts(const char *const *list, size_t *n)
{
    char **copies = allocate(MAX_IO * sizeof *copies);
    for (*n = 0; *n < MAX_IO && list[*n] != NULL; (*n)++) {
        copies[*n] = text(list[*n]);
    }
    return copies;
}

static Onnx__NodeProto *add_node(network *net, const char *op, const char *name, const char *const *inputs,
                                 const char *output)
{
    Onnx__NodeProto *node = allocate(sizeof *node);
    onnx__node_proto__init(node);
    node->op_type = text(op);
    node->name = text(name);
    node->input = texts(inputs, &node->n_input);
    node->output = texts((const char *const[]){output, NULL}, &node->n_output);
    net->nodes[net->graph.n_node++] = node;
    return node;
}

#define INPUTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void add_attribute(Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute = allocate(sizeof *attribute);
    onnx__attribute_proto__init(attribute);
    attribute->name = text(name);
    attribute->has_type = 1;
    attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    attribute->has_i = 1;
    attribute->i = value;
    node->attribute = allocate(sizeof *node->attribute);
    node->attribute[0] = attribute;
    node->n_attribute = 1;
}

/* dims end with 0. */
static void add_tensor(network *net, const char *name, const int64_t *dims, const float *values, size_t n)
{
    Onnx__TensorProto *tensor = allocate(sizeof *tensor);
    onnx__tensor_proto__init(tensor);
    tensor->name = text(name);
    tensor->has_data_type = 1;
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->dims = allocate(MAX_IO * sizeof *tensor->dims);
    for (; dims[tensor->n_dims] != 0; tensor->n_dims++) {
        tensor->dims[tensor->n_dims] = dims[tensor->n_dims];
    }
    tensor->has_raw_data = 1;
    tensor->raw_data.len = n * sizeof *values;
    tensor->raw_data.data = allocate(tensor->raw_data.len);
    memcpy(tensor->raw_data.data, values, tensor->raw_data.len);
    net->tensors[net->graph.n_initializer++] = tensor;
}

/* A float input or output; dims end with 0, -1 is the dynamic N. */
static Onnx__ValueInfoProto *value_info(const char *name, const int64_t *dims)
{
    Onnx__ValueInfoProto *info = allocate(sizeof *info);
    Onnx__TypeProto *type = allocate(sizeof *type);
    Onnx__TypeProto__Tensor *tensor = allocate(sizeof *tensor);
    Onnx__TensorShapeProto *shape = allocate(sizeof *shape);
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->dim = allocate(MAX_IO * sizeof *shape->dim);
    for (; dims[shape->n_dim] != 0; shape->n_dim++) {
        Onnx__TensorShapeProto__Dimension *dim = allocate(sizeof *dim);
        onnx__tensor_shape_proto__dimension__init(dim);
        if (dims[shape->n_dim] < 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = text("N");
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[shape->n_dim];
        }
        shape->dim[shape->n_dim] = dim;
    }
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    info->name = text(name);
    info->type = type;
    return info;
}

static void add_input(network *net, const char *name)
{
    net->inputs[net->graph.n_input++] = value_info(name, (const int64_t[]){-1, 1, 28, 28, 0});
}

static void start(network *net)
{
    onnx__model_proto__init(&net->model);
    onnx__graph_proto__init(&net->graph);
    onnx__operator_set_id_proto__init(&net->opset);
    net->graph.name = text("net");
    net->graph.node = net->nodes;
    net->graph.initializer = net->tensors;
    net->graph.input = net->inputs;
    net->graph.output = net->outputs;
    net->model.graph = &net->graph;
    net->model.has_ir_version = 1;
    net->model.ir_version = 8;
    net->opset.domain = text("");
    net->opset.has_version = 1;
    net->opset.version = 13;
    net->opsets[0] = &net->opset;
    net->model.opset_import = net->opsets;
    net->model.n_opset_import = 1;
    for (int i = 0; i < N_CLASSES * N_IN; i++) {
        net->weights[i] = (float)(i * 37 % 101 - 50) / 1024;
    }
    for (int i = 0; i < N_CLASSES; i++) {
        net->bias[i] = (float)i / 8;
    }
    add_tensor(net, "w", (const int64_t[]){N_CLASSES, N_IN, 0}, net->weights, N_CLASSES * N_IN);
    add_tensor(net, "b", (const int64_t[]){N_CLASSES, 0}, net->bias, N_CLASSES);
    add_input(net, "input");
    net->outputs[net->graph.n_output++] = value_info("logits", (const int64_t[]){-1, N_CLASSES, 0});
    add_node(net, "Flatten", "flat", INPUTS("input"), "flattened");
    add_attribute(add_node(net, "Gemm", "dense", INPUTS("flattened", "w", "b"), "logits"), "transB", 1);
}

/* 'dense' writes `value` instead of the logits, so that a node can follow it. */
static void continue_from(network *net, const char *value)
{
    net->nodes[DENSE]->output[0] = text(value);
}

static void set_weight(network *net, size_t index, float value)
{
    memcpy(net->tensors[W]->raw_data.data + index * sizeof value, &value, sizeof value);
}

static void in_order(network *net)
{
    (void)net;
}

static void unsupported(network *net)
{
    continue_from(net, "sums");
    add_node(net, "Trilu", "sharpen", INPUTS("sums"), "sharp");
    add_node(net, "Relu", "rectify", INPUTS("sharp"), "positive");
    add_node(net, "Frobnicate", "frob", INPUTS("positive"), "logits")->domain = text("org.example");
}

static void long_operator(network *net)
{
    add_node(net, "MeanVarianceNormalization", "even", INPUTS("input"), "evened");
    net->nodes[FLAT]->input[0] = text("evened");
    Onnx__NodeProto *last = net->nodes[net->graph.n_node - 1];
    for (size_t i = net->graph.n_node - 1; i > 0; i--) {
        net->nodes[i] = net->nodes[i - 1];
    }
    net->nodes[0] = last;
}

static void no_integer_form(network *net)
{
    continue_from(net, "sums");
    add_node(net, "LpNormalization", "bend", INPUTS("sums"), "bent");
    add_node(net, "LogSoftmax", "share", INPUTS("bent"), "logits");
}

/* The sums are codes; what makes them and what reads them is float. */
static void islands(network *net)
{
    static const float scale = 0.125f;
    continue_from(net, "sums");
    add_tensor(net, "scale", (const int64_t[]){0}, &scale, 1);
    add_node(net, "QuantizeLinear", "encode", INPUTS("sums", "scale"), "codes");
    add_node(net, "DequantizeLinear", "decode", INPUTS("codes", "scale"), "decoded");
    add_node(net, "Relu", "rectify", INPUTS("decoded"), "positive");
    add_node(net, "LogSoftmax", "share", INPUTS("positive"), "logits");
}

static void nan_weight(network *net)
{
    set_weight(net, 5, NAN);
}

static void infinite_weight(network *net)
{
    set_weight(net, 5, INFINITY);
}

static void huge_weights(network *net) /* finite, but the sums are not */
{
    for (size_t i = 0; i < N_IN; i++) {
        set_weight(net, i, 3e38f);
    }
}

static void huge_sums(network *net) /* they are not finite; what is made of them is */
{
    huge_weights(net);
    continue_from(net, "sums");
    add_node(net, "Sigmoid", "bend", INPUTS("sums"), "logits");
}

static void big_weight(network *net) /* one, far beyond all others, but so that the sums are finite */
{
    set_weight(net, 5, 1e30f);
}

static void tiny_weights(network *net) /* denormal floats */
{
    for (size_t i = 0; i < (size_t)N_CLASSES * N_IN; i++) {
        set_weight(net, i, (float)(i % 7) * 1e-42f);
    }
}

/* input -> Conv 'first' of two channels -> Relu 'rectify' -> Flatten -> Gemm 'dense' */
static void convolved(network *net, const float kernel[2], const float bias[2])
{
    Onnx__NodeProto *flat = net->nodes[FLAT], *dense = net->nodes[DENSE];
    net->graph.n_node = 0;
    float *wider = allocate(2 * sizeof net->weights);
    memcpy(wider, net->weights, sizeof net->weights);
    memcpy(wider + N_CLASSES * N_IN, net->weights, sizeof net->weights);
    net->graph.n_initializer = 0;
    add_tensor(net, "w", (const int64_t[]){N_CLASSES, 2 * N_IN, 0}, wider, 2 * N_CLASSES * N_IN);
    add_tensor(net, "b", (const int64_t[]){N_CLASSES, 0}, net->bias, N_CLASSES);
    add_tensor(net, "kernel", (const int64_t[]){2, 1, 1, 1, 0}, kernel, 2);
    add_tensor(net, "offset", (const int64_t[]){2, 0}, bias, 2);
    add_node(net, "Conv", "first", INPUTS("input", "kernel", "offset"), "maps");
    add_node(net, "Relu", "rectify", INPUTS("maps"), "positive");
    flat->input[0] = text("positive");
    net->nodes[net->graph.n_node++] = flat;
    net->nodes[net->graph.n_node++] = dense;
}

static void dead_channel(network *net)
{
    static const float kernel[] = {1, 0}, bias[] = {0.125f, 0};
    convolved(net, kernel, bias);
}

static void dead_layer(network *net)
{
    static const float kernel[] = {0, 0}, bias[] = {0, 0};
    convolved(net, kernel, bias);
}

static void negative_layer(network *net) /* whatever the input, from 0 to 255: the Relu lets nothing through */
{
    static const float kernel[] = {-1, -2}, bias[] = {-1, -3};
    convolved(net, kernel, bias);
}

static void constant_layer(network *net)
{
    static const float kernel[] = {0, 0}, bias[] = {1.5f, 1.5f};
    convolved(net, kernel, bias);
}

static void short_tensor(network *net)
{
    net->tensors[W]->raw_data.len -= 4;
}

static void huge_tensor(network *net)
{
    net->tensors[W]->dims[0] = net->tensors[W]->dims[1] = (int64_t)1 << 40;
}

static void negative_dim(network *net)
{
    net->tensors[W]->dims[0] = -10;
}

static void wrong_inner_dim(network *net) /* the same elements as 784 x 10 */
{
    net->tensors[W]->dims[0] = N_IN;
    net->tensors[W]->dims[1] = N_CLASSES;
}

static void cycle(network *net)
{
    net->nodes[FLAT]->input[0] = text("logits");
}

static void missing_value(network *net)
{
    net->nodes[FLAT]->input[0] = text("nowhere");
}

static void written_twice(network *net)
{
    add_node(net, "Flatten", "again", INPUTS("input"), "flattened");
}

static void missing_output(network *net)
{
    continue_from(net, "sums");
}

static void two_inputs(network *net)
{
    add_input(net, "second");
    net->nodes[FLAT]->input[0] = text("sum");
    Onnx__NodeProto *flat = net->nodes[FLAT], *dense = net->nodes[DENSE];
    net->graph.n_node = 0;
    add_node(net, "Add", "join", INPUTS("input", "second"), "sum");
    net->nodes[net->graph.n_node++] = flat;
    net->nodes[net->graph.n_node++] = dense;
}

static void fixed_batch(network *net, int64_t batch)
{
    net->inputs[0] = value_info("input", (const int64_t[]){batch, 1, 28, 28, 0});
    net->outputs[0] = value_info("logits", (const int64_t[]){batch, N_CLASSES, 0});
}

static void fixed_one(network *net)
{
    fixed_batch(net, 1);
}

static void fixed_three(network *net)
{
    fixed_batch(net, 3);
}

static void future_opset(network *net)
{
    net->opset.version = 999;
}

static void no_opset(network *net)
{
    net->model.n_opset_import = 0;
}

static void no_graph(network *net)
{
    net->model.graph = NULL;
}

static void external_to(network *net, const char *location)
{
    Onnx__StringStringEntryProto *entry = allocate(sizeof *entry);
    onnx__string_string_entry_proto__init(entry);
    entry->key = text("location");
    entry->value = text(location);
    Onnx__TensorProto *tensor = net->tensors[W];
    tensor->external_data = allocate(sizeof *tensor->external_data);
    tensor->external_data[0] = entry;
    tensor->n_external_data = 1;
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    tensor->has_raw_data = 0;
}

static void external_missing(network *net)
{
    external_to(net, "weights.bin");
}

static void external_outside(network *net)
{
    external_to(net, "../../../../../../../../etc/passwd");
}

/* Names from outside may hold anything; what is printed must stay one line and valid JSON. */
static void newline_name(network *net)
{
    unsupported(net);
    net->nodes[2]->name = text("two\nlines");
}

static void byte_name(network *net)
{
    net->nodes[DENSE]->name = text("caf\xe9 \x1b[31m");
}

static void bad_record(network *net)
{
    Onnx__StringStringEntryProto *entry = allocate(sizeof *entry);
    onnx__string_string_entry_proto__init(entry);
    entry->key = text("quern.preprocess");
    entry->value = text("{\"scale\": \"large\"}");
    net->model.metadata_props = allocate(sizeof *net->model.metadata_props);
    net->model.metadata_props[0] = entry;
    net->model.n_metadata_props = 1;
}

static const struct {
    const char *name;
    void (*change)(network *net);
} kinds[] = {
    {"in-order", in_order},
    {"unsupported", unsupported},
    {"long-operator", long_operator},
    {"no-integer-form", no_integer_form},
    {"islands", islands},
    {"nan-weight", nan_weight},
    {"infinite-weight", infinite_weight},
    {"huge-weights", huge_weights},
    {"huge-sums", huge_sums},
    {"big-weight", big_weight},
    {"tiny-weights", tiny_weights},
    {"dead-channel", dead_channel},
    {"dead-layer", dead_layer},
    {"negative-layer", negative_layer},
    {"constant-layer", constant_layer},
    {"short-tensor", short_tensor},
    {"huge-tensor", huge_tensor},
    {"negative-dim", negative_dim},
    {"wrong-inner-dim", wrong_inner_dim},
    {"cycle", cycle},
    {"missing-value", missing_value},
    {"written-twice", written_twice},
    {"missing-output", missing_output},
    {"two-inputs", two_inputs},
    {"fixed-one", fixed_one},
    {"fixed-three", fixed_three},
    {"future-opset", future_opset},
    {"no-opset", no_opset},
    {"no-graph", no_graph},
    {"external-missing", external_missing},
    {"external-outside", external_outside},
    {"newline-name", newline_name},
    {"byte-name", byte_name},
    {"bad-record", bad_record},
};

static int write_model(const network *net, const char *path)
{
    size_t n_bytes = onnx__model_proto__get_packed_size(&net->model);
    uint8_t *bytes = allocate(n_bytes);
    onnx__model_proto__pack(&net->model, bytes);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, n_bytes, file) != n_bytes || fclose(file) != 0) {
        fprintf(stderr, "make_model: cannot write %s\n", path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static network net;
    int code = 2;
    for (size_t i = 0; argc == 3 && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            start(&net);
            kinds[i].change(&net);
            code = write_model(&net, argv[2]);
        }
    }
    if (code == 2) {
        fprintf(stderr, "usage: make_model KIND OUT; KIND is a row of the table at the end of the source\n");
    }
    qn_arena_free(&arena);
    return code;
}
