/* The files of a case: what differs in every image, layer by layer, and fault.json that tells it. */
#include "export/faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/manifest.h"

/*  list     of fault.json's image under way
 *  golden   a run without the fault
 *  room     of the largest tensor: with the fault, without, and two of sums */
typedef struct writing {
    qn_export_job *job;
    const qn_fault_targets *targets;
    const qn_export_faulty_case *c;
    qn_export_faulty_run *faulty;
    qn_export_run *golden;
    qn_export_faulty_folder folder;
    int16_t *codes[2];
    int32_t *sums[2];
    float *reals[2];
} writing;

static bool is_out_of_memory(const writing *w)
{
    return w->codes[0] == NULL || w->codes[1] == NULL || w->sums[0] == NULL || w->sums[1] == NULL ||
           w->reals[0] == NULL || w->reals[1] == NULL;
}

static qn_status make_room(writing *w, qn_error *err)
{
    size_t most = 1;
    for (int i = 0; i < w->job->network->n_tensors; i++) {
        const size_t count = (size_t)w->job->network->tensors[i].count;
        most = count > most ? count : most;
    }
    for (int i = 0; i < 2; i++) {
        w->codes[i] = qn_alloc(most * sizeof **w->codes);
        w->sums[i] = qn_alloc(most * sizeof **w->sums);
        w->reals[i] = qn_alloc(most * sizeof **w->reals);
    }
    return is_out_of_memory(w) ? qn_fail_memory(err, w->job->network->graph->file, most * sizeof **w->sums)
                               : qn_export_run_create(&w->golden, w->job->network, err);
}

static void release(writing *w)
{
    for (int i = 0; i < 2; i++) {
        qn_free(w->codes[i]);
        qn_free(w->sums[i]);
        qn_free(w->reals[i]);
    }
    qn_export_run_free(w->golden);
}

/* ---- layers ---- */

/* Elements that differ: their number and the first. */
typedef struct difference {
    int64_t n, first;
} difference;

static difference differ(const void *a, const void *b, size_t elem_size, int64_t count)
{
    difference d = {.first = -1};
    for (int64_t i = 0; i < count; i++) {
        if (memcmp((const char *)a + (size_t)i * elem_size, (const char *)b + (size_t)i * elem_size, elem_size) != 0) {
            d.first = d.n++ == 0 ? i : d.first;
        }
    }
    return d;
}

/* in_order: of the model, channels first, as floats are. */
static json_t *difference_json(const qn_export_tensor *y, difference d, bool in_order)
{
    json_t *o = json_pack("{s:I, s:I}", "differ", (json_int_t)d.n, "of", (json_int_t)y->count);
    const int64_t i = d.first, pixels = (int64_t)y->height * y->width;
    const bool planes = in_order && !y->plain;
    const int64_t pixel = planes ? i % pixels : i / y->channels, channel = planes ? i / pixels : i % y->channels;
    if (d.n > 0) {
        qn_export_json_set(o, "first",
                           json_pack("{s:I, s:I, s:I, s:I}", "index", (json_int_t)i, "y",
                                     (json_int_t)(pixel / y->width), "x", (json_int_t)(pixel % y->width), "channel",
                                     (json_int_t)channel));
    }
    return o;
}

/* The tensor of the faulty network that holds the same value; -1: none does. It is the same number unless a struck
 * parameter makes the network compute by other layers. */
static int faulty_tensor(const writing *w, int tensor)
{
    const qn_export_network *n = w->job->network, *f = w->faulty->network;
    const qn_export_tensor *t = &n->tensors[tensor];
    const int other = f->n_tensors == n->n_tensors ? tensor : qn_whole_tensor(f->program, t->value, t->real);
    const bool same = other >= 0 && f->tensors[other].value == t->value && f->tensors[other].real == t->real &&
                      f->tensors[other].plain == t->plain && f->tensors[other].count == t->count;
    return same ? other : -1;
}

/* Values of a tensor in both runs; n -1: the faulty one has none. */
static difference compare_tensor(writing *w, int tensor)
{
    const qn_export_tensor *t = &w->job->network->tensors[tensor];
    const int other = faulty_tensor(w, tensor);
    if (t->real) {
        qn_export_run_reals(w->golden, tensor, w->reals[0]);
    } else {
        qn_export_run_codes(w->golden, tensor, w->codes[0]);
    }
    if (other < 0) {
        return (difference){-1, -1};
    }
    if (t->real) {
        qn_export_run_reals(w->faulty->run, other, w->reals[1]);
        return differ(w->reals[0], w->reals[1], sizeof **w->reals, t->count);
    }
    qn_export_run_codes(w->faulty->run, other, w->codes[1]);
    return differ(w->codes[0], w->codes[1], sizeof **w->codes, t->count);
}

/* Once, however many layers make it. */
static qn_status write_tensor(writing *w, json_t *files, int layer, qn_error *err)
{
    const qn_export_network *n = w->job->network;
    const qn_export_tensor *t = &n->tensors[n->layers[layer].output];
    char path[192];
    int first = 0;
    while (n->layers[first].output != n->layers[layer].output) {
        first++;
    }
    if (first != layer) {
        snprintf(path, sizeof path, "%s/%s_%s.npy", w->folder.path, t->id, t->real ? "floats_faulty" : "codes_faulty");
        qn_export_json_set(files, t->real ? "floats" : "codes", json_string(path));
        return QN_OK;
    }
    if (t->real) {
        const int64_t dims[] = {t->channels, t->height, t->width};
        return qn_export_faulty_put_reals(&w->folder, files, "floats", t->id, "floats_faulty", "results with the fault",
                                          t->plain ? t->rank : 3, t->plain ? t->dims : dims, w->reals[1], err);
    }
    return qn_export_faulty_put_codes(&w->folder, files, "codes", t->id, "codes_faulty", "codes with the fault", t,
                                      w->codes[1], err);
}

static qn_status write_sums(writing *w, json_t *files, int layer, qn_error *err)
{
    const qn_export_network *n = w->job->network;
    return qn_export_faulty_put_sums(&w->folder, files, n->layers[layer].id, &n->tensors[n->layers[layer].output],
                                     w->sums[1], err);
}

static qn_status add_name(json_t *object, const char *key, const char *id, qn_error *err)
{
    return qn_export_json_append(json_object_get(object, key), json_string(id)) == 0 ? QN_OK
                                                                                     : qn_fail_memory(err, id, 0);
}

/* The faulty network may compute with layers more: then steps are matched by what they are called. */
static int faulty_layer(const writing *w, int layer)
{
    const qn_export_network *n = w->job->network, *f = w->faulty->network;
    for (int i = 0; i < f->n_layers; i++) {
        if (strcmp(f->layers[i].id, n->layers[layer].id) == 0 && f->layers[i].kind == n->layers[layer].kind) {
            return i;
        }
    }
    return -1;
}

static qn_status write_layer(writing *w, int layer, json_t *object, qn_error *err)
{
    const qn_export_network *n = w->job->network;
    const qn_export_layer *l = &n->layers[layer];
    const qn_export_tensor *y = &n->tensors[l->output];
    const difference codes = compare_tensor(w, l->output);
    difference sums = {.first = -1};
    const int other = l->kind == QN_EXPORT_CONV ? faulty_layer(w, layer) : -1;
    if (codes.n < 0 || (l->kind == QN_EXPORT_CONV && other < 0)) {
        return add_name(object, "other_layers", l->id, err);
    }
    if (other >= 0) {
        qn_export_run_sums(w->golden, layer, w->sums[0]);
        qn_export_faulty_run_sums(w->faulty, other, w->sums[1]);
        sums = differ(w->sums[0], w->sums[1], sizeof **w->sums, y->count);
    }
    if (codes.n == 0 && sums.n == 0) {
        return add_name(object, "same_layers", l->id, err);
    }
    json_t *o = json_object(), *files = json_object();
    qn_export_json_set(o, "layer", json_string(l->id));
    qn_export_json_set(o, "name", qn_export_json_string(l->name));
    qn_export_json_set(o, "tensor", json_string(y->id));
    if (l->kind == QN_EXPORT_CONV) {
        qn_export_json_set(o, "accumulators", difference_json(y, sums, false));
    }
    qn_export_json_set(o, y->real ? "results" : "codes", difference_json(y, codes, y->real));
    qn_export_json_set(o, "files", files);
    qn_export_json_append(json_object_get(object, "layers"), o);
    QN_TRY(codes.n > 0 ? write_tensor(w, files, layer, err) : QN_OK);
    return l->kind == QN_EXPORT_CONV ? write_sums(w, files, layer, err) : QN_OK;
}

/* ---- images ---- */

static qn_status write_input(writing *w, json_t *object, const float *x, qn_error *err)
{
    const qn_export_io *in = &w->job->network->inputs[0];
    json_t *o = json_object(), *files = json_object();
    qn_export_json_set(o, "files", files);
    qn_export_json_set(object, "input", o);
    QN_TRY(qn_export_faulty_put_reals(&w->folder, files, "floats", in->id, "floats",
                                      "the input, as the network reads it", in->rank, in->dims, x, err));
    if (in->tensor < 0 || w->job->network->tensors[in->tensor].real) {
        return QN_OK;
    }
    const qn_export_tensor *t = &w->job->network->tensors[in->tensor];
    const difference d = compare_tensor(w, in->tensor);
    qn_export_json_set(o, "tensor", json_string(t->id));
    qn_export_json_set(o, "codes", difference_json(t, d, false));
    QN_TRY(qn_export_faulty_put_codes(&w->folder, files, "codes", in->id, "codes", "codes of the input", t, w->codes[0],
                                      err));
    return d.n <= 0 ? QN_OK
                    : qn_export_faulty_put_codes(&w->folder, files, "codes_faulty", in->id, "codes_faulty",
                                                 "codes of the input with the fault", t, w->codes[1], err);
}

static qn_status write_output(writing *w, json_t *list, int output, qn_error *err)
{
    const qn_export_io *io = &w->job->network->outputs[output];
    const float *was = qn_export_run_output(w->golden, output), *is = qn_export_run_output(w->faulty->run, output);
    json_t *o = json_object(), *files = json_object();
    qn_export_json_set(o, "name", qn_export_json_string(io->name));
    qn_export_json_set(o, "id", json_string(io->id));
    qn_export_json_set(o, "differ", json_integer(differ(was, is, sizeof *was, io->count).n));
    qn_export_json_set(o, "of", json_integer(io->count));
    qn_export_json_set(o, "files", files);
    qn_export_json_append(list, o);
    const qn_export_tensor *t = io->tensor >= 0 ? &w->job->network->tensors[io->tensor] : NULL;
    if (t != NULL && !t->real) {
        const bool both = compare_tensor(w, io->tensor).n >= 0;
        QN_TRY(qn_export_faulty_put_codes(&w->folder, files, "codes", io->id, "codes",
                                          "codes of the output without the fault", t, w->codes[0], err));
        QN_TRY(!both ? QN_OK
                     : qn_export_faulty_put_codes(&w->folder, files, "codes_faulty", io->id, "codes_faulty",
                                                  "codes of the output with the fault", t, w->codes[1], err));
    }
    QN_TRY(qn_export_faulty_put_reals(&w->folder, files, "floats", io->id, "floats",
                                      "the output without the fault, dequantized", io->rank, io->dims, was, err));
    return qn_export_faulty_put_reals(&w->folder, files, "floats_faulty", io->id, "floats_faulty",
                                      "the output with the fault, dequantized", io->rank, io->dims, is, err);
}

/* Codes of changes on their way, which every image has its own of. */
static json_t *codes_json(const writing *w, bool in_memory)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < w->c->fault.n_changes; i++) {
        const qn_fault_change *change = &w->c->fault.changes[i];
        if (qn_export_faulty_in_memory(w->targets, change) == in_memory) {
            const qn_fault_target *t = &w->targets->list[change->target];
            json_t *o = json_object();
            qn_export_json_set(o, "change", json_integer(i));
            qn_export_json_set(o, "before", qn_export_faulty_code(w->job, t, change->element, w->faulty->before[i]));
            qn_export_json_set(o, "after", qn_export_faulty_code(w->job, t, change->element, w->faulty->after[i]));
            qn_export_json_append(list, o);
        }
    }
    return list;
}

/* Are they what the campaign's injector gave? */
static qn_status check_image(const writing *w, int i, qn_error *err)
{
    if (w->c->expected == NULL) {
        return QN_OK;
    }
    const qn_export_faulty_expected *e = &w->c->expected[i];
    const qn_export_network *n = w->job->network;
    bool same = e->refused == w->faulty->refused &&
                (w->c->fault.n_changes == 0 || (e->before == w->faulty->before[0] && e->after == w->faulty->after[0]));
    int64_t at = 0;
    for (int k = 0; same && !w->faulty->refused && k < n->n_outputs; at += n->outputs[k++].count) {
        const float *is = qn_export_run_output(w->faulty->run, k);
        const float *wanted = e->outputs != NULL ? e->outputs + at : qn_export_run_output(w->golden, k);
        same = memcmp(is, wanted, (size_t)n->outputs[k].count * sizeof *is) == 0;
    }
    return same ? QN_OK
                : qn_fail(err, QN_EINTERNAL, n->graph->file,
                          "fault %" PRId64 " on image %" PRId64 " gives other outputs here than in the campaign's "
                          "injector; nothing was exported. This is an error of quern; please report it with the store "
                          "and the model",
                          w->c->fault.id, w->folder.image);
}

static qn_status write_image(writing *w, int i, json_t *images, qn_error *err)
{
    const qn_export_network *n = w->job->network;
    const float *x = w->c->inputs + (int64_t)i * n->inputs[0].count;
    w->folder.image = w->c->images[i];
    if (w->faulty->refused) {
        return check_image(w, i, err);
    }
    snprintf(w->folder.path, sizeof w->folder.path, "faulty/%" PRId64 "/image_%" PRId64, w->c->fault.id,
             w->folder.image);
    QN_TRY(qn_export_run_image(w->golden, &x, err));
    QN_TRY(qn_export_faulty_run_image(w->faulty, x, err));
    QN_TRY(check_image(w, i, err));
    json_t *o = json_object(), *outputs = json_array();
    qn_export_json_set(o, "image", json_integer(w->folder.image));
    qn_export_json_set(o, "codes", codes_json(w, false));
    qn_export_json_append(images, o);
    QN_TRY(write_input(w, o, x, err));
    qn_export_json_set(o, "outputs", outputs);
    qn_export_json_set(o, "layers", json_array());
    qn_export_json_set(o, "same_layers", json_array());
    qn_export_json_set(o, "other_layers", json_array());
    for (int k = 0; k < n->n_outputs; k++) {
        QN_TRY(write_output(w, outputs, k, err));
    }
    for (int layer = 0; layer < n->n_layers; layer++) {
        QN_TRY(write_layer(w, layer, o, err));
    }
    return QN_OK;
}

/* ---- the case ---- */

static json_t *head(const writing *w)
{
    const qn_export_faulty_case *c = w->c;
    json_t *o = json_object(), *changes = json_array();
    qn_export_json_set(o, "schema", json_string(QN_EXPORT_FAULTY_SCHEMA));
    qn_export_json_set(o, "schema_version", json_integer(QN_EXPORT_FAULTY_VERSION));
    qn_export_json_set(o, "id", json_integer(c->fault.id));
    json_object_set(o, "campaign", c->campaign);
    qn_export_json_set(o, "lifetime",
                       json_pack("{s:I, s:I, s:I}", "first_image", (json_int_t)c->fault.first_image, "images",
                                 (json_int_t)c->fault.n_images, "of", (json_int_t)c->n_of));
    json_object_set(o, "store", c->store);
    for (int64_t i = 0; i < c->fault.n_changes; i++) {
        qn_export_json_append(changes, qn_export_faulty_change(w->job, w->targets, &c->fault.changes[i]));
    }
    qn_export_json_set(o, "changes", changes);
    qn_export_json_set(o, "how", qn_export_faulty_how(w->job, w->targets, &c->fault));
    return o;
}

static qn_status fill(writing *w, json_t *root, qn_error *err)
{
    json_t *images = json_array(), *places = NULL;
    QN_TRY(qn_export_faulty_run_begin(w->faulty, w->job, w->targets, &w->c->fault, err));
    qn_export_json_set(root, "refused", json_boolean(w->faulty->refused));
    qn_export_json_set(root, "codes", codes_json(w, true));
    if (w->faulty->own != NULL) {
        QN_TRY(qn_export_faulty_places(&places, w->job, w->faulty->network, err));
        qn_export_json_set(root, "places", places);
    }
    qn_export_json_set(root, "images", images);
    for (int i = 0; i < w->c->n_images; i++) {
        QN_TRY(write_image(w, i, images, err));
    }
    return QN_OK;
}

static qn_status write_json(writing *w, const json_t *root, json_t *list, qn_error *err)
{
    char path[64], what[96];
    snprintf(path, sizeof path, "faulty/%" PRId64 "/fault.json", w->c->fault.id);
    snprintf(what, sizeof what, "fault %" PRId64 ": what it changes, where that is in these files, what follows",
             w->c->fault.id);
    json_t *entry = json_pack("{s:I, s:s, s:b, s:o}", "id", (json_int_t)w->c->fault.id, "file", path, "refused",
                              (int)w->faulty->refused, "images", json_array());
    for (int i = 0; i < w->c->n_images; i++) {
        qn_export_json_append(json_object_get(entry, "images"), json_integer(w->c->images[i]));
    }
    qn_status status = entry == NULL || qn_export_json_append(list, entry) != 0 ? qn_fail_memory(err, path, 0) : QN_OK;
    qn_export_text file = {0};
    if (status == QN_OK) {
        qn_export_json_print(&file, root);
        status = qn_export_text_file(w->job, path, what, &file, err);
    }
    return status;
}

qn_status qn_export_faulty_write_case(qn_export_job *job, const qn_fault_targets *targets,
                                      const qn_export_faulty_case *c, json_t *list, qn_error *err)
{
    qn_export_faulty_run faulty = {0};
    writing w = {.job = job, .targets = targets, .c = c, .faulty = &faulty, .folder = {job, "", c->fault.id, 0}};
    json_t *root = head(&w);
    qn_status status = root != NULL ? make_room(&w, err) : qn_fail_memory(err, NULL, 0);
    if (status == QN_OK) {
        status = fill(&w, root, err);
    }
    if (status == QN_OK) {
        status = write_json(&w, root, list, err);
    }
    json_decref(root);
    qn_export_faulty_run_end(&faulty);
    release(&w);
    return status;
}
