#include "onnx_build.h"

#include <string.h>

#include "base/file.h"
#include "support.h"

static void *made(void *memory)
{
    assert_non_null(memory);
    return memory;
}

static void *new_message(onnx_build *b, size_t size, const void *initial)
{
    return memcpy(made(qn_arena_alloc(&b->arena, size)), initial, size);
}

static char *text(onnx_build *b, const char *from)
{
    return made(qn_arena_string(&b->arena, from));
}

/* Append to one of the arrays of a message. */
#define APPEND(b, array, n, item)                                                                                      \
    do {                                                                                                               \
        if ((array) == NULL) {                                                                                         \
            (array) = made(qn_arena_array(&(b)->arena, BUILD_MAX, sizeof *(array)));                                   \
        }                                                                                                              \
        assert_true((n) < BUILD_MAX);                                                                                  \
        (array)[(n)++] = (item);                                                                                       \
    } while (0)

void build_begin(onnx_build *b, int64_t opset)
{
    static const Onnx__OperatorSetIdProto initial = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    *b = (onnx_build){.model = ONNX__MODEL_PROTO__INIT, .graph = ONNX__GRAPH_PROTO__INIT};
    b->graph.name = text(b, "made");
    b->model.has_ir_version = 1;
    b->model.ir_version = 7;
    Onnx__OperatorSetIdProto *set = new_message(b, sizeof initial, &initial);
    set->domain = text(b, "");
    set->has_version = 1;
    set->version = opset;
    APPEND(b, b->model.opset_import, b->model.n_opset_import, set);
}

void build_end(onnx_build *b)
{
    qn_arena_free(&b->arena);
}

static void split(onnx_build *b, char ***names, size_t *n, const char *list)
{
    for (const char *start = list; *list != '\0'; start = strchr(start, ',') + 1) {
        const char *comma = strchr(start, ',');
        size_t length = comma != NULL ? (size_t)(comma - start) : strlen(start);
        char *name = made(qn_arena_bytes(&b->arena, start, length));
        APPEND(b, *names, *n, name);
        if (comma == NULL) {
            break;
        }
    }
}

Onnx__NodeProto *build_node(onnx_build *b, const char *op_type, const char *name, const char *inputs,
                            const char *outputs)
{
    static const Onnx__NodeProto initial = ONNX__NODE_PROTO__INIT;
    Onnx__NodeProto *node = new_message(b, sizeof initial, &initial);
    node->op_type = text(b, op_type);
    node->name = text(b, name);
    split(b, &node->input, &node->n_input, inputs);
    split(b, &node->output, &node->n_output, outputs);
    APPEND(b, b->graph.node, b->graph.n_node, node);
    return node;
}

Onnx__AttributeProto *build_attribute(onnx_build *b, Onnx__NodeProto *node, const char *name, int type)
{
    static const Onnx__AttributeProto initial = ONNX__ATTRIBUTE_PROTO__INIT;
    Onnx__AttributeProto *attribute = new_message(b, sizeof initial, &initial);
    attribute->name = text(b, name);
    attribute->has_type = 1;
    attribute->type = (Onnx__AttributeProto__AttributeType)type;
    APPEND(b, node->attribute, node->n_attribute, attribute);
    return attribute;
}

void build_int(onnx_build *b, Onnx__NodeProto *node, const char *name, int64_t value)
{
    Onnx__AttributeProto *attribute = build_attribute(b, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    attribute->has_i = 1;
    attribute->i = value;
}

void build_ints(onnx_build *b, Onnx__NodeProto *node, const char *name, size_t n, const int64_t *values)
{
    Onnx__AttributeProto *attribute = build_attribute(b, node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    attribute->n_ints = n;
    attribute->ints = made(qn_arena_bytes(&b->arena, values, n * sizeof *values));
}

static void add_dim(onnx_build *b, Onnx__TensorShapeProto *shape, int64_t value)
{
    static const Onnx__TensorShapeProto__Dimension initial = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
    Onnx__TensorShapeProto__Dimension *dim = new_message(b, sizeof initial, &initial);
    if (value >= 0) {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = value;
    } else {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dim->dim_param = text(b, "N");
    }
    APPEND(b, shape->dim, shape->n_dim, dim);
}

static Onnx__ValueInfoProto *value_info(onnx_build *b, const char *name, int elem_type, int rank, const int64_t *dims)
{
    static const Onnx__ValueInfoProto initial = ONNX__VALUE_INFO_PROTO__INIT;
    static const Onnx__TypeProto initial_type = ONNX__TYPE_PROTO__INIT;
    static const Onnx__TypeProto__Tensor initial_tensor = ONNX__TYPE_PROTO__TENSOR__INIT;
    static const Onnx__TensorShapeProto initial_shape = ONNX__TENSOR_SHAPE_PROTO__INIT;
    Onnx__ValueInfoProto *info = new_message(b, sizeof initial, &initial);
    info->name = text(b, name);
    info->type = new_message(b, sizeof initial_type, &initial_type);
    info->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    info->type->tensor_type = new_message(b, sizeof initial_tensor, &initial_tensor);
    info->type->tensor_type->has_elem_type = 1;
    info->type->tensor_type->elem_type = elem_type;
    if (rank >= 0) {
        info->type->tensor_type->shape = new_message(b, sizeof initial_shape, &initial_shape);
    }
    for (int i = 0; i < rank; i++) {
        add_dim(b, info->type->tensor_type->shape, dims[i]);
    }
    return info;
}

void build_input(onnx_build *b, const char *name, int elem_type, int rank, const int64_t *dims)
{
    APPEND(b, b->graph.input, b->graph.n_input, value_info(b, name, elem_type, rank, dims));
}

void build_output(onnx_build *b, const char *name, int elem_type, int rank, const int64_t *dims)
{
    APPEND(b, b->graph.output, b->graph.n_output, value_info(b, name, elem_type, rank, dims));
}

Onnx__TensorProto *build_tensor(onnx_build *b, const char *name, int data_type, int rank, const int64_t *dims)
{
    static const Onnx__TensorProto initial = ONNX__TENSOR_PROTO__INIT;
    Onnx__TensorProto *tensor = new_message(b, sizeof initial, &initial);
    tensor->name = text(b, name);
    tensor->has_data_type = 1;
    tensor->data_type = data_type;
    for (int i = 0; i < rank; i++) {
        APPEND(b, tensor->dims, tensor->n_dims, dims[i]);
    }
    APPEND(b, b->graph.initializer, b->graph.n_initializer, tensor);
    return tensor;
}

Onnx__TensorProto *build_raw(onnx_build *b, const char *name, int data_type, int rank, const int64_t *dims,
                             const void *data, size_t n_bytes)
{
    Onnx__TensorProto *tensor = build_tensor(b, name, data_type, rank, dims);
    tensor->has_raw_data = 1;
    tensor->raw_data.len = n_bytes;
    tensor->raw_data.data = made(qn_arena_bytes(&b->arena, data, n_bytes));
    return tensor;
}

static Onnx__StringStringEntryProto *entry(onnx_build *b, const char *key, const char *value)
{
    static const Onnx__StringStringEntryProto initial = ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    Onnx__StringStringEntryProto *pair = new_message(b, sizeof initial, &initial);
    pair->key = text(b, key);
    pair->value = text(b, value);
    return pair;
}

void build_external(onnx_build *b, Onnx__TensorProto *tensor, const char *key, const char *value)
{
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    APPEND(b, tensor->external_data, tensor->n_external_data, entry(b, key, value));
}

void build_metadata(onnx_build *b, const char *key, const char *value)
{
    APPEND(b, b->model.metadata_props, b->model.n_metadata_props, entry(b, key, value));
}

void build_bytes(onnx_build *b)
{
    b->model.graph = &b->graph;
    b->n_bytes = onnx__model_proto__get_packed_size(&b->model);
    b->bytes = made(qn_arena_alloc(&b->arena, b->n_bytes));
    onnx__model_proto__pack(&b->model, b->bytes);
}

void build_file(onnx_build *b, const char *path)
{
    qn_error err;
    qn_error_init(&err);
    build_bytes(b);
    qn_assert_ok(qn_file_write_all(path, true, b->bytes, b->n_bytes, &err), &err);
}
