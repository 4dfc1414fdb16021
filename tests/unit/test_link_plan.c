/* Plan files: read, written, refused; plans that fit a network and plans that do not. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "format/quantizer.h"
#include "graph/model.h"
#include "link/plan.h"
#include "quern/quern.h"

static const char *put(const char *name, const char *text)
{
    qn_error err;
    qn_error_init(&err);
    const char *path = qn_scratch_file(name);
    qn_assert_ok(qn_file_write_all(path, true, text, strlen(text), &err), &err);
    return path;
}

static void read_text(qn_plan *plan, const char *text)
{
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_plan_read(plan, put("plan.yaml", text), &err), &err);
}

static void refused(const char *text, const char *fragment)
{
    qn_error err;
    qn_plan plan;
    qn_error_init(&err);
    qn_assert_fails(qn_plan_read(&plan, put("bad.yaml", text), &err), &err, QN_EFORMAT, fragment);
    assert_null(plan.stages);
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const char whole_plan[] = "version: 1\n"
                                 "model: 'dir/a model.onnx'\n"
                                 "sha256: " SHA "\n"
                                 "engine: integer\n"
                                 "microbatch: 4\n"
                                 "stages:\n"
                                 "  - {until: /layer1/Relu_output_0, device: fast, memory: 512kB}\n"
                                 "  - until: 'x: \"y\" \\ *'\n"
                                 "    memory: 1.5MiB\n"
                                 "    seconds_per_item: 0.00125\n"
                                 "  - device: slow\n"
                                 "links:\n"
                                 "  - {format: int4, per: channel, clamp: laplace, bandwidth: 10Mbit, latency: 5ms}\n"
                                 "  - choices:\n"
                                 "      - codes\n"
                                 "      - {format: \"adaptivfloat<8,4>\", loss: 0.2%, sqnr_db: 41.5}\n"
                                 "      - {format: fp32, loss: 0, sqnr_db: .inf}\n"
                                 "    checksum: false\n"
                                 "    bandwidth: 1.25 MB/s\n"
                                 "    medium: radio\n"
                                 "policy:\n"
                                 "  name: quern\n"
                                 "  rate: 30\n"
                                 "  window: 20\n"
                                 "  accuracy_budget: 0.5%\n";

static void expect_whole(const qn_plan *plan)
{
    char text[QN_LINK_CHOICE_MAX];
    assert_string_equal(plan->model, "dir/a model.onnx");
    assert_string_equal(plan->sha256, SHA);
    assert_true(plan->engine_given && plan->engine == QN_ENGINE_INTEGER);
    assert_int_equal(plan->microbatch, 4);
    assert_int_equal(plan->n_stages, 3);
    assert_string_equal(plan->stages[0].until, "/layer1/Relu_output_0");
    assert_string_equal(plan->stages[0].device, "fast");
    assert_int_equal(plan->stages[0].memory, 512000);
    assert_true(isnan(plan->stages[0].seconds_per_item));
    assert_string_equal(plan->stages[1].until, "x: \"y\" \\ *");
    assert_null(plan->stages[1].device);
    assert_int_equal(plan->stages[1].memory, 1572864);
    assert_true(plan->stages[1].seconds_per_item == 0.00125);
    assert_null(plan->stages[2].until);
    assert_int_equal(plan->stages[2].memory, 0);
    const qn_plan_link *links = plan->links;
    assert_int_equal(links[0].n_choices, 1);
    qn_link_choice_text(text, &links[0].choices[0]);
    assert_string_equal(text, "int4/channel/laplace");
    assert_true(isnan(links[0].choices[0].loss) && links[0].checksum && links[0].medium == NULL);
    assert_true(links[0].bandwidth == 1e7 && links[0].latency == 0.005);
    assert_int_equal(links[1].n_choices, 3);
    assert_string_equal(links[1].choices[0].format, "codes");
    assert_string_equal(links[1].choices[1].format, "adaptivfloat<8,4>");
    assert_true(links[1].choices[1].loss == 0.002 && links[1].choices[1].sqnr_db == 41.5);
    assert_true(links[1].choices[2].loss == 0 && isinf(links[1].choices[2].sqnr_db));
    assert_true(!links[1].checksum && links[1].bandwidth == 1e7 && links[1].latency == 0);
    assert_string_equal(links[1].medium, "radio");
    assert_string_equal(plan->policy, "quern");
    assert_true(plan->rate == 30 && plan->window == 20 && plan->accuracy_budget == 0.005);
}

static void plans_are_read_and_written(void **state)
{
    (void)state;
    qn_plan plan, again;
    qn_error err;
    qn_error_init(&err);
    read_text(&plan, whole_plan);
    expect_whole(&plan);
    const char *path = qn_scratch_file("written.yaml");
    qn_assert_ok(qn_plan_write(&plan, path, false, &err), &err);
    qn_assert_ok(qn_plan_read(&again, path, &err), &err);
    expect_whole(&again);
    qn_plan_free(&again);
    qn_assert_fails(qn_plan_write(&plan, path, false, &err), &err, QN_EEXIST, "written.yaml");
    qn_error_init(&err);
    qn_assert_ok(qn_plan_write(&plan, path, true, &err), &err);
    plan.stages[0].until = "line\nbreak";
    qn_assert_fails(qn_plan_write(&plan, path, true, &err), &err, QN_EINVAL, "control characters");
    qn_error_init(&err);
    qn_assert_ok(qn_plan_read(&again, path, &err), &err); /* the file before is still there, whole */
    qn_plan_free(&again);
    qn_plan_free(&plan);
    qn_plan_free(&plan);
    assert_null(plan.stages);
}

static void the_least_plan(void **state)
{
    (void)state;
    qn_plan plan, again;
    qn_error err;
    qn_error_init(&err);
    read_text(&plan, "version: 1\nstages: [{until: a}, {until: 'no'}, {}]\n");
    const char *path = qn_scratch_file("least.yaml");
    qn_assert_ok(qn_plan_write(&plan, path, true, &err), &err);
    qn_assert_ok(qn_plan_read(&again, path, &err), &err);
    qn_plan_free(&plan);
    assert_string_equal(again.model, "");
    assert_string_equal(again.stages[1].until, "no");
    assert_false(again.engine_given);
    assert_int_equal(again.microbatch, 1);
    assert_string_equal(again.links[1].choices[0].format, "codes");
    assert_true(again.links[1].checksum && isnan(again.links[1].bandwidth));
    assert_string_equal(again.policy, "");
    assert_true(isnan(again.accuracy_budget));
    qn_plan_free(&again);
    read_text(&plan, "version: 1\nstages: [{}]\n");
    assert_int_equal(plan.n_stages, 1);
    qn_plan_free(&plan);
}

/* Numbers come back as they were, whatever they are. */
static void numbers_survive(void **state)
{
    (void)state;
    qn_plan plan, again;
    qn_error err;
    qn_error_init(&err);
    uint64_t seed = 7;
    read_text(&plan, "version: 1\nstages: [{until: a, memory: 1}, {}]\n");
    const char *path = qn_scratch_file("numbers.yaml");
    for (int i = 0; i < 200; i++) {
        plan.links[0].bandwidth = pow(10, qn_test_uniform(&seed, -3, 15));
        plan.links[0].latency = pow(10, qn_test_uniform(&seed, -10, 3));
        plan.stages[0].memory = 1 + (int64_t)(qn_test_random(&seed) >> (12 + i % 50));
        plan.stages[0].seconds_per_item = pow(10, qn_test_uniform(&seed, -10, 3));
        plan.links[0].choices[0].loss = qn_test_uniform(&seed, -1, 1);
        qn_assert_ok(qn_plan_write(&plan, path, true, &err), &err);
        qn_assert_ok(qn_plan_read(&again, path, &err), &err);
        assert_true(again.links[0].bandwidth == plan.links[0].bandwidth);
        assert_true(again.links[0].latency == plan.links[0].latency);
        assert_true(again.stages[0].memory == plan.stages[0].memory);
        assert_true(again.stages[0].seconds_per_item == plan.stages[0].seconds_per_item);
        assert_true(again.links[0].choices[0].loss == plan.links[0].choices[0].loss);
        qn_plan_free(&again);
    }
    qn_plan_free(&plan);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    refused("", "is empty");
    refused("stages: [{}]\n", "a plan has no 'version'");
    refused("version: 1\n", "a plan has no 'stages'");
    refused("version: 2\nstages: [{}]\n", "line 1, version: is 2; this quern reads version 1");
    refused("version: 1\nstages: [{}]\nstage: 3\n", "line 3: unknown key 'stage' of a plan; did you mean 'stages'?");
    refused("version: 1\nversion: 1\nstages: [{}]\n", "line 2, version: is given twice");
    refused("- version: 1\n", "a list, where a plan is wanted");
    refused("version: 1\nstages: {}\n", "line 2, stages: a mapping, where a list of stages");
    refused("version: 1\nstages: []\n", "has no stages");
    refused("version: 1\nstages:\n  - device: a\n  - device: b\n", "line 3, stages: a stage without 'until'");
    refused("version: 1\nstages:\n  - until: a\n", "the last stage goes to the end");
    refused("version: 1\nstages:\n  - until:\n  - {}\n", "line 3, until: has no value");
    refused("version: 1\nstages:\n  - {until: [a]}\n  - {}\n", "a list, where a single value is wanted");
    refused("version: 1\nstages: [{memory: 0}]\n", "a memory of '0'");
    refused("version: 1\nstages: [{memory: -5kB}]\n", "a memory of '-5kB'");
    refused("version: 1\nstages: [{memory: 5 kb}]\n", "units are B, kB");
    refused("version: 1\nstages: [{memory: nan}]\n", "no size of a memory");
    refused("version: 1\nstages: [{seconds_per_item: .nan}]\n", "'.nan' is not a number of 0 or more");
    refused("version: 1\nengine: fast\nstages: [{}]\n", "line 2, engine: 'fast' is no engine; there are float");
    refused("version: 1\nmicrobatch: 0\nstages: [{}]\n", "'0' is not a whole number from 1 to 4096");
    refused("version: 1\nmicrobatch: 2.5\nstages: [{}]\n", "'2.5' is not a whole number");
    refused("version: 1\nmicrobatch: 99999999999999999999\nstages: [{}]\n", "is not a whole number");
    refused("version: 1\nsha256: 12\nstages: [{}]\n", "64 hexadecimal digits");
#define LINK(text) "version: 1\nstages: [{until: a}, {}]\nlinks:\n  - " text "\n"
    refused(LINK("{bandwidth: 0Mbit}"), "line 4, bandwidth: a bandwidth of '0Mbit'; it is above 0");
    refused(LINK("{bandwidth: 10}"), "units are bit, kbit");
    refused(LINK("{bandwidth: -1Mbit}"), "it is above 0");
    refused(LINK("{bandwidth: nan}"), "is no bandwidth");
    refused(LINK("{latency: 5}"), "is no latency");
    refused(LINK("{latency: -5ms}"), "it is 0 or more");
    refused(LINK("{format: int99}"), "line 4, links: link choice 'int99'");
    refused(LINK("{format: int8, per: row}"), "'row' is neither a granularity");
    refused(LINK("{format: codes, per: item}"), "write codes alone");
    refused(LINK("{per: item}"), "'per' and without 'format'");
    refused(LINK("{format: int8, choices: [int4]}"), "either 'format' (with 'per' and 'clamp') or 'choices'");
    refused(LINK("{choices: []}"), "has no choices");
    refused(LINK("{choices: [int8, int8/item]}"), "'int8' stands there twice");
    refused(LINK("{choices: [{loss: 1%}]}"), "a choice has no 'format'");
    refused(LINK("{choices: [{format: int8, loss: 2}]}"), "'2' is no share: write 0.5%");
    refused(LINK("{choices: [{format: int8, sqnr_db: nan}]}"), "no number of dB");
    refused(LINK("{checksum: maybe}"), "neither true nor false");
    refused(LINK("{}\n  - {}"), "line 3: 2 links between 2 stages; there are 1");
#define POLICY(text) "version: 1\nstages: [{}]\npolicy: " text "\n"
    refused(POLICY("quern"), "a single value, where a policy is wanted");
    refused(POLICY("{name: best}"), "line 3, name: ");
    refused(POLICY("{name: quern, rate: 0}"), "'0' is not a number above 0");
    refused(POLICY("{name: quern, rate: inf}"), "not a number above 0");
    refused(POLICY("{name: quern, window: 0}"), "from 1 to 1000000");
    refused(POLICY("{name: quern, accuracy_budget: 5}"), "is no share");
    refused(POLICY("{name: quern, accuracy_budget: -1%}"), "is below 0");
    refused("version: 1\nstages: &s [{}]\nlinks: *s\n---\nx\n", "a second document");
    refused("version: [\n", "is no YAML: line");
    /* Aliases repeat what is small. */
    char laughs[4096] = "version: 1\nstages: [{}]\nlinks:\n  - choices: &c [int8]\n";
    for (int i = 0; i < 60; i++) {
        snprintf(laughs + strlen(laughs), sizeof laughs - strlen(laughs), "  - choices: *c\n");
    }
    refused(laughs, "61 links between 1 stages; there are 0");
    qn_plan plan;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_plan_read(&plan, qn_scratch_file("none.yaml"), &err), &err, QN_EIO, "none.yaml");
}

static qn_model *load(const char *path)
{
    qn_error err;
    qn_model *model;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    return model;
}

static void unfit(const qn_cuts *cuts, const char *text, const char *fragment)
{
    qn_plan plan;
    qn_error err;
    size_t positions[16];
    qn_error_init(&err);
    read_text(&plan, text);
    qn_assert_fails(qn_plan_check(positions, &plan, cuts, &err), &err, QN_EINVAL, fragment);
    qn_plan_free(&plan);
}

static void plans_are_checked_against_networks(void **state)
{
    (void)state;
    qn_error err;
    qn_cuts *cuts;
    qn_plan plan;
    size_t positions[16];
    char text[1024];
    qn_error_init(&err);
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    qn_assert_ok(qn_cuts_create(&cuts, model, QN_ENGINE_FLOAT, &err), &err);
    const size_t last = qn_cuts_last(cuts);
    const char *first = qn_cuts_at(cuts, 1)->name, *second = qn_cuts_at(cuts, 2)->name;
    snprintf(text, sizeof text, "version: 1\nstages: [{until: '%s'}, {until: '%s'}, {}]\n", first, second);
    read_text(&plan, text);
    qn_assert_ok(qn_plan_check(positions, &plan, cuts, &err), &err);
    assert_int_equal(positions[0], 0);
    assert_int_equal(positions[1], 1);
    assert_int_equal(positions[2], 2);
    assert_int_equal(positions[3], last);
    /* Memory: exactly enough, and one byte less. */
    const qn_cut_span span = qn_cuts_span(cuts, 1, 2);
    int64_t in, out;
    qn_link_choice codes = {.format = "codes"};
    qn_assert_ok(qn_plan_message_bytes(&in, cuts, 1, &codes, 1, &err), &err);
    qn_assert_ok(qn_plan_message_bytes(&out, cuts, 2, &codes, 1, &err), &err);
    assert_true(in > 4 * qn_cuts_at(cuts, 1)->tensors[0].count + 52);
    const int64_t needed = span.weight_bytes + span.activation_bytes + 2 * in + 2 * out;
    plan.stages[1].memory = needed;
    qn_assert_ok(qn_plan_check(positions, &plan, cuts, &err), &err);
    plan.stages[1].memory = needed - 1;
    qn_assert_fails(qn_plan_check(positions, &plan, cuts, &err), &err, QN_EINVAL, ": 1 too few");
    qn_error_init(&err);
    qn_plan_free(&plan);
    snprintf(text, sizeof text, "version: 1\nstages: [{until: '%s'}, {until: '%s'}, {}]\n", second, first);
    unfit(cuts, text, "before the place where stage 0 ends");
    snprintf(text, sizeof text, "version: 1\nstages: [{until: '%s'}, {until: '%s'}, {}]\n", first, first);
    unfit(cuts, text, "which is where stage 0 ends");
    unfit(cuts, "version: 1\nstages: [{until: nowhere}, {}]\n", "no place to part stages is behind 'nowhere'");
    unfit(cuts, "version: 1\nsha256: " SHA "\nstages: [{}]\n", "was made for another model: sha256 " SHA);
    unfit(cuts, "version: 1\nengine: integer\nstages: [{}]\n", "the plan is for the integer engine");
    snprintf(text, sizeof text, "version: 1\nstages: [{until: '%s'}, {}]\nlinks: [{format: int8, per: token}]\n",
             qn_cuts_at(cuts, last - 1)->name);
    read_text(&plan, text);
    qn_assert_ok(qn_plan_check(positions, &plan, cuts, &err), &err);
    plan.links[0].bandwidth = 0;
    qn_assert_fails(qn_plan_check(positions, &plan, cuts, &err), &err, QN_EINVAL, "nothing gets through");
    qn_plan_free(&plan);
    qn_cuts_free(cuts);
    qn_model_free(model);
}

/* Parameters that frames have no granularity for: such a tensor travels as fp32 (link.md 5.2), and is counted so. */
static void codes_that_frames_lack(void **state)
{
    (void)state;
    qn_error err;
    qn_cuts *cuts;
    size_t n_bytes, position;
    int64_t codes, raw;
    qn_link_choice as_codes = {.format = "codes"}, as_raw = {.format = "fp32"};
    qn_error_init(&err);
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    qn_graph *g = &model->graph;
    qn_value_id id = QN_NO_VALUE;
    for (size_t v = 0; v < g->n_values; v++) {
        id = strcmp(g->values[v].name, "pool.out") == 0 ? (qn_value_id)v : id;
    }
    qn_quantizer like = {.axis = 2, .n = 7}; /* of rows of 32x7x7 */
    qn_assert_ok(qn_format_parse(&like.format, "int8", &err), &err);
    assert_true(qn_quantizer_bytes(&n_bytes, like.n));
    qn_quantizer *q = qn_quantizer_place(qn_arena_alloc(&g->arena, n_bytes), &like);
    for (int64_t k = 0; k < like.n; k++) {
        qn_quantizer_set(q, k, (qn_params){.scale = 0.5f});
    }
    g->values[id].quantizer = q;
    qn_assert_ok(qn_cuts_create(&cuts, model, QN_ENGINE_FLOAT, &err), &err);
    qn_assert_ok(qn_cuts_find(&position, cuts, "pool.out", &err), &err);
    assert_true(qn_cuts_at(cuts, position)->tensors[0].coded);
    for (int64_t n = 1; n <= 3; n += 2) {
        qn_assert_ok(qn_plan_message_bytes(&codes, cuts, position, &as_codes, n, &err), &err);
        qn_assert_ok(qn_plan_message_bytes(&raw, cuts, position, &as_raw, n, &err), &err);
        assert_int_equal(codes, raw);
    }
    qn_cuts_free(cuts);
    qn_model_free(model);
}

static void even_plans(void **state)
{
    (void)state;
    qn_error err;
    qn_cuts *cuts;
    qn_plan plan;
    size_t positions[64], n_places = 0;
    qn_error_init(&err);
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    qn_assert_ok(qn_cuts_create(&cuts, model, QN_ENGINE_FLOAT, &err), &err);
    for (size_t p = 1; p < qn_cuts_last(cuts); p++) {
        n_places += qn_cuts_at(cuts, p)->reason == NULL;
    }
    for (size_t n = 1; n <= n_places + 1; n++) {
        const qn_link_choice choice = {.format = "int4", .per = QN_LINK_PER_ITEM};
        qn_assert_ok(qn_plan_even(&plan, cuts, n, 2, n % 2 != 0 ? &choice : NULL, &err), &err);
        qn_assert_ok(qn_plan_check(positions, &plan, cuts, &err), &err);
        assert_int_equal(positions[n], qn_cuts_last(cuts));
        if (n > 1) {
            assert_string_equal(plan.links[n - 2].choices[0].format, n % 2 != 0 ? "int4" : "codes");
        }
        if (n == 2) { /* no other place is nearer to the half */
            const double half = (double)qn_cuts_span(cuts, 0, qn_cuts_last(cuts)).macs / 2;
            const double found = fabs((double)qn_cuts_span(cuts, 0, positions[1]).macs - half);
            for (size_t p = 1; p < qn_cuts_last(cuts); p++) {
                assert_true(fabs((double)qn_cuts_span(cuts, 0, p).macs - half) >= found);
            }
        }
        qn_plan_free(&plan);
    }
    qn_assert_fails(qn_plan_even(&plan, cuts, n_places + 2, 1, NULL, &err), &err, QN_EINVAL, "so that there are 1 to");
    qn_error_init(&err);
    qn_assert_fails(qn_plan_even(&plan, cuts, 0, 1, NULL, &err), &err, QN_EINVAL, "0 stages");
    qn_error_init(&err);
    qn_assert_fails(qn_plan_even(&plan, cuts, 1, 0, NULL, &err), &err, QN_EINVAL, "microbatch of 0");
    qn_cuts_free(cuts);
    qn_model_free(model);
}

static void failed_allocations_are_reported(void **state)
{
    (void)state;
    qn_error err;
    qn_plan plan;
    const char *path = put("plan.yaml", whole_plan);
    for (int64_t k = 0;; k++) {
        qn_error_init(&err);
        qn_alloc_fail_after(k);
        const qn_status status = qn_plan_read(&plan, path, &err);
        qn_alloc_fail_after(-1);
        if (status == QN_OK) {
            assert_true(k > 3);
            break;
        }
        assert_int_equal(status, QN_ENOMEM);
        assert_null(plan.memory);
    }
    expect_whole(&plan);
    qn_plan_free(&plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_read_and_written),
        cmocka_unit_test(the_least_plan),
        cmocka_unit_test(numbers_survive),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(plans_are_checked_against_networks),
        cmocka_unit_test(codes_that_frames_lack),
        cmocka_unit_test(even_plans),
        cmocka_unit_test(failed_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
