/* Fast injectors against brute force on the shared models, as many faults as one asks for; run by hand:
 *   fault_agree MODEL ENGINE FORMAT FAULTS [WHERE|any|all] [SEED] [LIFETIME]
 *   fault_agree resnet8_cifar10 integer int8 20000
 * LIFETIME is 1 image, which is drawn (default), or 0: all eight. Prints for each kind: pairs, how they ended, and how many disagree; exit code 1 when any does. */
#include "fault_agree.h"
#include "fault_models.h"

static qn_engine engine_of(const char *text)
{
    for (int i = 0; qn_engine_text((qn_engine)i) != NULL; i++) {
        if (strcmp(qn_engine_text((qn_engine)i), text) == 0) {
            return (qn_engine)i;
        }
    }
    fail_msg("engine '%s' is none", text);
    return QN_ENGINE_FLOAT;
}

static struct {
    const char *name, *engine, *format;
    int64_t n_faults;
    bool one_kind;
    int where;
    uint64_t seed;
    int64_t lifetime;
    int64_t disagree;
} asked;

static void run(void **state)
{
    (void)state;
    const qn_engine engine = engine_of(asked.engine);
    qn_model *model = strcmp(asked.format, "fp32") == 0 ? qn_test_float_model(asked.name)
                                                        : qn_test_quantized_model(asked.name, asked.format);
    qn_fault_targets targets;
    qn_program *program = qn_test_fault_program(model, engine, &targets);
    qn_tensor x;
    qn_dataset *data = agree_images(asked.name, 8, &x);
    agree a;
    agree_open(&a, asked.name, program, model, data, &targets,
               engine == QN_ENGINE_INTEGER ? &qn_injector_integer : &qn_injector_float, asked.seed);
    a.lifetime = asked.lifetime;
    for (int where = AGREE_ANY; where < QN_FAULT_N_WHERE; where++) {
        if (asked.one_kind && where != asked.where) {
            continue;
        }
        memset(a.counts, 0, sizeof a.counts);
        a.pairs = a.disagree = 0;
        if (agree_run(&a, where, asked.n_faults)) {
            printf("%s %s %s %s: %lld pairs (inactive %lld, in layer %lld, on the way %lld, at output %lld, refused "
                   "%lld), %lld disagree\n",
                   asked.name, asked.engine, asked.format,
                   where < 0 ? "any" : qn_fault_where_text((qn_fault_where)where), (long long)a.pairs,
                   (long long)a.counts[0], (long long)a.counts[1], (long long)a.counts[2], (long long)a.counts[3],
                   (long long)a.counts[4], (long long)a.disagree);
            fflush(stdout);
        }
        asked.disagree += a.disagree;
    }
    agree_close(&a);
    qn_dataset_close(data);
    qn_tensor_free(&x);
    qn_fault_targets_free(&targets);
    qn_program_free(program);
    qn_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: fault_agree MODEL ENGINE FORMAT FAULTS [WHERE|any|all] [SEED] [LIFETIME]\n");
        return 2;
    }
    asked.name = argv[1], asked.engine = argv[2], asked.format = argv[3];
    asked.n_faults = atoll(argv[4]);
    qn_fault_where where;
    asked.where = argc > 5 && qn_fault_where_parse(&where, argv[5]) ? (int)where : AGREE_ANY;
    asked.one_kind = argc > 5 && strcmp(argv[5], "all") != 0;
    asked.lifetime = argc > 7 ? atoll(argv[7]) : 1;
    asked.seed = argc > 6 ? (uint64_t)atoll(argv[6]) : 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(run)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed != 0 || asked.disagree != 0;
}
