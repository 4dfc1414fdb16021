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

/* The frame that a tensor gets. */
static qn_status plan_frame(qn_link_frame *f, const qn_link_path *path, const qn_model *model, const qn_link_hop *hop,
                            qn_error *err)
{
    const qn_cut_tensor *t = f->tensor;
    const int more = qn_cuts_batched(path->cuts) ? 1 : 0;
    f->rank = t->rank + more;
    f->dims[0] = 1;
    memcpy(f->dims + more, t->dims, (size_t)t->rank * sizeof *t->dims);
    qn_link_choice_options(&f->options, &hop->choice);
    f->options.checksum = hop->unchecked ? QN_LINK_CHECKSUM_OFF : QN_LINK_CHECKSUM_ON;
    if (strcmp(hop->format, "codes") == 0 && t->coded) {
        f->quantizer = model->graph.values[t->value].quantizer;
        return qn_frame_plan_for(&f->layout, f->quantizer, &f->options, f->rank, f->dims, err);
    }
    return qn_frame_plan(&f->layout, &f->options, f->rank, f->dims, err);
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

static qn_status make_frames(qn_link_path *path, const qn_model *model, const qn_fault_spec *spec, qn_error *err)
{
    path->frames = qn_arena_array(&path->arena, (size_t)path->n_frames + 1, sizeof *path->frames);
    if (path->frames == NULL) {
        return qn_fail_memory(err, path->file, (size_t)path->n_frames * sizeof *path->frames);
    }
    for (int l = 0; l < path->n_links; l++) {
        const qn_link_hop *hop = &path->hops[l];
        for (size_t i = 0; i < hop->cut->n_tensors; i++) {
            qn_link_frame *f = &path->frames[(size_t)hop->first_frame + i];
            qn_error reason;
            qn_error_init(&reason);
            *f = (qn_link_frame){.link = l, .tensor = &hop->cut->tensors[i]};
            if (plan_frame(f, path, model, hop, &reason) == QN_OK) {
                continue;
            }
            int k = 0;
            while (strcmp(spec->links[k].after, hop->cut->name) != 0) {
                k++;
            }
            qn_error named;
            qn_error_init(&named);
            (void)qn_fail(&named, reason.status, NULL, "tensor '%s': %s", f->tensor->name, reason.message);
            return fail_link(spec, &spec->links[k], &named, err);
        }
    }
    return QN_OK;
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
    status = status == QN_OK ? make_hops(made, spec, err) : status;
    status = status == QN_OK ? make_frames(made, model, spec, err) : status;
    status = status == QN_OK ? make_stages(made, cpu, err) : status;
    if (status != QN_OK) {
        qn_link_path_free(made);
        return status;
    }
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
    qn_cuts_free(path->cuts);
    qn_arena_free(&path->arena);
    qn_free(path);
}
