/* Faults of a store again. */
#include "fault/replay.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/labels.h"
#include "graph/model.h"

static const char *or_else(const char *given, const char *recorded)
{
    return given != NULL ? given : recorded;
}

static qn_status open_model(qn_replay *r, const char *given, qn_error *err)
{
    const char *path = or_else(given, r->about->model_file);
    QN_TRY(qn_model_load(&r->model, path, err));
    if (strcmp(r->model->graph.sha256, r->about->model_sha256) != 0) {
        return qn_fail(err, QN_ECONFLICT, path,
                       "has sha256 %.12s..., but the campaign's model has %.12s...; give that one with --model",
                       r->model->graph.sha256, r->about->model_sha256);
    }
    return QN_OK;
}

static qn_status open_data(qn_replay *r, const char *given, qn_error *err)
{
    const char *path = or_else(given, r->about->data_file);
    qn_preprocess pre;
    char sha256[65];
    qn_preprocess_init(&pre);
    if (r->about->preprocess[0] != '\0') {
        QN_TRY(qn_preprocess_from_json(&pre, r->about->preprocess, err));
    }
    QN_TRY(qn_dataset_open(&r->data, path, &pre, err));
    QN_TRY(qn_dataset_sha256(r->data, sha256, err));
    if (strcmp(sha256, r->about->data_sha256) != 0) {
        return qn_fail(err, QN_ECONFLICT, path,
                       "has sha256 %.12s..., but the campaign's images have %.12s...; give those with --data", sha256,
                       r->about->data_sha256);
    }
    return QN_OK;
}

static qn_status open_labels(qn_replay *r, const qn_replay_files *files, qn_error *err)
{
    const char *path = or_else(files->labels, r->about->labels_file);
    if (files->no_labels || (r->about->labels_sha256[0] == '\0' && files->labels == NULL)) {
        return QN_OK;
    }
    QN_TRY(qn_tensor_read(&r->labels, path, err));
    r->options.labels = &r->labels;
    r->options.labels_name = path;
    return QN_OK;
}

static qn_status find_engine(qn_engine *engine, const qn_replay *r, qn_error *err)
{
    for (int i = 0; qn_engine_text((qn_engine)i) != NULL; i++) {
        if (strcmp(qn_engine_text((qn_engine)i), r->about->engine) == 0) {
            *engine = (qn_engine)i;
            return QN_OK;
        }
    }
    return qn_fail(err, QN_EFORMAT, qn_store_path(r->store), "its engine '%s' is none", r->about->engine);
}

static qn_status open_site(qn_replay *r, const qn_replay_files *files, qn_error *err)
{
    QN_TRY(qn_campaign_options_init(&r->options, r->model, err));
    QN_TRY(find_engine(&r->options.engine, r, err));
    QN_TRY(open_labels(r, files, err));
    QN_TRY(qn_fault_spec_of_text(&r->options.spec, r->about->spec, qn_store_path(r->store), err));
    r->options.data = r->data;
    r->options.n_images = r->about->n_images;
    r->options.cpu = files->cpu;
    r->options.n_threads = 1;
    r->options.has_seed = true;
    r->options.seed = r->about->seed;
    return qn_campaign_site_make(&r->site, &r->options, err);
}

/* The first change must be that of the row. */
static qn_status draw(qn_replay *r, qn_error *err)
{
    const qn_fault_row *row = &r->row;
    if (row->stratum < 0 || row->stratum >= r->site.space.n_strata) {
        return qn_fail(err, QN_EFORMAT, qn_store_path(r->store),
                       "the store is damaged: fault %" PRId64 " is of stratum %d, of %d", row->id, (int)row->stratum,
                       r->site.space.n_strata);
    }
    QN_TRY(qn_fault_space_draw(&r->site.space, row->stratum, row->draw, &r->arena, &r->fault, err));
    r->fault.id = row->id;
    r->fault.stratum = row->stratum;
    r->fault.draw = row->draw;
    r->fault.first_image %= r->site.n_images;
    r->fault.n_images = r->fault.n_images < r->site.n_images ? r->fault.n_images : r->site.n_images;
    const qn_fault_change *first = r->fault.n_changes > 0 ? &r->fault.changes[0] : NULL;
    const bool same =
        r->fault.n_changes == row->n_changes && r->fault.first_image == row->first_image &&
        (first == NULL || (first->target == row->target && first->element == row->element && first->term == row->term));
    return same ? QN_OK
                : qn_fail(err, QN_ECONFLICT, qn_store_path(r->store),
                          "fault %" PRId64 " is drawn as another than the store has; it was made by %s", row->id,
                          r->about->tool);
}

static qn_status make_injectors(qn_replay *r, qn_error *err)
{
    const qn_injector_options options = {.program = r->site.program,
                                         .model = r->model,
                                         .data = r->data,
                                         .targets = &r->site.targets,
                                         .links = r->site.links,
                                         .n_workers = 1,
                                         .n_images = r->site.n_images,
                                         .memory_bytes = r->options.memory_bytes};
    QN_TRY(qn_injector_create(&r->injector, &options, false, err));
    QN_TRY(qn_injector_create(&r->whole, &options, true, err));
    const int64_t group = r->injector->ops->group(r->injector);
    const size_t n = (size_t)group * (size_t)r->site.output_count;
    r->golden = qn_alloc(n * sizeof *r->golden);
    r->outputs = qn_alloc(n * sizeof *r->outputs);
    return r->golden != NULL && r->outputs != NULL ? QN_OK : qn_fail_memory(err, NULL, n * sizeof *r->golden);
}

static qn_status find_row(qn_replay *r, int64_t id, qn_error *err)
{
    bool found;
    QN_TRY(qn_store_row(r->store, id, &r->row, &found, err));
    if (found) {
        return QN_OK;
    }
    qn_store_totals totals;
    QN_TRY(qn_store_total(r->store, &totals, err));
    return qn_fail(err, QN_EINVAL, qn_store_path(r->store),
                   "has no fault %" PRId64 "; it has %" PRId64 " faults, counted from 0%s", id, totals.faults,
                   r->about->complete ? "" : ", and is not complete");
}

qn_status qn_replay_pick(qn_replay *replay, int64_t id, qn_error *err)
{
    QN_TRY(find_row(replay, id, err));
    qn_arena_free(&replay->arena);
    replay->fault = (qn_fault){0};
    return draw(replay, err);
}

qn_status qn_replay_open(qn_replay *replay, const char *store, int64_t id, const qn_replay_files *files, qn_error *err)
{
    *replay = (qn_replay){0};
    QN_TRY(qn_store_open(&replay->store, store, err));
    replay->about = qn_store_about_of(replay->store);
    QN_TRY(find_row(replay, id, err));
    QN_TRY(open_model(replay, files->model, err));
    QN_TRY(open_data(replay, files->data, err));
    QN_TRY(open_site(replay, files, err));
    QN_TRY(draw(replay, err));
    return make_injectors(replay, err);
}

void qn_replay_close(qn_replay *replay)
{
    qn_injector_free(replay->injector);
    qn_injector_free(replay->whole);
    qn_campaign_site_free(&replay->site);
    qn_fault_spec_close(replay->options.spec);
    qn_arena_free(&replay->arena);
    qn_tensor_free(&replay->labels);
    qn_dataset_close(replay->data);
    qn_model_free(replay->model);
    if (replay->store != NULL) {
        qn_store_close(replay->store);
    }
    qn_free(replay->golden);
    qn_free(replay->outputs);
    *replay = (qn_replay){0};
}

/* Effects of one group of images, by the fast injector: copies, until those from scratch come. */
typedef struct effects {
    qn_fault_effect *list; /* per image of the group */
    bool *seen;
    float *outputs;
    int64_t first, count;
    /* of the comparison */
    int64_t differs; /* an image, -1 none */
} effects;

static void keep(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    effects *e = ctx;
    (void)fault;
    const int64_t i = image - e->first;
    e->seen[i] = true;
    e->list[i] = *effect;
    if (effect->outputs != NULL) {
        float *to = e->outputs + i * e->count;
        memcpy(to, effect->outputs, (size_t)e->count * sizeof *to);
        e->list[i].outputs = to;
    }
}

static void compare(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    effects *e = ctx;
    (void)fault;
    const int64_t i = image - e->first;
    const float *is = e->list[i].outputs;
    const bool noticed = qn_fault_is_noticed(e->list[i].end);
    const bool same = e->seen[i] && noticed == qn_fault_is_noticed(effect->end) &&
                      (!noticed || e->list[i].end == effect->end) && (is == NULL) == (effect->outputs == NULL) &&
                      (is == NULL || memcmp(is, effect->outputs, (size_t)e->count * sizeof *is) == 0);
    e->differs = same ? e->differs : image;
}

static void tell(const qn_replay *r, const effects *e, int64_t i, qn_replay_fn *fn, void *ctx)
{
    const qn_campaign_options *o = &r->options;
    const bool classes = o->spec->rmse_threshold == 0;
    const int n = (int)(classes ? r->site.logits_count : r->site.output_count);
    const qn_fault_effect *effect = &e->list[i];
    qn_golden golden, faulty;
    const int label = o->labels != NULL && classes ? (int)qn_label_at(o->labels, e->first + i) : -1;
    qn_golden_make(&golden, r->golden + i * e->count, n, label);
    const bool refused = effect->end == QN_FAULT_REFUSED;
    qn_replay_result result = {.image = e->first + i, .golden = &golden, .effect = effect, .top1 = golden.top1};
    if (refused) {
        result.outcome = (qn_outcome){QN_OUTCOME_NONFINITE, (double)NAN};
        result.top1 = -1;
    } else if (qn_fault_is_detected(effect->end)) {
        result.outcome = (qn_outcome){QN_OUTCOME_DETECTED, (double)NAN};
        result.top1 = -1;
    } else {
        result.outcome = qn_outcome_of(&golden, effect->outputs, n, o->spec->rmse_threshold);
    }
    if (effect->outputs != NULL) {
        qn_golden_make(&faulty, effect->outputs, n, -1);
        result.top1 = faulty.top1;
    }
    fn(ctx, &result);
}

static bool is_present(const qn_replay *r, int64_t image)
{
    const int64_t since = image - r->fault.first_image;
    return (since < 0 ? since + r->site.n_images : since) < r->fault.n_images;
}

static qn_status run_group(qn_replay *r, effects *e, int64_t n, int64_t image, qn_replay_fn *fn, void *ctx,
                           qn_error *err)
{
    const qn_fault *faults[] = {&r->fault};
    memset(e->seen, 0, (size_t)n * sizeof *e->seen);
    e->differs = -1;
    QN_TRY(r->injector->ops->golden(r->injector, 0, e->first, n, r->golden, err));
    QN_TRY(r->injector->ops->run(r->injector, 0, e->first, n, faults, 1, keep, e, err));
    QN_TRY(r->whole->ops->run(r->whole, 0, e->first, n, faults, 1, compare, e, err));
    if (e->differs >= 0) {
        return qn_fail(err, QN_EINTERNAL, qn_store_path(r->store),
                       "fault %" PRId64 " on image %" PRId64 " gives other outputs from scratch. This is an error of "
                       "quern; please report it with the store and the model",
                       r->fault.id, e->differs);
    }
    for (int64_t i = 0; i < n; i++) {
        if (e->seen[i] && (image < 0 || image == e->first + i)) {
            tell(r, e, i, fn, ctx);
        }
    }
    return QN_OK;
}

static bool meets(const qn_replay *r, int64_t first, int64_t n, int64_t image)
{
    for (int64_t i = first; i < first + n; i++) {
        if (is_present(r, i) && (image < 0 || image == i)) {
            return true;
        }
    }
    return false;
}

qn_status qn_replay_check(const qn_replay *replay, int64_t image, qn_error *err)
{
    const qn_replay *r = replay;
    if (image < -1 || image >= r->site.n_images) {
        return qn_fail(err, QN_EINVAL, qn_store_path(r->store),
                       "there is no image %" PRId64 "; there are 0 to %" PRId64, image, r->site.n_images - 1);
    }
    if (image >= 0 && !is_present(r, image)) {
        const int64_t last = (r->fault.first_image + r->fault.n_images - 1) % r->site.n_images;
        if (r->fault.n_images == 1) {
            return qn_fail(err, QN_EINVAL, qn_store_path(r->store),
                           "fault %" PRId64 " is not present in image %" PRId64 ", but in image %" PRId64, r->fault.id,
                           image, last);
        }
        return qn_fail(err, QN_EINVAL, qn_store_path(r->store),
                       "fault %" PRId64 " is not present in image %" PRId64 ", but in images %" PRId64 " to %" PRId64,
                       r->fault.id, image, r->fault.first_image, last);
    }
    return QN_OK;
}

qn_status qn_replay_run(qn_replay *replay, int64_t image, qn_replay_fn *fn, void *ctx, qn_error *err)
{
    QN_TRY(qn_replay_check(replay, image, err));
    const int64_t group = replay->injector->ops->group(replay->injector), n_images = replay->site.n_images;
    effects e = {.list = qn_alloc((size_t)group * sizeof *e.list),
                 .seen = qn_alloc((size_t)group * sizeof *e.seen),
                 .outputs = replay->outputs,
                 .count = replay->site.output_count};
    qn_status status =
        e.list != NULL && e.seen != NULL ? QN_OK : qn_fail_memory(err, NULL, (size_t)group * sizeof *e.list);
    for (e.first = 0; status == QN_OK && e.first < n_images; e.first += group) {
        const int64_t n = n_images - e.first < group ? n_images - e.first : group;
        if (meets(replay, e.first, n, image)) {
            status = run_group(replay, &e, n, image, fn, ctx, err);
        }
    }
    qn_free(e.list);
    qn_free(e.seen);
    return status;
}

qn_status qn_replay_trace(qn_replay *replay, int64_t image, qn_fault_trace_fn *fn, void *ctx, qn_fault_effect *effect,
                          qn_error *err)
{
    QN_TRY(qn_replay_check(replay, image, err));
    if (replay->site.links != NULL) {
        return qn_fail(err, QN_EUNSUPPORTED, qn_store_path(replay->store),
                       "a trace is of the values within one program, and this campaign's faults are on links between "
                       "several; leave --trace out: replay tells of frames what changed and what arrived");
    }
    return qn_fault_trace_run(&replay->injector->options, &replay->fault, image, fn, ctx, effect, err);
}
