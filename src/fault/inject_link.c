/* The injector of links. Fault-free messages of an image are made once; a fault changes bytes of them, and what the
 * receiver decodes, unless it refuses them, goes through the stages that are left, until it is what it would have been.
 * From scratch (qn_injector_link_whole) nothing is kept and nothing ends early. */
#include <string.h>

#include "engine/feed.h"
#include "fault/injector.h"

/* What travels for one image: of each frame its bytes, and the values that come out. */
typedef struct messages {
    unsigned char **bytes;
    float **values;
} messages;

/*  image    whose fault-free run is in `golden` and `outputs`; -1: none
 *  faulty   of the fault under way;  sent: tensors of a link before they are coded, by frame
 *  golden_flags, flags   of frames as they were taken
 *  from     tensors before a stage, in a cut's order; to: behind it
 *  faulty_outputs   of the network, one after another */
typedef struct worker {
    qn_link_runner runner;
    int64_t image;
    messages golden, faulty;
    unsigned *golden_flags, *flags;
    float **sent;
    const float **from;
    float **to;
    float *input, *outputs, *faulty_outputs;
} worker;

typedef struct link_state {
    int n_workers;
    worker *workers;
} link_state;

/* A fault on an image: its changes, of which those before `next` have been made. */
typedef struct strike {
    const qn_fault *fault;
    int64_t next;
    bool active; /* a byte has changed */
    qn_fault_effect effect;
} strike;

static bool from_scratch(const qn_injector *injector)
{
    return injector->ops == &qn_injector_link_whole;
}

static void free_messages(messages *m, int n)
{
    for (int i = 0; i < n; i++) {
        if (m->bytes != NULL) {
            qn_free(m->bytes[i]);
        }
        if (m->values != NULL) {
            qn_free(m->values[i]);
        }
    }
    qn_free(m->bytes);
    qn_free(m->values);
}

static void release(qn_injector *injector)
{
    link_state *state = injector->state;
    const int n_frames = injector->options.links->n_frames;
    for (int i = 0; state != NULL && state->workers != NULL && i < state->n_workers; i++) {
        worker *w = &state->workers[i];
        if (w->runner.path != NULL) {
            qn_link_runner_free(&w->runner);
        }
        free_messages(&w->golden, n_frames);
        free_messages(&w->faulty, n_frames);
        for (int f = 0; w->sent != NULL && f < n_frames; f++) {
            qn_free(w->sent[f]);
        }
        qn_free(w->sent);
        qn_free(w->golden_flags);
        qn_free(w->flags);
        qn_free(w->from);
        qn_free(w->to);
        qn_free(w->input);
        qn_free(w->outputs);
        qn_free(w->faulty_outputs);
    }
    if (state != NULL) {
        qn_free(state->workers);
    }
    qn_free(state);
    injector->state = NULL;
}

static bool make_messages(messages *m, const qn_link_path *path)
{
    m->bytes = qn_alloc(((size_t)path->n_frames + 1) * sizeof *m->bytes);
    m->values = qn_alloc(((size_t)path->n_frames + 1) * sizeof *m->values);
    bool made = m->bytes != NULL && m->values != NULL;
    for (int i = 0; made && i < path->n_frames; i++) {
        m->bytes[i] = qn_alloc(path->frames[i].layout->n_bytes);
        m->values[i] = qn_alloc((size_t)path->frames[i].tensor->count * sizeof(float));
        made = m->bytes[i] != NULL && m->values[i] != NULL;
    }
    return made;
}

static qn_status make_worker(const qn_injector *injector, worker *w, qn_error *err)
{
    const qn_link_path *path = injector->options.links;
    const size_t in = (size_t)qn_program_input_count(injector->options.program, 0);
    size_t most = (size_t)qn_program_n_outputs(injector->options.program) + 1;
    for (int l = 0; l < path->n_links; l++) {
        most = path->hops[l].cut->n_tensors > most ? path->hops[l].cut->n_tensors : most;
    }
    w->image = -1;
    QN_TRY(qn_link_runner_make(&w->runner, path, err));
    w->sent = qn_alloc(((size_t)path->n_frames + 1) * sizeof *w->sent);
    w->golden_flags = qn_alloc(((size_t)path->n_frames + 1) * sizeof *w->flags);
    w->flags = qn_alloc(((size_t)path->n_frames + 1) * sizeof *w->flags);
    w->from = qn_alloc(most * sizeof *w->from);
    w->to = qn_alloc(most * sizeof *w->to);
    w->input = qn_alloc(in * sizeof *w->input);
    w->outputs = qn_alloc((size_t)injector->output_count * sizeof *w->outputs);
    w->faulty_outputs = qn_alloc((size_t)injector->output_count * sizeof *w->faulty_outputs);
    bool made = w->sent != NULL && w->golden_flags != NULL && w->flags != NULL && w->from != NULL && w->to != NULL &&
                w->input != NULL && w->outputs != NULL && w->faulty_outputs != NULL &&
                make_messages(&w->golden, path) && make_messages(&w->faulty, path);
    for (int f = 0; made && f < path->n_frames; f++) {
        w->sent[f] = qn_alloc((size_t)path->frames[f].tensor->count * sizeof(float));
        made = w->sent[f] != NULL;
    }
    return made ? QN_OK : qn_fail_memory(err, path->file, in * sizeof(float));
}

static qn_status create(qn_injector *injector, qn_error *err)
{
    const qn_injector_options *options = &injector->options;
    QN_TRY(qn_feed_check(options->program, options->data, err));
    link_state *state = qn_alloc(sizeof *state);
    if (state == NULL) {
        return qn_fail_memory(err, NULL, sizeof *state);
    }
    injector->state = state;
    state->workers = qn_alloc((size_t)options->n_workers * sizeof *state->workers);
    if (state->workers == NULL) {
        return qn_fail_memory(err, NULL, (size_t)options->n_workers * sizeof *state->workers);
    }
    state->n_workers = options->n_workers;
    for (int i = 0; i < state->n_workers; i++) {
        QN_TRY(make_worker(injector, &state->workers[i], err));
    }
    return QN_OK;
}

static int64_t group(const qn_injector *injector)
{
    (void)injector;
    return 1;
}

/* Stage `stage`, from w->from to the tensors of its link before they are coded, or to the network's outputs. */
static qn_status run_stage(const qn_injector *injector, worker *w, int stage, float *outputs, bool *refused,
                           qn_error *err)
{
    const qn_link_path *path = injector->options.links;
    const qn_cut *behind = qn_link_path_behind(path, stage);
    for (size_t i = 0; i < behind->n_tensors; i++) {
        if (stage < path->n_links) {
            w->to[i] = w->sent[(size_t)path->hops[stage].first_frame + i];
        } else {
            w->to[i] = outputs;
            outputs += behind->tensors[i].count;
        }
    }
    return qn_link_run_stage(&w->runner, stage, w->from, w->to, refused, err);
}

/* The fault-free run of an image. */
static qn_status load(const qn_injector *injector, worker *w, int64_t image, qn_error *err)
{
    const qn_link_path *path = injector->options.links;
    bool refused = false;
    if (w->image == image && !from_scratch(injector)) {
        return QN_OK;
    }
    w->image = -1;
    QN_TRY(qn_dataset_read(injector->options.data, image, 1, w->input, err));
    w->from[0] = w->input;
    for (int stage = 0; stage <= path->n_links; stage++) {
        QN_TRY(run_stage(injector, w, stage, w->outputs, &refused, err));
        const size_t n = stage < path->n_links && !refused ? path->hops[stage].cut->n_tensors : 0;
        for (size_t i = 0; i < n; i++) {
            const int f = path->hops[stage].first_frame + (int)i;
            qn_link_verdict verdict = {.end = QN_LINK_TAKEN};
            QN_TRY(qn_link_send(&w->runner, f, image, w->sent[f], w->golden.bytes[f], &refused, err));
            if (!refused) {
                QN_TRY(qn_link_receive(&w->runner, f, w->golden.bytes[f], w->golden.values[f], &verdict, err));
            }
            if (verdict.end != QN_LINK_TAKEN) {
                return qn_fail(err, QN_EINTERNAL, path->file, "a fault-free frame was refused: %s", verdict.text);
            }
            w->golden_flags[f] = verdict.flags;
            w->from[i] = w->golden.values[f];
        }
        if (refused) {
            return qn_fail(err, QN_ERANGE, path->file,
                           "image %lld, without any fault: NaN or infinities %s stage %d, which cannot be coded there; "
                           "choose fp32, or other data",
                           (long long)image, path->engine == QN_ENGINE_INTEGER ? "at" : "leave", stage);
        }
    }
    w->image = image;
    return QN_OK;
}

static qn_status golden(qn_injector *injector, int index, int64_t first, int64_t n, float *outputs, qn_error *err)
{
    worker *w = &((link_state *)injector->state)->workers[index];
    for (int64_t i = 0; i < n; i++) {
        QN_TRY(load(injector, w, first + i, err));
        memcpy(outputs + i * injector->output_count, w->outputs, (size_t)injector->output_count * sizeof *outputs);
    }
    return QN_OK;
}

/* The fault's changes in frame f, whose bytes are there. */
static void strike_frame(const qn_injector *injector, strike *s, int f, unsigned char *bytes)
{
    const qn_fault *fault = s->fault;
    for (; s->next < fault->n_changes; s->next++) {
        const qn_fault_change *change = &fault->changes[s->next];
        const qn_fault_target *t = &injector->options.targets->list[change->target];
        if (t->frame != f) {
            return;
        }
        uint32_t before, after;
        qn_link_strike(bytes, change, t, injector->options.program, &before, &after);
        s->active = s->active || before != after;
        if (s->next == 0) {
            s->effect.before = before;
            s->effect.after = after;
        }
    }
}

/* Frame of the change that comes next; n_frames: none. */
static int next_frame(const qn_injector *injector, const strike *s)
{
    return s->next < s->fault->n_changes ? injector->options.targets->list[s->fault->changes[s->next].target].frame
                                         : injector->options.links->n_frames;
}

static qn_fault_end end_of(qn_link_end end)
{
    static const qn_fault_end ends[] = {[QN_LINK_TAKEN] = QN_FAULT_AT_OUTPUT,
                                        [QN_LINK_HEADER_CRC] = QN_FAULT_BY_HEADER_CRC,
                                        [QN_LINK_BODY_CRC] = QN_FAULT_BY_BODY_CRC,
                                        [QN_LINK_UNREADABLE] = QN_FAULT_UNREADABLE};
    return ends[end];
}

/* The frames of link `link`: sent (or, `first`, as they were without the fault), struck, received into w->from. *same:
 * they bring what they would have brought. False where the fault's end is known, which is in the effect. */
static qn_status cross(const qn_injector *injector, worker *w, strike *s, int64_t image, int link, bool first,
                       bool *same, bool *goes_on, qn_error *err)
{
    const qn_link_path *path = injector->options.links;
    const qn_link_hop *hop = &path->hops[link];
    *same = true;
    *goes_on = false;
    for (size_t i = 0; i < hop->cut->n_tensors; i++) {
        const int f = hop->first_frame + (int)i;
        const size_t n_bytes = path->frames[f].layout->n_bytes;
        const size_t value_bytes = (size_t)path->frames[f].tensor->count * sizeof(float);
        bool refused = false;
        if (first) {
            memcpy(w->faulty.bytes[f], w->golden.bytes[f], n_bytes);
        } else if (path->frames[f].from >= 0 && w->flags[path->frames[f].from] == qn_link_flags(hop)) {
            memcpy(w->faulty.bytes[f], w->faulty.bytes[path->frames[f].from], n_bytes);
        } else {
            QN_TRY(qn_link_send(&w->runner, f, image, w->sent[f], w->faulty.bytes[f], &refused, err));
        }
        if (refused) {
            s->effect.end = QN_FAULT_REFUSED;
            return QN_OK;
        }
        strike_frame(injector, s, f, w->faulty.bytes[f]);
        w->from[i] = w->golden.values[f];
        w->flags[f] = w->golden_flags[f];
        if (!from_scratch(injector) && memcmp(w->faulty.bytes[f], w->golden.bytes[f], n_bytes) == 0) {
            continue;
        }
        qn_link_verdict verdict;
        QN_TRY(qn_link_receive(&w->runner, f, w->faulty.bytes[f], w->faulty.values[f], &verdict, err));
        if (verdict.end != QN_LINK_TAKEN) {
            s->effect.end = end_of(verdict.end);
            return QN_OK;
        }
        w->flags[f] = verdict.flags;
        if (from_scratch(injector) || memcmp(w->faulty.values[f], w->golden.values[f], value_bytes) != 0) {
            w->from[i] = w->faulty.values[f];
            *same = false;
        }
    }
    *goes_on = true;
    return QN_OK;
}

/* A fault from the first link it strikes to its end. */
static qn_status follow(const qn_injector *injector, worker *w, strike *s, int64_t image, qn_error *err)
{
    const qn_link_path *path = injector->options.links;
    const int struck = next_frame(injector, s);
    const bool whole = from_scratch(injector);
    if (struck == path->n_frames) {
        return QN_OK;
    }
    bool same, goes_on;
    for (int link = path->frames[struck].link, first = link; link < path->n_links; link++) {
        QN_TRY(cross(injector, w, s, image, link, link == first, &same, &goes_on, err));
        if (!goes_on) {
            return QN_OK;
        }
        const int next = next_frame(injector, s);
        const bool more = next < path->n_frames;
        if (same && !whole && !more) {
            s->effect.end = !s->active ? QN_FAULT_INACTIVE : link == first ? QN_FAULT_IN_LAYER : QN_FAULT_ON_THE_WAY;
            return QN_OK;
        }
        bool refused = false;
        QN_TRY(run_stage(injector, w, link + 1, w->faulty_outputs, &refused, err));
        if (refused) {
            s->effect.end = QN_FAULT_REFUSED;
            return QN_OK;
        }
    }
    const size_t n_bytes = (size_t)injector->output_count * sizeof *w->outputs;
    const bool differ = memcmp(w->faulty_outputs, w->outputs, n_bytes) != 0;
    s->effect.end = differ ? QN_FAULT_AT_OUTPUT : s->active ? QN_FAULT_ON_THE_WAY : QN_FAULT_INACTIVE;
    s->effect.outputs = differ ? w->faulty_outputs : NULL;
    return QN_OK;
}

static bool is_present(const qn_fault *fault, int64_t image, int64_t n_images)
{
    const int64_t since = image - fault->first_image;
    return (since < 0 ? since + n_images : since) < fault->n_images;
}

static qn_status run(qn_injector *injector, int index, int64_t first, int64_t n, const qn_fault *const *faults,
                     int64_t n_faults, qn_fault_emit *emit, void *ctx, qn_error *err)
{
    worker *w = &((link_state *)injector->state)->workers[index];
    const int64_t n_images = qn_injector_n_images(&injector->options);
    for (int64_t image = first; image < first + n; image++) {
        for (int64_t i = 0; i < n_faults; i++) {
            if (!is_present(faults[i], image, n_images)) {
                continue;
            }
            strike s = {.fault = faults[i], .effect = {.end = QN_FAULT_INACTIVE, .died_at = -1}};
            QN_TRY(load(injector, w, image, err));
            QN_TRY(follow(injector, w, &s, image, err));
            emit(ctx, i, image, &s.effect);
        }
    }
    return QN_OK;
}

const qn_injector_ops qn_injector_link = {
    .name = "link", .create = create, .release = release, .group = group, .golden = golden, .run = run};
const qn_injector_ops qn_injector_link_whole = {
    .name = "link from scratch", .create = create, .release = release, .group = group, .golden = golden, .run = run};
