/* Pipelines over threads that hand each other copies of messages: the bytes of the whole network, each micro-batch told
 * of once by each stage, failures and stalls named. */
#include "support.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "quern/quern.h"

enum { RANKS_MAX = 6, SLOTS_MAX = 64, ITEMS = 37 };

/* A message under way. The sender's request is over when it has been fetched (rendezvous), or at once (eager). */
typedef struct letter {
    struct letter *next;
    int from, to;
    qn_channel channel;
    size_t n_bytes;
    bool *fetched;
    unsigned char data[];
} letter;

typedef struct {
    pthread_mutex_t mutex;
    letter *first;
    int size;
    bool eager, drop; /* drop: messages of data from rank drop_from vanish from the third on */
    int drop_from, dropped;
} post;

typedef struct {
    post *office;
    int rank;
    bool stopped; /* this rank neither sends nor gets anything any more */
    struct {
        bool receives, fetched;
        int from;
        qn_channel channel;
        void *data;
        size_t room;
    } slots[SLOTS_MAX];
} desk;

static qn_status desk_send(void *ctx, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                           qn_error *err)
{
    desk *d = ctx;
    (void)err;
    d->slots[slot].receives = false;
    d->slots[slot].fetched = d->office->eager;
    letter *l = malloc(sizeof *l + n_bytes);
    assert_non_null(l);
    *l =
        (letter){.from = d->rank, .to = to, .channel = channel, .n_bytes = n_bytes, .fetched = &d->slots[slot].fetched};
    memcpy(l->data, data, n_bytes);
    pthread_mutex_lock(&d->office->mutex);
    const bool lost =
        d->office->drop && channel == QN_CHANNEL_DATA && d->rank == d->office->drop_from && ++d->office->dropped > 3;
    letter **at = &d->office->first;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    if (lost) {
        free(l);
        d->slots[slot].fetched = true;
    } else {
        *at = l;
    }
    pthread_mutex_unlock(&d->office->mutex);
    return QN_OK;
}

static qn_status desk_receive(void *ctx, size_t slot, int from, qn_channel channel, void *data, size_t room,
                              qn_error *err)
{
    desk *d = ctx;
    (void)err;
    d->slots[slot].receives = true;
    d->slots[slot].from = from;
    d->slots[slot].channel = channel;
    d->slots[slot].data = data;
    d->slots[slot].room = room;
    return QN_OK;
}

static qn_status desk_test(void *ctx, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err)
{
    desk *d = ctx;
    post *office = d->office;
    qn_status status = QN_OK;
    *over = false;
    pthread_mutex_lock(&office->mutex);
    if (!d->slots[slot].receives) {
        *over = d->slots[slot].fetched;
    }
    for (letter **at = &office->first; d->slots[slot].receives && *at != NULL; at = &(*at)->next) {
        letter *l = *at;
        if (l->to == d->rank && l->channel == d->slots[slot].channel &&
            (d->slots[slot].from < 0 || d->slots[slot].from == l->from)) {
            if (l->n_bytes > d->slots[slot].room) {
                status =
                    qn_fail(err, QN_EINTERNAL, "post", "%zu bytes do not fit %zu", l->n_bytes, d->slots[slot].room);
                break;
            }
            memcpy(d->slots[slot].data, l->data, l->n_bytes);
            *n_bytes = l->n_bytes;
            *from = l->from;
            *over = true;
            if (!office->eager) {
                *l->fetched = true;
            }
            *at = l->next;
            free(l);
            break;
        }
    }
    pthread_mutex_unlock(&office->mutex);
    return status;
}

static void desk_rest(void *ctx, double seconds)
{
    (void)ctx;
    const struct timespec moment = {.tv_nsec = seconds > 0.001 ? 200000 : 1000};
    nanosleep(&moment, NULL);
}

typedef struct {
    const qn_model *model;
    qn_engine engine;
    qn_cuts *cuts;
    qn_plan plan;
    qn_plan_stage stages[RANKS_MAX];
    qn_plan_link links[RANKS_MAX];
    qn_link_choice choice;
    size_t positions[RANKS_MAX + 1];
    float *x, *y, *expected;
    int64_t n_in, n_out;
    bool seen[RANKS_MAX][ITEMS];
    int64_t records;
    double timeout;
    post office;
    int bad_rank;   /* whose `choose` asks for a choice that is none, from micro-batch 3 on; -1: nobody's */
    int stuck_rank; /* that sleeps in micro-batch 3 */
    volatile sig_atomic_t stop;
    int64_t stop_after; /* items; 0: never */
} bench;

typedef struct {
    bench *b;
    desk desk;
    qn_transport transport;
    qn_pipeline *pipeline;
    qn_error err;
    qn_status status;
    int64_t finished;
    uint64_t sent; /* messages that have left */
    bool in_turn;
} rank;

static qn_status read_items(void *ctx, int64_t first, int64_t n, float *x, qn_error *err)
{
    const bench *b = ((rank *)ctx)->b;
    (void)err;
    memcpy(x, b->x + first * b->n_in, (size_t)(n * b->n_in) * sizeof *x);
    return QN_OK;
}

static qn_status take_outputs(void *ctx, int64_t first, int64_t n, const float *const *outputs, qn_error *err)
{
    bench *b = ((rank *)ctx)->b;
    (void)err;
    memcpy(b->y + first * b->n_out, outputs[0], (size_t)(n * b->n_out) * sizeof(float));
    b->stop = b->stop_after > 0 && first + n >= b->stop_after;
    return QN_OK;
}

static qn_status take_record(void *ctx, const qn_pipeline_record *record, qn_error *err)
{
    bench *b = ((rank *)ctx)->b;
    (void)err;
    assert_true(record->stage < b->plan.n_stages && record->sequence < ITEMS);
    assert_false(b->seen[record->stage][record->sequence]);
    assert_true(record->start >= 0 && record->compute > 0 && record->items >= 1);
    b->seen[record->stage][record->sequence] = true;
    b->records++;
    return QN_OK;
}

static qn_status choose(void *ctx, size_t stage, uint64_t sequence, size_t *choice, qn_error *err)
{
    (void)err;
    const bench *b = ((rank *)ctx)->b;
    if ((int)stage == b->stuck_rank && sequence == 3) {
        const struct timespec moment = {.tv_sec = (time_t)(b->timeout * 2) + 1};
        nanosleep(&moment, NULL);
    }
    *choice = (int)stage == b->bad_rank && sequence >= 3 ? 7 : 0;
    return QN_OK;
}

static void take_sent(void *ctx, size_t stage, uint64_t sequence, int64_t items, size_t n_bytes, double seconds)
{
    rank *r = ctx;
    r->in_turn =
        r->in_turn && sequence == r->sent && items > 0 && n_bytes > 0 && seconds >= 0 && (int)stage == r->desk.rank;
    r->sent++;
}

static void *run_rank(void *ctx)
{
    rank *r = ctx;
    r->status = qn_pipeline_run(r->pipeline, r->desk.rank == 0 ? ITEMS : 0, &r->err);
    r->finished = qn_pipeline_finished(r->pipeline);
    return NULL;
}

static void prepare(bench *b, const qn_model *model, qn_engine engine)
{
    qn_error err;
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    *b = (bench){.model = model, .engine = engine, .timeout = 20, .bad_rank = -1, .stuck_rank = -1};
    b->choice = (qn_link_choice){.format = "codes"};
    qn_error_init(&err);
    qn_assert_ok(qn_cuts_create(&b->cuts, model, engine, &err), &err);
    qn_assert_ok(qn_program_options_init(&options, engine, &err), &err);
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    b->n_in = qn_program_input_count(program, 0);
    b->n_out = qn_program_output_count(program, 0);
    b->x = qn_alloc((size_t)(ITEMS * b->n_in) * sizeof(float));
    b->y = qn_alloc((size_t)(ITEMS * b->n_out) * sizeof(float));
    b->expected = qn_alloc((size_t)(ITEMS * b->n_out) * sizeof(float));
    uint64_t state = 9;
    for (int64_t i = 0; i < ITEMS * b->n_in; i++) {
        b->x[i] = qn_test_uniform(&state, -1.5f, 1.5f);
    }
    for (int64_t i = 0; i < ITEMS; i++) {
        const float *in = b->x + i * b->n_in;
        float *out = b->expected + i * b->n_out;
        qn_assert_ok(qn_program_run(program, workspace, &in, 1, &out, &err), &err);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    pthread_mutex_init(&b->office.mutex, NULL);
}

static void release(bench *b)
{
    qn_free(b->x);
    qn_free(b->y);
    qn_free(b->expected);
    qn_cuts_free(b->cuts);
    pthread_mutex_destroy(&b->office.mutex);
}

static void plan(bench *b, size_t n_stages, int64_t microbatch)
{
    size_t places[4096], n = 0;
    for (size_t p = 1; p < qn_cuts_last(b->cuts); p++) {
        if (qn_cuts_at(b->cuts, p)->reason == NULL) {
            places[n++] = p;
        }
    }
    b->plan = (qn_plan){.model = "", .sha256 = "", .engine = b->engine, .microbatch = microbatch};
    b->plan.n_stages = n_stages;
    b->plan.stages = b->stages;
    b->plan.links = b->links;
    for (size_t k = 0; k + 1 < n_stages; k++) {
        b->links[k] = (qn_plan_link){.choices = &b->choice, .n_choices = 1, .checksum = true};
        b->positions[k + 1] = places[(k + 1) * n / n_stages];
    }
    b->positions[n_stages] = qn_cuts_last(b->cuts);
}

static void create(bench *b, rank *r, int size, int k)
{
    qn_pipeline_options o;
    qn_pipeline_options_init(&o);
    *r = (rank){.b = b, .in_turn = true, .desk = {.office = &b->office, .rank = k}};
    r->transport = (qn_transport){.ctx = &r->desk,
                                  .rank = k,
                                  .size = size,
                                  .send = desk_send,
                                  .receive = desk_receive,
                                  .test = desk_test,
                                  .rest = desk_rest};
    assert_true(qn_pipeline_slots(size) <= SLOTS_MAX);
    o.transport = &r->transport;
    o.timeout = b->timeout;
    o.stop = &b->stop;
    o.read = read_items;
    o.outputs = take_outputs;
    o.record = take_record;
    o.choose = choose;
    o.sent = take_sent;
    o.ctx = r;
    qn_error_init(&r->err);
    qn_assert_ok(qn_pipeline_create(&r->pipeline, b->cuts, &b->plan, b->positions, &o, &r->err), &r->err);
}

static void run_all(bench *b, rank *ranks, int size)
{
    pthread_t threads[RANKS_MAX];
    memset(b->y, 0, (size_t)(ITEMS * b->n_out) * sizeof(float));
    memset(b->seen, 0, sizeof b->seen);
    b->records = 0;
    b->office.dropped = 0;
    b->office.size = size;
    for (int k = 0; k < size; k++) {
        create(b, &ranks[k], size, k);
    }
    for (int k = 1; k < size; k++) {
        assert_int_equal(pthread_create(&threads[k], NULL, run_rank, &ranks[k]), 0);
    }
    run_rank(&ranks[0]);
    b->stop = b->stop || ranks[0].status != QN_OK; /* as a job's end kills the others */
    for (int k = 1; k < size; k++) {
        pthread_join(threads[k], NULL);
    }
    for (int k = 0; k < size; k++) {
        qn_pipeline_free(ranks[k].pipeline);
    }
    while (b->office.first != NULL) {
        letter *l = b->office.first;
        b->office.first = l->next;
        assert_true(ranks[0].status != QN_OK); /* after success none is left */
        free(l);
    }
}

static qn_model *digits(qn_model **quantized)
{
    qn_error err;
    qn_model *model;
    qn_tensor x;
    qn_dataset *set;
    qn_calibration *calibration;
    qn_quantize_options options;
    qn_error_init(&err);
    qn_assert_ok(qn_model_load(&model, QN_SOURCE_DIR "/examples/digits/digits.onnx", &err), &err);
    qn_preprocess pre;
    bool found;
    qn_assert_ok(qn_model_preprocess(model, &pre, &found, &err), &err);
    qn_assert_ok(qn_tensor_read(&x, QN_SOURCE_DIR "/examples/digits/calib_x_u8.npy", &err), &err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &x, &pre, &err), &err);
    qn_assert_ok(qn_calibrate(&calibration, model, set, NULL, &err), &err);
    qn_quantize_options_init(&options);
    options.recipe = "minmax";
    qn_assert_ok(qn_quantize(quantized, model, calibration, &options, NULL, &err), &err);
    qn_calibration_free(calibration);
    qn_dataset_close(set);
    qn_tensor_free(&x);
    return model;
}

/* Stages and micro-batches, with messages that leave at once and with ones that wait to be fetched; idle ranks. */
static void whole_bytes(void **state)
{
    (void)state;
    qn_model *quantized, *model = digits(&quantized);
    bench b;
    rank ranks[RANKS_MAX];
    prepare(&b, quantized, QN_ENGINE_INTEGER);
    for (size_t n = 1; n <= 3; n++) {
        for (int round = 0; round < 6; round++) {
            const int64_t microbatch = (int64_t[]){1, 5, 64}[round / 2];
            const int size = (int)n + (round == 3 ? 2 : 0);
            b.office.eager = round % 2 == 0;
            plan(&b, n, microbatch);
            run_all(&b, ranks, size);
            for (int k = 0; k < size; k++) {
                qn_assert_ok(ranks[k].status, &ranks[k].err);
                assert_true(ranks[k].in_turn);
                assert_int_equal(ranks[k].sent, k + 1 < (int)n ? (ITEMS + microbatch - 1) / microbatch : 0);
            }
            assert_memory_equal(b.y, b.expected, (size_t)(ITEMS * b.n_out) * sizeof(float));
            assert_int_equal(ranks[0].finished, ITEMS);
            assert_int_equal(b.records, (int64_t)n * ((ITEMS + microbatch - 1) / microbatch));
        }
    }
    release(&b);
    qn_model_free(quantized);
    qn_model_free(model);
}

/* Without a transport: one stage; more are refused, with numbers. */
static void alone(void **state)
{
    (void)state;
    qn_model *quantized, *model = digits(&quantized);
    bench b;
    prepare(&b, quantized, QN_ENGINE_INTEGER);
    plan(&b, 1, 8);
    rank r = {.b = &b};
    qn_pipeline_options o;
    qn_pipeline_options_init(&o);
    o.read = read_items;
    o.outputs = take_outputs;
    o.ctx = &r;
    qn_error_init(&r.err);
    qn_assert_ok(qn_pipeline_create(&r.pipeline, b.cuts, &b.plan, b.positions, &o, &r.err), &r.err);
    qn_assert_ok(qn_pipeline_run(r.pipeline, ITEMS, &r.err), &r.err);
    assert_memory_equal(b.y, b.expected, (size_t)(ITEMS * b.n_out) * sizeof(float));
    assert_int_equal(qn_pipeline_totals_of(r.pipeline, 0)->items, ITEMS);
    qn_pipeline_free(r.pipeline);
    plan(&b, 3, 8);
    qn_assert_fails(qn_pipeline_create(&r.pipeline, b.cuts, &b.plan, b.positions, &o, &r.err), &r.err, QN_EINVAL,
                    "3 stages, but 1 process");
    release(&b);
    qn_model_free(quantized);
    qn_model_free(model);
}

/* What a stage fails of is what rank 0 says, and what was finished before stays finished. */
static void a_stage_fails(void **state)
{
    (void)state;
    qn_model *quantized, *model = digits(&quantized);
    bench b;
    rank ranks[RANKS_MAX];
    prepare(&b, quantized, QN_ENGINE_INTEGER);
    plan(&b, 3, 2);
    b.timeout = 5;
    b.bad_rank = 1;
    run_all(&b, ranks, 3);
    qn_assert_fails(ranks[0].status, &ranks[0].err, QN_EINTERNAL, "stage 1 (rank 1)");
    assert_non_null(strstr(ranks[0].err.message, "choice 7 of a link of 1"));
    assert_true(ranks[0].finished <= 6);
    assert_memory_equal(b.y, b.expected, (size_t)(ranks[0].finished * b.n_out) * sizeof(float));
    release(&b);
    qn_model_free(quantized);
    qn_model_free(model);
}

/* A stage that stands still, and messages that get lost, are told apart and named; a stop is a stop. */
static void stalls(void **state)
{
    (void)state;
    qn_model *quantized, *model = digits(&quantized);
    bench b;
    rank ranks[RANKS_MAX];
    prepare(&b, quantized, QN_ENGINE_INTEGER);
    plan(&b, 3, 2);
    b.timeout = 2; /* which a busy machine does not keep a thread waiting for */
    b.stuck_rank = 1;
    run_all(&b, ranks, 3);
    qn_assert_fails(ranks[0].status, &ranks[0].err, QN_EIO, "link 1->2");
    assert_non_null(strstr(ranks[0].err.message, "nothing from stage 1 (rank 1)"));
    assert_non_null(strstr(ranks[0].err.message, "micro-batch 3"));
    assert_memory_equal(b.y, b.expected, (size_t)(ranks[0].finished * b.n_out) * sizeof(float));
    b.stuck_rank = -1;
    b.stop = 0;
    b.office.drop = true;
    b.office.drop_from = 0;
    run_all(&b, ranks, 3);
    qn_assert_fails(ranks[0].status, &ranks[0].err, QN_EIO, "link 0->1");
    assert_non_null(strstr(ranks[0].err.message, "stage 1 (rank 1) waits for micro-batch 3"));
    assert_int_equal(ranks[0].finished, 6);
    b.office.drop = false;
    b.stop = 0;
    b.stop_after = 10;
    run_all(&b, ranks, 3);
    assert_int_equal(ranks[0].status, QN_ECANCELED);
    assert_true(ranks[0].finished >= 10 && ranks[0].finished < ITEMS);
    release(&b);
    qn_model_free(quantized);
    qn_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_bytes), cmocka_unit_test(alone),
                                       cmocka_unit_test(a_stage_fails), cmocka_unit_test(stalls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
