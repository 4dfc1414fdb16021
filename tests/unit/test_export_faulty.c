/* Faults of a campaign as an export has them: whoever puts the fault where fault.json says it is into the numbers of
 * the network, and computes by these alone, finds the codes and sums that the export has; and ids, models, images
 * and stores that do not fit are refused with what to do. */
#include "export_brute.h"
#include "random_networks.h"

#include <inttypes.h>
#include <jansson.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/file.h"
#include "export/faulty.h"
#include "fault/fault.h"
#include "quern/export.h"
#include "quern/fault.h"

enum { N_SEEDS = 8, N_IMAGES = 6 };

static const char *const spec_text =
    "seed: 5\n"
    "faults:\n"
    "  - {name: w, where: weights, sample: 2}\n"
    "  - {name: b, where: biases, sample: 1}\n"
    "  - {name: a, where: activations, sample: 2}\n"
    "  - {name: i, where: inputs, lifetime: 3, sample: 1}\n"
    "  - {name: s, where: accumulators, sample: 2}\n"
    "  - {name: p, where: products, lifetime: permanent, sample: 1}\n"
    "  - {name: u, where: partial-sums, sample: 2}\n"
    "  - {name: z, where: zero-points, sample: 1}\n"
    "  - {name: m, where: scales, sample: 3}\n"
    "  - {name: c, where: activations, pattern: channel, model: random-code, sample: 1}\n"
    "  - {name: n, where: weights, pattern: count 3, model: uniform-noise lo -1 hi 1,"
    " lifetime: transient, sample: 1}\n"
    "  - {name: k, where: accumulators, pattern: count 4, model: stuck-at-1 n-bits 2,"
    " sample: 1}\n";

/* ---- a campaign and its export ---- */

typedef struct campaign {
    random_net net;
    qn_model *model;
    qn_dataset *data;
    char model_file[256], data_file[256], store[256], directory[256];
    int64_t n_faults;
    qn_error err;
} campaign;

/* A file of its own for every campaign. */
static void path_in(char to[256], const char *name, int number)
{
    char file[64];
    snprintf(file, sizeof file, "%d_%s", number, name);
    snprintf(to, 256, "%s", qn_scratch_file(file));
}

static void make_data(campaign *c, uint64_t seed)
{
    const qn_graph *g = &c->model->graph;
    const qn_value *x = &g->values[qn_graph_find(g, "x")];
    int64_t dims[QN_MAX_RANK] = {N_IMAGES};
    memcpy(dims + 1, x->dims + 1, sizeof *dims * (size_t)(x->rank - 1));
    qn_tensor t;
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, x->rank, dims, &c->err), &c->err);
    uint64_t random = seed + 99;
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        ((float *)t.data)[i] = qn_test_uniform(&random, -2.5f, 2.5f);
    }
    qn_assert_ok(qn_tensor_write_npy(&t, c->data_file, true, &c->err), &c->err);
    qn_tensor_free(&t);
    qn_assert_ok(qn_dataset_open(&c->data, c->data_file, NULL, &c->err), &c->err);
}

static volatile sig_atomic_t stopped;

static void stop_soon(void *ctx, const qn_campaign_progress *progress)
{
    (void)ctx;
    stopped = progress->faults > 0;
}

static void run_campaign(campaign *c, const char *text, qn_engine engine, bool stop)
{
    qn_campaign_options o;
    qn_campaign_stats stats;
    qn_assert_ok(qn_campaign_options_init(&o, c->model, &c->err), &c->err);
    qn_assert_ok(qn_fault_spec_of_text(&o.spec, text, "faults.yaml", &c->err), &c->err);
    o.data = c->data;
    o.store = c->store;
    o.overwrite = true;
    o.n_threads = 1;
    o.engine = engine;
    stopped = 0;
    o.stop = stop ? &stopped : NULL;
    o.progress = stop ? stop_soon : NULL;
    o.block_pairs = 8;
    const qn_status status = qn_campaign_run(&o, &stats, &c->err);
    if (!stop) {
        qn_assert_ok(status, &c->err);
    } else {
        qn_assert_fails(status, &c->err, QN_ECANCELED, "");
    }
    c->n_faults = stats.faults;
    qn_fault_spec_close(o.spec);
}

static void start(campaign *c, uint64_t seed)
{
    memset(c, 0, sizeof *c);
    qn_error_init(&c->err);
    static int number;
    path_in(c->model_file, "q.onnx", number);
    path_in(c->data_file, "x.npy", number);
    path_in(c->store, "campaign.db", number);
    path_in(c->directory, "out", number++);
    net_of_maps(&c->net, seed);
    const qn_arithmetic arithmetic = net_arithmetic(seed);
    qn_assert_ok(qn_graph_set_arithmetic(&c->net.model.graph, &arithmetic, &c->err), &c->err);
    qn_assert_ok(qn_model_save(&c->net.model, c->model_file, true, &c->err), &c->err);
    qn_assert_ok(qn_model_load(&c->model, c->model_file, &c->err), &c->err);
    make_data(c, seed);
}

static void finish(campaign *c)
{
    qn_dataset_close(c->data);
    qn_model_free(c->model);
    net_release(&c->net);
}

static qn_status export_ids(campaign *c, const int64_t *ids, size_t n_ids, const qn_dataset *vectors)
{
    qn_export_options o;
    qn_export_options_init(&o);
    o.overwrite = true;
    o.campaign = c->store;
    o.ids = ids;
    o.n_ids = n_ids;
    o.vectors = vectors;
    o.n_vectors = 1;
    return qn_export(c->model, c->directory, &o, NULL, &c->err);
}

/* ---- reading an export ---- */

static json_t *read_json(const campaign *c, const char *path)
{
    char whole[600];
    json_error_t error;
    snprintf(whole, sizeof whole, "%s/%s", c->directory, path);
    json_t *root = json_load_file(whole, 0, &error);
    if (root == NULL) {
        fail_msg("%s: line %d: %s", whole, error.line, error.text);
    }
    return root;
}

static qn_tensor read_npy(const campaign *c, const json_t *files, const char *key)
{
    char whole[600];
    qn_error err;
    qn_error_init(&err);
    qn_tensor t;
    assert_non_null(json_string_value(json_object_get(files, key)));
    snprintf(whole, sizeof whole, "%s/%s", c->directory, json_string_value(json_object_get(files, key)));
    qn_assert_ok(qn_tensor_read(&t, whole, &err), &err);
    return t;
}

static void assert_codes(const campaign *c, const json_t *files, const char *key, const int16_t *codes, int64_t n)
{
    qn_tensor t = read_npy(c, files, key);
    assert_int_equal(qn_tensor_count(&t), n);
    for (int64_t i = 0; i < n; i++) {
        const int code = t.dtype == QN_DTYPE_S8 ? ((int8_t *)t.data)[i] : ((uint8_t *)t.data)[i];
        assert_int_equal(code, codes[i]);
    }
    qn_tensor_free(&t);
}

static void assert_bytes(const campaign *c, const json_t *files, const char *key, const void *x, size_t n_bytes)
{
    qn_tensor t = read_npy(c, files, key);
    assert_int_equal(qn_tensor_bytes(&t), n_bytes);
    assert_memory_equal(t.data, x, n_bytes);
    qn_tensor_free(&t);
}

static int64_t number(const json_t *o, const char *key)
{
    if (!json_is_integer(json_object_get(o, key))) {
        fail_msg("'%s' is no integer", key);
    }
    return json_integer_value(json_object_get(o, key));
}

static const char *text_of(const json_t *o, const char *key)
{
    assert_non_null(json_string_value(json_object_get(o, key)));
    return json_string_value(json_object_get(o, key));
}

static uint32_t mask_of(const json_t *o, const char *key)
{
    return (uint32_t)strtoul(text_of(o, key), NULL, 16);
}

/* ---- a network with what fault.json says in it ---- */

static int layer_of(const qn_export_network *n, const char *id)
{
    for (int i = 0; i < n->n_layers; i++) {
        if (strcmp(n->layers[i].id, id) == 0) {
            return i;
        }
    }
    fail_msg("there is no layer '%s'", id);
    return -1;
}

static int tensor_of(const qn_export_network *n, const char *id)
{
    for (int i = 0; i < n->n_tensors; i++) {
        if (strcmp(n->tensors[i].id, id) == 0) {
            return i;
        }
    }
    fail_msg("there is no tensor '%s'", id);
    return -1;
}

static void set_number(const json_t *place, int64_t i, const int16_t *s16, const int32_t *s32, const float *f32)
{
    const json_t *before = json_object_get(place, "before"), *after = json_object_get(place, "after");
    const uint32_t mask = mask_of(place, "xor");
    if (f32 != NULL) {
        float *x = &((float *)(uintptr_t)f32)[i];
        uint32_t bits;
        memcpy(&bits, x, sizeof bits);
        assert_true(*x == strtof(json_string_value(before), NULL));
        bits ^= mask;
        memcpy(x, &bits, sizeof bits);
        assert_true(*x == strtof(json_string_value(after), NULL));
    } else if (s32 != NULL) {
        int32_t *x = &((int32_t *)(uintptr_t)s32)[i];
        assert_int_equal(*x, json_integer_value(before));
        *x = (int32_t)((uint32_t)*x ^ mask);
        assert_int_equal(*x, json_integer_value(after));
    } else {
        int16_t *x = &((int16_t *)(uintptr_t)s16)[i];
        assert_non_null(s16);
        assert_int_equal(*x, json_integer_value(before));
        *x = (int16_t)json_integer_value(after);
    }
}

static void set_layer(qn_export_layer *l, const json_t *place)
{
    const char *what = text_of(place, "what");
    const int64_t i = number(place, "index");
    qn_export_conv *c = &l->u.conv;
    const struct {
        const char *what;
        qn_export_kind kind;
        const int16_t *s16;
        const int32_t *s32;
        const float *f32;
    } all[] = {
        {"weights", QN_EXPORT_CONV, c->weights, NULL, NULL},
        {"zero_w", QN_EXPORT_CONV, NULL, c->zero_w, NULL},
        {"bias", QN_EXPORT_CONV, NULL, c->bias, NULL},
        {"ratio", QN_EXPORT_CONV, NULL, NULL, c->requantize.ratio},
        {"multiplier", QN_EXPORT_CONV, NULL, c->requantize.multiplier, NULL},
        {"shift", QN_EXPORT_CONV, NULL, c->requantize.shift, NULL},
        {"out_scale", QN_EXPORT_CONV, NULL, NULL, c->out_scale},
        {"out_bias", QN_EXPORT_CONV, NULL, NULL, c->out_bias},
        {"ratio.0", QN_EXPORT_ADD, NULL, NULL, &l->u.add.ratio[0]},
        {"ratio.1", QN_EXPORT_ADD, NULL, NULL, &l->u.add.ratio[1]},
        {"fixed.0.multiplier", QN_EXPORT_ADD, NULL, &l->u.add.fixed[0].multiplier, NULL},
        {"fixed.1.multiplier", QN_EXPORT_ADD, NULL, &l->u.add.fixed[1].multiplier, NULL},
        {"fixed.2.multiplier", QN_EXPORT_ADD, NULL, &l->u.add.fixed[2].multiplier, NULL},
        {"fixed.0.shift", QN_EXPORT_ADD, NULL, &l->u.add.fixed[0].shift, NULL},
        {"fixed.1.shift", QN_EXPORT_ADD, NULL, &l->u.add.fixed[1].shift, NULL},
        {"fixed.2.shift", QN_EXPORT_ADD, NULL, &l->u.add.fixed[2].shift, NULL},
        {"multiplier", QN_EXPORT_AVERAGE, NULL, NULL, &l->u.pool.multiplier},
        {"scale_x", QN_EXPORT_AVERAGE, NULL, NULL, &l->u.pool.scale_x},
        {"scale_y", QN_EXPORT_AVERAGE, NULL, NULL, &l->u.pool.scale_y},
        {"scale_x", QN_EXPORT_MAX_POOL, NULL, NULL, &l->u.pool.scale_x},
        {"scale_y", QN_EXPORT_MAX_POOL, NULL, NULL, &l->u.pool.scale_y},
        {"centre", QN_EXPORT_AVERAGE, NULL, &l->u.pool.centre, NULL},
        {"offset", QN_EXPORT_AVERAGE, NULL, &l->u.pool.offset, NULL},
        {"ratio.multiplier", QN_EXPORT_AVERAGE, NULL, &l->u.pool.ratio.multiplier, NULL},
        {"ratio.shift", QN_EXPORT_AVERAGE, NULL, &l->u.pool.ratio.shift, NULL},
        {"table", QN_EXPORT_LOOKUP, l->u.lookup.table, NULL, NULL},
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        if (all[k].kind == l->kind && strcmp(all[k].what, what) == 0) {
            set_number(place, i, all[k].s16, all[k].s32, all[k].f32);
            return;
        }
    }
    fail_msg("'%s' of %s is nothing to change", what, l->id);
}

static void set_tensor(qn_export_tensor *t, const json_t *place)
{
    const char *what = text_of(place, "what");
    const bool constant = strcmp(what, "constant") == 0;
    const int32_t *s32 = strcmp(what, "zero_point") == 0 ? &t->zero_point
                         : strcmp(what, "lo") == 0       ? &t->lo
                         : strcmp(what, "hi") == 0       ? &t->hi
                                                         : NULL;
    assert_true(constant || s32 != NULL || strcmp(what, "scale") == 0);
    set_number(place, number(place, "index"), constant ? t->constant : NULL, s32,
               constant || s32 != NULL ? NULL : &t->scale);
}

static void put_into_memory(qn_export_network *n, const json_t *places)
{
    size_t i;
    json_t *place;
    json_array_foreach(json_object_get(places, "network"), i, place)
    {
        if (json_object_get(place, "layer") != NULL) {
            set_layer(&n->layers[layer_of(n, text_of(place, "layer"))], place);
        } else {
            set_tensor(&n->tensors[tensor_of(n, text_of(place, "tensor"))], place);
        }
    }
}

/* ---- and computed ---- */

typedef struct computing {
    const qn_export_network *network;
    const json_t *changes; /* NULL: none on their way */
} computing;

static int32_t changed(const json_t *change, int64_t code, bool is_signed)
{
    const int width = (int)number(change, "width");
    const uint32_t c = (uint32_t)code;
    assert_true(json_real_value(json_object_get(change, "add")) == 0.0);
    const uint32_t after = ((c & mask_of(change, "and")) | mask_of(change, "or")) ^ mask_of(change, "xor");
    const uint32_t low = width == 32 ? after : after & ((UINT32_C(1) << width) - 1);
    return is_signed ? (int32_t)wrapped((int32_t)low, width) : (int32_t)low;
}

static int64_t change_sum(const computing *k, const char *where, int layer, int64_t at, int64_t t, int64_t sum)
{
    size_t i;
    json_t *change;
    json_array_foreach(k->changes, i, change)
    {
        const json_t *place = json_object_get(change, "network");
        if (strcmp(text_of(change, "where"), where) == 0 && number(place, "index") == at &&
            layer_of(k->network, text_of(place, "layer")) == layer &&
            (t < 0 || number(json_object_get(place, "term"), "number") == t)) {
            sum = changed(change, sum, true);
        }
    }
    return sum;
}

static int64_t change_term(void *ctx, int layer, int64_t at, int64_t t, int64_t product)
{
    return change_sum(ctx, "products", layer, at, t, product);
}
static int64_t change_partial(void *ctx, int layer, int64_t at, int64_t t, int64_t sum)
{
    return change_sum(ctx, "partial-sums", layer, at, t, sum);
}
static int64_t change_whole(void *ctx, int layer, int64_t at, int64_t sum)
{
    return change_sum(ctx, "accumulators", layer, at, -1, sum);
}

/* Codes of the inputs (maker -1) and of what layer `maker` was the last to make. */
static void change_codes(const computing *k, int tensor, int16_t *codes, float *reals)
{
    size_t i;
    json_t *change;
    json_array_foreach(k->changes, i, change)
    {
        const char *where = text_of(change, "where");
        const json_t *place = json_object_get(change, "network");
        if ((strcmp(where, "activations") == 0 || strcmp(where, "inputs") == 0) &&
            tensor_of(k->network, text_of(place, "tensor")) == tensor) {
            int16_t *code = &codes[number(place, "index")];
            if (!k->network->tensors[tensor].real) {
                *code = (int16_t)changed(change, *code, k->network->tensors[tensor].is_signed);
                continue;
            }
            uint32_t bits;
            memcpy(&bits, &reals[number(place, "index")], sizeof bits);
            bits = (uint32_t)changed(change, (int32_t)bits, true);
            memcpy(&reals[number(place, "index")], &bits, sizeof bits);
        }
    }
}

typedef struct values {
    int16_t **codes; /* per tensor */
    float **reals;
    int32_t **sums; /* per layer */
} values;

static values make_values(const qn_export_network *n)
{
    values v = {calloc((size_t)n->n_tensors + 1, sizeof *v.codes), calloc((size_t)n->n_tensors + 1, sizeof *v.reals),
                calloc((size_t)n->n_layers + 1, sizeof *v.sums)};
    for (int i = 0; i < n->n_tensors; i++) {
        v.codes[i] = calloc((size_t)n->tensors[i].count, sizeof **v.codes);
        v.reals[i] = calloc((size_t)n->tensors[i].count, sizeof **v.reals);
    }
    for (int i = 0; i < n->n_layers; i++) {
        v.sums[i] = calloc((size_t)n->tensors[n->layers[i].output].count, sizeof **v.sums);
    }
    return v;
}

static void free_values(values *v, const qn_export_network *n)
{
    for (int i = 0; i < n->n_tensors; i++) {
        free(v->codes[i]);
        free(v->reals[i]);
    }
    for (int i = 0; i < n->n_layers; i++) {
        free(v->sums[i]);
    }
    free(v->codes);
    free(v->reals);
    free(v->sums);
}

static int last_maker(const qn_export_network *n, int tensor)
{
    int last = -1;
    for (int i = 0; i < n->n_layers; i++) {
        last = qn_export_base(n, n->layers[i].output) == qn_export_base(n, tensor) ? i : last;
    }
    return last;
}

/* All of the network, from the codes of its input. */
static void compute(const qn_export_network *n, const json_t *changes, values *v)
{
    computing k = {n, changes};
    const brute b = {n,
                     v->codes,
                     changes != NULL ? change_term : NULL,
                     changes != NULL ? change_partial : NULL,
                     changes != NULL ? change_whole : NULL,
                     &k};
    change_codes(&k, n->inputs[0].tensor, v->codes[n->inputs[0].tensor], NULL);
    for (int i = 0; i < n->n_layers; i++) {
        const int y = n->layers[i].output;
        brute_layer(&b, i, v->codes[qn_export_base(n, y)], v->reals[y], v->sums[i]);
        if (last_maker(n, y) == i) {
            change_codes(&k, y, v->codes[qn_export_base(n, y)], v->reals[y]);
        }
    }
}

static void set_input(const campaign *c, const qn_export_network *n, const json_t *files, const char *key, values *v)
{
    qn_tensor x = read_npy(c, files, key);
    const int tensor = n->inputs[0].tensor;
    for (int64_t i = 0; i < n->tensors[tensor].count; i++) {
        v->codes[tensor][i] = x.dtype == QN_DTYPE_S8 ? ((int8_t *)x.data)[i] : ((uint8_t *)x.data)[i];
    }
    qn_tensor_free(&x);
}

/* ---- the comparison ---- */

static void check_layers(const campaign *c, const qn_export_network *n, const json_t *image, const values *golden,
                         const values *faulty)
{
    size_t i;
    json_t *layer;
    bool *told = calloc((size_t)n->n_layers + 1, sizeof *told);
    json_array_foreach(json_object_get(image, "layers"), i, layer)
    {
        const int at = layer_of(n, text_of(layer, "layer")), y = n->layers[at].output;
        const json_t *files = json_object_get(layer, "files");
        const size_t count = (size_t)n->tensors[y].count;
        told[at] = true;
        if (json_object_get(files, "codes") != NULL) {
            assert_codes(c, files, "codes", faulty->codes[qn_export_base(n, y)], (int64_t)count);
        }
        if (json_object_get(files, "floats") != NULL) {
            assert_bytes(c, files, "floats", faulty->reals[y], count * sizeof(float));
        }
        if (n->layers[at].kind == QN_EXPORT_CONV) {
            assert_bytes(c, files, "sums", faulty->sums[at], count * sizeof(int32_t));
        }
        assert_true(json_object_size(files) > 0);
    }
    json_array_foreach(json_object_get(image, "same_layers"), i, layer)
    {
        const int at = layer_of(n, json_string_value(layer)), y = n->layers[at].output;
        const size_t count = (size_t)n->tensors[y].count;
        assert_false(told[at]);
        told[at] = true;
        assert_memory_equal(golden->codes[qn_export_base(n, y)], faulty->codes[qn_export_base(n, y)],
                            count * sizeof(int16_t));
        assert_memory_equal(golden->reals[y], faulty->reals[y], count * sizeof(float));
        assert_memory_equal(golden->sums[at], faulty->sums[at], count * sizeof(int32_t));
    }
    for (int k = 0; k < n->n_layers; k++) {
        assert_true(told[k]);
    }
    free(told);
}

static void check_outputs(const campaign *c, const qn_export_network *n, const json_t *image, const values *golden,
                          const values *faulty)
{
    size_t i;
    json_t *output;
    assert_int_equal(json_array_size(json_object_get(image, "outputs")), n->n_outputs);
    json_array_foreach(json_object_get(image, "outputs"), i, output)
    {
        const int t = n->outputs[i].tensor, base = qn_export_base(n, t);
        const json_t *files = json_object_get(output, "files");
        const int64_t count = n->tensors[t].count;
        if (n->tensors[t].real) {
            assert_bytes(c, files, "floats", golden->reals[t], (size_t)count * sizeof(float));
            assert_bytes(c, files, "floats_faulty", faulty->reals[t], (size_t)count * sizeof(float));
        } else {
            assert_codes(c, files, "codes", golden->codes[base], count);
            assert_codes(c, files, "codes_faulty", faulty->codes[base], count);
        }
    }
}

/* n: as it is; f: with what is struck in memory. */
static void check_image(const campaign *c, const qn_export_network *n, const qn_export_network *f, const json_t *root,
                        const json_t *image)
{
    values golden = make_values(n), faulty = make_values(n);
    const json_t *places = json_object_get(root, "places");
    const json_t *files = json_object_get(json_object_get(image, "input"), "files");
    set_input(c, n, files, "codes", &golden);
    /* a struck scale or zero point makes other codes of the floats that come in */
    const bool other = places != NULL && json_object_get(files, "codes_faulty") != NULL;
    set_input(c, n, files, other ? "codes_faulty" : "codes", &faulty);
    compute(n, NULL, &golden);
    compute(f, places != NULL ? NULL : json_object_get(root, "changes"), &faulty);
    check_layers(c, n, image, &golden, &faulty);
    check_outputs(c, n, image, &golden, &faulty);
    free_values(&golden, n);
    free_values(&faulty, n);
}

/* What was seen, per place; so that nothing is compared that never happens. */
typedef struct seen {
    int where[QN_FAULT_N_WHERE], differ[QN_FAULT_N_WHERE], refused, others, images;
} seen;

static void check_fault(campaign *c, const qn_export_network *n, int64_t id, seen *s)
{
    char path[64];
    snprintf(path, sizeof path, "faulty/%" PRId64 "/fault.json", id);
    json_t *root = read_json(c, path), *image;
    assert_int_equal(number(root, "id"), id);
    const json_t *first = json_array_get(json_object_get(root, "changes"), 0);
    qn_fault_where where;
    assert_true(qn_fault_where_parse(&where, text_of(first, "where")));
    s->where[where]++;
    const json_t *places = json_object_get(root, "places");
    if (json_is_true(json_object_get(root, "refused"))) {
        s->refused++;
        assert_int_equal(json_array_size(json_object_get(root, "images")), 0);
        json_decref(root);
        return;
    }
    const int64_t images = number(json_object_get(root, "lifetime"), "images");
    assert_int_equal(json_array_size(json_object_get(root, "images")), images < 4 ? images : 4);
    const bool other = places != NULL && !json_is_true(json_object_get(places, "same_layers"));
    s->others += other;
    qn_export_network *f = NULL;
    if (places != NULL && !other) {
        qn_assert_ok(qn_export_network_make(&f, c->model, &c->err), &c->err);
        put_into_memory(f, places);
    }
    size_t i;
    json_array_foreach(json_object_get(root, "images"), i, image)
    {
        assert_int_equal(number(image, "image"),
                         (number(json_object_get(root, "lifetime"), "first_image") + (int64_t)i) % N_IMAGES);
        s->images++;
        s->differ[where] += json_array_size(json_object_get(image, "layers")) > 0;
        if (!other) {
            check_image(c, n, f != NULL ? f : n, root, image);
        }
    }
    qn_export_network_free(f);
    json_decref(root);
}

static void test_the_fault_in_the_numbers_gives_the_vectors(void **state)
{
    (void)state;
    seen s = {0};
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        campaign c;
        start(&c, seed);
        run_campaign(&c, spec_text, QN_ENGINE_INTEGER, false);
        int64_t *ids = malloc((size_t)c.n_faults * sizeof *ids);
        for (int64_t i = 0; i < c.n_faults; i++) {
            ids[i] = i;
        }
        qn_assert_ok(export_ids(&c, ids, (size_t)c.n_faults, NULL), &c.err);
        qn_export_network *n;
        qn_assert_ok(qn_export_network_make(&n, c.model, &c.err), &c.err);
        for (int64_t i = 0; i < c.n_faults; i++) {
            check_fault(&c, n, i, &s);
        }
        qn_export_network_free(n);
        free(ids);
        finish(&c);
    }
    for (int where = 0; where <= QN_FAULT_ZERO_POINTS; where++) {
        print_message("%-14s %4d faults, %4d images with differences\n", qn_fault_where_text((qn_fault_where)where),
                      s.where[where], s.differ[where]);
        assert_true(s.where[where] > 0 && s.differ[where] > 0);
    }
    print_message("%d images; %d refused, %d compute by other layers\n", s.images, s.refused, s.others);
    assert_true(s.refused > 0);
}

/* ---- refusals ---- */

static const char *const small_spec = "faults: [{name: w, where: weights, sample: 20}]\n";

static void assert_nothing_written(const campaign *c)
{
    assert_int_equal(access(c->directory, F_OK), -1);
}

static void test_ids_that_are_not_there(void **state)
{
    (void)state;
    campaign c;
    start(&c, 0);
    run_campaign(&c, small_spec, QN_ENGINE_INTEGER, false);
    qn_assert_fails(export_ids(&c, (int64_t[]){3, 20, 7, -1}, 4, NULL), &c.err, QN_EINVAL,
                    "has no fault 20, -1; its 20 faults are 0 to 19");
    assert_nothing_written(&c);
    qn_error_init(&c.err);
    qn_assert_fails(export_ids(&c, (int64_t[]){3, 3}, 2, NULL), &c.err, QN_EINVAL, "fault 3 is named twice");
    qn_error_init(&c.err);
    qn_assert_fails(export_ids(&c, NULL, 0, NULL), &c.err, QN_EINVAL, "--ids");
    qn_error_init(&c.err);
    unlink(c.store);
    qn_assert_fails(export_ids(&c, (int64_t[]){3}, 1, NULL), &c.err, QN_EIO, "");
    assert_nothing_written(&c);
    finish(&c);
}

/* Takes much longer than until progress is told for the first time. */
static const char *const long_spec =
    "faults: [{name: w, where: [weights, activations, accumulators, products], model: flip n-bits 3, sample: 1000000}]\n";

/* A campaign that was stopped: what it has is exported, what it has not is told. */
static void test_a_store_half_written(void **state)
{
    (void)state;
    campaign c;
    start(&c, 0);
    run_campaign(&c, long_spec, QN_ENGINE_INTEGER, true);
    qn_error_init(&c.err);
    const qn_status status = export_ids(&c, (int64_t[]){1000000000}, 1, NULL);
    assert_true(c.n_faults > 0);
    qn_assert_fails(status, &c.err, QN_EINVAL, "is not complete");
    assert_nothing_written(&c);
    qn_error_init(&c.err);
    qn_assert_ok(export_ids(&c, (int64_t[]){c.n_faults - 1}, 1, NULL), &c.err);
    finish(&c);
}

static void test_another_model_and_other_images(void **state)
{
    (void)state;
    campaign c, other;
    start(&c, 0);
    start(&other, 1);
    run_campaign(&c, small_spec, QN_ENGINE_INTEGER, false);
    snprintf(other.store, sizeof other.store, "%s", c.store);
    qn_assert_fails(export_ids(&other, (int64_t[]){0}, 1, NULL), &other.err, QN_ECONFLICT, c.model->graph.sha256);
    assert_non_null(strstr(other.err.message, other.model->graph.sha256));
    assert_nothing_written(&other);
    /* the file of the images is another now, then gone; what --vectors gives helps when it is the campaign's */
    char kept[300];
    snprintf(kept, sizeof kept, "%s.kept", c.data_file);
    assert_int_equal(rename(c.data_file, kept), 0);
    qn_assert_fails(export_ids(&c, (int64_t[]){0}, 1, NULL), &c.err, QN_ECONFLICT, "cannot be opened");
    assert_non_null(strstr(c.err.message, "--vectors"));
    qn_error_init(&c.err);
    qn_tensor t;
    qn_assert_ok(qn_tensor_read(&t, kept, &c.err), &c.err);
    ((float *)t.data)[0] += 1;
    qn_assert_ok(qn_tensor_write_npy(&t, c.data_file, true, &c.err), &c.err);
    qn_tensor_free(&t);
    qn_assert_fails(export_ids(&c, (int64_t[]){0}, 1, NULL), &c.err, QN_ECONFLICT, "its images had sha256");
    assert_nothing_written(&c);
    qn_error_init(&c.err);
    qn_dataset *vectors;
    qn_assert_ok(qn_dataset_open(&vectors, kept, NULL, &c.err), &c.err);
    qn_assert_ok(export_ids(&c, (int64_t[]){0}, 1, vectors), &c.err);
    qn_dataset_close(vectors);
    finish(&c);
    finish(&other);
}

static void test_another_engine(void **state)
{
    (void)state;
    campaign c;
    start(&c, 0);
    run_campaign(&c, small_spec, QN_ENGINE_SIMULATE, false);
    qn_assert_fails(export_ids(&c, (int64_t[]){0}, 1, NULL), &c.err, QN_EUNSUPPORTED, "simulate engine");
    assert_nothing_written(&c);
    finish(&c);
}

/* ---- verify ---- */

static int64_t differences(campaign *c, const char *fragment)
{
    qn_export_check check;
    qn_assert_ok(qn_export_verify(&check, c->directory, NULL, NULL, &c->err), &c->err);
    if (fragment != NULL && strstr(check.text, fragment) == NULL) {
        fail_msg("'%s' is not in '%s'", fragment, check.text);
    }
    const int64_t n = check.n_differences;
    free(check.text);
    return n;
}

/* Change a byte of a file that holds `text`, at its place. */
static void tamper(const campaign *c, const char *path, const char *text, const char *by)
{
    char whole[600];
    qn_error err;
    qn_error_init(&err);
    qn_file_bytes bytes;
    snprintf(whole, sizeof whole, "%s/%s", c->directory, path);
    qn_assert_ok(qn_file_read(&bytes, whole, &err), &err);
    char *at = (char *)bytes.data + bytes.size - 1;
    for (size_t i = 0; text != NULL && i + strlen(text) <= bytes.size; i++) {
        if (memcmp(bytes.data + i, text, strlen(text)) == 0) {
            at = (char *)bytes.data + i;
            break;
        }
    }
    assert_true(text == NULL || memcmp(at, text, strlen(text)) == 0);
    if (text != NULL) {
        memcpy(at, by, strlen(by));
    } else {
        *at ^= 1;
    }
    qn_assert_ok(qn_file_write_all(whole, true, bytes.data, bytes.size, &err), &err);
    qn_file_bytes_free(&bytes);
}

static void test_verify_makes_them_again(void **state)
{
    (void)state;
    campaign c;
    start(&c, 0);
    run_campaign(&c, spec_text, QN_ENGINE_INTEGER, false);
    const int64_t ids[] = {0, 5, 9, 12, 15};
    qn_assert_ok(export_ids(&c, ids, 5, NULL), &c.err);
    /* neither store nor images are needed */
    unlink(c.store);
    unlink(c.data_file);
    assert_int_equal(differences(&c, NULL), 0);
    tamper(&c, "faulty/0/fault.json", "\"after\": {\n    \"bits\": \"0x", "\"after\": {\n    \"bits\": \"1x");
    assert_true(differences(&c, "faulty/0/fault.json") > 0);
    tamper(&c, "faulty/0/fault.json", "\"after\": {\n    \"bits\": \"1x", "\"after\": {\n    \"bits\": \"0x");
    assert_int_equal(differences(&c, NULL), 0);
    tamper(&c, "faulty/0/image_0/out_y_floats_faulty.npy", NULL, NULL);
    assert_true(differences(&c, "faulty/0/image_0/out_y_floats_faulty.npy") > 0);
    tamper(&c, "faulty/0/image_0/out_y_floats_faulty.npy", NULL, NULL);
    tamper(&c, "faulty/0/fault.json", "\"element\"", "\"Element\"");
    assert_true(differences(&c, "no element, term or masks") > 0);
    tamper(&c, "faulty/0/fault.json", "\"Element\"", "\"element\"");
    assert_int_equal(differences(&c, NULL), 0);
    /* what is linked to, or is gone, is not read */
    char here[640], there[640];
    snprintf(here, sizeof here, "%s/faulty/0", c.directory);
    snprintf(there, sizeof there, "%s.elsewhere", c.directory);
    assert_int_equal(rename(here, there), 0);
    const int64_t gone = differences(&c, "faulty/0/image_0/in_x_floats.npy: is missing");
    assert_int_equal(symlink(there, here), 0);
    assert_int_equal(differences(&c, "faulty/0: is a symbolic link"), gone + 1);
    assert_int_equal(unlink(here), 0);
    assert_int_equal(rename(there, here), 0);
    assert_int_equal(differences(&c, NULL), 0);
    finish(&c);
}

/* Outputs that are not the campaign's stop the export. */
static void test_a_wrong_output_is_told(void **state)
{
    (void)state;
    campaign c;
    start(&c, 0);
    const qn_export_options o = {.targets = 1};
    qn_export_network *n;
    qn_fault_targets targets;
    qn_assert_ok(qn_export_network_make(&n, c.model, &c.err), &c.err);
    qn_assert_ok(qn_fault_targets_make(&targets, n->program, &c.err), &c.err);
    qn_directory_out out;
    qn_assert_ok(qn_directory_create(&out, c.directory, true, "manifest.json", &c.err), &c.err);
    qn_export_job job = {.model = c.model, .network = n, .options = &o, .directory = &out, .files = json_array()};
    float *x = calloc((size_t)n->inputs[0].count, sizeof *x), *y = calloc(4096, sizeof *y);
    const qn_fault_change none = {.and_mask = UINT32_MAX};
    const qn_export_faulty_expected right = {0}, wrong = {.outputs = y}, refused = {.refused = true};
    qn_export_faulty_case k = {.fault = {.n_images = 1, .n_changes = 0, .changes = &none},
                               .n_of = 1,
                               .campaign = json_object(),
                               .store = json_object(),
                               .n_images = 1,
                               .inputs = x};
    json_t *list = json_array();
    k.expected = &right;
    qn_assert_ok(qn_export_faulty_write_case(&job, &targets, &k, list, &c.err), &c.err);
    k.expected = &wrong;
    qn_assert_fails(qn_export_faulty_write_case(&job, &targets, &k, list, &c.err), &c.err, QN_EINTERNAL,
                    "fault 0 on image 0 gives other outputs");
    qn_error_init(&c.err);
    k.expected = &refused;
    qn_assert_fails(qn_export_faulty_write_case(&job, &targets, &k, list, &c.err), &c.err, QN_EINTERNAL, "fault 0");
    json_decref(list);
    json_decref(k.campaign);
    json_decref(k.store);
    json_decref(job.files);
    free(x);
    free(y);
    qn_directory_abandon(&out);
    qn_fault_targets_free(&targets);
    qn_export_network_free(n);
    finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_that_are_not_there),
        cmocka_unit_test(test_a_store_half_written),
        cmocka_unit_test(test_another_model_and_other_images),
        cmocka_unit_test(test_another_engine),
        cmocka_unit_test(test_a_wrong_output_is_told),
        cmocka_unit_test(test_verify_makes_them_again),
        cmocka_unit_test(test_the_fault_in_the_numbers_gives_the_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
