/* Faults on links against brute force on the shared models, as many as one asks for; run by hand:
 *   fault_link_agree MODEL ENGINE FORMAT FAULTS AFTER CHOICE [on|off] [AFTER CHOICE]
 *   fault_link_agree resnet8_cifar10 integer int8 3000 activation_4 codes off
 * FAULTS in each part of the frames. FORMAT fp32: the float network. Exit code 1 when any disagrees. */
#include "fault_link.h"

#include "fault_agree.h"
#include "fault_models.h"

static struct {
    const char *name, *engine, *format;
    int64_t n_faults;
    int n_links;
    brute_link links[2];
} asked;

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

static void run(void **state)
{
    (void)state;
    const bool is_float = strcmp(asked.format, "fp32") == 0;
    qn_model *model = is_float ? qn_test_float_model(asked.name) : qn_test_quantized_model(asked.name, asked.format);
    qn_tensor x;
    char sets[256];
    int64_t counts[QN_OUTCOME_COUNT];
    brute b = {.model = model,
               .engine = engine_of(asked.engine),
               .data = agree_images(asked.name, 8, &x),
               .n_links = asked.n_links};
    memcpy(b.links, asked.links, sizeof asked.links);
    brute_open(&b);
    snprintf(sets, sizeof sets,
             "  - {where: link, sample: '%lld per where,layer'}\n"
             "  - {name: runs, where: link, pattern: frame, n-bits: 9, sample: %lld}\n",
             (long long)asked.n_faults, (long long)asked.n_faults);
    const int64_t n = brute_agree(&b, sets, 8, 2, counts);
    printf("%s %s %s: %lld faults agree", asked.name, asked.engine, asked.format, (long long)n);
#define SAY(name, bit, text, column) printf(", %s %lld", text, (long long)counts[bit]);
    QN_OUTCOME_LIST(SAY)
#undef SAY
    printf("\n");
    brute_close(&b);
    qn_dataset_close(b.data);
    qn_tensor_free(&x);
    qn_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: fault_link_agree MODEL ENGINE FORMAT FAULTS AFTER CHOICE [on|off] [AFTER CHOICE]\n");
        return 2;
    }
    asked.name = argv[1], asked.engine = argv[2], asked.format = argv[3];
    asked.n_faults = atoll(argv[4]);
    const bool unchecked = argc > 7 && strcmp(argv[7], "off") == 0;
    asked.links[asked.n_links++] = (brute_link){argv[5], argv[6], unchecked};
    if (argc > 9) {
        asked.links[asked.n_links++] = (brute_link){argv[8], argv[9], unchecked};
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(run)};
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
