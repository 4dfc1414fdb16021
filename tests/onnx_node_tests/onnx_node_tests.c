/* Runs ONNX's operator tests (folders with model.onnx and test_data_set_0) through an engine and compares with the
 * expected outputs. usage: onnx_node_tests DIR float|integer [each]
 * With `each`, a line for each case: name, outcome, reason (of one that passed: "floats" when the node takes no
 * integers), tabs between.
 * The integer engine runs all of them as islands: nothing has a quantizer.
 *
 * A case is skipped when it has an operator without a row in the table, or when quern refuses it as unsupported
 * (parameters computed at run time); every other error and every difference is a failure. Inputs that an operator needs
 * before a run become constants. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "graph/bind.h"
#include "graph/compute/compute.h"
#include "graph/model.h"
#include "proto/onnx.pb-c.h"
#include "quern/quern.h"

enum { MAX_CASES = 8192, MAX_IO = 64, PATH_MAX_ = 1024, REASON_MAX = 256 };

typedef enum { PASSED, SKIPPED, FAILED } outcome;

/* One case under way. */
typedef struct {
    char folder[PATH_MAX_];
    qn_model *model;
    qn_program *program;
    qn_workspace *workspace;
    qn_tensor inputs[MAX_IO], expected[MAX_IO];
    size_t n_inputs, n_expected;
    qn_value_id input_ids[MAX_IO]; /* of the file, before any became a constant */
    float *floats[MAX_IO], *outputs[MAX_IO];
    qn_error err;
} test_case;

/* numpy has no bfloat16: such tensors are written as the uint16 of the same bits. */
static void restore_bfloat16(const test_case *c, qn_value_id id, qn_tensor *t)
{
    if (t->dtype == QN_DTYPE_U16 && c->model->graph.values[id].dtype == QN_DTYPE_BF16) {
        t->dtype = QN_DTYPE_BF16;
    }
}

static qn_status read_tensors(test_case *c, const char *stem, qn_tensor *tensors, const qn_value_id *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char path[PATH_MAX_ + 64];
        snprintf(path, sizeof path, "%s/test_data_set_0/%s_%zu.pb", c->folder, stem, i);
        qn_status status = qn_tensor_read(&tensors[i], path, &c->err);
        if (status != QN_OK) {
            return status;
        }
        restore_bfloat16(c, ids[i], &tensors[i]);
    }
    return QN_OK;
}

static qn_status load(test_case *c)
{
    char path[PATH_MAX_ + 64];
    snprintf(path, sizeof path, "%s/model.onnx", c->folder);
    return qn_model_load_any(&c->model, path, &c->err);
}

static ProtobufCMessage *read_message(const char *path, const ProtobufCMessageDescriptor *type)
{
    qn_file_bytes file;
    if (qn_file_read(&file, path, NULL) != QN_OK) {
        return NULL;
    }
    ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, file.size, file.data);
    qn_file_bytes_free(&file);
    return message;
}

/* What control flow needs is needed while a file is read: all inputs become initializers of the file. */
static qn_status load_with_constants(test_case *c)
{
    char path[PATH_MAX_ + 64];
    snprintf(path, sizeof path, "%s/model.onnx", c->folder);
    Onnx__ModelProto *model = (Onnx__ModelProto *)read_message(path, &onnx__model_proto__descriptor);
    Onnx__GraphProto *graph = model != NULL ? model->graph : NULL;
    bool complete = graph != NULL;
    for (size_t i = 0; complete && i < graph->n_output; i++) {
        complete = graph->output[i]->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    }
    for (size_t i = 0; complete && i < graph->n_input; i++) {
        complete = graph->input[i]->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    }
    for (size_t i = 0; complete && i < graph->n_input; i++) {
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%zu.pb", c->folder, i);
        Onnx__TensorProto *tensor = (Onnx__TensorProto *)read_message(path, &onnx__tensor_proto__descriptor);
        complete = tensor != NULL;
        if (complete) {
            free(tensor->name);
            tensor->name = strdup(graph->input[i]->name);
            graph->initializer = realloc(graph->initializer, (graph->n_initializer + 1) * sizeof(void *));
            graph->initializer[graph->n_initializer++] = tensor;
        }
    }
    qn_status status = QN_EUNSUPPORTED; /* as it was */
    if (complete) {
        uint8_t *bytes = malloc(onnx__model_proto__get_packed_size(model));
        const size_t n_bytes = onnx__model_proto__pack(model, bytes);
        qn_error_init(&c->err);
        status = qn_model_load_any_memory(&c->model, bytes, n_bytes, "model.onnx", &c->err);
        free(bytes);
    }
    if (model != NULL) {
        onnx__model_proto__free_unpacked(model, NULL);
    }
    return status;
}

/* Which node has no row in the table; NULL when all have. */
static const char *unknown_operator(const qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i].op == QN_OP_UNKNOWN) {
            return graph->nodes[i].op_type;
        }
    }
    return NULL;
}

static qn_status make_constant(test_case *c, size_t input)
{
    qn_graph *graph = &c->model->graph;
    qn_value_id id = c->input_ids[input];
    size_t kept = 0;
    for (size_t i = 0; i < graph->n_inputs; i++) {
        if (graph->inputs[i] != id) {
            graph->inputs[kept++] = graph->inputs[i];
        }
    }
    if (kept == graph->n_inputs) {
        return QN_OK; /* is one already */
    }
    graph->n_inputs = kept;
    return qn_graph_set_constant(graph, id, &c->inputs[input], &c->err);
}

static qn_engine engine;

static qn_status compile(test_case *c)
{
    qn_program_options options;
    qn_status status = qn_program_options_init(&options, engine, &c->err);
    options.batch = 1;
    return status == QN_OK ? qn_program_create(&c->program, c->model, &options, &c->err) : status;
}

static bool is_real(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F32 || dtype == QN_DTYPE_F64 || dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16;
}

/* An input that has no items, and that nothing reads: all is one item then. */
static qn_status add_scalar_input(test_case *c)
{
    qn_graph *graph = &c->model->graph;
    qn_value_id id;
    qn_status status = qn_graph_add_value(graph, "runs_whole", &id, &c->err);
    if (status == QN_OK) {
        graph->values[id].dtype = QN_DTYPE_F32;
        graph->values[id].rank = 0;
        status = qn_graph_add_io(graph, false, id, &c->err);
    }
    return status;
}

/* All inputs stay inputs if they can; otherwise floats do; otherwise only the first does; otherwise none. What the
 * integer engine cannot take apart into items runs whole. */
static qn_status compile_some_way(test_case *c)
{
    qn_status status = compile(c);
    if (status == QN_EUNSUPPORTED) {
        qn_error_init(&c->err);
        status = add_scalar_input(c) == QN_OK ? compile(c) : QN_ENOMEM;
    }
    for (int way = 0; way < 3 && status == QN_EUNSUPPORTED; way++) {
        const size_t n_before = c->model->graph.n_inputs;
        for (size_t i = way == 1; i < c->n_inputs; i++) {
            qn_status made = way > 0 || !is_real(c->inputs[i].dtype) ? make_constant(c, i) : QN_OK;
            if (made != QN_OK) {
                return made;
            }
        }
        if (c->model->graph.n_inputs < n_before) {
            if (way == 2 && c->model->graph.n_inputs == 0 && add_scalar_input(c) != QN_OK) {
                return QN_ENOMEM;
            }
            qn_error_init(&c->err);
            status = compile(c);
        }
    }
    return status;
}

static qn_status run(test_case *c)
{
    const qn_graph *graph = &c->model->graph;
    const float *inputs[MAX_IO];
    static const float nothing[1];
    for (size_t i = 0; i < graph->n_inputs; i++) {
        inputs[i] = nothing;
        for (size_t k = 0; k < c->n_inputs; k++) {
            if (graph->inputs[i] == c->input_ids[k]) {
                const qn_tensor *t = &c->inputs[k];
                c->floats[i] = qn_alloc((size_t)qn_tensor_count(t) * sizeof(float));
                qn_convert_elements(QN_DTYPE_F32, c->floats[i], t->dtype, t->data, qn_tensor_count(t));
                inputs[i] = c->floats[i];
            }
        }
    }
    int64_t n = qn_program_batch(c->program);
    for (size_t i = 0; i < c->n_expected; i++) {
        c->outputs[i] = qn_alloc((size_t)(n * qn_program_output_count(c->program, i)) * sizeof(float));
    }
    qn_status status = qn_workspace_create(&c->workspace, c->program, &c->err);
    return status == QN_OK ? qn_program_run(c->program, c->workspace, inputs, n, c->outputs, &c->err) : status;
}

/* Tolerances of ONNX's own runner. */
static bool close_enough(double x, double wanted)
{
    return (isnan(x) && isnan(wanted)) || x == wanted || fabs(x - wanted) <= 1e-7 + 1e-3 * fabs(wanted);
}

static bool same_shape(const test_case *c, size_t output)
{
    const qn_tensor *wanted = &c->expected[output];
    int64_t dims[QN_MAX_RANK];
    int rank = qn_program_output_shape(c->program, output, dims);
    int leading = wanted->rank - rank; /* 1 when the first dimension counts items, else 0 */
    int64_t items = leading == 1 ? wanted->dims[0] : 1;
    return (leading == 0 || leading == 1) && items == qn_program_batch(c->program) &&
           memcmp(dims, wanted->dims + leading, (size_t)rank * sizeof dims[0]) == 0;
}

static outcome compare(const test_case *c, char reason[REASON_MAX])
{
    for (size_t i = 0; i < c->n_expected; i++) {
        if (!same_shape(c, i)) {
            snprintf(reason, REASON_MAX, "output %zu has another shape", i);
            return FAILED;
        }
        for (int64_t k = 0; k < qn_tensor_count(&c->expected[i]); k++) {
            const qn_tensor *t = &c->expected[i];
            double wanted;
            qn_convert_elements(QN_DTYPE_F64, &wanted, t->dtype,
                                (const char *)t->data + (size_t)k * qn_dtype_size(t->dtype), 1);
            if (!close_enough((double)c->outputs[i][k], wanted)) {
                snprintf(reason, REASON_MAX, "output %zu, element %lld: %g, expected %g", i, (long long)k,
                         (double)c->outputs[i][k], wanted);
                return FAILED;
            }
        }
    }
    return PASSED;
}

static outcome refused(const test_case *c, qn_status status, char reason[REASON_MAX])
{
    snprintf(reason, REASON_MAX, "%s%.100s", c->model != NULL ? c->model->graph.nodes[0].op_type : "",
             c->model != NULL ? ": " : "");
    size_t used = strlen(reason);
    snprintf(reason + used, REASON_MAX - used, "%.200s", c->err.message);
    return status == QN_EUNSUPPORTED ? SKIPPED : FAILED;
}

/* Cases whose expected outputs ONNX itself has taken back, whose conversion to opset 7 by ONNX is wrong, or whose numbers
 * no float32 holds. */
static const char *left_out(const char *folder)
{
    static const struct {
        const char *name, *reason;
    } rows[] = {
        {"test_cast_FLOAT_to_BFLOAT16", "expects truncation; later versions of ONNX round to nearest even"},
        {"test_castlike_FLOAT_to_BFLOAT16", "expects truncation; later versions of ONNX round to nearest even"},
        {"test_castlike_FLOAT_to_BFLOAT16_expanded",
         "expects truncation; later versions of ONNX round to nearest even"},
        {"test_PReLU_1d_multiparam",
         "a slope of each channel, as opset 6 has it, that opset 7 would stretch otherwise"},
        {"test_PReLU_2d_multiparam",
         "a slope of each channel, as opset 6 has it, that opset 7 would stretch otherwise"},
        {"test_PReLU_3d_multiparam",
         "a slope of each channel, as opset 6 has it, that opset 7 would stretch otherwise"},
        {"test_operator_add_broadcast", "float64 numbers beyond float32, in which quern computes"},
        {"test_operator_add_size1_right_broadcast", "float64 numbers beyond float32, in which quern computes"},
        {"test_operator_add_size1_singleton_broadcast", "float64 numbers beyond float32, in which quern computes"},
        {"test_operator_addconstant", "float64 numbers beyond float32, in which quern computes"},
    };
    const char *name = strrchr(folder, '/') + 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return rows[i].reason;
        }
    }
    return NULL;
}

static outcome run_case(test_case *c, char reason[REASON_MAX])
{
    if (left_out(c->folder) != NULL) {
        snprintf(reason, REASON_MAX, "%s: %s", strrchr(c->folder, '/') + 1, left_out(c->folder));
        return SKIPPED;
    }
    qn_status status = load(c);
    const bool follows = status == QN_EUNSUPPORTED && strstr(c->err.message, "not known before the run") != NULL;
    status = follows ? load_with_constants(c) : status;
    if (status != QN_OK) {
        return refused(c, status, reason);
    }
    const qn_graph *graph = &c->model->graph;
    const char *unknown = unknown_operator(graph);
    if (unknown != NULL) {
        snprintf(reason, REASON_MAX, "operator %s", unknown);
        return SKIPPED;
    }
    c->n_inputs = graph->n_inputs;
    c->n_expected = graph->n_outputs;
    for (size_t i = 0; i < c->n_inputs; i++) {
        c->input_ids[i] = graph->inputs[i];
    }
    status = read_tensors(c, "input", c->inputs, c->input_ids, c->n_inputs);
    if (status == QN_OK) {
        status = read_tensors(c, "output", c->expected, graph->outputs, c->n_expected);
    }
    if (status == QN_OK && c->n_inputs == 0) {
        status = add_scalar_input(c);
    }
    if (status == QN_OK) {
        status = compile_some_way(c);
    }
    if (status == QN_OK) {
        status = run(c);
    }
    return status == QN_OK ? compare(c, reason) : refused(c, status, reason);
}

/* Is the node refused when its first input is int32? */
static bool only_floats(test_case *c)
{
    qn_graph *graph = &c->model->graph;
    qn_binding binding;
    if (graph->n_inputs == 0 || graph->inputs[0] != c->input_ids[0]) {
        return false;
    }
    qn_error_init(&c->err);
    graph->values[graph->inputs[0]].dtype = QN_DTYPE_S32;
    if (qn_graph_bind(&binding, graph, 1, &c->err) == QN_OK) {
        qn_binding_free(&binding);
        return false;
    }
    return c->err.status == QN_EUNSUPPORTED && strstr(c->err.message, "float32 only") != NULL;
}

static void release(test_case *c)
{
    qn_workspace_free(c->workspace);
    qn_program_free(c->program);
    qn_model_free(c->model);
    for (size_t i = 0; i < MAX_IO; i++) {
        qn_tensor_free(&c->inputs[i]);
        qn_tensor_free(&c->expected[i]);
        qn_free(c->floats[i]);
        qn_free(c->outputs[i]);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t list_cases(const char *folder, char **names)
{
    DIR *dir = opendir(folder);
    size_t n = 0;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL && n < MAX_CASES;
         entry = readdir(dir)) {
        if (entry->d_name[0] != '.') {
            names[n] = qn_alloc(strlen(entry->d_name) + 1);
            strcpy(names[n++], entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    qsort(names, n, sizeof *names, by_name);
    return n;
}

/* Reasons with how often they came, most telling when sorted. */
static void print_reasons(char **reasons, size_t n)
{
    qsort(reasons, n, sizeof *reasons, by_name);
    for (size_t i = 0; i < n;) {
        size_t same = i;
        while (same < n && strcmp(reasons[same], reasons[i]) == 0) {
            same++;
        }
        printf("skipped %3zu: %s\n", same - i, reasons[i]);
        i = same;
    }
}

int main(int argc, char **argv)
{
    static char *names[MAX_CASES], *reasons[MAX_CASES];
    static const char *const outcomes[] = {"passed", "skipped", "failed"};
    const bool each = argc == 4 && strcmp(argv[3], "each") == 0;
    if (argc != 3 && !each) {
        fprintf(stderr, "usage: onnx_node_tests DIR float|integer [each]\n");
        return 2;
    }
    engine = strcmp(argv[2], "integer") == 0 ? QN_ENGINE_INTEGER : QN_ENGINE_FLOAT;
    size_t n = list_cases(argv[1], names), counts[3] = {0};
    for (size_t i = 0; i < n; i++) {
        test_case c = {.n_inputs = 0};
        qn_error_init(&c.err);
        char reason[REASON_MAX] = "";
        snprintf(c.folder, sizeof c.folder, "%s/%s", argv[1], names[i]);
        outcome result = run_case(&c, reason);
        if (each) {
            printf("%s\t%s\t%s\n", names[i], outcomes[result],
                   result != PASSED  ? reason
                   : only_floats(&c) ? "floats"
                                     : "");
        } else if (result == FAILED) {
            printf("FAILED %s: %s\n", names[i], reason);
        }
        if (result == SKIPPED) {
            reasons[counts[SKIPPED]] = qn_alloc(REASON_MAX);
            memcpy(reasons[counts[SKIPPED]], reason, REASON_MAX);
        }
        counts[result]++;
        release(&c);
        qn_free(names[i]);
    }
    if (!each) {
        print_reasons(reasons, counts[SKIPPED]);
    }
    for (size_t i = 0; i < counts[SKIPPED]; i++) {
        qn_free(reasons[i]);
    }
    printf("%zu cases ran, %zu passed, %zu failed; %zu skipped\n", counts[PASSED] + counts[FAILED], counts[PASSED],
           counts[FAILED], counts[SKIPPED]);
    return counts[FAILED] == 0 && counts[PASSED] > 0 ? 0 : 1;
}
