/* Studies of cuts against stages and scalar functions run by hand. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "format/histogram.h"
#include "graph/model.h"
#include "link/message.h"
#include "quern/plan.h"
#include "quern/quern.h"

enum { N_ITEMS = 13, MAX_TENSORS = 8, N_CHOICES = 10 };
static const char *const choice_texts[N_CHOICES] = {
    "int4",         "int8/channel", "int4/tensor/laplace", "adaptivfloat<8,4>/token",
    "int4/group:7", "mx<fp4e2m1>",  "bfp<4,16>",           "fp8e4m3",
    "codes",        "fp32"};

/* The digits, float or quantized, cut by hand. */
typedef struct {
    qn_model *model;
    qn_engine engine;
    qn_cuts *cuts;
    qn_dataset *data;
    qn_tensor images, labels;
    char formats[N_CHOICES][QN_FORMAT_NAME_MAX];
    qn_link_choice choices[N_CHOICES];
    float *tensors[MAX_TENSORS]; /* at the position in hand */
    float *expected;             /* of the uncut network, N_ITEMS x 10 */
    qn_error err;
} bench;

static qn_model *digits(bool quantized, qn_preprocess *pre)
{
    qn_error err;
    qn_error_init(&err);
    qn_model *model, *made;
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    bool found;
    qn_assert_ok(qn_model_preprocess(model, pre, &found, &err), &err);
    assert_true(found);
    if (!quantized) {
        return model;
    }
    qn_dataset *data;
    qn_calibration *calibration;
    qn_quantize_options options;
    qn_assert_ok(qn_dataset_open(&data, QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", pre, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, data, NULL, &err), &err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    qn_assert_ok(qn_quantize(&made, model, calibration, &options, NULL, &err), &err);
    qn_calibration_free(calibration);
    qn_dataset_close(data);
    qn_model_free(model);
    return made;
}

static qn_program *program_of(bench *b, const qn_model *model)
{
    qn_program_options options;
    qn_program *program;
    qn_assert_ok(qn_program_options_init(&options, b->engine, &b->err), &b->err);
    qn_assert_ok(qn_program_create(&program, model, &options, &b->err), &b->err);
    return program;
}

/* All items, in runs of the engine's default batch. */
static void run(bench *b, const qn_model *model, float *const *inputs, float **outputs)
{
    qn_program *program = program_of(b, model);
    qn_workspace *workspace;
    qn_assert_ok(qn_workspace_create(&workspace, program, &b->err), &b->err);
    const size_t n_inputs = qn_program_n_inputs(program), n_outputs = qn_program_n_outputs(program);
    const int64_t batch = qn_program_batch(program);
    assert_true(n_inputs <= MAX_TENSORS && n_outputs <= MAX_TENSORS);
    for (size_t k = 0; k < n_outputs; k++) {
        outputs[k] = qn_alloc((size_t)(N_ITEMS * qn_program_output_count(program, k)) * sizeof(float));
    }
    for (int64_t i = 0; i < N_ITEMS; i += batch) {
        const float *in[MAX_TENSORS];
        float *out[MAX_TENSORS];
        for (size_t k = 0; k < n_inputs; k++) {
            in[k] = inputs[k] + i * qn_program_input_count(program, k);
        }
        for (size_t k = 0; k < n_outputs; k++) {
            out[k] = outputs[k] + i * qn_program_output_count(program, k);
        }
        qn_assert_ok(qn_program_run(program, workspace, in, N_ITEMS - i < batch ? N_ITEMS - i : batch, out, &b->err),
                     &b->err);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
}

/* From the tensors of one position to those of another; new memory. */
static void pass(bench *b, size_t from, size_t to, float *const *tensors, float **next)
{
    qn_stage stage;
    float *in[MAX_TENSORS], *made[MAX_TENSORS];
    qn_assert_ok(qn_stage_create(&stage, b->cuts, from, to, &b->err), &b->err);
    for (size_t i = 0; i < stage.n_inputs; i++) {
        in[i] = tensors[stage.inputs[i]];
    }
    run(b, stage.model, in, made);
    const qn_cut *after = qn_cuts_at(b->cuts, to);
    for (size_t t = 0; t < after->n_tensors; t++) {
        const size_t bytes = (size_t)(N_ITEMS * after->tensors[t].count) * sizeof(float);
        next[t] = made[stage.sources[t].index];
        if (stage.sources[t].passes) {
            next[t] = qn_alloc(bytes);
            memcpy(next[t], tensors[stage.sources[t].index], bytes);
        }
    }
    qn_stage_free(&stage);
}

static void drop(float **tensors, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        qn_free(tensors[i]);
    }
}

/* Which set an element of [n, dims...] belongs to: the rules of doc/spec/link.md, not what frames do. */
static int64_t set_of(const qn_link_choice *choice, const qn_format *f, const qn_cut_tensor *t, int64_t k)
{
    const int64_t last = t->dims[t->rank - 1], item = k / t->count;
    switch (choice->per) {
    case QN_LINK_PER_TENSOR:
        return 0;
    case QN_LINK_PER_ITEM:
        return item;
    case QN_LINK_PER_TOKEN:
        return k / last;
    case QN_LINK_PER_GROUP:
        return k / choice->group;
    case QN_LINK_PER_CHANNEL: /* axis 1 of images, the last of matrices */
        return t->rank == 1 ? k % last : k % t->count / (t->count / t->dims[0]);
    case QN_LINK_PER_BLOCK:
        return k / last * ((last + f->block - 1) / f->block) + k % last / f->block;
    }
    return -1;
}

/* Of floats, the quotient of an integer format is a float (arithmetic.md 2.1); qn_format_code has doubles. */
static float round_by_hand(const qn_format *f, const qn_params *p, float x)
{
    if (f->kind != QN_FORMAT_INT) {
        return (float)qn_format_value(*f, p, qn_format_code(*f, p, (double)x, 0));
    }
    const float half = (float)(1 << (f->bits - 1)), zero = (float)p->zero_point; /* signed ones */
    float v = x / p->scale;
    v = fmaxf(v, -half - zero);
    v = fminf(v, half - 1.0f - zero);
    return rintf(v) * p->scale;
}

/* One message of n items of a tensor, in place, element by element. */
static void quantize_by_hand(bench *b, const qn_link_choice *choice, const qn_cut_tensor *t, float *x, int64_t n)
{
    qn_format f;
    if (strcmp(choice->format, "fp32") == 0 || strcmp(choice->format, "codes") == 0) {
        return; /* codes of the integer engine are what its values are */
    }
    qn_assert_ok(qn_format_parse(&f, choice->format, &b->err), &b->err);
    const int64_t count = n * t->count;
    if (choice->clamp == QN_LINK_CLAMP_LAPLACE) {
        const qn_fit_rule rule = {.kind = QN_RULE_ACIQ_LAPLACE};
        double lo, hi, *values = qn_alloc((size_t)count * sizeof *values);
        for (int64_t i = 0; i < count; i++) {
            values[i] = x[i];
        }
        qn_range_of_values(&lo, &hi, &rule, &f, values, count);
        for (int64_t i = 0; i < count; i++) {
            x[i] = (float)(x[i] < lo ? lo : x[i] > hi ? hi : (double)x[i]);
        }
        qn_free(values);
    }
    /* Elements of a set in order: first and last of each set, the next of each element. */
    float *set = qn_alloc((size_t)count * sizeof *set);
    int64_t *first = qn_alloc((size_t)count * sizeof *first), *next = qn_alloc((size_t)count * sizeof *next);
    for (int64_t k = count - 1; k >= 0; k--) {
        const int64_t id = set_of(choice, &f, t, k);
        assert_in_range(id, 0, count - 1);
        next[k] = first[id]; /* one more than the index, 0 at the end */
        first[id] = k + 1;
    }
    for (int64_t id = 0; id < count && first[id] > 0; id++) {
        qn_tensor values = {.dtype = QN_DTYPE_F32, .rank = 1, .data = set};
        for (int64_t i = first[id]; i > 0; i = next[i - 1]) {
            set[values.dims[0]++] = x[i - 1];
        }
        qn_quantizer *q;
        qn_assert_ok(qn_fit(&q, &values, f, NULL, &b->err), &b->err);
        assert_int_equal(q->n, 1);
        const qn_params params = qn_quantizer_get(q, 0);
        for (int64_t i = first[id]; i > 0; i = next[i - 1]) {
            x[i - 1] = round_by_hand(&f, &params, x[i - 1]);
        }
        qn_quantizer_free(q);
    }
    qn_free(set);
    qn_free(first);
    qn_free(next);
}

static int64_t argmax(const float *x)
{
    int64_t best = 0;
    for (int64_t i = 1; i < 10; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

/* What cutting at p with a choice gives, by hand, against what the study says. */
static void check_choice(bench *b, const qn_cut_study *study, size_t p, size_t c, int64_t message_items)
{
    const qn_cut *cut = qn_cuts_at(b->cuts, p);
    float *sent[MAX_TENSORS], *outputs[MAX_TENSORS];
    for (size_t t = 0; t < cut->n_tensors; t++) {
        const int64_t count = cut->tensors[t].count;
        sent[t] = qn_alloc((size_t)(N_ITEMS * count) * sizeof(float));
        memcpy(sent[t], b->tensors[t], (size_t)(N_ITEMS * count) * sizeof(float));
        for (int64_t i = 0; i < N_ITEMS; i += message_items) {
            const int64_t n = N_ITEMS - i < message_items ? N_ITEMS - i : message_items;
            quantize_by_hand(b, &b->choices[c], &cut->tensors[t], sent[t] + i * count, n);
        }
    }
    pass(b, p, qn_cuts_last(b->cuts), sent, outputs);
    double signal = 0, noise = 0;
    int64_t correct = 0, whole = 0, agree = 0;
    for (int64_t i = 0; i < N_ITEMS; i++) {
        const float *f = b->expected + i * 10, *q = outputs[0] + i * 10;
        double of_item = 0, f_item = 0;
        for (int k = 0; k < 10; k++) {
            of_item += ((double)f[k] - (double)q[k]) * ((double)f[k] - (double)q[k]);
            f_item += (double)f[k] * (double)f[k];
        }
        noise += of_item;
        signal += f_item;
        correct += argmax(q) == ((const uint8_t *)b->labels.data)[i];
        whole += argmax(f) == ((const uint8_t *)b->labels.data)[i];
        agree += argmax(f) == argmax(q);
    }
    const qn_cut_result *r = qn_cut_study_at(study, p, c);
    assert_non_null(r);
    assert_null(r->error);
    const double db = noise > 0 ? 10 * log10(signal / noise) : (double)INFINITY;
    if (r->sqnr_db != db || r->top1 != (double)correct / N_ITEMS || r->agreement != (double)agree / N_ITEMS ||
        r->loss != (double)(whole - correct) / N_ITEMS) {
        fail_msg("behind '%s' in %s: %.17g dB, top-1 %g; by hand %.17g dB, top-1 %g", cut->name, choice_texts[c],
                 r->sqnr_db, r->top1, db, (double)correct / N_ITEMS);
    }
    drop(sent, cut->n_tensors);
    drop(outputs, 1);
}

static void open_bench(bench *b, bool quantized)
{
    *b = (bench){.engine = quantized ? QN_ENGINE_INTEGER : QN_ENGINE_FLOAT};
    qn_error_init(&b->err);
    qn_preprocess pre;
    b->model = digits(quantized, &pre);
    qn_assert_ok(qn_cuts_create(&b->cuts, b->model, b->engine, &b->err), &b->err);
    qn_assert_ok(qn_tensor_read(&b->images, QN_SOURCE_DIR "/examples/digits/test_x_u8.npy", &b->err), &b->err);
    qn_assert_ok(qn_tensor_read(&b->labels, QN_SOURCE_DIR "/examples/digits/test_y_u8.npy", &b->err), &b->err);
    assert_int_equal(b->labels.dtype, QN_DTYPE_U8);
    b->images.dims[0] = N_ITEMS + 3; /* more than are measured */
    b->labels.dims[0] = N_ITEMS + 3;
    qn_assert_ok(qn_dataset_of_tensor(&b->data, &b->images, &pre, &b->err), &b->err);
    for (size_t c = 0; c < N_CHOICES; c++) {
        qn_assert_ok(qn_link_choice_parse(&b->choices[c], b->formats[c], choice_texts[c], NULL, &b->err), &b->err);
    }
}

static void close_bench(bench *b)
{
    qn_free(b->expected);
    qn_dataset_close(b->data);
    qn_tensor_free(&b->images);
    qn_tensor_free(&b->labels);
    qn_cuts_free(b->cuts);
    qn_model_free(b->model);
}

static qn_cut_study_options options_of(bench *b, int64_t message_items)
{
    qn_cut_study_options o;
    qn_assert_ok(qn_cut_study_options_init(&o, &b->err), &b->err);
    o.choices = b->choices;
    o.n_choices = N_CHOICES;
    o.data = b->data;
    o.n_items = N_ITEMS;
    o.labels = &b->labels;
    o.message_items = message_items;
    return o;
}

static qn_cut_study *study_of(bench *b, const qn_cut_study_options *o)
{
    qn_cut_study *study;
    qn_assert_ok(qn_cut_study_run(&study, b->cuts, o, &b->err), &b->err);
    return study;
}

static void by_hand(bool quantized, int64_t message_items, size_t stride)
{
    bench b;
    open_bench(&b, quantized);
    const qn_cut_study_options o = options_of(&b, message_items);
    qn_cut_study *study = study_of(&b, &o);
    const qn_cut_baseline *base = qn_cut_study_baseline(study);
    assert_int_equal(base->n_items, N_ITEMS);
    assert_int_equal(base->message_items, message_items);
    b.tensors[0] = qn_alloc((size_t)(N_ITEMS * qn_cuts_at(b.cuts, 0)->tensors[0].count) * sizeof(float));
    qn_assert_ok(qn_dataset_read(b.data, 0, N_ITEMS, b.tensors[0], &b.err), &b.err);
    float *outputs[MAX_TENSORS];
    run(&b, b.model, b.tensors, outputs);
    b.expected = outputs[0];
    size_t from = 0, checked = 0, several = 0, places = 0;
    for (size_t p = 1; p < qn_cuts_last(b.cuts); p++) {
        if (qn_cuts_at(b.cuts, p)->reason != NULL) {
            assert_null(qn_cut_study_at(study, p, 0));
            continue;
        }
        float *next[MAX_TENSORS];
        pass(&b, from, p, b.tensors, next);
        drop(b.tensors, qn_cuts_at(b.cuts, from)->n_tensors);
        memcpy(b.tensors, next, sizeof next);
        from = p;
        for (size_t c = 0; c < N_CHOICES && places % stride == 0; c++, checked++) {
            check_choice(&b, study, p, c, message_items);
        }
        places++;
        several += qn_cuts_at(b.cuts, p)->n_tensors > 1;
    }
    assert_true(checked >= 40);
    assert_true(several >= 3);
    assert_null(qn_cut_study_at(study, 0, 0));
    assert_null(qn_cut_study_at(study, qn_cuts_last(b.cuts), 0));
    assert_null(qn_cut_study_at(study, from, N_CHOICES));
    drop(b.tensors, qn_cuts_at(b.cuts, from)->n_tensors);
    qn_cut_study_free(study);
    close_bench(&b);
}

static void float_cuts_are_those_by_hand(void **state)
{
    (void)state;
    by_hand(false, 1, 4);
}

static void integer_cuts_are_those_by_hand(void **state)
{
    (void)state;
    by_hand(true, 1, 3);
}

static void messages_of_several_items_are_those_by_hand(void **state)
{
    (void)state;
    by_hand(false, 3, 7);  /* runs of 8 hold two messages; the last message is short */
    by_hand(false, 10, 7); /* longer than a run; the last message is short */
}

/* Threads, and memory for few items at a time, change no bit; positions not asked for have nothing. */
static void results_depend_on_nothing_else(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, false);
    qn_cut_study_options o = options_of(&b, 3);
    o.n_threads = 1;
    qn_cut_study *one = study_of(&b, &o);
    bool *studied = qn_alloc(qn_cuts_last(b.cuts) + 1);
    for (size_t p = 0; p <= qn_cuts_last(b.cuts); p++) {
        studied[p] = p % 3 == 1;
    }
    o.n_threads = 3;
    o.memory = 1;
    o.studied = studied;
    qn_cut_study *three = study_of(&b, &o);
    size_t n = 0;
    for (size_t p = 1; p < qn_cuts_last(b.cuts); p++) {
        for (size_t c = 0; c < N_CHOICES; c++) {
            const qn_cut_result *x = qn_cut_study_at(one, p, c), *y = qn_cut_study_at(three, p, c);
            if (!studied[p]) {
                assert_null(y);
            } else if (x != NULL) {
                assert_non_null(y);
                assert_memory_equal(x, y, sizeof *x);
                n++;
            }
        }
    }
    assert_true(n >= 5 * N_CHOICES);
    qn_free(studied);
    qn_cut_study_free(one);
    qn_cut_study_free(three);
    close_bench(&b);
}

/* Bytes are those of whole frames; without data nothing else is known. */
static void bytes_are_those_of_frames(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, true);
    qn_cut_study_options o = options_of(&b, 5);
    o.data = NULL;
    o.labels = NULL;
    o.n_items = 0;
    qn_cut_study *study = study_of(&b, &o);
    assert_int_equal(qn_cut_study_baseline(study)->n_items, 0);
    size_t coded = 0;
    for (size_t p = 1; p < qn_cuts_last(b.cuts); p++) {
        const qn_cut *cut = qn_cuts_at(b.cuts, p);
        for (size_t c = 0; cut->reason == NULL && c < N_CHOICES; c++) {
            const qn_cut_result *r = qn_cut_study_at(study, p, c);
            const bool codes = strcmp(choice_texts[c], "codes") == 0;
            size_t bytes = QN_ENVELOPE_BYTES;
            for (size_t t = 0; t < cut->n_tensors; t++) {
                const qn_cut_tensor *tensor = &cut->tensors[t];
                qn_link_options link;
                qn_link_choice_options(&link, &b.choices[c]);
                if (codes && tensor->coded) {
                    link.format = tensor->format; /* one set of parameters */
                    link.per = QN_LINK_PER_TENSOR;
                    coded++;
                }
                qn_frame frame;
                int64_t dims[QN_MAX_RANK + 1] = {5};
                memcpy(dims + 1, tensor->dims, sizeof tensor->dims);
                qn_assert_ok(qn_frame_plan(&frame, &link, tensor->rank + 1, dims, &b.err), &b.err);
                bytes += frame.n_bytes;
            }
            assert_int_equal(r->message_bytes, bytes);
            assert_true(isnan(r->sqnr_db) && isnan(r->top1) && isnan(r->loss) && isnan(r->agreement));
        }
    }
    assert_true(coded > 5);
    qn_cut_study_free(study);
    close_bench(&b);
}

/* Numbers that only change shape are run once, and again where the shape matters. */
static void a_reshape_is_not_measured_again(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, false);
    const qn_cut_study_options o = options_of(&b, 1);
    qn_cut_study *study = study_of(&b, &o);
    size_t flat, pooled;
    qn_assert_ok(qn_cuts_find(&flat, b.cuts, "flatten.out", &b.err), &b.err);
    qn_assert_ok(qn_cuts_find(&pooled, b.cuts, "gap.out", &b.err), &b.err);
    assert_int_equal(qn_cut_study_same_as(study, flat), pooled);
    assert_int_equal(qn_cut_study_same_as(study, pooled), pooled);
    const qn_cut_result *a = qn_cut_study_at(study, pooled, 0), *z = qn_cut_study_at(study, flat, 0);
    assert_true(a->sqnr_db == z->sqnr_db && a->top1 == z->top1 && a->message_bytes > z->message_bytes);
    a = qn_cut_study_at(study, pooled, 3); /* per token: one value each before, all of an item behind */
    z = qn_cut_study_at(study, flat, 3);
    assert_true(isfinite(a->sqnr_db) && isfinite(z->sqnr_db) && a->sqnr_db != z->sqnr_db);
    qn_cut_study_free(study);
    close_bench(&b);
}

static void fix_batch(qn_model *model, int64_t n)
{
    qn_graph *g = &model->graph;
    for (size_t i = 0; i < g->n_inputs + g->n_outputs; i++) {
        qn_value *value = &g->values[i < g->n_inputs ? g->inputs[i] : g->outputs[i - g->n_inputs]];
        value->dims[0] = n;
        value->dim_names[0] = NULL;
    }
}

/* A network of one item at a time gets the results of one of any number. */
static void a_fixed_batch_changes_nothing(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, true);
    qn_cut_study_options o = options_of(&b, 1);
    qn_cut_study *any = study_of(&b, &o), *one;
    qn_cuts_free(b.cuts);
    fix_batch(b.model, 1);
    qn_assert_ok(qn_cuts_create(&b.cuts, b.model, b.engine, &b.err), &b.err);
    assert_false(qn_cuts_batched(b.cuts));
    one = study_of(&b, &o);
    size_t n = 0;
    for (size_t p = 1; p < qn_cuts_last(b.cuts); p++) {
        for (size_t c = 0; c < N_CHOICES; c++) {
            const qn_cut_result *x = qn_cut_study_at(any, p, c), *y = qn_cut_study_at(one, p, c);
            assert_true((x == NULL) == (y == NULL));
            if (x != NULL) {
                assert_memory_equal(x, y, sizeof *x);
                n++;
            }
        }
    }
    assert_true(n >= 5 * N_CHOICES);
    o.message_items = 2;
    qn_cut_study *none;
    qn_assert_fails(qn_cut_study_run(&none, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "one item at a time");
    qn_error_init(&b.err);
    o.message_items = 1;
    qn_cuts_free(b.cuts);
    fix_batch(b.model, 4);
    qn_assert_ok(qn_cuts_create(&b.cuts, b.model, b.engine, &b.err), &b.err);
    qn_assert_fails(qn_cut_study_run(&none, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "fixed batch of 4");
    qn_cut_study_free(any);
    qn_cut_study_free(one);
    close_bench(&b);
}

static void what_cannot_be_studied_is_refused(void **state)
{
    (void)state;
    bench b;
    qn_cut_study *study;
    open_bench(&b, false);
    qn_cut_study_options o = options_of(&b, 1);
    o.n_items = N_ITEMS + 4;
    qn_assert_fails(qn_cut_study_run(&study, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "are asked for");
    qn_error_init(&b.err);
    o = options_of(&b, 0);
    qn_assert_fails(qn_cut_study_run(&study, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "1 to 4096");
    qn_error_init(&b.err);
    o = options_of(&b, 1);
    b.labels.dims[0] = N_ITEMS;
    qn_assert_fails(qn_cut_study_run(&study, b.cuts, &o, &b.err), &b.err, QN_ESHAPE, "one label for each");
    qn_error_init(&b.err);
    b.labels.dims[0] = N_ITEMS + 3;
    ((uint8_t *)b.labels.data)[4] = 10;
    qn_assert_fails(qn_cut_study_run(&study, b.cuts, &o, &b.err), &b.err, QN_ERANGE, "label of item 4 is 10");
    qn_error_init(&b.err);
    o.struct_size = 1;
    qn_assert_fails(qn_cut_study_run(&study, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "qn_cut_study_options_init");
    close_bench(&b);
}

/* Whichever allocation fails, it is said, and nothing is left behind (which sanitizers see). */
static void memory_that_runs_out_is_said(void **state)
{
    (void)state;
    bench b;
    open_bench(&b, true);
    bool *studied = qn_alloc(qn_cuts_last(b.cuts) + 1);
    size_t place;
    qn_assert_ok(qn_cuts_find(&place, b.cuts, "res1.relu.out", &b.err), &b.err);
    studied[place] = true; /* two tensors */
    qn_cut_study_options o = options_of(&b, 1);
    o.studied = studied;
    o.n_items = 2;
    o.n_threads = 1;
    qn_status status = QN_ENOMEM;
    int64_t failures = 0;
    for (int64_t left = 0; status != QN_OK; left += left < 40 ? 1 : 13) {
        qn_cut_study *study = NULL;
        qn_error_init(&b.err);
        qn_alloc_fail_after(left);
        status = qn_cut_study_run(&study, b.cuts, &o, &b.err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || status == QN_ENOMEM);
        failures += status != QN_OK;
        qn_cut_study_free(study);
    }
    assert_true(failures > 60);
    qn_free(studied);
    close_bench(&b);
}

static void times_never_fall(void **state)
{
    (void)state;
    for (int quantized = 0; quantized < 2; quantized++) {
        bench b;
        open_bench(&b, quantized != 0);
        qn_cut_times_options o;
        qn_cut_times times;
        qn_assert_ok(qn_cut_times_options_init(&o, &b.err), &b.err);
        o.data = quantized ? b.data : NULL;
        o.rounds = 1;
        qn_assert_ok(qn_cut_times_measure(&times, b.cuts, &o, &b.err), &b.err);
        assert_int_equal(times.n, qn_cuts_last(b.cuts) + 1);
        assert_true(times.seconds_before[0] == 0);
        for (size_t p = 1; p < times.n; p++) {
            assert_true(times.seconds_before[p] >= times.seconds_before[p - 1]);
        }
        assert_true(times.seconds_before[1] > 0 && times.seconds_before[times.n - 1] < 1);
        assert_true(times.seconds_before[1] < times.seconds_before[times.n - 1]);
        assert_true(times.batch >= 1 && times.machine[0] != '\0');
        qn_cut_times_free(&times);
        o.rounds = 0;
        qn_assert_fails(qn_cut_times_measure(&times, b.cuts, &o, &b.err), &b.err, QN_EINVAL, "1 or more");
        close_bench(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_cuts_are_those_by_hand),
        cmocka_unit_test(integer_cuts_are_those_by_hand),
        cmocka_unit_test(messages_of_several_items_are_those_by_hand),
        cmocka_unit_test(results_depend_on_nothing_else),
        cmocka_unit_test(bytes_are_those_of_frames),
        cmocka_unit_test(a_reshape_is_not_measured_again),
        cmocka_unit_test(a_fixed_batch_changes_nothing),
        cmocka_unit_test(what_cannot_be_studied_is_refused),
        cmocka_unit_test(memory_that_runs_out_is_said),
        cmocka_unit_test(times_never_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
