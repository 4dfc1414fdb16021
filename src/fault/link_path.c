/* Making paths: cuts, frames, stages and their programs. */
#include "fault/link_path.h"

#include <stdlib.h>
#include <string.h>

#include "graph/model.h"

const qn_cut *qn_link_path_behind(const qn_link_path *path, int stage)
{
    return stage < path->n_links ? path->hops[stage].cut : qn_cuts_at(path->cuts, qn_cuts_last(path->cuts));
}

/* What went wrong with a link, where the user said it. */
static qn_status fail_link(const qn_fault_spec *spec, const qn_fault_link *link, const qn_error *reason, qn_error *err)
{
    if (reason->status == QN_ENOMEM) {
        return qn_fail_memory(err, spec->where, 0);
    }
    return link->line > 0 ? qn_fail(err, reason->status, spec->where, "line %d, link after '%s': %s", link->line,
                                    link->after, reason->message)
                          : qn_fail(err, reason->status, spec->where, "--after '%s': %s", link->after, reason->message);
}

static qn_status make_hop(qn_link_path *path, qn_link_hop *hop, const qn_fault_spec *spec, const qn_fault_link *link,
                          qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    hop->unchecked = link->unchecked;
    if (qn_cuts_find(&hop->position, path->cuts, link->after, &reason) != QN_OK ||
        qn_link_choice_parse(&hop->choice, hop->format, qn_fault_link_choice(link, path->engine), NULL, &reason) !=
            QN_OK) {
        return fail_link(spec, link, &reason, err);
    }
    hop->cut = qn_cuts_at(path->cuts, hop->position);
    return QN_OK;
}

static int by_position(const void *a, const void *b)
{
    const qn_link_hop *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

/* Links in the network's order, whatever the specification's; the choice's format lies in the hop, which has moved. */
static qn_status make_hops(qn_link_path *path, const qn_fault_spec *spec, qn_error *err)
{
    path->hops = qn_arena_array(&path->arena, (size_t)spec->n_links + 1, sizeof *path->hops);
    if (path->hops == NULL) {
        return qn_fail_memory(err, path->file, (size_t)spec->n_links * sizeof *path->hops);
    }
    memset(path->hops, 0, (size_t)spec->n_links * sizeof *path->hops);
    for (int i = 0; i < spec->n_links; i++) {
        QN_TRY(make_hop(path, &path->hops[i], spec, &spec->links[i], err));
        path->n_links++;
    }
    qsort(path->hops, (size_t)path->n_links, sizeof *path->hops, by_position);
    for (int i = 0; i < path->n_links; i++) {
        path->hops[i].choice.format = path->hops[i].format;
        path->hops[i].first_frame = path->n_frames;
        path->n_frames += (int)path->hops[i].cut->n_tensors;
    }
    return QN_OK;
}

static const qn_fault_link *link_of(const qn_fault_spec *spec, const qn_link_hop *hop)
{
    int k = 0;
    while (strcmp(spec->links[k].after, hop->cut->name) != 0) {
        k++;
    }
    return &spec->links[k];
}

static qn_status make_frames(qn_link_path *path, const qn_fault_spec *spec, qn_error *err)
{
    path->frames = qn_arena_array(&path->arena, (size_t)path->n_frames + 1, sizeof *path->frames);
    if (path->frames == NULL) {
        return qn_fail_memory(err, path->file, (size_t)path->n_frames * sizeof *path->frames);
    }
    for (int l = 0; l < path->n_links; l++) {
        qn_link_hop *hop = &path->hops[l];
        const qn_plan_link link = {.choices = &hop->choice, .n_choices = 1, .checksum = !hop->unchecked};
        const qn_frame *planned;
        qn_error reason;
        qn_error_init(&reason);
        if (qn_crossing_init(&hop->crossing, path->cuts, hop->position, &link, 1, &reason) != QN_OK ||
            qn_crossing_plan(&planned, &hop->crossing, 0, 1, &reason) != QN_OK) {
            return fail_link(spec, link_of(spec, hop), &reason, err);
        }
        for (size_t i = 0; i < hop->cut->n_tensors; i++) {
            qn_quantizer ignored;
            path->frames[(size_t)hop->first_frame + i] =
                (qn_link_frame){.link = l,
                                .index = i,
                                .tensor = &hop->cut->tensors[i],
                                .layout = &planned[i],
                                .fixed = qn_crossing_fixed(&ignored, &hop->crossing, 0, i, 1) != NULL,
                                .from = -1};
        }
    }
    return QN_OK;
}

/* What passes through a stage is forwarded where it would be coded the same: numbers as they are, codes of the
 * model. */
static void find_forwarded(qn_link_path *path)
{
    for (int k = 0; k < path->n_frames; k++) {
        qn_link_frame *f = &path->frames[k];
        const qn_stage_source source = path->stages[f->link].sources[f->index];
        if (f->link == 0 || !source.passes) {
            continue;
        }
        const int before = path->hops[f->link - 1].first_frame + (int)source.index;
        const qn_link_frame *g = &path->frames[before];
        const bool exact = g->layout->raw || (g->fixed && f->fixed);
        f->from = exact && qn_frame_same_layout(g->layout, f->layout) ? before : -1;
    }
}

static qn_status make_stages(qn_link_path *path, qn_cpu cpu, qn_error *err)
{
    const size_t n = (size_t)path->n_links + 1;
    path->stages = qn_arena_array(&path->arena, n, sizeof *path->stages);
    path->programs = qn_arena_array(&path->arena, n, sizeof *path->programs);
    if (path->stages == NULL || path->programs == NULL) {
        return qn_fail_memory(err, path->file, n * sizeof *path->stages);
    }
    memset(path->stages, 0, n * sizeof *path->stages);
    memset(path->programs, 0, n * sizeof *path->programs);
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, path->engine, err));
    options.cpu = cpu;
    options.batch = 1;
    options.whole = !qn_cuts_batched(path->cuts);
    for (int i = 0; i <= path->n_links; i++) {
        const size_t from = i > 0 ? path->hops[i - 1].position : 0;
        const size_t to = i < path->n_links ? path->hops[i].position : qn_cuts_last(path->cuts);
        QN_TRY(qn_stage_create(&path->stages[i], path->cuts, from, to, err));
        QN_TRY(qn_program_create(&path->programs[i], path->stages[i].model, &options, err));
    }
    return QN_OK;
}

qn_status qn_link_path_create(qn_link_path **path, const qn_model *model, qn_engine engine, qn_cpu cpu,
                              const qn_fault_spec *spec, qn_error *err)
{
    *path = NULL;
    qn_link_path *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, model->graph.file, sizeof *made);
    }
    made->engine = engine;
    made->file = model->graph.file;
    qn_status status = qn_cuts_create(&made->cuts, model, engine, err);
    status = status == QN_OK ? qn_cuts_check_items(made->cuts, err) : status;
    status = status == QN_OK ? make_hops(made, spec, err) : status;
    status = status == QN_OK ? make_frames(made, spec, err) : status;
    status = status == QN_OK ? make_stages(made, cpu, err) : status;
    if (status != QN_OK) {
        qn_link_path_free(made);
        return status;
    }
    find_forwarded(made);
    *path = made;
    return QN_OK;
}

void qn_link_path_free(qn_link_path *path)
{
    if (path == NULL) {
        return;
    }
    for (int i = 0; path->programs != NULL && i <= path->n_links; i++) {
        qn_program_free(path->programs[i]);
        qn_stage_free(&path->stages[i]);
    }
    for (int i = 0; path->hops != NULL && i < path->n_links; i++) {
        qn_crossing_free(&path->hops[i].crossing);
    }
    qn_cuts_free(path->cuts);
    qn_arena_free(&path->arena);
    qn_free(path);
}
