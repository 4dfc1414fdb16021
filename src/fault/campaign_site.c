/* What is needed to compute any block of a campaign, and fault-free runs. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/threads.h"
#include "engine/feed.h"
#include "engine/labels.h"
#include "fault/campaign.h"
#include "graph/model.h"

qn_campaign_fakes qn_campaign_fake;

enum { DEFAULT_MEMORY = 1 << 30 };

qn_status qn_campaign_options_init(qn_campaign_options *options, const qn_model *model, qn_error *err)
{
    qn_engine engine;
    qn_program_options program;
    QN_TRY(qn_engine_choose(&engine, model, err));
    QN_TRY(qn_program_options_init(&program, engine, err));
    *options = (qn_campaign_options){
        .struct_size = sizeof *options,
        .model = model,
        .engine = engine,
        .cpu = program.cpu,
        .n_threads = qn_processor_count(),
        .memory_bytes = DEFAULT_MEMORY,
        .confidence = 0.95,
        .shard = 1,
        .n_shards = 1,
        .verify = -1,
    };
    return QN_OK;
}

static qn_status check_numbers(const qn_campaign_options *o, qn_error *err)
{
    if (o->n_threads < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "number of threads is %d, must be at least 1", o->n_threads);
    }
    if (!(o->confidence >= 0.5 && o->confidence <= 0.999999)) {
        return qn_fail(err, QN_EINVAL, NULL, "confidence is %g, must be between 0.5 and 0.999999", o->confidence);
    }
    if (o->n_shards < 1 || o->shard < 1 || o->shard > o->n_shards) {
        return qn_fail(err, QN_EINVAL, NULL, "shard is %d/%d; shards are 1/n to n/n", o->shard, o->n_shards);
    }
    if (!(o->verify <= 1)) {
        return qn_fail(err, QN_EINVAL, NULL, "share of pairs to verify is %g, must be between 0 and 1", o->verify);
    }
    if (o->block_pairs < 0) {
        return qn_fail(err, QN_EINVAL, NULL, "pairs of a block are %lld, must be at least 1",
                       (long long)o->block_pairs);
    }
    const int64_t n = qn_dataset_count(o->data);
    if (o->n_images < 0 || o->n_images > n) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(o->data), "%lld images are asked for, there are %lld",
                       (long long)o->n_images, (long long)n);
    }
    return QN_OK;
}

/* Stopping between rounds is decided by all rows so far, which one shard does not have. */
static qn_status check_shards(const qn_campaign_options *o, qn_error *err)
{
    for (int i = 0; o->n_shards > 1 && i < o->spec->n_sets; i++) {
        const qn_fault_set *set = &o->spec->sets[i];
        if (set->sample.how == QN_FAULT_UNTIL) {
            return qn_fail(
                err, QN_ECONFLICT, o->spec->where,
                "fault set '%s' (line %d) is sampled until its intervals are narrow, which no single shard can "
                "tell; give a number or a margin, or use ranks (mpirun) in place of shards",
                set->name, set->line);
        }
    }
    return QN_OK;
}

static qn_status check_options(const qn_campaign_options *o, qn_error *err)
{
    QN_TRY(qn_check_options_size(o->struct_size, sizeof *o, "qn_campaign_options_init", err));
    if (o->model == NULL || o->data == NULL || o->spec == NULL) {
        return qn_fail(err, QN_EINVAL, NULL, "a campaign needs a model, data and a specification");
    }
    QN_TRY(check_numbers(o, err));
    QN_TRY(qn_labels_check(o->labels, o->labels_name, o->data, err));
    const char *wanted = o->spec->model_sha256, *sha256 = o->model->graph.sha256;
    if (wanted[0] != '\0' && strcmp(wanted, sha256) != 0) {
        return qn_fail(err, QN_EINVAL, o->spec->where,
                       "is for the model with sha256 %.12s..., but %s has %.12s...; use that model, or take 'model' "
                       "out of the specification",
                       wanted, o->model->graph.file, sha256);
    }
    if (o->spec->prove != QN_PROVE_NONE && o->engine != QN_ENGINE_INTEGER) {
        return qn_fail(err, QN_ECONFLICT, o->spec->where,
                       "prove: margin is of the integer engine, this campaign is of another; leave it out, or quantize "
                       "the network and take --engine integer");
    }
    if (o->spec->prove != QN_PROVE_NONE && o->spec->n_links > 0) {
        return qn_fail(err, QN_ECONFLICT, o->spec->where,
                       "prove: margin is of faults within a network, not of those on links; leave it out");
    }
    return check_shards(o, err);
}

static qn_status make_program(qn_campaign_site *site, qn_error *err)
{
    const qn_campaign_options *o = site->options;
    qn_program_options options;
    QN_TRY(qn_program_options_init(&options, o->engine, err));
    options.cpu = o->cpu;
    options.keep_values = true;
    if (o->batch > 0) {
        options.batch = o->batch;
    }
    QN_TRY(qn_program_create(&site->program, o->model, &options, err));
    return qn_feed_check(site->program, o->data, err);
}

qn_status qn_campaign_site_make(qn_campaign_site *site, const qn_campaign_options *options, qn_error *err)
{
    *site = (qn_campaign_site){.options = options};
    QN_TRY(check_options(options, err));
    site->n_images = options->n_images > 0 ? options->n_images : qn_dataset_count(options->data);
    site->seed = options->has_seed ? options->seed : options->spec->has_seed ? options->spec->seed : 0;
    site->verify = options->verify >= 0 ? options->verify : options->spec->verify;
    QN_TRY(make_program(site, err));
    for (size_t i = 0; i < qn_program_n_outputs(site->program); i++) {
        site->output_count += qn_program_output_count(site->program, i);
    }
    site->logits_count = qn_program_output_count(site->program, 0);
    if (site->logits_count < 1 || site->output_count > INT32_MAX) {
        return qn_fail(err, QN_ELIMIT, options->model->graph.file, "has outputs of %lld elements",
                       (long long)site->output_count);
    }
    QN_TRY(qn_fault_targets_make(&site->targets, site->program, err));
    if (options->spec->n_links > 0) {
        QN_TRY(qn_link_path_create(&site->links, options->model, options->engine, options->cpu, options->spec, err));
        QN_TRY(qn_fault_targets_to_links(&site->targets, site->links, err));
    }
    return qn_fault_space_make(&site->space, options->spec, &site->targets, site->program, site->seed, site->n_images,
                               err);
}

static qn_status make_injectors(qn_campaign_site *site, qn_error *err)
{
    const qn_campaign_options *o = site->options;
    const qn_injector_options options = {.program = site->program,
                                         .model = o->model,
                                         .data = o->data,
                                         .targets = &site->targets,
                                         .links = site->links,
                                         .n_workers = o->n_threads,
                                         .n_images = site->n_images,
                                         .memory_bytes = o->memory_bytes,
                                         .outputs_counted =
                                             o->spec->prove != QN_PROVE_NONE ? qn_campaign_outputs(site) : 0,
                                         .bounds_always = o->spec->prove == QN_PROVE_MARGIN_EVERYWHERE,
                                         .rmse_threshold = o->spec->rmse_threshold};
    QN_TRY(qn_campaign_fake.injector != NULL
               ? qn_injector_create_of(&site->injector, &options, qn_campaign_fake.injector, err)
               : qn_injector_create(&site->injector, &options, false, err));
    if (site->verify == 0) {
        return QN_OK;
    }
    return qn_campaign_fake.whole != NULL ? qn_injector_create_of(&site->whole, &options, qn_campaign_fake.whole, err)
                                          : qn_injector_create(&site->whole, &options, true, err);
}

static int64_t group_size(const qn_campaign_site *site)
{
    return site->injector->ops->group(site->injector);
}

static qn_status run_group(void *ctx, int worker, int64_t item, qn_error *err)
{
    qn_campaign_site *site = ctx;
    if (site->options->stop != NULL && *site->options->stop) {
        return qn_fail(err, QN_ECANCELED, NULL, "stopped on request");
    }
    const int64_t group = group_size(site), first = item * group;
    const int64_t n = site->n_images - first < group ? site->n_images - first : group;
    return site->injector->ops->golden(site->injector, worker, first, n, site->outputs + first * site->output_count,
                                       err);
}

static qn_status classify_golden(qn_campaign_site *site, qn_error *err)
{
    const qn_campaign_options *o = site->options;
    const bool classes = o->spec->rmse_threshold == 0;
    const int64_t n = qn_campaign_outputs(site);
    for (int64_t i = 0; i < site->n_images; i++) {
        const int64_t label = o->labels != NULL ? qn_label_at(o->labels, i) : -1;
        if (o->labels != NULL && classes && (label < 0 || label >= site->logits_count)) {
            return qn_fail(err, QN_ERANGE, o->labels_name != NULL ? o->labels_name : "labels",
                           "label of item %lld is %lld, but the network has classes 0 to %lld", (long long)i,
                           (long long)label, (long long)(site->logits_count - 1));
        }
        qn_golden *golden = &site->golden[i];
        qn_golden_make(golden, site->outputs + i * site->output_count, (int)n, classes ? (int)label : -1);
        site->images[i] = (qn_store_image){.id = i,
                                           .top1 = golden->top1,
                                           .label = golden->label,
                                           .float_top1 = -1,
                                           .probability = golden->probability,
                                           .float_probability = (double)NAN,
                                           .float_rmse = (double)NAN};
    }
    return QN_OK;
}

qn_status qn_campaign_site_golden(qn_campaign_site *site, qn_error *err)
{
    size_t n_bytes;
    if (!qn_mul_size((size_t)site->n_images, (size_t)site->output_count, &n_bytes) ||
        !qn_mul_size(n_bytes, sizeof(float), &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, qn_dataset_name(site->options->data), "the outputs of %lld images are too many",
                       (long long)site->n_images);
    }
    QN_TRY(make_injectors(site, err));
    site->outputs = qn_alloc(n_bytes);
    site->golden = qn_alloc((size_t)site->n_images * sizeof *site->golden);
    site->images = qn_alloc((size_t)site->n_images * sizeof *site->images);
    if (site->outputs == NULL || site->golden == NULL || site->images == NULL) {
        return qn_fail_memory(err, qn_dataset_name(site->options->data), n_bytes);
    }
    const int64_t n_groups = (site->n_images - 1) / group_size(site) + 1;
    QN_TRY(qn_parallel_for(site->options->n_threads, n_groups, run_group, site, err));
    qn_sha256_hex(site->golden_sha256, site->outputs, n_bytes);
    QN_TRY(classify_golden(site, err));
    return qn_campaign_site_float(site, err);
}

/* What checking needs, per worker: a workspace, inputs of a group, outputs of one group after another. */
typedef struct {
    qn_campaign_site *site;
    int64_t group, in, out;
    qn_workspace **workspaces;
    float *inputs, *outputs, **parts;
} checking;

/* Outputs of some images by the program alone: an injector may have kept what it answered before. */
static qn_status run_again(const checking *c, int worker, int64_t first, int64_t n, float *const *outputs,
                           qn_error *err)
{
    float *inputs = c->inputs + worker * c->in;
    const float *const list[] = {inputs};
    QN_TRY(qn_dataset_read(c->site->options->data, first, n, inputs, err));
    return qn_program_run(c->site->program, c->workspaces[worker], list, n, outputs, err);
}

static qn_status fail_check(const qn_campaign_site *site, int64_t image, qn_error *err)
{
    return qn_fail(err, QN_EINTERNAL, site->options->model->graph.file,
                   "after the campaign the fault-free outputs of image %lld differ from those before it: a fault "
                   "was not undone. This is an error of quern; do not use the store",
                   (long long)image);
}

static qn_status check_group(void *ctx, int worker, int64_t item, qn_error *err)
{
    const checking *c = ctx;
    const qn_program *program = c->site->program;
    const size_t n_outputs = qn_program_n_outputs(program);
    const int64_t first = item * c->group;
    const int64_t n = c->site->n_images - first < c->group ? c->site->n_images - first : c->group;
    float **outputs = c->parts + (size_t)worker * n_outputs, *at = c->outputs + worker * c->out;
    for (size_t k = 0; k < n_outputs; k++) {
        outputs[k] = at;
        at += c->group * qn_program_output_count(program, k);
    }
    QN_TRY(run_again(c, worker, first, n, outputs, err));
    for (int64_t i = 0; i < n; i++) {
        const float *before = c->site->outputs + (first + i) * c->site->output_count;
        for (size_t k = 0; k < n_outputs; k++) {
            const int64_t count = qn_program_output_count(program, k);
            if (memcmp(before, outputs[k] + i * count, (size_t)count * sizeof *before) != 0) {
                return fail_check(c->site, first + i, err);
            }
            before += count;
        }
    }
    return QN_OK;
}

static qn_status make_checking(checking *c, qn_campaign_site *site, qn_error *err)
{
    const size_t n_threads = (size_t)site->options->n_threads;
    const int64_t group = qn_program_batch(site->program);
    *c = (checking){.site = site,
                    .group = group,
                    .in = group * qn_program_input_count(site->program, 0),
                    .out = group * site->output_count};
    c->workspaces = qn_alloc(n_threads * sizeof(qn_workspace *));
    c->inputs = qn_alloc(n_threads * (size_t)c->in * sizeof *c->inputs);
    c->outputs = qn_alloc(n_threads * (size_t)c->out * sizeof *c->outputs);
    c->parts = qn_alloc(n_threads * qn_program_n_outputs(site->program) * sizeof(float *));
    if (c->workspaces == NULL || c->inputs == NULL || c->outputs == NULL || c->parts == NULL) {
        return qn_fail_memory(err, NULL, n_threads * (size_t)(c->in + c->out) * sizeof(float));
    }
    for (size_t i = 0; i < n_threads; i++) {
        QN_TRY(qn_workspace_create(&c->workspaces[i], site->program, err));
    }
    return QN_OK;
}

/* With links, which every image crosses once more, by an injector that has kept nothing. */
static qn_status check_links(qn_campaign_site *site, qn_error *err)
{
    qn_injector *fresh = NULL;
    qn_injector_options options = site->injector->options;
    options.n_workers = 1;
    float *outputs = qn_alloc((size_t)site->output_count * sizeof *outputs);
    qn_status status = outputs != NULL ? qn_injector_create(&fresh, &options, true, err)
                                       : qn_fail_memory(err, NULL, (size_t)site->output_count * sizeof *outputs);
    for (int64_t i = 0; status == QN_OK && i < site->n_images; i++) {
        status = fresh->ops->golden(fresh, 0, i, 1, outputs, err);
        if (status == QN_OK && memcmp(outputs, site->outputs + i * site->output_count,
                                      (size_t)site->output_count * sizeof *outputs) != 0) {
            status = fail_check(site, i, err);
        }
    }
    qn_injector_free(fresh);
    qn_free(outputs);
    return status;
}

qn_status qn_campaign_site_check(qn_campaign_site *site, qn_error *err)
{
    if (qn_campaign_fake.injector != NULL) {
        return QN_OK; /* its answers are not the program's */
    }
    if (site->links != NULL) {
        return check_links(site, err);
    }
    checking c;
    qn_status status = make_checking(&c, site, err);
    if (status == QN_OK) {
        status = qn_parallel_for(site->options->n_threads, (site->n_images - 1) / c.group + 1, check_group, &c, err);
    }
    for (int i = 0; c.workspaces != NULL && i < site->options->n_threads; i++) {
        qn_workspace_free(c.workspaces[i]);
    }
    qn_free(c.workspaces);
    qn_free(c.inputs);
    qn_free(c.outputs);
    qn_free(c.parts);
    return status;
}

void qn_campaign_site_free(qn_campaign_site *site)
{
    qn_injector_free(site->injector);
    qn_injector_free(site->whole);
    qn_fault_space_free(&site->space);
    qn_fault_targets_free(&site->targets);
    qn_program_free(site->program);
    qn_link_path_free(site->links);
    qn_free(site->outputs);
    qn_free(site->golden);
    qn_free(site->images);
    *site = (qn_campaign_site){0};
}
