/* Units of items: through the stage to a position, there through frames in every choice, and on to the outputs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "engine/feed.h"
#include "engine/labels.h"
#include "link/measure.h"

/* Buffers of one worker at one position. */
struct qn_measure_worker {
    qn_frame_coder *coder;
    size_t n_crossings;
    qn_crossing *crossings; /* per choice; those that do not run are zero */
    unsigned char *bytes;   /* of a frame */
    size_t n_floats, n_inputs;
    float **floats; /* all below, which are parts of it: tensors that arrived, outputs of the suffix */
    float **arrived, **outputs;
    const float **inputs; /* of a stage */
    float **made;         /* outputs of the stage before */
};

qn_status qn_measure_tell(qn_measure *m, int64_t n, qn_error *err)
{
    if (m->options->progress == NULL) {
        return QN_OK;
    }
    pthread_mutex_lock(&m->mutex);
    m->done += n;
    const bool more = m->options->progress(m->options->progress_ctx, m->done, m->total);
    pthread_mutex_unlock(&m->mutex);
    return more ? QN_OK : qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
}

/* A frame of items from..from+n-1 of the part, and back. */
static qn_status send_tensor(const qn_measure *m, qn_measure_worker *w, size_t c, size_t t, int64_t from, int64_t into,
                             int64_t n, qn_error *err)
{
    qn_crossing *crossing = &w->crossings[c];
    const int64_t count = crossing->tensors[t].count;
    const qn_frame *frames;
    qn_frame read;
    qn_frame_verdict verdict;
    qn_quantizer q;
    QN_TRY(qn_crossing_plan(&frames, crossing, 0, n, err));
    qn_frame frame = frames[t];
    qn_tensor x = {.dtype = QN_DTYPE_F32, .rank = frame.rank, .data = m->next[t] + from * count};
    memcpy(x.dims, frame.dims, sizeof x.dims);
    QN_TRY(qn_frame_encode_with(w->bytes, &frame, &x, qn_crossing_fixed(&q, crossing, 0, t, n),
                                &crossing->choices[0].options, w->coder, err));
    if (qn_frame_parse(&read, &verdict, w->bytes, frame.n_bytes, SIZE_MAX) != QN_FRAME_COMPLETE) {
        return qn_fail(err, QN_EINTERNAL, NULL, "the frame does not read back: %s", qn_frame_fault_text(verdict.fault));
    }
    return qn_frame_decode_with(w->arrived[t] + into * count, &read, w->coder, err);
}

static void compare(const qn_measure *m, const qn_measure_worker *w, size_t c, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double noise = 0;
        for (size_t k = 0; k < m->n_outputs; k++) {
            const qn_stage_source source = m->suffix.stage.sources[k];
            const float *q = (source.passes ? w->arrived : w->outputs)[source.index] + i * m->counts[k];
            const float *f = m->expected[k] + (m->first + first + i) * m->counts[k];
            for (int64_t e = 0; e < m->counts[k]; e++) {
                const double difference = (double)f[e] - (double)q[e];
                noise += difference * difference;
            }
            if (k == 0) {
                m->found[c * (size_t)m->n + (size_t)(first + i)] = qn_argmax(q, m->counts[k]);
            }
        }
        m->noise[c * (size_t)m->n + (size_t)(first + i)] = noise;
    }
}

/* A choice that some values cannot take has no result; the first item at fault says why. */
static qn_status note_error(qn_measure *m, size_t c, size_t t, int64_t item, const char *message, qn_error *err)
{
    qn_status status = QN_OK;
    pthread_mutex_lock(&m->mutex);
    if (m->error_item[c] < 0 || item < m->error_item[c]) {
        qn_cut_result *r = &m->study->results[m->at * m->study->n_choices + c];
        const char *text = qn_arena_printf(&m->study->arena, "'%s', from item %lld on: %s",
                                           m->cuts->cuts[m->at].tensors[t].name, (long long)item, message);
        status = text != NULL ? QN_OK : qn_fail_memory(err, NULL, 0);
        m->error_item[c] = item;
        r->error = text;
    }
    pthread_mutex_unlock(&m->mutex);
    return status;
}

static qn_status try_choice(qn_measure *m, int worker, size_t c, int64_t first, int64_t n, qn_error *err)
{
    qn_measure_worker *w = &m->workers[worker];
    for (int64_t i = 0; i < n; i += m->message_items) {
        const int64_t some = n - i < m->message_items ? n - i : m->message_items;
        for (size_t t = 0; t < m->cuts->cuts[m->at].n_tensors; t++) {
            qn_error inner;
            qn_error_init(&inner);
            qn_status status = send_tensor(m, w, c, t, first + i, i, some, &inner);
            if (status == QN_ERANGE) {
                return note_error(m, c, t, m->first + first + i, inner.message, err);
            }
            if (status != QN_OK) {
                return qn_fail(err, status, NULL, "'%s' behind '%s' in %s: %s", m->cuts->cuts[m->at].tensors[t].name,
                               m->cuts->cuts[m->at].name, m->options->choices[c].format, inner.message);
            }
        }
    }
    const qn_stage *stage = &m->suffix.stage;
    for (size_t k = 0; k < stage->n_inputs; k++) {
        w->inputs[k] = w->arrived[stage->inputs[k]];
    }
    QN_TRY(qn_measure_stage_run(&m->suffix, worker, w->inputs, n, w->outputs, err));
    compare(m, w, c, first, n);
    return QN_OK;
}

static qn_status run_unit(void *ctx, int worker, int64_t index, qn_error *err)
{
    qn_measure *m = ctx;
    qn_measure_worker *w = &m->workers[worker];
    const int64_t first = index * m->unit, n = m->n - first < m->unit ? m->n - first : m->unit;
    const qn_stage *stage = &m->prefix.stage;
    const qn_cut *before = &m->cuts->cuts[stage->from];
    for (size_t k = 0; k < stage->n_inputs; k++) {
        w->inputs[k] = m->values[stage->inputs[k]] + first * before->tensors[stage->inputs[k]].count;
    }
    for (size_t t = 0; t < stage->n_sources; t++) {
        if (!stage->sources[t].passes) {
            w->made[stage->sources[t].index] = m->next[t] + first * m->cuts->cuts[stage->to].tensors[t].count;
        }
    }
    QN_TRY(qn_measure_stage_run(&m->prefix, worker, w->inputs, n, w->made, err));
    int64_t done = n;
    for (size_t c = 0; m->at > 0 && c < m->study->n_choices; c++) {
        if (m->run[c]) {
            QN_TRY(try_choice(m, worker, c, first, n, err));
            done += n;
        }
    }
    return qn_measure_tell(m, done, err);
}

static void worker_close(qn_measure_worker *w)
{
    qn_frame_coder_free(w->coder);
    for (size_t c = 0; c < w->n_crossings; c++) {
        qn_crossing_free(&w->crossings[c]);
    }
    qn_free(w->crossings);
    qn_free(w->bytes);
    for (size_t i = 0; w->floats != NULL && i < w->n_floats; i++) {
        qn_free(w->floats[i]);
    }
    qn_free(w->floats);
    qn_free(w->inputs);
    qn_free(w->made);
}

static qn_status floats_open(float **floats, int64_t items, int64_t count, qn_error *err)
{
    size_t n;
    if (!qn_mul_size((size_t)items, (size_t)count, &n) || !qn_mul_size(n, sizeof **floats, &n)) {
        return qn_fail(err, QN_ELIMIT, NULL, "%lld items of %lld elements are too large", (long long)items,
                       (long long)count);
    }
    *floats = qn_alloc_uncleared(n);
    return *floats != NULL ? QN_OK : qn_fail_memory(err, NULL, n);
}

static qn_status crossings_open(const qn_measure *m, qn_measure_worker *w, qn_error *err)
{
    size_t most = 0;
    w->crossings = qn_alloc(m->study->n_choices * sizeof *w->crossings);
    if (w->crossings == NULL) {
        return qn_fail_memory(err, NULL, m->study->n_choices * sizeof *w->crossings);
    }
    for (; w->n_crossings < m->study->n_choices; w->n_crossings++) {
        if (m->run[w->n_crossings]) {
            QN_TRY(qn_measure_crossing(&w->crossings[w->n_crossings], m, m->at, w->n_crossings, err));
            const size_t bytes = qn_crossing_bytes(&w->crossings[w->n_crossings], 0, m->message_items);
            most = bytes > most ? bytes : most;
        }
    }
    w->bytes = qn_alloc_uncleared(most);
    return w->bytes != NULL ? qn_frame_coder_new(&w->coder, err) : qn_fail_memory(err, NULL, most);
}

static qn_status worker_open(const qn_measure *m, qn_measure_worker *w, qn_error *err)
{
    const qn_cut *cut = &m->cuts->cuts[m->at];
    const size_t n_arrived = m->at > 0 ? cut->n_tensors : 0, n_outputs = m->at > 0 ? m->suffix.program->n_outputs : 0;
    const size_t n_inputs = m->prefix.stage.n_inputs + (m->at > 0 ? m->suffix.stage.n_inputs : 0);
    w->inputs = qn_alloc((n_inputs + 1) * sizeof *w->inputs);
    w->made = qn_alloc((m->prefix.program->n_outputs + 1) * sizeof *w->made);
    w->floats = qn_alloc((n_arrived + n_outputs + 1) * sizeof *w->floats);
    if (w->inputs == NULL || w->made == NULL || w->floats == NULL) {
        return qn_fail_memory(err, NULL, n_inputs * sizeof *w->inputs);
    }
    w->n_floats = n_arrived + n_outputs;
    w->arrived = w->floats;
    w->outputs = w->floats + n_arrived;
    for (size_t i = 0; i < n_arrived; i++) {
        QN_TRY(floats_open(&w->arrived[i], m->unit, cut->tensors[i].count, err));
    }
    for (size_t i = 0; i < n_outputs; i++) {
        QN_TRY(floats_open(&w->outputs[i], m->unit, m->suffix.program->outputs[i].count, err));
    }
    return m->at > 0 ? crossings_open(m, w, err) : QN_OK;
}

qn_status qn_measure_units(qn_measure *m, qn_error *err)
{
    const int64_t n_units = (m->n - 1) / m->unit + 1;
    m->workers = qn_alloc((size_t)m->n_workers * sizeof *m->workers);
    if (m->workers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)m->n_workers * sizeof *m->workers);
    }
    qn_status status = QN_OK;
    for (int w = 0; w < m->n_workers && status == QN_OK; w++) {
        status = worker_open(m, &m->workers[w], err);
    }
    status = status == QN_OK ? qn_parallel_for(m->n_workers, n_units, run_unit, m, err) : status;
    for (int w = 0; w < m->n_workers; w++) {
        worker_close(&m->workers[w]);
    }
    qn_free(m->workers);
    m->workers = NULL;
    return status;
}

typedef struct {
    qn_measure *m;
    const qn_measure_stage *whole;
    float **inputs; /* per worker */
} baseline_run;

static qn_status run_baseline(void *ctx, int worker, int64_t index, qn_error *err)
{
    const baseline_run *b = ctx;
    qn_measure *m = b->m;
    const int64_t first = index * m->unit, n = m->n_items - first < m->unit ? m->n_items - first : m->unit;
    const float *inputs[] = {b->inputs[worker]};
    QN_TRY(qn_dataset_read(m->options->data, first, n, b->inputs[worker], err));
    float **outputs = qn_alloc(m->n_outputs * sizeof *outputs);
    if (outputs == NULL) {
        return qn_fail_memory(err, NULL, m->n_outputs * sizeof *outputs);
    }
    for (size_t k = 0; k < m->n_outputs; k++) {
        outputs[k] = m->expected[k] + first * m->counts[k];
    }
    qn_status status = qn_measure_stage_run(b->whole, worker, inputs, n, outputs, err);
    qn_free(outputs);
    for (int64_t i = first; i < first + n && status == QN_OK; i++) {
        for (size_t k = 0; k < m->n_outputs; k++) {
            const float *f = m->expected[k] + i * m->counts[k];
            for (int64_t e = 0; e < m->counts[k]; e++) {
                if (!isfinite(f[e])) {
                    return qn_fail(err, QN_ERANGE, m->cuts->model->graph.file, "output %zu is %s on item %lld of %s", k,
                                   isnan(f[e]) ? "NaN" : "infinite", (long long)i, qn_dataset_name(m->options->data));
                }
                m->signal[i] += (double)f[e] * (double)f[e];
            }
        }
        m->best[i] = qn_argmax(m->expected[0] + i * m->counts[0], m->counts[0]);
    }
    return status == QN_OK ? qn_measure_tell(m, n, err) : status;
}

qn_status qn_measure_baseline(qn_measure *m, qn_error *err)
{
    qn_measure_stage whole;
    QN_TRY(qn_measure_stage_open(&whole, m->cuts, 0, 0, 0, m->options->cpu, m->n_workers, err));
    baseline_run b = {.m = m, .whole = &whole, .inputs = qn_alloc((size_t)m->n_workers * sizeof *b.inputs)};
    qn_status status = b.inputs != NULL ? QN_OK : qn_fail_memory(err, NULL, sizeof *b.inputs);
    for (int w = 0; w < m->n_workers && status == QN_OK; w++) {
        status = floats_open(&b.inputs[w], m->unit, whole.program->inputs[0].count, err);
    }
    const int64_t n_units = (m->n_items - 1) / m->unit + 1;
    status = status == QN_OK ? qn_parallel_for(m->n_workers, n_units, run_baseline, &b, err) : status;
    for (int w = 0; b.inputs != NULL && w < m->n_workers; w++) {
        qn_free(b.inputs[w]);
    }
    qn_free(b.inputs);
    qn_measure_stage_close(&whole);
    return status;
}
