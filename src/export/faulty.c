/* Faults of a campaign's store, drawn again, run by the campaign's injector, and written. */
#include "export/faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/manifest.h"
#include "fault/replay.h"
#include "graph/model.h"

/*  list     of the manifest's section
 *  known    what the injector found, per image; outputs of each */
typedef struct exporting {
    qn_export_job *job;
    const char *file;
    qn_replay replay;
    qn_fault_targets targets;
    json_t *campaign, *list;
    qn_export_faulty_case c;
    qn_export_faulty_expected known[QN_EXPORT_FAULTY_IMAGES];
    float *outputs;
    int n_known;
} exporting;

/* ---- what must fit ---- */

/* All ids that are not there, in one message. */
static qn_status check_ids(qn_store *store, const qn_export_options *o, qn_error *err)
{
    char missing[256] = "";
    size_t n = 0;
    if (o->n_ids == 0) {
        return qn_fail(err, QN_EINVAL, o->campaign, "no faults of the campaign are named; say which with --ids 1,7,9");
    }
    for (size_t i = 0; i < o->n_ids; i++) {
        qn_fault_row row;
        bool found;
        for (size_t k = 0; k < i; k++) {
            if (o->ids[k] == o->ids[i]) {
                return qn_fail(err, QN_EINVAL, o->campaign, "fault %" PRId64 " is named twice in --ids", o->ids[i]);
            }
        }
        QN_TRY(qn_store_row(store, o->ids[i], &row, &found, err));
        if (!found && n++ < 16) {
            char id[24];
            snprintf(id, sizeof id, "%s%" PRId64, n > 1 ? ", " : "", o->ids[i]);
            strncat(missing, id, sizeof missing - strlen(missing) - 1);
        }
    }
    if (n == 0) {
        return QN_OK;
    }
    qn_store_totals totals;
    QN_TRY(qn_store_total(store, &totals, err));
    const char *rest = qn_store_about_of(store)->complete ? "" : "; the campaign is not complete";
    if (totals.faults == 0) {
        return qn_fail(err, QN_EINVAL, o->campaign, "has no faults yet%s", rest);
    }
    return qn_fail(err, QN_EINVAL, o->campaign,
                   "has no fault %s%s; its %" PRId64 " faults are %" PRId64 " to %" PRId64
                   "%s (quern show %s lists some)",
                   missing, n > 16 ? ", ..." : "", totals.faults, totals.first_id, totals.last_id, rest, o->campaign);
}

static qn_status check_about(const exporting *x, const char *sha256, qn_error *err)
{
    const qn_store_about *about = x->replay.about;
    const char *campaign = x->job->options->campaign;
    if (strcmp(about->engine, qn_engine_text(QN_ENGINE_INTEGER)) != 0) {
        return qn_fail(
            err, QN_EUNSUPPORTED, campaign,
            "its faults were run in the %s engine; vectors of faults are integers, and need a campaign of the "
            "integer engine (quern inject --engine integer)",
            about->engine);
    }
    if (strcmp(about->model_sha256, sha256) != 0) {
        return qn_fail(
            err, QN_ECONFLICT, campaign,
            "is a campaign of another model: %s has sha256 %s, the campaign's %s had %s; export that one, or "
            "run a campaign of this one (quern inject)",
            x->file, sha256, about->model_file, about->model_sha256);
    }
    return QN_OK;
}

/* The campaign's images: those of --vectors if they are the same file, else where the store says. */
static qn_status find_data(const exporting *x, const qn_store_about *about, const char **path, qn_error *err)
{
    const qn_dataset *vectors = x->job->options->vectors;
    char given[65] = "", there[65];
    if (vectors != NULL) {
        QN_TRY(qn_dataset_sha256(vectors, given, err));
        *path = qn_dataset_name(vectors);
        if (strcmp(given, about->data_sha256) == 0) {
            return QN_OK;
        }
    }
    *path = about->data_file;
    qn_dataset *set;
    qn_error reason;
    qn_error_init(&reason);
    if (qn_dataset_open(&set, *path, NULL, &reason) != QN_OK) {
        return qn_fail(err, QN_ECONFLICT, x->job->options->campaign,
                       "its images (%s, sha256 %s) cannot be opened: %s%s%s; give that file with --vectors", *path,
                       about->data_sha256, reason.message, vectors != NULL ? "; those of --vectors have sha256 " : "",
                       given);
    }
    const qn_status status = qn_dataset_sha256(set, there, err);
    qn_dataset_close(set);
    QN_TRY(status);
    return strcmp(there, about->data_sha256) == 0
               ? QN_OK
               : qn_fail(err, QN_ECONFLICT, x->job->options->campaign,
                         "its images had sha256 %s, %s has %s%s%s; give the campaign's file with --vectors",
                         about->data_sha256, *path, there, vectors != NULL ? ", those of --vectors have " : "", given);
}

/* ---- what the store has ---- */

static json_t *campaign_json(const qn_store_about *about)
{
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, about->seed);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "model_sha256", about->model_sha256, "data_sha256",
                     about->data_sha256, "golden_sha256", about->golden_sha256, "engine", about->engine, "seed", seed,
                     "images", (json_int_t)about->n_images);
}

static json_t *store_json(const exporting *x)
{
#define QN_OUTCOME_COLUMN(name, bit, string, column) column,
    static const char *const outcomes[] = {QN_OUTCOME_LIST(QN_OUTCOME_COLUMN)};
#undef QN_OUTCOME_COLUMN
    static const char *const ends[] = {"inactive", "in_layer", "on_the_way", "at_output", "refused"};
    const qn_fault_row *row = &x->replay.row;
    const qn_fault_stratum *stratum = &x->replay.site.space.strata[row->stratum];
    json_t *o = json_object(), *counts = json_object(), *died = json_object();
    qn_export_json_set(o, "stratum", qn_export_json_string(stratum->label));
    qn_export_json_set(o, "draw", json_integer(row->draw));
    qn_export_json_set(o, "pairs", json_integer(row->pairs));
    qn_export_json_set(o, "activated", json_integer(row->activated));
    for (int i = 0; 1 << i < QN_OUTCOME_DETECTED; i++) { /* that is of links */
        qn_export_json_set(counts, outcomes[i], json_integer(row->counts[i]));
    }
    qn_export_json_set(o, "outcomes", counts);
    for (int i = 0; i <= QN_FAULT_REFUSED; i++) {
        qn_export_json_set(died, ends[i], json_integer(row->ends[i]));
    }
    qn_export_json_set(o, "ended", died);
    qn_export_json_set(o, "rmse_sum", qn_export_faulty_real(row->rmse_sum));
    qn_export_json_set(o, "rmse_max", qn_export_faulty_real(row->rmse_max));
    return o;
}

/* ---- cases ---- */

static void keep(void *ctx, const qn_replay_result *result)
{
    exporting *x = ctx;
    const qn_fault_effect *effect = result->effect;
    const int64_t count = x->replay.site.output_count;
    qn_export_faulty_expected *known = &x->known[x->n_known];
    *known = (qn_export_faulty_expected){
        .refused = effect->end == QN_FAULT_REFUSED, .before = effect->before, .after = effect->after};
    if (effect->outputs != NULL) {
        float *to = x->outputs + x->n_known * count;
        memcpy(to, effect->outputs, (size_t)count * sizeof *to);
        known->outputs = to;
    }
    x->n_known++;
}

/* Targets of the exported network are those of the campaign's program, as both are of one model; told by name. */
static qn_status match_targets(const exporting *x, qn_error *err)
{
    const qn_fault *f = &x->replay.fault;
    for (int64_t i = 0; i < f->n_changes; i++) {
        const int32_t t = f->changes[i].target;
        const qn_fault_target *a = &x->replay.site.targets.list[t];
        const qn_fault_target *b = t < x->targets.n ? &x->targets.list[t] : NULL;
        if (b == NULL || a->where != b->where || strcmp(a->layer, b->layer) != 0 ||
            strcmp(a->value_name, b->value_name) != 0 || a->n_elems != b->n_elems || a->bits != b->bits) {
            return qn_fail(err, QN_EINTERNAL, x->file,
                           "the exported network lacks target %s of '%s', which fault %" PRId64 " strikes",
                           qn_fault_where_text(a->where), a->layer, f->id);
        }
    }
    return QN_OK;
}

/* A table is a layer's own array, of which no case has a place yet. */
static qn_status refuse_tables(const exporting *x, qn_error *err)
{
    const qn_fault *f = &x->replay.fault;
    for (int64_t i = 0; i < f->n_changes; i++) {
        const qn_fault_target *t = &x->replay.site.targets.list[f->changes[i].target];
        if (t->where == QN_FAULT_TABLES) {
            return qn_fail(err, QN_EUNSUPPORTED, x->job->options->campaign,
                           "fault %" PRId64
                           " is in a table of '%s', and vectors of faults have no place for those: leave "
                           "it out of --ids",
                           f->id, t->layer);
        }
    }
    return QN_OK;
}

static qn_status write_one(exporting *x, qn_error *err)
{
    const qn_replay *r = &x->replay;
    qn_export_faulty_case *c = &x->c;
    c->fault = r->fault;
    c->n_of = r->site.n_images;
    if (c->fault.n_changes > QN_EXPORT_FAULTY_CHANGES) {
        return qn_fail(err, QN_EUNSUPPORTED, x->job->options->campaign,
                       "fault %" PRId64 " changes %" PRId64 " codes; faults of up to %d are exported: leave it out of "
                       "--ids",
                       c->fault.id, c->fault.n_changes, QN_EXPORT_FAULTY_CHANGES);
    }
    QN_TRY(match_targets(x, err));
    QN_TRY(refuse_tables(x, err));
    const int64_t n = c->fault.n_images;
    c->n_images = (int)(n < QN_EXPORT_FAULTY_IMAGES ? n : QN_EXPORT_FAULTY_IMAGES);
    x->n_known = 0;
    for (int i = 0; i < c->n_images; i++) {
        c->images[i] = (c->fault.first_image + i) % c->n_of;
        QN_TRY(qn_dataset_read(r->data, c->images[i], 1, c->inputs + i * x->job->network->inputs[0].count, err));
        QN_TRY(qn_replay_run(&x->replay, c->images[i], keep, x, err));
    }
    c->store = store_json(x);
    const qn_status status = c->store != NULL ? qn_export_faulty_write_case(x->job, &x->targets, c, x->list, err)
                                              : qn_fail_memory(err, x->file, 0);
    json_decref(c->store);
    c->store = NULL;
    return status;
}

static qn_status make_room(exporting *x, qn_error *err)
{
    const size_t in = (size_t)x->job->network->inputs[0].count * QN_EXPORT_FAULTY_IMAGES;
    const size_t out = (size_t)x->replay.site.output_count * QN_EXPORT_FAULTY_IMAGES;
    x->c.inputs = qn_alloc(in * sizeof(float));
    x->outputs = qn_alloc(out * sizeof(float));
    x->campaign = campaign_json(x->replay.about);
    x->list = json_array();
    x->c.campaign = x->campaign;
    x->c.expected = x->known;
    return x->c.inputs != NULL && x->outputs != NULL && x->campaign != NULL && x->list != NULL
               ? QN_OK
               : qn_fail_memory(err, x->file, (in + out) * sizeof(float));
}

/* The store alone, before anything that takes long. */
static qn_status look(exporting *x, const char *sha256, const char **data, qn_store **store, qn_error *err)
{
    QN_TRY(qn_export_need_integers(x->job->network, "vectors of faults", err));
    QN_TRY(qn_store_open(store, x->job->options->campaign, err));
    x->replay.about = qn_store_about_of(*store);
    QN_TRY(check_ids(*store, x->job->options, err));
    QN_TRY(check_about(x, sha256, err));
    return find_data(x, x->replay.about, data, err);
}

static qn_status write_all(exporting *x, const qn_replay_files *files, qn_error *err)
{
    const qn_export_options *o = x->job->options;
    QN_TRY(qn_replay_open(&x->replay, o->campaign, o->ids[0], files, err));
    if (x->replay.site.links != NULL) {
        return qn_fail(
            err, QN_EUNSUPPORTED, o->campaign,
            "its faults are in what travels between machines, and a device has but one of them; export faults "
            "of a campaign within the network (--where weights, activations, ...)");
    }
    QN_TRY(qn_fault_targets_make(&x->targets, x->job->network->program, err));
    QN_TRY(make_room(x, err));
    for (size_t i = 0; i < o->n_ids; i++) {
        if (i > 0) {
            QN_TRY(qn_replay_pick(&x->replay, o->ids[i], err));
        }
        QN_TRY(write_one(x, err));
    }
    qn_export_printf(x->job->report, "faulty: %zu of the campaign's faults, each on up to %d images\n", o->n_ids,
                     QN_EXPORT_FAULTY_IMAGES);
    const bool kept = json_object_set(x->job->section, "campaign", x->campaign) == 0 &&
                      json_object_set(x->job->section, "faults", x->list) == 0;
    return kept ? QN_OK : qn_fail_memory(err, x->file, 0);
}

qn_status qn_export_write_faulty(qn_export_job *job, const char *file, const char *sha256, qn_error *err)
{
    exporting x = {.job = job, .file = file};
    qn_store *store = NULL;
    const char *data = NULL;
    char *path = NULL;
    qn_status status = look(&x, sha256, &data, &store, err);
    if (status == QN_OK) {
        path = strdup(data); /* the store's, which is opened anew */
        status = path != NULL ? QN_OK : qn_fail_memory(err, file, strlen(data));
    }
    qn_store_close(store);
    x.replay = (qn_replay){0};
    if (status == QN_OK) {
        const qn_replay_files files = {.model = file, .data = path, .cpu = qn_cpu_best(), .no_labels = true};
        status = write_all(&x, &files, err);
    }
    free(path);
    qn_replay_close(&x.replay);
    qn_fault_targets_free(&x.targets);
    json_decref(x.campaign);
    json_decref(x.list);
    qn_free(x.c.inputs);
    qn_free(x.outputs);
    return status;
}
