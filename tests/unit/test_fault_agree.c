/* Fast injectors against brute force: the same bytes of random faults of every kind, on random networks and on the shared
 * models. tests/slow/fault_agree.c is the same by the ten thousand. */
#include "fault_agree.h"
#include "fault_models.h"
#include "random_networks.h"

enum { IMAGES = 3 };

static const qn_injector_ops *fast_of(qn_engine engine)
{
    return engine == QN_ENGINE_INTEGER ? &qn_injector_integer : &qn_injector_float;
}

/* Constants are what their codes stand for, also where a network was made for an engine that does not look at them. */
static void decode_constants(qn_graph *graph)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        const qn_value *v = &graph->values[i];
        if (v->codes != NULL) {
            qn_quantizer_decode(v->constant->data, v->codes->data, v->quantizer, v->codes->rank, v->codes->dims);
        }
    }
}

static void random_network(qn_engine engine, uint64_t seed, int64_t n_any, int64_t n_kind)
{
    random_net net;
    net_of_any(&net, seed);
    decode_constants(&net.model.graph);
    const qn_arithmetic arithmetic = net_arithmetic(seed);
    qn_assert_ok(qn_graph_set_arithmetic(&net.model.graph, &arithmetic, &net.err), &net.err);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(&net.model, engine, &targets);
    int64_t dims[QN_MAX_RANK] = {IMAGES};
    qn_tensor x;
    const int rank = 1 + qn_program_input_shape(program, 0, dims + 1);
    qn_assert_ok(qn_tensor_alloc(&x, QN_DTYPE_F32, rank, dims, &net.err), &net.err);
    uint64_t random = seed + 1;
    for (int64_t i = 0; i < qn_tensor_count(&x); i++) {
        ((float *)x.data)[i] = qn_test_uniform(&random, -2, 2);
    }
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, &x, NULL, &net.err), &net.err);
    char name[64];
    snprintf(name, sizeof name, "random network %d, %s engine", (int)seed, qn_engine_text(engine));
    agree a;
    agree_open(&a, name, program, &net.model, data, &targets, fast_of(engine), seed);
    assert_true(agree_run(&a, AGREE_ANY, n_any));
    for (int where = 0; where < QN_FAULT_N_WHERE; where++) {
        (void)agree_run(&a, where, n_kind);
    }
    assert_int_equal(a.disagree, 0);
    assert_true(a.counts[QN_FAULT_AT_OUTPUT] > 0);
    agree_close(&a);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    net_release(&net);
}

static void random_integer(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        random_network(QN_ENGINE_INTEGER, seed, 16, 6);
    }
}

static void random_simulated(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        random_network(QN_ENGINE_SIMULATE, seed, 8, 4);
    }
}

static void random_float(void **state)
{
    (void)state;
    for (uint64_t seed = 3; seed < 6; seed++) {
        random_network(QN_ENGINE_FLOAT, seed, 8, 4);
    }
}

static void shared(const char *name, qn_engine engine, const char *format, int64_t n)
{
    qn_model *model = format == NULL ? qn_test_float_model(name) : qn_test_quantized_model(name, format);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, engine, &targets);
    qn_tensor x;
    qn_dataset *data = agree_images(name, 1, &x);
    agree a;
    agree_open(&a, name, program, model, data, &targets, fast_of(engine), 5);
    for (int where = 0; where < QN_FAULT_N_WHERE; where++) {
        (void)agree_run(&a, where, n);
    }
    printf("%s, %s engine, %s: %lld pairs, %lld at the output\n", name, qn_engine_text(engine),
           format != NULL ? format : "fp32", (long long)a.pairs, (long long)a.counts[QN_FAULT_AT_OUTPUT]);
    assert_int_equal(a.disagree, 0);
    agree_close(&a);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

static void shared_models(void **state)
{
    (void)state;
    shared("lenet_cifar10", QN_ENGINE_INTEGER, "int8", 200);
    shared("resnet8_cifar10", QN_ENGINE_INTEGER, "int8", 25);
    shared("kws_dscnn", QN_ENGINE_INTEGER, "int8", 25);
    shared("vit_cifar10", QN_ENGINE_INTEGER, "int8", 4);
    shared("lenet_cifar10", QN_ENGINE_FLOAT, NULL, 20);
    shared("lenet_cifar10", QN_ENGINE_SIMULATE, "fp8e4m3", 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_integer),
        cmocka_unit_test(random_simulated),
        cmocka_unit_test(random_float),
        cmocka_unit_test(shared_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
