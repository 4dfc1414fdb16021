/* Faults in tables: every entry and every bit of those of a small network, by the fast injector and from scratch; where
 * tables are and what they hold. */
#include "fault_agree.h"
#include "random_networks.h"

#include "fault/targets.h"

enum { IMAGES = 2 };

typedef struct {
    random_net net;
    qn_program *program;
    qn_fault_targets targets;
    qn_tensor images; /* which the data set shows */
    qn_dataset *data;
} scene;

/* A Relu and a Clip whose results carry no quantizer of their own: they keep their input's. */
static void net_of_clips(random_net *t, uint64_t seed)
{
    qn_graph *g = net_start(t, seed);
    qn_test_input(g, "x", DIMS(-1, 3, 4, 4));
    net_code(t, "x", NET_EXPONENT, seed % 2 ? -10 : 100, seed % 2);
    NODE(g, "Relu", "x", "r");
    NODE_WITH(g, "MaxPool", "r", "pooled", A_INTS("kernel_shape", 2, 2), A_INTS("strides", 2, 2));
    qn_test_floats(g, "most", 0, (int64_t[]){1}, (float[]){1.5f});
    NODE(g, "Clip", "pooled - most", "c");
    NODE(g, "Flatten", "c", "flat");
    net_matrix(t, "flat", "y", 12, 5, true);
    qn_test_output(g, "y");
}

static void open_scene(scene *s, void (*make)(random_net *, uint64_t), uint64_t seed)
{
    const qn_arithmetic arithmetic = {0};
    make(&s->net, seed);
    s->program = net_compile(&s->net, &arithmetic);
    qn_error *err = &s->net.err;
    qn_assert_ok(qn_fault_targets_make(&s->targets, s->program, err), err);
    const qn_value *x = &s->net.model.graph.values[s->net.model.graph.inputs[0]];
    const int64_t dims[] = {IMAGES, x->dims[1], x->dims[2], x->dims[3]};
    qn_tensor *t = &s->images;
    *t = (qn_tensor){0};
    qn_assert_ok(qn_tensor_alloc(t, QN_DTYPE_F32, 4, dims, err), err);
    for (int64_t i = 0; i < qn_tensor_count(t); i++) {
        ((float *)t->data)[i] = qn_test_uniform(&s->net.seed, -3, 3);
    }
    qn_assert_ok(qn_dataset_of_tensor(&s->data, t, NULL, err), err);
}

static void close_scene(scene *s)
{
    qn_dataset_close(s->data);
    qn_tensor_free(&s->images);
    qn_fault_targets_free(&s->targets);
    qn_program_free(s->program);
    net_release(&s->net);
}

/* What came of each fault in each image: an end, codes, outputs. */
typedef struct {
    qn_fault_effect effect;
    float outputs[512];
} seen;

typedef struct {
    seen *list;
    int64_t count;
} sight;

static void see(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    sight *s = ctx;
    seen *at = &s->list[fault * IMAGES + image];
    at->effect = *effect;
    if (effect->outputs != NULL) {
        memcpy(at->outputs, effect->outputs, (size_t)s->count * sizeof(float));
    }
}

/* All faults of one table; how many of them reach the outputs. */
static int64_t compare(const scene *s, qn_injector *const injectors[2], int32_t target)
{
    const qn_fault_target *t = &s->targets.list[target];
    const int64_t n = t->n_elems * t->bits;
    qn_fault_change *changes = calloc((size_t)n, sizeof *changes);
    qn_fault *faults = calloc((size_t)n, sizeof *faults);
    const qn_fault **list = calloc((size_t)n, sizeof *list);
    sight sights[2];
    qn_error err;
    qn_error_init(&err);
    for (int64_t i = 0; i < n; i++) {
        changes[i] = (qn_fault_change){
            .target = target, .element = i / t->bits, .and_mask = UINT32_MAX, .xor_mask = UINT32_C(1) << (i % t->bits)};
        faults[i] = (qn_fault){.id = i, .n_images = IMAGES, .n_changes = 1, .changes = &changes[i]};
        list[i] = &faults[i];
    }
    for (int k = 0; k < 2; k++) {
        sights[k] = (sight){calloc((size_t)n * IMAGES, sizeof(seen)), injectors[k]->output_count};
        assert_true(sights[k].count <= 512);
        const int64_t group = injectors[k]->ops->group(injectors[k]);
        for (int64_t first = 0; first < IMAGES; first += group) {
            const int64_t some = IMAGES - first < group ? IMAGES - first : group;
            qn_assert_ok(injectors[k]->ops->run(injectors[k], 0, first, some, list, n, see, &sights[k], &err), &err);
        }
    }
    int64_t n_told = 0;
    for (int64_t i = 0; i < n * IMAGES; i++) {
        const seen *a = &sights[0].list[i], *b = &sights[1].list[i];
        assert_int_equal(a->effect.before, b->effect.before);
        assert_int_equal(a->effect.after, b->effect.after);
        assert_int_equal(a->effect.before ^ a->effect.after, changes[i / IMAGES].xor_mask);
        assert_int_equal(a->effect.end == QN_FAULT_AT_OUTPUT, b->effect.end == QN_FAULT_AT_OUTPUT);
        assert_memory_equal(a->outputs, b->outputs, (size_t)sights[0].count * sizeof(float));
        n_told += a->effect.end == QN_FAULT_AT_OUTPUT;
    }
    free(sights[0].list);
    free(sights[1].list);
    free(changes);
    free(faults);
    free(list);
    return n_told;
}

static void all_faults_are_the_same_from_scratch(void **unused)
{
    (void)unused;
    int n_tables = 0;
    int64_t told = 0;
    for (uint64_t seed = 1; seed < 5; seed++) {
        scene s;
        qn_injector *injectors[2];
        open_scene(&s, seed < 3 ? net_of_gates : net_of_clips, seed);
        const qn_injector_options options = {.program = s.program,
                                             .model = &s.net.model,
                                             .data = s.data,
                                             .targets = &s.targets,
                                             .n_workers = 1,
                                             .memory_bytes = 64 << 20};
        qn_assert_ok(qn_injector_create_of(&injectors[0], &options, &qn_injector_integer, &s.net.err), &s.net.err);
        qn_assert_ok(qn_injector_create_of(&injectors[1], &options, &qn_injector_whole, &s.net.err), &s.net.err);
        for (int i = 0; i < s.targets.n; i++) {
            if (s.targets.list[i].where == QN_FAULT_TABLES) {
                assert_int_equal(s.targets.list[i].coding, QN_FAULT_CODED);
                assert_int_equal(s.targets.list[i].bits, 8);
                told += compare(&s, injectors, i);
                n_tables++;
            }
        }
        qn_injector_free(injectors[0]);
        qn_injector_free(injectors[1]);
        close_scene(&s);
    }
    assert_in_range(n_tables, 6 + 4, 100);
    assert_true(told > 1000);
}

/* The table of a Tanh, entry by entry; the codes are signed. */
static void entries_are_codes_of_the_result(void **unused)
{
    (void)unused;
    scene s;
    open_scene(&s, net_of_gates, 1);
    for (int i = 0; i < s.targets.n; i++) {
        const qn_fault_target *t = &s.targets.list[i];
        if (t->where != QN_FAULT_TABLES || strcmp(t->op_type, "Tanh") != 0) {
            continue;
        }
        qn_fault_table table;
        assert_string_equal(t->value_name, "mask");
        assert_int_equal(t->n_elems, 256);
        assert_int_equal(t->bits, 8);
        assert_true(qn_targets_find_table(s.program, t->value, 255, &table));
        assert_false(qn_targets_find_table(s.program, t->value, 256, &table));
        const qn_integer_code *code = s.program->code;
        const qn_integer_tensor *x = &code->tensors[code->steps[table.step].input[0]];
        for (int e = 0; e < 256; e++) {
            const double real = tanh((double)(table.lowest + e - x->zero_point) * (double)x->scale);
            const double wanted = fmax(-128, fmin(127, rint(real * 128)));
            assert_true(fabs(code->steps[table.step].u.lookup.table[table.lowest + e] - 128 - wanted) <= 0);
        }
        close_scene(&s);
        return;
    }
    fail_msg("no table of a Tanh");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_faults_are_the_same_from_scratch),
        cmocka_unit_test(entries_are_codes_of_the_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
