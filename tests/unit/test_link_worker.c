/* Networks run as stages that hand each other messages: the bytes of the whole network, at any number of stages, and
 * nothing is allocated on the way. */
#include "graph_builder.h"
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "graph/model.h"
#include "link/crc32c.h"
#include "link/link.h"
#include "link/message.h"
#include "link/worker.h"
#include "quern/quern.h"

enum { STAGES_MAX = 4, ITEMS = 11, MESSAGE_MAX = 1 << 24 };

typedef struct {
    const qn_model *model;
    qn_engine engine;
    float *x, *expected;
    int64_t n_in, n_out; /* of one item */
    qn_cuts *cuts;
    size_t places[4096], n_places;
    unsigned char *message;
    qn_error err;
} bench;

typedef struct {
    qn_plan plan;
    qn_plan_stage stages[STAGES_MAX];
    qn_plan_link links[STAGES_MAX];
    qn_link_choice choices[STAGES_MAX][3];
    size_t positions[STAGES_MAX + 1];
    qn_worker *workers[STAGES_MAX];
} line;

static void run_whole(bench *b)
{
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, b->engine, &b->err), &b->err);
    qn_assert_ok(qn_program_create(&program, b->model, &options, &b->err), &b->err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &b->err), &b->err);
    assert_int_equal(qn_program_n_inputs(program), 1);
    assert_int_equal(qn_program_n_outputs(program), 1);
    b->n_in = qn_program_input_count(program, 0);
    b->n_out = qn_program_output_count(program, 0);
    b->x = qn_alloc((size_t)(ITEMS * b->n_in) * sizeof(float));
    b->expected = qn_alloc((size_t)(ITEMS * b->n_out) * sizeof(float));
    uint64_t state = 5;
    for (int64_t i = 0; i < ITEMS * b->n_in; i++) {
        b->x[i] = qn_test_uniform(&state, -1.5f, 1.5f);
    }
    for (int64_t i = 0; i < ITEMS; i++) {
        const float *in = b->x + i * b->n_in;
        float *out = b->expected + i * b->n_out;
        qn_assert_ok(qn_program_run(program, workspace, &in, 1, &out, &b->err), &b->err);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
}

static void begin(bench *b, const qn_model *model, qn_engine engine)
{
    *b = (bench){.model = model, .engine = engine};
    qn_error_init(&b->err);
    qn_assert_ok(qn_cuts_create(&b->cuts, model, engine, &b->err), &b->err);
    run_whole(b);
    for (size_t p = 1; p < qn_cuts_last(b->cuts); p++) {
        if (qn_cuts_at(b->cuts, p)->reason == NULL) {
            b->places[b->n_places++] = p;
        }
    }
    b->message = qn_alloc(MESSAGE_MAX);
}

static void end(bench *b)
{
    qn_free(b->x);
    qn_free(b->expected);
    qn_free(b->message);
    qn_cuts_free(b->cuts);
}

/* Stages of a network parted at `at`, all links with the same choices. */
static void open_line(line *l, bench *b, const size_t *at, size_t n_stages, int64_t microbatch,
                      const qn_link_choice *choices, size_t n_choices)
{
    *l = (line){.plan = {.model = "", .sha256 = "", .engine = b->engine, .microbatch = microbatch}};
    l->plan.n_stages = n_stages;
    l->plan.stages = l->stages;
    l->plan.links = l->links;
    l->positions[n_stages] = qn_cuts_last(b->cuts);
    for (size_t k = 0; k + 1 < n_stages; k++) {
        memcpy(l->choices[k], choices, n_choices * sizeof *choices);
        l->links[k] = (qn_plan_link){.choices = l->choices[k], .n_choices = n_choices, .checksum = true};
        l->positions[k + 1] = at[k];
    }
    for (size_t k = 0; k < n_stages; k++) {
        qn_assert_ok(qn_worker_create(&l->workers[k], b->cuts, &l->plan, l->positions, k, &b->err), &b->err);
        if (k > 0) {
            assert_int_equal(qn_worker_most_taken(l->workers[k]), qn_worker_most_given(l->workers[k - 1]));
            assert_true(qn_worker_most_taken(l->workers[k]) <= MESSAGE_MAX);
        }
    }
}

static void close_line(line *l)
{
    for (size_t k = 0; k < l->plan.n_stages; k++) {
        qn_worker_free(l->workers[k]);
    }
}

/* All items; returns the worst error relative to the greatest output, 0 for the same bytes. */
static double run_line(line *l, bench *b, size_t choice)
{
    const size_t last = l->plan.n_stages - 1;
    double worst = 0, greatest = 0;
    bool same = true;
    uint64_t sequence = 0;
    const uint64_t allocations = qn_alloc_count();
    for (int64_t i = 0; i < ITEMS; i += l->plan.microbatch, sequence++) {
        const int64_t n = ITEMS - i < l->plan.microbatch ? ITEMS - i : l->plan.microbatch;
        const float *in = b->x + i * b->n_in;
        qn_assert_ok(qn_worker_feed(l->workers[0], sequence, &in, n, &b->err), &b->err);
        qn_assert_ok(qn_worker_compute(l->workers[0], &b->err), &b->err);
        for (size_t k = 1; k <= last; k++) {
            size_t n_bytes = 0;
            qn_assert_ok(qn_worker_give(l->workers[k - 1], choice, b->message, &n_bytes, &b->err), &b->err);
            assert_int_equal(n_bytes, qn_worker_bytes(l->workers[k - 1], choice, n));
            qn_assert_ok(qn_worker_take(l->workers[k], b->message, n_bytes, &b->err), &b->err);
            memset(b->message, 0xA5, n_bytes); /* a worker does not need it any more */
            assert_int_equal(qn_worker_sequence(l->workers[k]), sequence);
            assert_int_equal(qn_worker_items(l->workers[k]), n);
            qn_assert_ok(qn_worker_compute(l->workers[k], &b->err), &b->err);
        }
        const float *y = qn_worker_output(l->workers[last], 0), *expected = b->expected + i * b->n_out;
        same = same && memcmp(y, expected, (size_t)(n * b->n_out) * sizeof *y) == 0;
        for (int64_t j = 0; j < n * b->n_out; j++) {
            const double error = (double)y[j] - expected[j], size = expected[j];
            worst = error > worst ? error : -error > worst ? -error : worst;
            greatest = size > greatest ? size : -size > greatest ? -size : greatest;
        }
    }
    assert_int_equal(qn_alloc_count(), allocations);
    return same ? 0 : worst > 0 ? worst / greatest : 1;
}

static const qn_link_choice codes = {.format = "codes"};

/* One stage to four, at places spread over the network; micro-batches with and without a short last one. */
static void whole_bytes(bench *b, double bound)
{
    assert_true(b->n_places >= 3);
    for (size_t n = 1; n <= STAGES_MAX; n++) {
        static const int64_t microbatches[] = {1, 3, 8};
        for (size_t m = 0; m < sizeof microbatches / sizeof *microbatches; m++) {
            size_t at[STAGES_MAX];
            for (size_t k = 0; k + 1 < n; k++) {
                at[k] = b->places[(k + 1) * b->n_places / n];
            }
            line l;
            open_line(&l, b, at, n, microbatches[m], &codes, 1);
            const double error = run_line(&l, b, 0);
            if (error > bound) {
                fail_msg("%zu stages, micro-batches of %lld: error %g", n, (long long)microbatches[m], error);
            }
            close_line(&l);
        }
    }
}

/* Two stages parted at every stride-th place. */
static void everywhere(bench *b, size_t stride)
{
    for (size_t i = 0; i < b->n_places; i += stride) {
        line l;
        open_line(&l, b, &b->places[i], 2, 4, &codes, 1);
        if (run_line(&l, b, 0) > 0) {
            fail_msg("parted behind '%s' the network gives other bytes", qn_cuts_at(b->cuts, b->places[i])->name);
        }
        close_line(&l);
    }
}

static qn_model *load(const char *path)
{
    qn_error err;
    qn_model *model;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    return model;
}

static qn_model *quantize_on(const qn_model *model, const qn_tensor *x, double scale)
{
    qn_error err;
    qn_error_init(&err);
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = scale;
    qn_dataset *set;
    qn_calibration *calibration;
    qn_model *quantized;
    qn_quantize_options options;
    qn_assert_ok(qn_dataset_of_tensor(&set, x, &pre, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, set, NULL, &err), &err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    qn_assert_ok(qn_quantize(&quantized, model, calibration, &options, NULL, &err), &err);
    qn_calibration_free(calibration);
    qn_dataset_close(set);
    return quantized;
}

static qn_model *quantize(const qn_model *model, const char *data, int64_t n, double scale)
{
    qn_error err;
    qn_error_init(&err);
    qn_tensor x;
    qn_assert_ok(qn_tensor_read(&x, data, &err), &err);
    x.dims[0] = n;
    qn_model *quantized = quantize_on(model, &x, scale);
    qn_tensor_free(&x);
    return quantized;
}

static void shared_network(const char *name, const char *data, double scale, size_t stride)
{
    char path[1024];
    const char *found = qn_shared(name);
    if (found == NULL) {
        skip();
    }
    snprintf(path, sizeof path, "%s", found);
    qn_model *model = load(path);
    found = qn_shared(data);
    assert_non_null(found);
    qn_model *quantized = quantize(model, found, 32, scale);
    bench b;
    begin(&b, quantized, QN_ENGINE_INTEGER);
    whole_bytes(&b, 0);
    everywhere(&b, stride);
    end(&b);
    begin(&b, model, QN_ENGINE_FLOAT);
    whole_bytes(&b, 1e-4);
    end(&b);
    qn_model_free(quantized);
    qn_model_free(model);
}

static void resnet8(void **state)
{
    (void)state;
    shared_network("data/models/resnet8_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1, 1);
}

static void kws(void **state)
{
    (void)state;
    shared_network("data/models/kws_dscnn.onnx", "data/inputs/kws_calib100_x_f32.npy", 1, 1);
}

static void lenet(void **state)
{
    (void)state;
    shared_network("data/models/lenet_cifar10.onnx", "data/inputs/cifar10_lossless_calib500_x_u8.npy", 1 / 127.5, 1);
}

static void vit(void **state)
{
    (void)state;
    shared_network("data/models/vit_cifar10.onnx", "data/inputs/cifar10_calib500_x_u8.npy", 1 / 128.0, 16);
}

static void digits(void **state)
{
    (void)state;
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    bench b;
    begin(&b, model, QN_ENGINE_FLOAT);
    whole_bytes(&b, 1e-5);
    end(&b);
    qn_model_free(model);
}

/* Stages whose tensors all lead with the same dimension, which counts no items: head by head, say. */
static void no_items(void **state)
{
    (void)state;
    static const int64_t flat[] = {1, 12};
    qn_model model = {.graph = {.file = "heads.onnx"}};
    qn_graph *g = &model.graph;
    qn_test_input(g, "x", DIMS(3, 4));
    qn_test_floats(g, "w", DIMS(4, 4), NULL);
    qn_test_floats(g, "v", DIMS(12, 5), NULL);
    qn_test_ints(g, "flat", 2, flat);
    NODE(g, "Relu", "x", "a");
    NODE(g, "MatMul", "a w", "b");
    NODE(g, "Sigmoid", "b", "c");
    NODE(g, "Reshape", "c flat", "d");
    NODE(g, "MatMul", "d v", "y");
    qn_test_output(g, "y");
    bench b;
    begin(&b, &model, QN_ENGINE_FLOAT);
    assert_false(qn_cuts_batched(b.cuts));
    assert_int_equal(b.n_places, 4);
    for (size_t i = 0; i < b.n_places; i++) {
        for (size_t k = i + 1; k <= b.n_places; k++) {
            const size_t at[] = {b.places[i], k < b.n_places ? b.places[k] : 0};
            line l;
            open_line(&l, &b, at, k < b.n_places ? 3 : 2, 1, &codes, 1);
            assert_true(run_line(&l, &b, 0) < 1e-6);
            close_line(&l);
        }
    }
    end(&b);

    /* The integer engine begins and ends where it says so, with the same bytes. */
    float x[6 * 12];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        x[i] = qn_test_uniform(&random, -1.5f, 1.5f);
    }
    const qn_tensor items = {.dtype = QN_DTYPE_F32, .rank = 3, .dims = {6, 3, 4}, .data = x};
    qn_model *quantized = quantize_on(&model, &items, 1);
    begin(&b, quantized, QN_ENGINE_INTEGER);
    assert_true(b.n_places >= 1);
    for (size_t i = 0; i < b.n_places; i++) {
        line l;
        open_line(&l, &b, &b.places[i], 2, 1, &codes, 1);
        assert_true(run_line(&l, &b, 0) == 0);
        close_line(&l);
    }
    end(&b);
    qn_model_free(quantized);
    qn_graph_free(g);
}

/* A link with several choices, each message in the one that is asked for: no allocation, and an error that goes with
 * the bits. */
static void choices_change(void **state)
{
    (void)state;
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    bench b;
    begin(&b, model, QN_ENGINE_FLOAT);
    const qn_link_choice choices[] = {{.format = "fp32"},
                                      {.format = "int8", .per = QN_LINK_PER_ITEM},
                                      {.format = "int4", .per = QN_LINK_PER_ITEM, .clamp = QN_LINK_CLAMP_LAPLACE}};
    const size_t at[] = {b.places[0], b.places[b.n_places / 2], b.places[b.n_places - 1]};
    double errors[3];
    for (size_t choice = 0; choice < 3; choice++) {
        line l;
        open_line(&l, &b, at, 4, 4, choices, 3);
        errors[choice] = run_line(&l, &b, choice);
        for (size_t k = 1; k < 3; k++) {
            assert_true(qn_worker_bytes(l.workers[0], k, 4) < qn_worker_bytes(l.workers[0], k - 1, 4));
        }
        close_line(&l);
    }
    assert_true(errors[0] < 1e-5 && errors[1] > errors[0] && errors[1] < 0.2 && errors[2] > errors[1]);
    end(&b);
    qn_model_free(model);
}

/* A message with every byte damaged, cut short anywhere, out of turn, of another stage: none is taken for good. */
static void damaged_messages(void **state)
{
    (void)state;
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    bench b;
    line l;
    begin(&b, model, QN_ENGINE_FLOAT);
    open_line(&l, &b, &b.places[b.n_places - 1], 2, 2, &codes, 1);
    size_t n_bytes = 0;
    const float *in = b.x;
    qn_assert_ok(qn_worker_feed(l.workers[0], 0, &in, 2, &b.err), &b.err);
    qn_assert_ok(qn_worker_compute(l.workers[0], &b.err), &b.err);
    qn_assert_ok(qn_worker_give(l.workers[0], 0, b.message, &n_bytes, &b.err), &b.err);
    for (size_t i = 0; i < n_bytes; i++) {
        b.message[i] ^= 0x10;
        const qn_status status = qn_worker_take(l.workers[1], b.message, n_bytes, &b.err);
        qn_assert_fails(status, &b.err, QN_EFORMAT, "");
        qn_error_init(&b.err);
        b.message[i] ^= 0x10;
    }
    for (size_t n = 0; n < n_bytes; n++) {
        qn_assert_fails(qn_worker_take(l.workers[1], b.message, n, &b.err), &b.err, QN_EFORMAT, "too early");
        qn_error_init(&b.err);
    }
    qn_assert_ok(qn_worker_take(l.workers[1], b.message, n_bytes, &b.err), &b.err);
    qn_assert_fails(qn_worker_take(l.workers[1], b.message, n_bytes, &b.err), &b.err, QN_EFORMAT,
                    "micro-batch 0 of stage 0 where 1");
    qn_error_init(&b.err);
    n_bytes = qn_message_end(b.message, 0, 1, 2);
    qn_assert_fails(qn_worker_take(l.workers[1], b.message, n_bytes, &b.err), &b.err, QN_EFORMAT, "data");
    close_line(&l);
    end(&b);
    qn_model_free(model);
}

/* Where the frames of a good message begin, and how long they are. */
enum { FRAMES_MAX = 8 };
typedef struct {
    size_t at, header, bytes;
} frame_place;

static size_t frame_places(frame_place *places, const unsigned char *message, size_t n_bytes)
{
    qn_message m;
    qn_message_verdict found;
    qn_frame frame;
    qn_frame_verdict verdict;
    assert_int_equal(qn_message_parse(&m, &found, message, n_bytes, MESSAGE_MAX), QN_FRAME_COMPLETE);
    size_t at = 0, n = 0;
    while (qn_message_next(&frame, &at, &verdict, &m, MESSAGE_MAX)) {
        assert_true(n < FRAMES_MAX);
        places[n++] = (frame_place){QN_ENVELOPE_BYTES + at - frame.n_bytes, frame.header_bytes, frame.n_bytes};
    }
    return n;
}

static void put(unsigned char *at, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        at[i] = (unsigned char)(x >> (8 * i));
    }
}

/* Makes what was changed look intact: the checksums of the envelope, and of frames that have any. */
static void sign(unsigned char *message, const frame_place *places, size_t n_frames)
{
    put(message + QN_ENVELOPE_BYTES - 4, qn_crc32c(0, message, QN_ENVELOPE_BYTES - 4), 4);
    for (size_t i = 0; i < n_frames; i++) {
        unsigned char *frame = message + places[i].at;
        if ((frame[6] & 8) == 0) {
            put(frame + 12, qn_crc32c(0, frame + places[i].header, places[i].bytes - places[i].header), 4);
            put(frame + places[i].header - 4, qn_crc32c(0, frame, places[i].header - 4), 4);
        }
    }
}

/* One to four changes: bits, bytes, whole words of what is absurd, pieces of the message elsewhere in it. */
static void damage(unsigned char *message, size_t n_bytes, const frame_place *places, size_t n_frames, uint64_t *random)
{
    static const uint64_t words[] = {
        0,          1,          2,          0x7F,       0xFF,      0x7FFF,     0x7FFFFFFF, 0x80000000,
        0x7F800000, 0x7FC00000, UINT32_MAX, 1ull << 40, INT64_MAX, 1ull << 63, UINT64_MAX, (1ull << 60) - 1};
    for (uint64_t changes = 1 + qn_test_random(random) % 4; changes > 0; changes--) {
        const uint64_t what = qn_test_random(random) % 4, drawn = qn_test_random(random);
        const frame_place *f = &places[drawn % n_frames];
        /* Half of them in an envelope or a header, which are short. */
        size_t at = drawn % 8 < 2   ? (size_t)(drawn >> 8) % (QN_ENVELOPE_BYTES - 4)
                    : drawn % 8 < 5 ? f->at + (size_t)(drawn >> 8) % (f->header + 8)
                                    : (size_t)(drawn >> 8) % n_bytes;
        const size_t width = (size_t)1 << (drawn >> 3) % 4;
        at = at + 8 <= n_bytes ? at : n_bytes - 8;
        if (what == 0) {
            message[at] ^= (unsigned char)(1 << drawn % 8);
        } else if (what == 1) {
            message[at] = (unsigned char)(drawn >> 32);
        } else if (what == 2) {
            const uint64_t word = words[(drawn >> 32) % (sizeof words / sizeof *words)];
            put(message + at, word, width);
        } else {
            memmove(message + at, message + (size_t)(drawn >> 32) % (n_bytes - 7), 8);
        }
    }
}

/* Damaged messages whose checksums are right all the same, and those of links without any: taken and computed with, or
 * refused with a reason. Nothing is allocated, and nothing read or written beyond them, which sanitizers see. */
static void forged_messages(void **state)
{
    (void)state;
    static const char *const formats[] = {"codes", "int8", "mx<fp4e2m1>", "adaptivfloat<6,4>", "posit<8,1>", "binary"};
    enum { ROUNDS = 1500 };
    qn_model *model = load(QN_SOURCE_DIR "/examples/digits/digits.onnx");
    bench b;
    begin(&b, model, QN_ENGINE_FLOAT);
    size_t i = b.n_places / 2, n_taken = 0, n_refused = 0;
    while (qn_cuts_at(b.cuts, b.places[i])->n_tensors < 2) { /* one may pass through, too */
        i++;
    }
    const size_t at[] = {b.places[i], b.places[i + 1]};
    uint64_t random = 11;
    for (size_t k = 0; k < 2 * sizeof formats / sizeof *formats; k++) {
        qn_link_choice choice;
        char name[QN_FORMAT_NAME_MAX];
        line l;
        qn_assert_ok(qn_link_choice_parse(&choice, name, formats[k / 2], NULL, &b.err), &b.err);
        open_line(&l, &b, at, 3, 2, &choice, 1);
        for (size_t stage = 0; stage < 3; stage++) {
            l.links[stage].checksum = k % 2 == 0;
            qn_worker_free(l.workers[stage]);
            qn_assert_ok(qn_worker_create(&l.workers[stage], b.cuts, &l.plan, l.positions, stage, &b.err), &b.err);
        }
        const float *in = b.x;
        size_t n_bytes = 0, ignored;
        qn_assert_ok(qn_worker_feed(l.workers[0], 0, &in, 2, &b.err), &b.err);
        qn_assert_ok(qn_worker_compute(l.workers[0], &b.err), &b.err);
        qn_assert_ok(qn_worker_give(l.workers[0], 0, b.message, &n_bytes, &b.err), &b.err);
        frame_place places[FRAMES_MAX];
        const size_t n_frames = frame_places(places, b.message, n_bytes);
        unsigned char *forged = qn_alloc(n_bytes); /* of its very length */
        unsigned char *given = qn_alloc(qn_worker_most_given(l.workers[1]));
        const uint64_t allocations = qn_alloc_count();
        for (int round = 0; round < ROUNDS; round++) {
            memcpy(forged, b.message, n_bytes);
            damage(forged, n_bytes, places, n_frames, &random);
            sign(forged, places, n_frames);
            qn_status status = qn_worker_take(l.workers[1], forged, n_bytes, &b.err);
            if (status != QN_OK) {
                assert_true((status == QN_EFORMAT || status == QN_ERANGE) && b.err.message[0] != '\0' &&
                            b.err.where[0] != '\0');
                qn_error_init(&b.err);
                n_refused++;
                continue;
            }
            n_taken++;
            status = qn_worker_compute(l.workers[1], &b.err);
            status = status == QN_OK ? qn_worker_give(l.workers[1], 0, given, &ignored, &b.err) : status;
            /* Numbers that became infinite, or parameters of what passes through. */
            assert_true(status == QN_OK || status == QN_ERANGE || status == QN_EFORMAT);
            assert_true(status == QN_OK || (b.err.where[0] != '\0' && b.err.message[0] != '\0'));
            qn_error_init(&b.err);
            put(b.message + 16, qn_worker_sequence(l.workers[1]) + 1, 8);
        }
        assert_int_equal(qn_alloc_count(), allocations);
        qn_free(forged);
        qn_free(given);
        close_line(&l);
    }
    assert_true(n_taken > 1000 && n_refused > 1000);
    end(&b);
    qn_model_free(model);
}

/* Envelopes with one field that is wrong and a checksum that is right. */
static void envelopes(void **state)
{
    (void)state;
    unsigned char data[QN_ENVELOPE_BYTES + 2 * QN_MESSAGE_TEXT_MAX];
    qn_message m;
    qn_message_verdict v;
    static const struct {
        qn_message message;
        qn_message_fault fault;
    } rows[] = {
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = 1, .n_bytes = 92}, QN_MESSAGE_FINE},
        {{.kind = QN_MESSAGE_DATA, .frames = 0, .items = 1, .n_bytes = 92}, QN_MESSAGE_FIELD},
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = 0, .n_bytes = 92}, QN_MESSAGE_FIELD},
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = -1, .n_bytes = 92}, QN_MESSAGE_FIELD},
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = 1, .n_bytes = 91}, QN_MESSAGE_LENGTH},
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = 1, .n_bytes = 51}, QN_MESSAGE_LENGTH},
        {{.kind = QN_MESSAGE_DATA, .frames = 1, .items = 1, .n_bytes = 5000}, QN_MESSAGE_LIMIT},
        {{.kind = QN_MESSAGE_END, .sequence = 4, .items = 9, .n_bytes = 52}, QN_MESSAGE_FINE},
        {{.kind = QN_MESSAGE_END, .n_bytes = 53}, QN_MESSAGE_LENGTH},
        {{.kind = QN_MESSAGE_END, .choice = 1, .n_bytes = 52}, QN_MESSAGE_FIELD},
        {{.kind = QN_MESSAGE_ERROR, .n_bytes = 52}, QN_MESSAGE_LENGTH},
        {{.kind = QN_MESSAGE_ERROR, .n_bytes = 53}, QN_MESSAGE_FINE},
        {{.kind = QN_MESSAGE_ERROR, .n_bytes = 52 + QN_MESSAGE_TEXT_MAX + 1}, QN_MESSAGE_LENGTH},
        {{.kind = QN_MESSAGE_ERROR, .sequence = 1, .n_bytes = 53}, QN_MESSAGE_FIELD},
        {{.kind = QN_MESSAGE_NOTE, .n_bytes = 52 + QN_NOTE_BYTES}, QN_MESSAGE_FINE},
        {{.kind = QN_MESSAGE_NOTE, .n_bytes = 52}, QN_MESSAGE_LENGTH},
        {{.kind = (qn_message_kind)4, .n_bytes = 52}, QN_MESSAGE_KIND},
    };
    memset(data, 'x', sizeof data);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        qn_message written = rows[i].message;
        if (written.kind != QN_MESSAGE_DATA && written.n_bytes > sizeof data) {
            fail();
        }
        qn_message_write(data, &written);
        const qn_frame_state found = qn_message_parse(&m, &v, data, sizeof data, 4096);
        if (found != (rows[i].fault == QN_MESSAGE_FINE ? QN_FRAME_COMPLETE : QN_FRAME_BAD) ||
            v.fault != rows[i].fault) {
            fail_msg("row %zu: state %d, %s", i, (int)found, qn_message_fault_text(v.fault));
        }
        for (size_t n = 0; n < written.n_bytes && rows[i].fault == QN_MESSAGE_FINE; n++) {
            assert_int_equal(qn_message_parse(&m, &v, data, n, 4096), QN_FRAME_MORE);
            assert_true(v.need > n && v.need <= written.n_bytes);
        }
    }
    const size_t n = qn_message_error(data, 3, "stage fell over");
    assert_int_equal(qn_message_parse(&m, &v, data, n, 4096), QN_FRAME_COMPLETE);
    assert_int_equal(m.stage, 3);
    assert_memory_equal(m.body, "stage fell over", 15);
    data[n - 1] ^= 1;
    assert_int_equal(qn_message_parse(&m, &v, data, n, 4096), QN_FRAME_BAD);
    assert_int_equal(v.fault, QN_MESSAGE_BODY_CRC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelopes),
        cmocka_unit_test(digits),
        cmocka_unit_test(choices_change),
        cmocka_unit_test(no_items),
        cmocka_unit_test(damaged_messages),
        cmocka_unit_test(forged_messages),
        cmocka_unit_test(lenet),
        cmocka_unit_test(kws),
        cmocka_unit_test(resnet8),
        cmocka_unit_test(vit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
