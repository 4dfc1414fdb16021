/* MRFI's faults: its error modes bit for bit, and its faulty networks as quern's. Results of MRFI's own code. */
#include "fault_agree.h"
#include "fault_models.h"

#include <math.h>

#include "fault/compat_mrfi.h"
#include "npz_json.h"

static const char *text(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static const json_t *argument(const json_t *row, const char *key)
{
    return json_object_get(json_object_get(row, "args"), key);
}

static const struct {
    const char *name;
    qn_mrfi_mode mode;
} modes[] = {
    {"IntSignBitFlip", QN_MRFI_INT_SIGN_BIT_FLIP},
    {"IntFixedBitFlip", QN_MRFI_INT_BIT_FLIP},
    {"FloatFixedBitFlip", QN_MRFI_FLOAT_BIT_FLIP},
    {"SetZero", QN_MRFI_SET_ZERO},
    {"SetValue", QN_MRFI_SET_VALUE},
};

/* False for IntRandomBitFlip, whose bits torch draws. */
static bool error_of(qn_mrfi_error *error, const char *method, const json_t *arguments)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(method, modes[i].name) == 0) {
            const char *type = json_string_value(json_object_get(arguments, "floattype"));
            *error = (qn_mrfi_error){
                .mode = modes[i].mode,
                .bit_width = (int)json_integer_value(json_object_get(arguments, "bit_width")),
                .float_bits = type != NULL ? atoi(type + strlen("float")) : 32,
                .bit = (int)json_integer_value(json_object_get(arguments, "bit")),
                .suppress_invalid = json_is_true(json_object_get(arguments, "suppress_invalid")),
                .value = (float)json_number_value(json_object_get(arguments, "value")),
            };
            return true;
        }
    }
    return false;
}

static int changes_checked[2];

/* Of floats the change of codes gives the same bits; no program is needed where nothing is added. */
static void check_change(const qn_mrfi_error *error, const uint32_t *before, const uint32_t *wanted)
{
    const qn_fault_target target = {.where = QN_FAULT_ACTIVATIONS, .coding = QN_FAULT_F32, .bits = 32};
    qn_fault_change change = {0};
    if (error->mode == QN_MRFI_FLOAT_BIT_FLIP && qn_mrfi_change(&change, error, &target)) {
        assert_int_equal(qn_fault_apply(&change, &target, NULL, *before), *wanted);
        assert_int_equal(change.suppress, error->suppress_invalid);
        changes_checked[error->suppress_invalid]++;
    }
}

/* y may be f32 or the bits of it. */
static void check_values(const json_t *row, const qn_mrfi_error *given, const qn_tensor *x, const qn_tensor *y)
{
    const json_t *bits = argument(row, "bit");
    const int64_t n = qn_tensor_count(x);
    assert_int_equal(n, qn_tensor_count(y));
    for (int64_t i = 0; i < n; i++) {
        qn_mrfi_error error = *given;
        if (json_is_array(bits)) {
            error.bit = (int)json_integer_value(json_array_get(bits, (size_t)i));
        }
        const float value = qn_mrfi_apply(&error, ((const float *)x->data)[i]);
        check_change(&error, (const uint32_t *)x->data + i, (const uint32_t *)y->data + i);
        if (memcmp(&value, (const float *)y->data + i, sizeof value) != 0) {
            uint32_t is, wanted, from;
            memcpy(&is, &value, sizeof is);
            memcpy(&wanted, (const float *)y->data + i, sizeof wanted);
            memcpy(&from, (const float *)x->data + i, sizeof from);
            fail_msg("%s %s bit %d, value %d: %08x becomes %08x, of MRFI %08x", text(row, "key"), text(row, "method"),
                     error.bit, (int)i, from, is, wanted);
        }
    }
}

static void error_modes(const char *file, const char *shared_input, size_t least, size_t drawn)
{
    const char *path = qn_shared(file);
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json");
    size_t i, checked = 0, random = 0;
    json_t *row;
    json_array_foreach(meta, i, row)
    {
        qn_mrfi_error error;
        if (!error_of(&error, text(row, "method"), json_object_get(row, "args"))) {
            random++;
            continue;
        }
        char in[32], out[32];
        snprintf(in, sizeof in, "in_%s", text(row, "key"));
        snprintf(out, sizeof out, "out_%s", text(row, "key"));
        qn_tensor x = npz_read(path, shared_input != NULL ? shared_input : in), y = npz_read(path, out);
        check_values(row, &error, &x, &y);
        qn_tensor_free(&x);
        qn_tensor_free(&y);
        checked++;
    }
    json_decref(meta);
    assert_true(checked >= least);
    assert_int_equal(random, drawn);
}

static void integer_error_modes(void **state)
{
    (void)state;
    error_modes("vectors/mrfi/errormode_int.npz", NULL, 80, 1);
}

static void float_error_modes(void **state)
{
    (void)state;
    error_modes("vectors/mrfi/errormode_float.npz", "in", 160, 0);
    assert_true(changes_checked[0] >= 22 * 64 && changes_checked[1] >= 22 * 64);
}

/* Of IntRandomBitFlip the bits follow from the results: each value differs from its input in one bit of the eight. */
static void random_bits(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/mrfi/errormode_int.npz");
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json");
    size_t i;
    json_t *row;
    json_array_foreach(meta, i, row)
    {
        if (strcmp(text(row, "method"), "IntRandomBitFlip") != 0) {
            continue;
        }
        char in[32], out[32];
        snprintf(in, sizeof in, "in_%s", text(row, "key"));
        snprintf(out, sizeof out, "out_%s", text(row, "key"));
        qn_tensor x = npz_read(path, in), y = npz_read(path, out);
        const int width = (int)json_integer_value(argument(row, "bit_width"));
        for (int64_t k = 0; k < qn_tensor_count(&x); k++) {
            int hits = 0;
            for (int bit = 0; bit < width; bit++) {
                const qn_mrfi_error error = {.mode = QN_MRFI_INT_BIT_FLIP, .bit_width = width, .bit = bit};
                hits += qn_mrfi_apply(&error, ((const float *)x.data)[k]) == ((const float *)y.data)[k];
            }
            assert_int_equal(hits, 1);
        }
        qn_tensor_free(&x);
        qn_tensor_free(&y);
    }
    json_decref(meta);
}

/* Where a change of codes is said to be the same, it is: for every code of eight bits, signed and not. */
static void changes_of_codes(void **state)
{
    (void)state;
    int same = 0, none = 0;
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        const qn_fault_target target = {.where = QN_FAULT_ACTIVATIONS,
                                        .coding = QN_FAULT_CODED,
                                        .format = {.bits = 8, .is_signed = is_signed},
                                        .bits = 8};
        for (int i = 0; i < 11; i++) {
            const qn_mrfi_error error = {.mode = i < 8    ? QN_MRFI_INT_BIT_FLIP
                                                 : i == 8 ? QN_MRFI_INT_SIGN_BIT_FLIP
                                                 : i == 9 ? QN_MRFI_SET_ZERO
                                                          : QN_MRFI_SET_VALUE,
                                         .bit_width = 8,
                                         .bit = i,
                                         .value = 77};
            qn_fault_change change = {0};
            if (!qn_mrfi_change(&change, &error, &target)) {
                none++;
                continue;
            }
            for (int code = 0; code < 256; code++) {
                const int before = is_signed && code > 127 ? code - 256 : code;
                const int after = (int)(qn_fault_mask(&change, (uint32_t)code) & 255);
                const float wanted = qn_mrfi_apply(&error, (float)before);
                assert_int_equal(is_signed && after > 127 ? after - 256 : after, (int)wanted);
            }
            same++;
        }
    }
    assert_int_equal(same, 11 + 9);
    assert_int_equal(none, 2); /* the top bit of codes without sign, by its number and by its name */
}

/* -- a network quantized and struck MRFI's way ------------------------------------------------------------------------ */

static const struct {
    const char *module, *input, *weight;
} modules[] = {{"conv1", "input", NULL},
               {"conv2", "pool1", NULL},
               {"fc1", "flatten", NULL},
               {"fc2", "relu3", NULL},
               {"fc3", "relu4", NULL}};
enum { MODULES = sizeof modules / sizeof modules[0], IMAGES = 20 };

/* Does an injector's configuration mean the module? */
static bool means(const json_t *injector, const char *module)
{
    const char *full = text(injector, "module_fullname");
    size_t i;
    const json_t *name;
    bool found = full != NULL && strcmp(full, module) == 0;
    json_array_foreach(json_object_get(injector, "module_name"), i, name)
    {
        found = found || strstr(module, json_string_value(name)) != NULL;
    }
    return found;
}

static bool format_of(qn_format *format, const json_t *quantization)
{
    char name[64];
    qn_error err;
    qn_error_init(&err);
    if (quantization == NULL) {
        return false;
    }
    if (strcmp(text(quantization, "method"), "FixPointQuantization") == 0) {
        snprintf(name, sizeof name, "mrfi-fixpoint<%d,%d>",
                 (int)json_integer_value(json_object_get(quantization, "integer_bit")),
                 (int)json_integer_value(json_object_get(quantization, "decimal_bit")));
    } else {
        assert_string_equal(text(quantization, "method"), "SymmericQuantization");
        assert_string_equal(text(quantization, "dynamic_range"), "auto");
        snprintf(name, sizeof name, "mrfi-symmetric<%d>",
                 (int)json_integer_value(json_object_get(quantization, "bit_width")));
    }
    qn_assert_ok(qn_format_parse(format, name, &err), &err);
    return true;
}

/* The value that an injector of a module strikes: what it reads, or its weights. */
static qn_value_id struck(const qn_graph *graph, const json_t *injector, int module)
{
    char name[32];
    snprintf(name, sizeof name, "%s.weight", modules[module].module);
    const bool weight = strcmp(text(injector, "type"), "weight") == 0;
    const qn_value_id id = qn_graph_find(graph, weight ? name : modules[module].input);
    assert_true(id != QN_NO_VALUE);
    return id;
}

/* Ranges are over the whole batch: the batch is one item. So the input's size is fixed, and logits come in one row. */
static void make_whole(qn_graph *graph)
{
    qn_error err;
    qn_error_init(&err);
    graph->values[graph->inputs[0]].dims[0] = IMAGES;
    qn_test_ints(graph, "all", 1, (const int64_t[]){-1});
    NODE(graph, "Reshape", "logits all", "row");
    graph->outputs[0] = qn_graph_find(graph, "row");
    for (size_t i = 0; i < graph->n_values; i++) { /* shapes that files declare are of any batch */
        graph->values[i].rank = graph->values[i].producer >= 0 ? -1 : graph->values[i].rank;
    }
}

static void keep_outputs(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    (void)fault, (void)image;
    assert_int_equal(effect->end, QN_FAULT_AT_OUTPUT);
    memcpy(ctx, effect->outputs, IMAGES * 10 * sizeof(float));
}

static void expect_logits(const float *is, const qn_tensor *wanted, const char *tag, const char *what)
{
    float most = 0, worst = 0;
    for (int i = 0; i < IMAGES * 10; i++) {
        const float w = ((const float *)wanted->data)[i];
        most = fmaxf(most, fabsf(w));
        worst = fmaxf(worst, fabsf(is[i] - w));
    }
    printf("%s, %s: greatest difference %.3g of logits up to %.3g\n", tag, what, (double)worst, (double)most);
    assert_true(worst <= 1e-5F * most);
}

/* The fault of a configuration: one element of what each module has. */
static qn_fault fault_of(qn_fault_change *changes, const json_t *injector, const qn_fault_targets *targets,
                         const qn_graph *graph)
{
    const json_t *mode = json_object_get(injector, "error_mode"), *selector = json_object_get(injector, "selector");
    qn_mrfi_error error;
    assert_true(error_of(&error, text(mode, "method"), mode));
    assert_string_equal(text(selector, "method"), "FixPosition");
    int64_t n = 0;
    for (int32_t t = 0; t < targets->n; t++) {
        const qn_fault_where where = targets->list[t].where;
        const bool codes = where == QN_FAULT_INPUTS || where == QN_FAULT_ACTIVATIONS || where == QN_FAULT_WEIGHTS;
        for (int m = 0; codes && m < MODULES; m++) {
            if (means(injector, modules[m].module) && struck(graph, injector, m) == targets->list[t].value) {
                changes[n] = (qn_fault_change){.target = t,
                                               .element = json_integer_value(json_object_get(selector, "position"))};
                assert_true(qn_mrfi_change(&changes[n], &error, &targets->list[t]));
                n++;
            }
        }
    }
    return (qn_fault){.n_images = 1, .n_changes = n, .changes = changes};
}

static void check_network(const char *path, const json_t *row, qn_tensor *images)
{
    const char *tag = text(row, "tag");
    const json_t *injector = json_array_get(json_object_get(json_object_get(row, "config"), "faultinject"), 0);
    qn_model *model = qn_test_float_model("lenet_cifar10");
    qn_graph *graph = &model->graph;
    qn_error err;
    qn_error_init(&err);
    make_whole(graph);
    qn_format format;
    int n_modules = 0;
    for (int m = 0; m < MODULES; m++) {
        if (means(injector, modules[m].module)) {
            n_modules++;
            if (format_of(&format, json_object_get(injector, "quantization"))) {
                const bool fixed = qn_format_parameters(format) == 0;
                const qn_quantizer q = {.format = format, .axis = -1, .n = fixed, .dynamic = !fixed};
                qn_assert_ok(qn_graph_set_quantizer(graph, struck(graph, injector, m), &q, &err), &err);
            }
        }
    }
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, QN_ENGINE_SIMULATE, &targets);
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, images, NULL, &err), &err);
    qn_fault_change changes[MODULES];
    const qn_fault fault = fault_of(changes, injector, &targets, graph);
    assert_int_equal(fault.n_changes, n_modules);
    char golden[64], faulty[64];
    snprintf(golden, sizeof golden, "golden_%s", tag);
    snprintf(faulty, sizeof faulty, "faulty_%s", tag);
    qn_tensor without = npz_read(path, golden), with = npz_read(path, faulty);
    assert_memory_not_equal(without.data, with.data, qn_tensor_bytes(&with));
    const qn_injector_ops *const all[] = {&qn_injector_whole, &qn_injector_float};
    for (int i = 0; i < 2; i++) {
        const qn_injector_options options = {
            .program = program, .model = model, .data = data, .targets = &targets, .n_workers = 1};
        qn_injector *made;
        const qn_fault *faults[] = {&fault};
        float logits[IMAGES * 10];
        qn_assert_ok(qn_injector_create_of(&made, &options, all[i], &err), &err);
        qn_assert_ok(made->ops->golden(made, 0, 0, 1, logits, &err), &err);
        expect_logits(logits, &without, tag, "no fault");
        qn_assert_ok(made->ops->run(made, 0, 0, 1, faults, 1, keep_outputs, logits, &err), &err);
        expect_logits(logits, &with, tag, all[i]->name);
        qn_injector_free(made);
    }
    qn_tensor_free(&without);
    qn_tensor_free(&with);
    qn_dataset_close(data);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

static void network(void **state)
{
    (void)state;
    const char *path = qn_shared("vectors/mrfi/net_lenet.npz");
    if (path == NULL) {
        skip();
    }
    json_t *meta = npz_meta_read(path, "meta_json");
    qn_tensor read = npz_read(path, "images"), images;
    qn_error err;
    qn_error_init(&err);
    const int64_t dims[] = {1, IMAGES, 3, 32, 32};
    qn_assert_ok(qn_tensor_alloc(&images, QN_DTYPE_F32, 5, dims, &err), &err);
    memcpy(images.data, read.data, qn_tensor_bytes(&read));
    size_t i;
    json_t *row;
    json_array_foreach(meta, i, row)
    {
        check_network(path, row, &images);
    }
    assert_int_equal(i, 5);
    json_decref(meta);
    qn_tensor_free(&read);
    qn_tensor_free(&images);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integer_error_modes), cmocka_unit_test(float_error_modes), cmocka_unit_test(random_bits),
        cmocka_unit_test(changes_of_codes),    cmocka_unit_test(network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
