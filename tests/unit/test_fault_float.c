/* Faults in the float and the simulate engine: the injector that restarts against brute force. */
#include "fault_float.h"

#include <stdio.h>
#include <string.h>

#include "engine/float/restart.h"
#include "fault/injector.h"

enum { MAX_OUT = 64, N_ITEMS = 4 };

enum { N_IMAGES = 6, MAX_FAULTS = 600, MAX_CHANGES = 24, MAX_PAIRS = MAX_FAULTS * N_IMAGES };

/* What an injector said of a pair. */
typedef struct told {
    bool told;
    qn_fault_effect effect;
    float outputs[MAX_OUT];
} told;

typedef struct bench {
    qn_model *model;
    qn_program *program;
    qn_fault_targets targets;
    qn_tensor images;
    qn_dataset *data;
    qn_injector injectors[2]; /* the one under test, and brute force */
    qn_fault faults[MAX_FAULTS];
    int64_t n_faults;
    uint64_t random;
} bench;

static qn_injector make_injector(const bench *b, const qn_injector_ops *ops)
{
    qn_injector injector = {.ops = ops,
                            .options = {.program = b->program,
                                        .model = b->model,
                                        .data = b->data,
                                        .targets = &b->targets,
                                        .n_workers = 1,
                                        .memory_bytes = 1 << 24}};
    for (size_t i = 0; i < qn_program_n_outputs(b->program); i++) {
        injector.output_count += qn_program_output_count(b->program, i);
    }
    assert_true(injector.output_count <= MAX_OUT);
    return injector;
}

static void start(bench *b, qn_model *model, qn_engine engine, int64_t batch, uint64_t seed)
{
    qn_error err;
    qn_error_init(&err);
    *b = (bench){.model = model, .random = seed * 2 + 1};
    b->program = make_program(model, engine, batch);
    qn_assert_ok(qn_fault_targets_make(&b->targets, b->program, &err), &err);
    int64_t dims[QN_MAX_RANK];
    const int rank = qn_program_input_shape(b->program, 0, dims + 1);
    dims[0] = N_IMAGES;
    qn_assert_ok(qn_tensor_alloc(&b->images, QN_DTYPE_F32, rank + 1, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&b->images); i++) {
        ((float *)b->images.data)[i] = qn_test_uniform(&b->random, -1, 1);
    }
    qn_assert_ok(qn_dataset_of_tensor(&b->data, &b->images, NULL, &err), &err);
    static const qn_injector_ops *const ops[] = {&qn_injector_float, &qn_injector_whole};
    for (int i = 0; i < 2; i++) {
        b->injectors[i] = make_injector(b, ops[i]);
        qn_assert_ok(ops[i]->create(&b->injectors[i], &err), &err);
    }
}

static void stop(bench *b)
{
    for (int i = 0; i < 2; i++) {
        b->injectors[i].ops->release(&b->injectors[i]);
    }
    for (int64_t i = 0; i < b->n_faults; i++) {
        qn_free((void *)(uintptr_t)b->faults[i].changes);
    }
    qn_dataset_close(b->data);
    qn_tensor_free(&b->images);
    qn_fault_targets_free(&b->targets);
    qn_program_free(b->program);
}

static int64_t below(bench *b, int64_t n)
{
    return (int64_t)(qn_test_random(&b->random) % (uint64_t)n);
}

static qn_fault_change random_change(bench *b, int32_t target)
{
    const qn_fault_target *t = &b->targets.list[target];
    qn_fault_change c = {.target = target,
                         .element = below(b, t->n_elems),
                         .and_mask = UINT32_MAX,
                         .xor_mask = UINT32_C(1) << below(b, t->bits)};
    c.suppress = c.element % 3 == 0;
    switch (below(b, 8)) {
    case 0: /* stuck at 1 */
        c.or_mask = c.xor_mask;
        c.xor_mask = 0;
        break;
    case 1: /* stuck at 0 */
        c.and_mask = ~c.xor_mask;
        c.xor_mask = 0;
        break;
    case 2: /* noise */
        c.add = (double)qn_test_uniform(&b->random, -2, 2);
        c.xor_mask = 0;
        break;
    case 3: /* any code */
        c.and_mask = 0;
        c.xor_mask = (uint32_t)qn_test_random(&b->random) >> 16 >> (32 - (t->bits < 16 ? 16 : t->bits)) ^
                     (uint32_t)qn_test_random(&b->random) >> (32 - t->bits);
        break;
    default:
        break;
    }
    return c;
}

static bool after(const qn_fault_change *a, const qn_fault_change *b)
{
    return a->target != b->target ? a->target > b->target : a->element >= b->element;
}

/* Changes of 1 to `most` elements of targets first..end-1, sorted, no two of the same place. */
static void add_fault(bench *b, int32_t first, int32_t end, int64_t most)
{
    assert_true(b->n_faults < MAX_FAULTS);
    qn_fault_change *changes = qn_alloc(MAX_CHANGES * sizeof *changes);
    int64_t n = 0, wanted = 1 + below(b, most);
    while (wanted-- > 0) {
        const qn_fault_change c = random_change(b, first + (int32_t)below(b, end - first));
        int64_t at = n;
        while (at > 0 && after(&changes[at - 1], &c)) {
            at--;
        }
        if (at < n && changes[at].target == c.target && changes[at].element == c.element) {
            continue;
        }
        memmove(&changes[at + 1], &changes[at], (size_t)(n - at) * sizeof *changes);
        changes[at] = c;
        n++;
    }
    const int64_t lifetimes[] = {1, 1, 1, 2, N_IMAGES, N_IMAGES};
    b->faults[b->n_faults] = (qn_fault){.id = b->n_faults,
                                        .first_image = below(b, N_IMAGES),
                                        .n_images = lifetimes[below(b, 6)],
                                        .n_changes = n,
                                        .changes = changes};
    b->n_faults++;
}

typedef struct notes {
    told *pairs;
    int64_t count;
} notes;

static void take(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    notes *n = ctx;
    told *t = &n->pairs[fault * N_IMAGES + image];
    assert_false(t->told);
    t->told = true;
    t->effect = *effect;
    assert_true((effect->outputs != NULL) == (effect->end == QN_FAULT_AT_OUTPUT));
    if (effect->outputs != NULL) {
        memcpy(t->outputs, effect->outputs, (size_t)n->count * sizeof *t->outputs);
    }
}

/* Every fault on every image, group by group, `at_once` faults in each call. */
static void run_all(bench *b, int which, told *pairs, int64_t at_once)
{
    qn_error err;
    qn_error_init(&err);
    qn_injector *injector = &b->injectors[which];
    const int64_t group = injector->ops->group(injector);
    notes n = {pairs, injector->output_count};
    const qn_fault *list[MAX_FAULTS];
    for (int64_t i = 0; i < b->n_faults; i++) {
        list[i] = &b->faults[i];
    }
    for (int64_t first = 0; first < N_IMAGES; first += group) {
        const int64_t images = N_IMAGES - first < group ? N_IMAGES - first : group;
        float before[N_IMAGES * MAX_OUT], afterwards[N_IMAGES * MAX_OUT];
        qn_assert_ok(injector->ops->golden(injector, 0, first, images, before, &err), &err);
        for (int64_t f = 0; f < b->n_faults; f += at_once) {
            const int64_t now = b->n_faults - f < at_once ? b->n_faults - f : at_once;
            n.pairs = pairs + f * N_IMAGES;
            qn_assert_ok(injector->ops->run(injector, 0, first, images, list + f, now, take, &n, &err), &err);
        }
        qn_assert_ok(injector->ops->golden(injector, 0, first, images, afterwards, &err), &err);
        assert_memory_equal(before, afterwards, (size_t)(images * n.count) * sizeof *before);
    }
}

static const char *describe(const bench *b, int64_t pair)
{
    static char text[200];
    const qn_fault *f = &b->faults[pair / N_IMAGES];
    const qn_fault_change *c = &f->changes[0];
    const qn_fault_target *t = &b->targets.list[c->target];
    snprintf(text, sizeof text,
             "fault %lld (%lld changes, first: %s of '%s' element %lld, and %x or %x xor %x add %g) image %lld",
             (long long)f->id, (long long)f->n_changes, qn_fault_where_text(t->where), t->value_name,
             (long long)c->element, (unsigned)c->and_mask, (unsigned)c->or_mask, (unsigned)c->xor_mask, c->add,
             (long long)(pair % N_IMAGES));
    return text;
}

/* Brute force says the same; returns the pairs whose outputs differ from golden. */
static int64_t compare_all(bench *b, const char *what)
{
    told *pairs[2];
    int64_t differ = 0;
    for (int i = 0; i < 2; i++) {
        pairs[i] = qn_alloc(MAX_PAIRS * sizeof *pairs[i]);
        run_all(b, i, pairs[i], i == 0 ? 97 : MAX_FAULTS);
    }
    for (int64_t p = 0; p < b->n_faults * N_IMAGES; p++) {
        const told *x = &pairs[0][p], *y = &pairs[1][p];
        if (x->told != y->told) {
            fail_msg("%s: %s: told %d, wanted %d", what, describe(b, p), x->told, y->told);
        }
        if (!y->told) {
            continue;
        }
        const bool out = y->effect.end == QN_FAULT_AT_OUTPUT, refused = y->effect.end == QN_FAULT_REFUSED;
        if ((x->effect.end == QN_FAULT_AT_OUTPUT) != out || (x->effect.end == QN_FAULT_REFUSED) != refused ||
            x->effect.before != y->effect.before || x->effect.after != y->effect.after) {
            fail_msg("%s: %s: end %d, code %x to %x; wanted end %d, %x to %x", what, describe(b, p), x->effect.end,
                     (unsigned)x->effect.before, (unsigned)x->effect.after, y->effect.end, (unsigned)y->effect.before,
                     (unsigned)y->effect.after);
        }
        if (out && memcmp(x->outputs, y->outputs, (size_t)b->injectors[0].output_count * sizeof(float)) != 0) {
            fail_msg("%s: %s: outputs %.9g %.9g.., wanted %.9g %.9g..", what, describe(b, p), (double)x->outputs[0],
                     (double)x->outputs[1], (double)y->outputs[0], (double)y->outputs[1]);
        }
        differ += out;
    }
    qn_free(pairs[0]);
    qn_free(pairs[1]);
    return differ;
}

/* Faults of each target alone, and of many targets at once. */
static void draw(bench *b, int64_t per_target, int64_t mixed)
{
    for (int32_t t = 0; t < b->targets.n; t++) {
        for (int64_t i = 0; i < per_target; i++) {
            add_fault(b, t, t + 1, i % 3 == 2 ? MAX_CHANGES : 1);
        }
    }
    for (int64_t i = 0; i < mixed; i++) {
        add_fault(b, 0, b->targets.n, 5);
    }
    qn_fault_change *none = qn_alloc(sizeof *none);
    b->faults[b->n_faults++] = (qn_fault){.id = b->n_faults, .n_images = N_IMAGES, .changes = none};
}

static void float_networks_as_brute_force(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= N_ITEMS; batch += 3) {
        qn_model model = {0};
        residual_graph(&model.graph);
        bench *b = qn_alloc(sizeof *b);
        start(b, &model, QN_ENGINE_FLOAT, batch, (uint64_t)batch);
        draw(b, 6, 30);
        assert_true(compare_all(b, "float") > 100);
        stop(b);
        qn_free(b);
        qn_graph_free(&model.graph);
    }
}

/* Codes of a constant, and what they stand for. */
static void code_constant(qn_graph *graph, const char *name, qn_format format, bool by_channel)
{
    qn_error err;
    qn_error_init(&err);
    qn_value *value = &graph->values[qn_graph_find(graph, name)];
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = format.block > 0 ? value->constant->rank - 1 : by_channel ? 0 : -1;
    fit.group = format.block;
    qn_quantizer *q;
    qn_tensor codes;
    qn_assert_ok(qn_fit(&q, value->constant, format, &fit, &err), &err);
    qn_assert_ok(qn_tensor_alloc(&codes, qn_format_dtype(format), value->constant->rank, value->constant->dims, &err),
                 &err);
    qn_quantizer_encode(codes.data, value->constant->data, q, codes.rank, codes.dims);
    qn_quantizer_decode(value->constant->data, codes.data, q, codes.rank, codes.dims);
    const qn_value_id id = qn_graph_find(graph, name);
    qn_assert_ok(qn_graph_set_quantizer(graph, id, q, &err), &err);
    qn_assert_ok(qn_graph_set_codes(graph, id, &codes, &err), &err);
    qn_tensor_free(&codes);
    qn_quantizer_free(q);
}

/* A quantizer for a value of items of this shape: dynamic, or fitted to noise. */
static void code_value(qn_graph *graph, const char *name, qn_format format, bool dynamic, int rank, const int64_t *dims)
{
    qn_error err;
    qn_error_init(&err);
    uint64_t random = 77;
    qn_fit_options fit;
    qn_fit_options_init(&fit);
    fit.axis = format.block > 0 ? 1 : -1;
    fit.group = format.block;
    qn_tensor t;
    qn_assert_ok(qn_tensor_alloc(&t, QN_DTYPE_F32, rank, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        ((float *)t.data)[i] = qn_test_uniform(&random, -2, 2);
    }
    qn_quantizer *q;
    qn_assert_ok(qn_fit(&q, &t, format, &fit, &err), &err);
    const qn_quantizer anew = {.format = format, .axis = fit.axis, .group = fit.group, .dynamic = true};
    qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, name), dynamic ? &anew : q, &err), &err);
    qn_quantizer_free(q);
    qn_tensor_free(&t);
}

static void simulated_networks_as_brute_force(void **state)
{
    (void)state;
    static const char *const formats[] = {"int8",     "adaptivfloat<8,3>", "fp8e4m3",    "posit<8,1>",
                                          "bfp<8,3>", "mx<fp8e4m3,4>",     "fixed<8,3>", "int4"};
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        qn_error err;
        qn_error_init(&err);
        qn_format format;
        qn_assert_ok(qn_format_parse(&format, formats[f], &err), &err);
        for (int dynamic = 0; dynamic < 2; dynamic++) {
            const int64_t batch = (int)f % 2 == dynamic ? 1 : N_ITEMS;
            qn_model model = {0};
            qn_graph *graph = &model.graph;
            residual_graph(graph);
            code_constant(graph, "w1", format, true);
            code_constant(graph, "w2", format, false);
            code_constant(graph, "w3", format, false);
            code_value(graph, "x", format, dynamic, DIMS(1, 3, 9, 9));
            code_value(graph, "n1", format, dynamic, DIMS(1, 10, 9, 9));
            code_value(graph, "r1", format, dynamic, DIMS(1, 10, 9, 9));
            code_value(graph, "c2", format, dynamic, DIMS(1, 10, 9, 9));
            code_value(graph, "r2", format, dynamic, DIMS(1, 10, 9, 9));
            code_value(graph, "cat", format, dynamic, DIMS(1, 20, 9, 9));
            code_value(graph, "flat", format, dynamic, DIMS(1, 320));
            code_value(graph, "y", format, dynamic, DIMS(1, 7));
            bench *b = qn_alloc(sizeof *b);
            start(b, &model, QN_ENGINE_SIMULATE, batch, f);
            draw(b, 3, 20);
            assert_true(compare_all(b, formats[f]) > 30);
            stop(b);
            qn_free(b);
            qn_graph_free(graph);
        }
    }
}

/* Attention, LayerNorm in its parts, a way through time-major memory, a transposed constant, two outputs. */
static void attention_graph(qn_graph *graph)
{
    graph->opset = 13;
    qn_test_input(graph, "x", DIMS(-1, 8, 6));
    static const char *const letters[] = {"q", "k", "v"};
    static const char *const orders[] = {"q4 qt", "k4 kt", "v4 vt"};
    const int64_t heads[] = {0, 8, 2, 3}, joined[] = {0, 8, 6};
    qn_test_ints(graph, "heads", 4, heads);
    qn_test_ints(graph, "joined", 3, joined);
    for (int i = 0; i < 3; i++) {
        char names[5][8], inputs[32];
        snprintf(names[0], sizeof names[0], "w%s", letters[i]);
        snprintf(names[1], sizeof names[1], "m%s", letters[i]);
        snprintf(names[2], sizeof names[2], "b%s", letters[i]);
        snprintf(names[3], sizeof names[3], "a%s", letters[i]);
        snprintf(names[4], sizeof names[4], "%s4", letters[i]);
        qn_test_floats(graph, names[0], DIMS(6, 6), NULL);
        qn_test_floats(graph, names[2], DIMS(6), NULL);
        snprintf(inputs, sizeof inputs, "x %s", names[0]);
        NODE(graph, "MatMul", inputs, names[1]);
        snprintf(inputs, sizeof inputs, "%s %s", names[1], names[2]);
        NODE(graph, "Add", inputs, names[3]);
        snprintf(inputs, sizeof inputs, "%s heads", names[3]);
        NODE(graph, "Reshape", inputs, names[4]);
        snprintf(inputs, sizeof inputs, "%s", strchr(orders[i], ' ') + 1);
        if (i == 1) {
            NODE_WITH(graph, "Transpose", names[4], inputs, A_INTS("perm", 0, 2, 3, 1));
        } else {
            NODE_WITH(graph, "Transpose", names[4], inputs, A_INTS("perm", 0, 2, 1, 3));
        }
    }
    NODE(graph, "MatMul", "qt kt", "scores");
    NODE_WITH(graph, "Softmax", "scores", "shares", A_INT("axis", -1));
    NODE(graph, "MatMul", "shares vt", "mixed");
    NODE_WITH(graph, "Transpose", "mixed", "back", A_INTS("perm", 0, 2, 1, 3));
    NODE(graph, "Reshape", "back joined", "joint");
    NODE(graph, "Add", "joint x", "sum");
    NODE_WITH(graph, "ReduceMean", "sum", "mu", A_INTS("axes", -1));
    NODE(graph, "Sub", "sum mu", "centred");
    static const float two[] = {2}, epsilon[] = {1e-3F};
    qn_test_floats(graph, "two", 0, NULL, two);
    qn_test_floats(graph, "epsilon", 0, NULL, epsilon);
    NODE(graph, "Pow", "centred two", "squares");
    NODE_WITH(graph, "ReduceMean", "squares", "spread", A_INTS("axes", -1));
    NODE(graph, "Add", "spread epsilon", "padded");
    NODE(graph, "Sqrt", "padded", "deviation");
    NODE(graph, "Div", "centred deviation", "normal");
    qn_test_floats(graph, "gain", DIMS(6), NULL);
    NODE(graph, "Mul", "normal gain", "scaled");
    NODE_WITH(graph, "Transpose", "scaled", "by_time", A_INTS("perm", 1, 0, 2));
    qn_test_floats(graph, "w_turned", DIMS(5, 6), NULL);
    NODE_WITH(graph, "Transpose", "w_turned", "w_time", A_INTS("perm", 1, 0));
    NODE(graph, "MatMul", "by_time w_time", "steps");
    NODE(graph, "Relu", "steps", "rectified");
    NODE_WITH(graph, "Transpose", "rectified", "by_item", A_INTS("perm", 1, 0, 2));
    NODE_WITH(graph, "ReduceMean", "by_item", "means", A_INTS("axes", 1), A_INT("keepdims", 0));
    NODE_WITH(graph, "ReduceMean", "scaled", "first_means", A_INTS("axes", 1), A_INT("keepdims", 0));
    NODE_WITH(graph, "Gemm", "first_means w_turned", "direct", A_INT("transB", 1));
    NODE(graph, "Add", "means direct", "y");
    NODE_WITH(graph, "Flatten", "by_item", "z", A_INT("axis", 1));
    qn_test_output(graph, "y");
    qn_test_output(graph, "z");
}

static bool is_by_item(const bench *b, const char *name)
{
    qn_error err;
    qn_error_init(&err);
    qn_restart *restart;
    qn_assert_ok(qn_restart_create(&restart, b->program, &err), &err);
    const bool found = qn_restart_is_by_item(restart, qn_graph_find(&b->model->graph, name));
    qn_restart_free(restart);
    return found;
}

static void attention_as_brute_force(void **state)
{
    (void)state;
    for (int64_t batch = 1; batch <= N_ITEMS; batch += 3) {
        qn_model model = {0};
        attention_graph(&model.graph);
        bench *b = qn_alloc(sizeof *b);
        start(b, &model, QN_ENGINE_FLOAT, batch, 11);
        assert_int_equal(is_by_item(b, "by_time"), batch == 1);
        assert_true(is_by_item(b, "mixed"));
        assert_true(is_by_item(b, "scaled"));
        draw(b, 6, 30);
        assert_true(compare_all(b, "attention") > 100);
        stop(b);
        qn_free(b);
        qn_graph_free(&model.graph);
    }
}

/* A model of fixed shapes whose quantizer has a parameter set for each item of the batch, and one that is dynamic. */
static void fixed_shapes_as_brute_force(void **state)
{
    (void)state;
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        qn_error err;
        qn_error_init(&err);
        qn_model model = {0};
        qn_graph *graph = &model.graph;
        graph->opset = 13;
        qn_test_input(graph, "x", DIMS(4, 5, 6));
        qn_test_floats(graph, "w", DIMS(6, 6), NULL);
        NODE(graph, "MatMul", "x w", "v");
        NODE(graph, "Relu", "v", "r");
        NODE_WITH(graph, "Flatten", "r", "f", A_INT("axis", 1));
        qn_test_floats(graph, "u", DIMS(30, 3), NULL);
        NODE(graph, "MatMul", "f u", "y");
        qn_test_output(graph, "y");
        qn_format format;
        qn_assert_ok(qn_format_parse(&format, "int8", &err), &err);
        const float scales[] = {.01F, .02F, .03F, .015F};
        const int32_t zeros[] = {0, 3, -5, 10};
        const qn_quantizer sets = {.format = format, .axis = 0, .n = 4, .scale = scales, .zero_point = zeros};
        const qn_quantizer anew = {.format = format, .axis = 1, .dynamic = true};
        qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, "v"), dynamic ? &anew : &sets, &err), &err);
        qn_assert_ok(qn_graph_set_quantizer(graph, qn_graph_find(graph, "r"), dynamic ? &anew : &sets, &err), &err);
        bench *b = qn_alloc(sizeof *b);
        start(b, &model, QN_ENGINE_SIMULATE, 4, 3);
        draw(b, 12, 30);
        assert_true(compare_all(b, "fixed shapes") > 50);
        stop(b);
        qn_free(b);
        qn_graph_free(graph);
    }
}

/* Noise of 0, masks that change nothing, and faults struck and gone: nothing but golden. */
static void faults_leave_nothing(void **state)
{
    (void)state;
    qn_model model = {0};
    residual_graph(&model.graph);
    bench *b = qn_alloc(sizeof *b);
    start(b, &model, QN_ENGINE_FLOAT, N_ITEMS, 9);
    float *before = qn_alloc((size_t)qn_tensor_bytes(&b->images));
    memcpy(before, b->images.data, (size_t)qn_tensor_bytes(&b->images));
    draw(b, 8, 40);
    told *first = qn_alloc(MAX_PAIRS * sizeof *first), *again = qn_alloc(MAX_PAIRS * sizeof *again);
    run_all(b, 0, first, MAX_FAULTS);
    run_all(b, 0, again, 1); /* alone: neither company nor what ran before matters */
    for (int64_t p = 0; p < b->n_faults * N_IMAGES; p++) {
        assert_int_equal(first[p].told, again[p].told);
        assert_int_equal(first[p].effect.end, again[p].effect.end);
        assert_int_equal(first[p].effect.died_at, again[p].effect.died_at);
        assert_memory_equal(first[p].outputs, again[p].outputs, sizeof first[p].outputs);
    }
    assert_memory_equal(before, b->images.data, (size_t)qn_tensor_bytes(&b->images));
    for (int64_t i = 0; i < b->n_faults; i++) { /* the same places, but nothing happens there */
        for (int64_t k = 0; k < b->faults[i].n_changes; k++) {
            qn_fault_change *c = (qn_fault_change *)(uintptr_t)&b->faults[i].changes[k];
            c->and_mask = UINT32_MAX;
            c->or_mask = c->xor_mask = 0;
            c->add = 0;
            c->suppress = false;
        }
    }
    memset(again, 0, MAX_PAIRS * sizeof *again);
    run_all(b, 0, again, MAX_FAULTS);
    for (int64_t p = 0; p < b->n_faults * N_IMAGES; p++) {
        assert_int_equal(again[p].effect.end, QN_FAULT_INACTIVE);
        assert_int_equal(again[p].effect.before, again[p].effect.after);
    }
    qn_free(first);
    qn_free(again);
    qn_free(before);
    stop(b);
    qn_free(b);
    qn_graph_free(&model.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_networks_as_brute_force), cmocka_unit_test(attention_as_brute_force),
        cmocka_unit_test(fixed_shapes_as_brute_force),   cmocka_unit_test(simulated_networks_as_brute_force),
        cmocka_unit_test(faults_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
