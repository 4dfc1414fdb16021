/* Faults on links: campaigns against brute force, every bit of a frame, runs of bits, and what is refused. */
#include "fault_link.h"

#include "fault/campaign.h"

static struct {
    qn_model *model, *quantized;
    qn_dataset *data;
    qn_tensor x, labels;
} digits;

static int open_digits(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_dataset *calib;
    qn_quantize_options options;
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    qn_assert_ok(qn_model_load(&digits.model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_assert_ok(qn_dataset_open(&calib, QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", &pre, &err), &err);
    qn_assert_ok(qn_dataset_open(&digits.data, QN_SOURCE_DIR "/examples/digits/test_x_u8.npy", &pre, &err), &err);
    qn_assert_ok(qn_tensor_read(&digits.labels, QN_SOURCE_DIR "/examples/digits/test_y_u8.npy", &err), &err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    options.data = calib;
    qn_assert_ok(qn_quantize(&digits.quantized, digits.model, NULL, &options, NULL, &err), &err);
    qn_dataset_close(calib);
    return 0;
}

static int close_digits(void **state)
{
    (void)state;
    qn_model_free(digits.model);
    qn_model_free(digits.quantized);
    qn_dataset_close(digits.data);
    qn_tensor_free(&digits.labels);
    return 0;
}

/* `must`: outcomes that the trial has; where that is DETECTED alone, it has no others. */
static void agree(const qn_model *model, qn_engine engine, const brute_link *links, int n_links, const char *sets,
                  unsigned must)
{
    int64_t counts[QN_OUTCOME_COUNT];
    brute b = {.model = model, .engine = engine, .data = digits.data, .labels = &digits.labels, .n_links = n_links};
    memcpy(b.links, links, (size_t)n_links * sizeof *links);
    brute_open(&b);
    const int64_t n = brute_agree(&b, sets, 12, 2, counts);
    brute_close(&b);
    print_message(
        "%s engine, %s: %lld faults, %lld masked, %lld tolerated, %lld SDC-1, %lld non-finite, %lld detected\n",
        qn_engine_text(engine), links[0].choice, (long long)n, (long long)counts[0], (long long)counts[1],
        (long long)counts[2], (long long)counts[7], (long long)counts[9]);
    for (int k = 0; k < QN_OUTCOME_COUNT; k++) {
        assert_true(counts[k] > 0 || (must >> k & 1) == 0);
        assert_true(counts[k] == 0 || must != QN_OUTCOME_DETECTED || 1 << k == QN_OUTCOME_DETECTED);
    }
}

static const char single[] = "  - {where: link, sample: 300 per where}\n";

static void codes_of_the_integer_engine(void **state)
{
    (void)state;
    const brute_link links[] = {{"pool.out", "codes", true}, {"cat.out", "int4/channel", true}};
    agree(digits.quantized, QN_ENGINE_INTEGER, links, 2,
          "  - {where: link, sample: '500 per where,layer'}\n"
          "  - {name: rate, where: link, pattern: rate 1e-4, sample: 200}\n"
          "  - {name: two, where: link-payload, model: flip, n-bits: 2, sample: 200}\n"
          "  - {name: run, where: link, pattern: frame, n-bits: 12, sample: 300}\n",
          QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | QN_OUTCOME_NONFINITE | QN_OUTCOME_DETECTED);
}

static void several_tensors_and_floats_of_the_integer_engine(void **state)
{
    (void)state;
    const brute_link links[] = {{"res1.relu.out", "fp32", true}, {"res2.bn.out", "codes", true}};
    agree(digits.quantized, QN_ENGINE_INTEGER, links, 2,
          "  - {where: link, sample: 900}\n"
          "  - {name: exp, where: link-payload, bits: [exponent, msb], sample: 600}\n",
          QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | QN_OUTCOME_NONFINITE | QN_OUTCOME_DETECTED);
}

static void formats_of_a_float_network(void **state)
{
    (void)state;
    static const char *const choices[] = {"fp32", "int8", "adaptivfloat<8,4>", "bfp<8,16>", "int5/group:7/laplace"};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        const brute_link links[] = {{"res.relu.out", choices[i], true}, {"gap.out", "int8", true}};
        agree(digits.model, QN_ENGINE_FLOAT, links, 2, i == 0 ? "  - {where: link, sample: 1500}\n" : single,
              QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | (i == 0 ? QN_OUTCOME_NONFINITE : 0) | QN_OUTCOME_DETECTED);
    }
}

static void simulated_networks(void **state)
{
    (void)state;
    const brute_link links[] = {{"down.relu.out", "codes", true}, {"head.relu.out", "posit<8,1>", true}};
    /* pool.out passes through the stage between, and is handed on with whatever parameters it came with */
    const brute_link passing[] = {{"res1.relu.out", "codes", true}, {"res2.bn.out", "codes", true}};
    agree(digits.quantized, QN_ENGINE_SIMULATE, passing, 2,
          "  - {where: link, layers: res1.relu.out, sample: 500 per where}\n",
          QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | QN_OUTCOME_DETECTED);
    agree(digits.quantized, QN_ENGINE_SIMULATE, links, 2, single,
          QN_OUTCOME_MASKED | QN_OUTCOME_TOLERATED | QN_OUTCOME_SDC1 | QN_OUTCOME_DETECTED);
}

/* With checksums every bit is found, and every run of up to 32 in whatever fields. */
static void checksums_find_everything(void **state)
{
    (void)state;
    const brute_link links[] = {{"gap.out", "codes", false}};
    agree(digits.quantized, QN_ENGINE_INTEGER, links, 1, "  - {where: link, sample: all}\n", QN_OUTCOME_DETECTED);
    for (int n = 2; n <= 32; n += n < 6 ? 1 : 13) {
        char sets[128];
        const brute_link wide[] = {{"pool.out", "int4/channel", false}, {"cat.out", "fp32", false}};
        snprintf(sets, sizeof sets, "  - {where: link, pattern: frame, n-bits: %d, sample: 1500}\n", n);
        agree(digits.quantized, QN_ENGINE_INTEGER, wide, 2, sets, QN_OUTCOME_DETECTED);
    }
}

/* Links that lose nothing are not there: the integer engine's answers are the same bytes. */
static void codes_lose_nothing(void **state)
{
    (void)state;
    brute b = {.model = digits.quantized,
               .engine = QN_ENGINE_INTEGER,
               .data = digits.data,
               .n_links = 2,
               .links = {{"pool.out", "codes", false}, {"cat.out", "fp32", true}}};
    brute_open(&b);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, b.engine, &b.err), &b.err);
    qn_assert_ok(qn_program_create(&program, b.model, &options, &b.err), &b.err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &b.err), &b.err);
    float *x = qn_alloc((size_t)qn_program_input_count(program, 0) * sizeof *x);
    for (int64_t image = 0; image < 50; image++) {
        float whole[BRUTE_CLASSES], staged[BRUTE_CLASSES];
        const float *in[] = {x};
        float *out[] = {whole};
        qn_assert_ok(qn_dataset_read(b.data, image, 1, x, &b.err), &b.err);
        qn_assert_ok(qn_program_run(program, workspace, in, 1, out, &b.err), &b.err);
        assert_int_equal(brute_run(&b, image, NULL, 0, staged), BRUTE_RAN);
        assert_memory_equal(whole, staged, (size_t)b.n_classes * sizeof *whole);
    }
    qn_free(x);
    qn_workspace_free(workspace);
    qn_program_free(program);
    brute_close(&b);
}

/* Whatever strikes, fast and from scratch are the same: every pair is run twice. */
static void all_models_and_patterns_verify(void **state)
{
    (void)state;
    static const char text[] =
        "seed: 2\nverify: 100%\n"
        "links: [{after: pool.out, checksum: off}, {after: res1.relu.out, choice: int6/channel, checksum: off},\n"
        "  {after: res2.bn.out, checksum: off}, {after: cat.out, choice: fp32, checksum: off}]\n"
        "faults:\n"
        "  - {name: nothing, where: link, model: none, sample: 50}\n"
        "  - {name: stuck, where: link, model: stuck-at-1, n-bits: 3, sample: 200}\n"
        "  - {name: random, where: link, model: random-code, sample: 200}\n"
        "  - {name: wire, where: link-payload, model: stuck-at-0, bits: msb, lifetime: permanent, sample: 30}\n"
        "  - {name: some, where: link, pattern: count 5, per: item, sample: 200}\n"
        "  - {name: channel, where: link-payload, pattern: channel, sample: 60}\n"
        "  - {name: word, where: link-payload, pattern: word 64, n-bits: 5, sample: 100}\n"
        "  - {name: late, where: link, layers: cat.out, pattern: all, model: stuck-at-0, bits: 7, sample: 8}\n"
        "  - {name: noise, where: link, pattern: rate 3e-4, lifetime: 3, sample: 60}\n";
    static const qn_engine engines[] = {QN_ENGINE_INTEGER, QN_ENGINE_SIMULATE, QN_ENGINE_FLOAT};
    for (size_t e = 0; e < 3; e++) {
        qn_error err;
        qn_error_init(&err);
        qn_fault_spec *spec;
        qn_campaign_options options;
        qn_campaign_stats stats;
        qn_store *store;
        qn_store_groups groups;
        qn_assert_ok(qn_fault_spec_of_text(&spec, text, "spec", &err), &err);
        qn_assert_ok(qn_campaign_options_init(&options, digits.quantized, &err), &err);
        options.data = digits.data;
        options.n_images = 8;
        options.spec = spec;
        options.engine = engines[e];
        options.store = qn_scratch_file("models.db");
        options.overwrite = true;
        options.n_threads = 2;
        qn_assert_ok(qn_campaign_run(&options, &stats, &err), &err);
        assert_int_equal(stats.n_verified, stats.pairs);
        qn_assert_ok(qn_store_open(&store, options.store, &err), &err);
        qn_assert_ok(qn_store_rates(&groups, store, QN_STORE_BY_SET, 0, &err), &err);
        assert_int_equal(groups.n, 9);
        for (size_t i = 0; i < groups.n; i++) {
            const qn_store_group *g = &groups.list[i];
            int64_t sum = g->counts[0] + g->counts[1] + g->counts[2] + g->counts[7] + g->counts[9];
            assert_int_equal(sum, g->pairs);
            if (strcmp(g->set, "nothing") == 0) {
                assert_true(g->ends[QN_FAULT_INACTIVE] == g->pairs && g->activated == 0);
            } else {
                assert_true(g->activated > 0);
            }
        }
        qn_store_groups_free(&groups);
        qn_store_close(store);
        qn_fault_spec_close(spec);
    }
}

/* -- every bit of a header ---------------------------------------------------------------------------------------- */

typedef struct expectation {
    int from, to; /* bytes */
    unsigned bits;
    qn_link_end end;
    const char *text; /* NULL: any */
} expectation;

static qn_link_path *path_of(const char *spec_text, qn_fault_spec **spec)
{
    qn_error err;
    qn_error_init(&err);
    qn_link_path *path;
    qn_assert_ok(qn_fault_spec_of_text(spec, spec_text, "spec", &err), &err);
    qn_assert_ok(qn_link_path_create(&path, digits.quantized, QN_ENGINE_INTEGER, qn_cpu_best(), *spec, &err), &err);
    return path;
}

static void flip_each(const char *spec_text, const expectation *list, size_t n)
{
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec;
    qn_link_path *path = path_of(spec_text, &spec);
    qn_link_runner runner;
    qn_assert_ok(qn_link_runner_make(&runner, path, &err), &err);
    const qn_link_frame *f = &path->frames[0];
    const int64_t count = f->tensor->count;
    float *x = qn_alloc((size_t)count * sizeof *x), *y = qn_alloc((size_t)count * sizeof *y);
    unsigned char *bytes = qn_alloc(f->layout->n_bytes);
    for (int64_t i = 0; i < count; i++) {
        x[i] = (float)i * 0.25F;
    }
    bool refused = false;
    qn_assert_ok(qn_link_send(&runner, 0, 0, x, bytes, &refused, &err), &err);
    assert_false(refused);
    for (size_t bit = 0; bit < 8 * f->layout->header_bytes; bit++) {
        const int byte = (int)(bit / 8);
        size_t k = 0;
        while (k < n && !(byte >= list[k].from && byte < list[k].to && (list[k].bits >> bit % 8 & 1) != 0)) {
            k++;
        }
        assert_true(k < n);
        qn_link_verdict verdict;
        bytes[byte] ^= (unsigned char)(1 << bit % 8);
        qn_assert_ok(qn_link_receive(&runner, 0, bytes, y, &verdict, &err), &err);
        bytes[byte] ^= (unsigned char)(1 << bit % 8);
        const bool found = list[k].text == NULL || strstr(verdict.text, list[k].text) != NULL;
        if (verdict.end != list[k].end || !found || (verdict.end != QN_LINK_TAKEN && verdict.text[0] == '\0')) {
            fail_msg("byte %d, bit %d: end %d '%s'; expected end %d '%s'", byte, (int)(bit % 8), (int)verdict.end,
                     verdict.text, (int)list[k].end, list[k].text != NULL ? list[k].text : "any");
        }
    }
    qn_free(x);
    qn_free(y);
    qn_free(bytes);
    qn_link_runner_free(&runner);
    qn_link_path_free(path);
    qn_fault_spec_close(spec);
}

/* Of [1, channels, 1, 1], uint8 as its codes: rank 4, granularity tensor. */
static void every_header_bit_has_its_verdict(void **state)
{
    (void)state;
    const int dims = 32, name = dims + 8 * 4, crc = name + 8;
    const expectation unchecked[] = {
        {0, 4, 255, QN_LINK_UNREADABLE, "not its signature"},
        {4, 6, 255, QN_LINK_UNREADABLE, "a version of frames"},
        {6, 7, 7, QN_LINK_TAKEN, NULL},      /* what was done to values: nothing for the reader */
        {6, 7, 8, QN_LINK_HEADER_CRC, NULL}, /* it says that there are checksums */
        {6, 8, 255, QN_LINK_UNREADABLE, "flags or a reserved byte"},
        {8, 9, 1, QN_LINK_UNREADABLE, "granularity is not the one expected"}, /* item: as many parameters */
        {8, 9, 2, QN_LINK_UNREADABLE, "the length of the body"},              /* channel: more */
        {8, 9, 252, QN_LINK_UNREADABLE, "granularity is unknown"},
        {9, 11, 255, QN_LINK_UNREADABLE, NULL}, /* everything behind is read elsewhere */
        {11, 12, 255, QN_LINK_UNREADABLE, "flags or a reserved byte"},
        {12, 16, 255, QN_LINK_UNREADABLE, "checksums in spite of the flags"},
        {16, 24, 255, QN_LINK_UNREADABLE, "granularity"},
        {24, 32, 255, QN_LINK_UNREADABLE, "the length of the body"},
        {dims, name, 255, QN_LINK_UNREADABLE, NULL},
        {name, crc, 255, QN_LINK_UNREADABLE, NULL},
        {crc, crc + 4, 255, QN_LINK_UNREADABLE, "checksums in spite of the flags"},
    };
    flip_each("{links: [{after: gap.out, checksum: off}], faults: [{where: link}]}", unchecked,
              sizeof unchecked / sizeof unchecked[0]);
    const expectation checked[] = {
        {0, 4, 255, QN_LINK_UNREADABLE, "not its signature"},
        {4, 6, 255, QN_LINK_UNREADABLE, "a version of frames"},
        {6, 7, 8, QN_LINK_UNREADABLE, "checksums in spite of the flags"},
        {9, 10, 8, QN_LINK_UNREADABLE, "more than 8 dimensions"},
        {9, 10, 240, QN_LINK_UNREADABLE, "more than 8 dimensions"},
        {10, 11, 192, QN_LINK_UNREADABLE, "format"},
        {6, crc + 4, 255, QN_LINK_HEADER_CRC, "header is damaged"},
    };
    flip_each("{links: [{after: gap.out}], faults: [{where: link}]}", checked, sizeof checked / sizeof checked[0]);
}

/* Fields lie one after another, from the first bit to the last, where the specification of frames has them. */
static void fields_are_all_of_a_frame(void **state)
{
    (void)state;
    static const char *const formats[] = {
        "fp32", "int8", "uint4", "adaptivfloat<8,4>", "bfp<6,16>", "mx<int8>", "pipeedge<6>", "float<4,3>", "int5"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        for (int checksum = 0; checksum < 2; checksum++) {
            qn_error err;
            qn_error_init(&err);
            qn_link_options options;
            qn_link_options_init(&options);
            options.format = formats[i];
            options.per = strncmp(formats[i], "bfp", 3) == 0 || strncmp(formats[i], "mx", 2) == 0 ? QN_LINK_PER_BLOCK
                          : i == 0                                                                ? QN_LINK_PER_TENSOR
                                                                                                  : QN_LINK_PER_CHANNEL;
            qn_frame frame;
            qn_assert_ok(qn_frame_plan(&frame, &options, 3, (const int64_t[]){1, 3, 5}, &err), &err);
            qn_frame_field fields[QN_FRAME_FIELDS_MAX];
            const int n = qn_frame_fields(fields, &frame, (qn_link_checksum)checksum);
            int64_t at = 0, zeros = 0;
            for (int k = 0; k < n; k++) {
                assert_int_equal(fields[k].first_bit, at);
                assert_true(fields[k].bits >= 1 && fields[k].bits <= 32 && fields[k].n >= 1);
                assert_int_equal(brute_offset(&frame, fields[k].name, (int)zeros), at);
                zeros += strcmp(fields[k].name, "zeros") == 0;
                at += fields[k].n * fields[k].bits;
            }
            assert_int_equal(at, 8 * (int64_t)frame.n_bytes);
            assert_int_equal(zeros, checksum == QN_LINK_CHECKSUM_OFF ? 2 : 0);
        }
    }
}

static void refused(const char *spec_text, qn_engine engine, const char *fragment)
{
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *spec = NULL;
    qn_status status = qn_fault_spec_of_text(&spec, spec_text, "spec", &err);
    if (status == QN_OK) {
        qn_campaign_options options;
        qn_campaign_plan *plan;
        qn_assert_ok(qn_campaign_options_init(&options, digits.quantized, &err), &err);
        options.data = digits.data;
        options.spec = spec;
        options.engine = engine;
        status = qn_campaign_plan_make(&plan, &options, 0, &err);
    }
    qn_assert_fails(status, &err, status == QN_EFORMAT || status == QN_ECONFLICT ? status : QN_EINVAL, fragment);
    qn_fault_spec_close(spec);
}

static void bad_links_are_refused(void **state)
{
    (void)state;
#define LINK "links: [{after: pool.out, checksum: off}]\n"
    refused("faults: [{where: link}]\n", QN_ENGINE_INTEGER, "no link: say behind what, with 'links: [{after: NAME}]'");
    refused(LINK "faults: [{where: weights}]\n", QN_ENGINE_INTEGER, "make two campaigns");
    refused(LINK "faults: [{where: [link, weights]}]\n", QN_ENGINE_INTEGER, "make two campaigns");
    refused("links: [{choice: int8}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER, "a link needs 'after'");
    refused("links: [{after: a}, {after: a}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER,
            "a second link behind 'a'");
    refused("links: [{after: a, chekcsum: on}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER,
            "did you mean 'checksum'");
    refused("links: [{after: a, checksum: maybe}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER, "is not on or off");
    refused("links: [{after: a, after: b}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER, "after is given twice");
    refused("links: pool.out\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER, "where a list of links is wanted");
    refused("links: [pool.out]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER, "where a link is wanted");
    refused("links: [{after: a, choice: int99}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER,
            "there is no format int99");
    refused("links: [{after: nowhere}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER,
            "line 1, link after 'nowhere': no place to part stages");
    refused("links: [{after: pool.out, choice: int8/block}]\nfaults: [{where: link}]\n", QN_ENGINE_INTEGER,
            "no blocks");
    refused(LINK "faults: [{where: link, frame: header-crc}]\n", QN_ENGINE_INTEGER, "the frames have no checksums");
    refused(LINK "faults: [{where: link, frame: shift}]\n", QN_ENGINE_INTEGER, "no field of a frame");
    refused("links: [{after: pool.out, choice: fp32}]\nfaults: [{where: link-parameters}]\n", QN_ENGINE_INTEGER,
            "frames have no link-parameters, as those of fp32");
    refused(LINK "faults: [{where: link-payload, bits: exponent}]\n", QN_ENGINE_INTEGER, "has a field 'exponent'");
    refused(LINK "faults: [{where: link, model: set-zero}]\n", QN_ENGINE_INTEGER, "what travels are bits");
    refused(LINK "faults: [{where: link, suppress-invalid: true}]\n", QN_ENGINE_INTEGER, "what travels are bits");
    refused("faults: [{where: weights, frame: version}]\n", QN_ENGINE_INTEGER, "frame belongs to places on links");
    refused("faults: [{where: weights, pattern: frame}]\n", QN_ENGINE_INTEGER,
            "pattern frame belongs to places on links");
    refused(LINK "faults: [{where: link, pattern: frame, model: random-code}]\n", QN_ENGINE_INTEGER,
            "pattern frame takes the models flip");
    refused(LINK "faults: [{where: link, pattern: frame, channels: 0}]\n", QN_ENGINE_INTEGER, "leave them out");
    refused(LINK "faults: [{where: link, pattern: frame, n-bits: 100000}]\n", QN_ENGINE_INTEGER, "has no faults");
    refused(LINK "faults: [{where: link, pattern: frame, sample: 5 per bit}]\n", QN_ENGINE_INTEGER, "strata by bit");
    refused("prove: margin\n" LINK "faults: [{where: link}]\n", QN_ENGINE_INTEGER, "not of those on links");
    refused(LINK "faults: [{where: link-payload, pattern: array 4x4 stationary output part pe}]\n", QN_ENGINE_INTEGER,
            "is in the array");
}

/* The text of a specification reads as the same one. */
static void links_survive_as_text(void **state)
{
    (void)state;
    qn_error err;
    qn_error_init(&err);
    qn_fault_spec *a, *b;
    const char *first, *second;
    qn_assert_ok(qn_fault_spec_of_text(&a,
                                       "links: [{after: \"x'y\", choice: int4/mse/item, checksum: off}, {after: z}]\n"
                                       "faults: [{where: link, frame: 'd*, crc'}, {where: link-header, pattern: frame, "
                                       "n-bits: 40}]\n",
                                       "spec", &err),
                 &err);
    qn_assert_ok(qn_fault_spec_text(a, &first, &err), &err);
    qn_assert_ok(qn_fault_spec_of_text(&b, first, "again", &err), &err);
    qn_assert_ok(qn_fault_spec_text(b, &second, &err), &err);
    assert_string_equal(first, second);
    assert_non_null(
        strstr(first, "  - after: \"x'y\"\n    choice: \"int4/mse\"\n    checksum: \"off\"\n  - after: \"z\"\n"));
    assert_non_null(strstr(first, "frame: [\"d*\", \"crc\"]"));
    assert_true(b->n_links == 2 && b->links[0].unchecked && !b->links[1].unchecked);
    qn_fault_spec_close(a);
    qn_fault_spec_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_all_of_a_frame),
        cmocka_unit_test(every_header_bit_has_its_verdict),
        cmocka_unit_test(codes_lose_nothing),
        cmocka_unit_test(codes_of_the_integer_engine),
        cmocka_unit_test(several_tensors_and_floats_of_the_integer_engine),
        cmocka_unit_test(formats_of_a_float_network),
        cmocka_unit_test(simulated_networks),
        cmocka_unit_test(checksums_find_everything),
        cmocka_unit_test(all_models_and_patterns_verify),
        cmocka_unit_test(bad_links_are_refused),
        cmocka_unit_test(links_survive_as_text),
    };
    return cmocka_run_group_tests(tests, open_digits, close_digits);
}
