/* What `quern cuts` measured, read back: times of devices, losses of choices. Files may be of other models: refused. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "link/cut.h"
#include "quern/partition.h"

static qn_status load(json_t **root, const char *path, const char *made_by, qn_error *err)
{
    qn_file_bytes bytes;
    json_error_t reason;
    QN_TRY(qn_file_read(&bytes, path, err));
    *root = json_loadb((const char *)bytes.data, bytes.size, JSON_REJECT_DUPLICATES, &reason);
    qn_file_bytes_free(&bytes);
    if (*root == NULL) {
        return qn_fail(err, QN_EFORMAT, path, "is no JSON: line %d: %s; %s makes such files", reason.line, reason.text,
                       made_by);
    }
    return QN_OK;
}

/* Made of this model, for this engine? */
static qn_status check_origin(const json_t *root, const char *path, const char *made_by, const qn_cuts *cuts,
                              qn_error *err)
{
    const char *sha256 = json_string_value(json_object_get(root, "sha256"));
    const char *engine = json_string_value(json_object_get(root, "engine"));
    const char *command = json_string_value(json_object_get(root, "command"));
    const qn_graph *g = &cuts->model->graph;
    if (sha256 == NULL || engine == NULL || command == NULL || strcmp(command, "cuts") != 0) {
        return qn_fail(err, QN_EFORMAT, path, "is not a file that '%s' wrote", made_by);
    }
    if (strcmp(sha256, g->sha256) != 0) {
        return qn_fail(err, QN_EINVAL, path,
                       "was measured with another model: sha256 %.64s; this one has %s; measure again with '%s'",
                       sha256, g->sha256, made_by);
    }
    if (strcmp(engine, qn_engine_text(cuts->engine)) != 0) {
        return qn_fail(
            err, QN_EINVAL, path,
            "was measured with the %.20s engine, and the plan is for %s; measure again with '%s --engine %s'", engine,
            qn_engine_text(cuts->engine), made_by, qn_engine_text(cuts->engine));
    }
    return QN_OK;
}

/* The entry of a position, which has its number and name. */
static qn_status entry_of(const json_t **entry, const json_t *positions, size_t p, const char *path,
                          const qn_cuts *cuts, qn_error *err)
{
    *entry = json_array_get(positions, p);
    const char *name = json_string_value(json_object_get(*entry, "name"));
    const json_t *number = json_object_get(*entry, "position");
    if (name == NULL || !json_is_integer(number) || json_integer_value(number) != (json_int_t)p ||
        json_array_size(positions) != cuts->n_nodes + 1 || strcmp(name, cuts->cuts[p].name) != 0) {
        return qn_fail(err, QN_EFORMAT, path,
                       "position %zu ('%s') is missing or another: %zu positions in the file, %zu in the network", p,
                       cuts->cuts[p].name, json_array_size(positions), cuts->n_nodes + 1);
    }
    return QN_OK;
}

static qn_status fill_profile(qn_device_profile *profile, const json_t *root, const char *path, const qn_cuts *cuts,
                              qn_error *err)
{
    const json_t *positions = json_object_get(root, "positions");
    const char *kind = json_string_value(json_object_get(root, "kind"));
    if (kind == NULL || strcmp(kind, "times") != 0) {
        return qn_fail(err, QN_EFORMAT, path, "holds no times; 'quern cuts MODEL --times -o FILE' takes them");
    }
    QN_TRY(check_origin(root, path, "quern cuts MODEL --times", cuts, err));
    profile->n = cuts->n_nodes + 1;
    profile->seconds_before = qn_alloc(profile->n * sizeof *profile->seconds_before);
    if (profile->seconds_before == NULL) {
        return qn_fail_memory(err, path, profile->n * sizeof *profile->seconds_before);
    }
    for (size_t p = 0; p < profile->n; p++) {
        const json_t *entry;
        QN_TRY(entry_of(&entry, positions, p, path, cuts, err));
        const json_t *value = json_object_get(entry, "seconds_before");
        const double seconds = json_number_value(value), last = p > 0 ? profile->seconds_before[p - 1] : 0;
        if (!json_is_number(value) || !(seconds >= last) || !isfinite(seconds) || (p == 0 && seconds != 0)) {
            return qn_fail(err, QN_EFORMAT, path,
                           "seconds_before of position %zu are %s; they start at 0 and never fall", p,
                           json_is_number(value) ? "less than those before" : "no number");
        }
        profile->seconds_before[p] = seconds;
    }
    return QN_OK;
}

qn_status qn_device_profile_read(qn_device_profile *profile, const char *path, const qn_cuts *cuts, qn_error *err)
{
    json_t *root;
    *profile = (qn_device_profile){0};
    QN_TRY(load(&root, path, "'quern cuts MODEL --times -o FILE'", err));
    const qn_status status = fill_profile(profile, root, path, cuts, err);
    json_decref(root);
    if (status != QN_OK) {
        qn_device_profile_free(profile);
    }
    return status;
}

void qn_device_profile_free(qn_device_profile *profile)
{
    qn_free(profile->seconds_before);
    *profile = (qn_device_profile){0};
}

/* A number within bounds, or NaN where there is null. */
static bool number(double *value, const json_t *json, double least, double most)
{
    if (json == NULL || json_is_null(json)) {
        *value = (double)NAN;
        return true;
    }
    *value = json_number_value(json);
    return json_is_number(json) && *value >= least && *value <= most;
}

static qn_status fill_choices(qn_cut_losses *losses, qn_arena *arena, const json_t *root, const char *path,
                              qn_error *err)
{
    const json_t *texts = json_object_get(root, "choices");
    losses->n_choices = json_array_size(texts);
    if (losses->n_choices == 0 || losses->n_choices > QN_PLAN_MAX_CHOICES) {
        return qn_fail(err, QN_EFORMAT, path, "has %zu choices of links; there are 1 to %d", losses->n_choices,
                       QN_PLAN_MAX_CHOICES);
    }
    losses->choices = qn_arena_array(arena, losses->n_choices, sizeof *losses->choices);
    char(*formats)[QN_FORMAT_NAME_MAX] = qn_arena_array(arena, losses->n_choices, sizeof *formats);
    if (losses->choices == NULL || formats == NULL) {
        return qn_fail_memory(err, path, losses->n_choices * sizeof *losses->choices);
    }
    for (size_t c = 0; c < losses->n_choices; c++) {
        qn_error reason;
        qn_error_init(&reason);
        const char *text = json_string_value(json_array_get(texts, c));
        const qn_status status =
            text != NULL ? qn_link_choice_parse(&losses->choices[c], formats[c], text, NULL, &reason) : QN_EINVAL;
        if (status != QN_OK) {
            return qn_fail(err, status == QN_EINVAL ? QN_EFORMAT : status, path, "choice %zu: %s", c,
                           text != NULL ? reason.message : "is no text");
        }
    }
    return QN_OK;
}

static qn_status fill_position(qn_cut_losses *losses, const json_t *entry, size_t p, const char *path, bool *any,
                               qn_error *err)
{
    const json_t *list = json_object_get(entry, "choices");
    const size_t n = json_array_size(list);
    for (size_t c = 0; c < losses->n_choices; c++) {
        const size_t at = p * losses->n_choices + c;
        const json_t *result = n > 0 ? json_array_get(list, c) : NULL;
        const json_t *sqnr = json_object_get(result, "sqnr_db");
        const char *text = json_string_value(json_object_get(result, "choice"));
        char expected[QN_LINK_CHOICE_MAX];
        losses->losses[at] = losses->sqnr_db[at] = (double)NAN;
        if (n == 0) {
            continue; /* not measured there, or stages cannot part */
        }
        qn_link_choice_text(expected, &losses->choices[c]);
        const bool inf = json_is_string(sqnr) && strcmp(json_string_value(sqnr), "inf") == 0;
        if (n != losses->n_choices || text == NULL || strcmp(text, expected) != 0 ||
            !number(&losses->losses[at], json_object_get(result, "loss"), -1, 1) ||
            !(inf || number(&losses->sqnr_db[at], sqnr, -1e6, 1e6))) {
            return qn_fail(
                err, QN_EFORMAT, path,
                "position %zu, choice %s: is missing, or has a loss that is not from -1 to 1, or an SQNR that is "
                "no number",
                p, expected);
        }
        losses->sqnr_db[at] = inf ? (double)INFINITY : losses->sqnr_db[at];
        *any = *any || !isnan(losses->losses[at]);
    }
    return QN_OK;
}

static qn_status fill_losses(qn_cut_losses *losses, const json_t *root, const char *path, const qn_cuts *cuts,
                             qn_error *err)
{
    const json_t *positions = json_object_get(root, "positions");
    qn_arena *arena = losses->memory;
    bool any = false;
    if (json_object_get(root, "kind") != NULL) {
        return qn_fail(err, QN_EFORMAT, path,
                       "holds times; --profile takes it, and 'quern cuts MODEL --data X -o FILE' "
                       "makes what is wanted here");
    }
    QN_TRY(check_origin(root, path, "quern cuts MODEL --data X", cuts, err));
    QN_TRY(fill_choices(losses, arena, root, path, err));
    const size_t n = (cuts->n_nodes + 1) * losses->n_choices;
    losses->losses = qn_arena_array(arena, n, sizeof *losses->losses);
    losses->sqnr_db = qn_arena_array(arena, n, sizeof *losses->sqnr_db);
    if (losses->losses == NULL || losses->sqnr_db == NULL) {
        return qn_fail_memory(err, path, n * sizeof *losses->losses);
    }
    for (size_t p = 0; p <= cuts->n_nodes; p++) {
        const json_t *entry;
        QN_TRY(entry_of(&entry, positions, p, path, cuts, err));
        QN_TRY(fill_position(losses, entry, p, path, &any, err));
    }
    if (!any) {
        losses->losses = losses->sqnr_db = NULL; /* bytes alone */
    }
    return QN_OK;
}

qn_status qn_cut_losses_read(qn_cut_losses *losses, const char *path, const qn_cuts *cuts, qn_error *err)
{
    json_t *root;
    *losses = (qn_cut_losses){.memory = qn_alloc(sizeof(qn_arena))};
    if (losses->memory == NULL) {
        return qn_fail_memory(err, path, sizeof(qn_arena));
    }
    qn_status status = load(&root, path, "'quern cuts MODEL --data X -o FILE'", err);
    if (status == QN_OK) {
        status = fill_losses(losses, root, path, cuts, err);
        json_decref(root);
    }
    if (status != QN_OK) {
        qn_cut_losses_free(losses);
    }
    return status;
}

void qn_cut_losses_free(qn_cut_losses *losses)
{
    if (losses->memory != NULL) {
        qn_arena_free(losses->memory);
        qn_free(losses->memory);
    }
    *losses = (qn_cut_losses){0};
}
