/* Are two campaigns the same? If not, in what they differ. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fault/store_inside.h"

/* The first line of two texts that differs, as "'a' there, 'b' here". */
static void first_difference(char *text, size_t size, const char *there, const char *here)
{
    while (*there != '\0' || *here != '\0') {
        int n_there = (int)strcspn(there, "\n"), n_here = (int)strcspn(here, "\n");
        if (n_there != n_here || strncmp(there, here, (size_t)n_there) != 0) {
            int indent = (int)strspn(there, " "), indent_here = (int)strspn(here, " ");
            snprintf(text, size, "'%.*s' there, '%.*s' here", n_there - indent, there + indent, n_here - indent_here,
                     here + indent_here);
            return;
        }
        there += n_there + (there[n_there] == '\n');
        here += n_here + (here[n_here] == '\n');
    }
    snprintf(text, size, "no difference");
}

/* "file (12ab34cd...)"; "none". */
static const char *file_text(char text[600], const char *file, const char *sha256)
{
    if (sha256[0] == '\0') {
        return "none";
    }
    snprintf(text, 600, "%.500s (sha256 %.12s...)", file, sha256);
    return text;
}

/* What a user decides, in the order in which it is most likely to be the cause. */
static bool differs(char *text, size_t size, const qn_store_about *a, const qn_store_about *b, bool shards)
{
    char there[600], here[600];
    if (strcmp(a->model_sha256, b->model_sha256) != 0) {
        snprintf(text, size, "the model is %s there, %s here", file_text(there, a->model_file, a->model_sha256),
                 file_text(here, b->model_file, b->model_sha256));
    } else if (strcmp(a->data_sha256, b->data_sha256) != 0) {
        snprintf(text, size, "the data are %s there, %s here", file_text(there, a->data_file, a->data_sha256),
                 file_text(here, b->data_file, b->data_sha256));
    } else if (strcmp(a->preprocess, b->preprocess) != 0) {
        snprintf(text, size, "the preprocessing is %s there, %s here", a->preprocess, b->preprocess);
    } else if (a->n_images != b->n_images) {
        snprintf(text, size, "there are %" PRId64 " images there, %" PRId64 " here", a->n_images, b->n_images);
    } else if (strcmp(a->labels_sha256, b->labels_sha256) != 0) {
        snprintf(text, size, "the labels are %s there, %s here", file_text(there, a->labels_file, a->labels_sha256),
                 file_text(here, b->labels_file, b->labels_sha256));
    } else if (a->seed != b->seed) {
        snprintf(text, size, "the seed is %" PRIu64 " there, %" PRIu64 " here", a->seed, b->seed);
    } else if (strcmp(a->spec, b->spec) != 0) {
        char line[400];
        first_difference(line, sizeof line, a->spec, b->spec);
        snprintf(text, size, "the specification has %s", line);
    } else if (strcmp(a->engine, b->engine) != 0) {
        snprintf(text, size, "the engine is %s there, %s here", a->engine, b->engine);
    } else if (a->rmse_threshold != b->rmse_threshold) {
        snprintf(text, size, "the RMSE threshold is %g there, %g here", a->rmse_threshold, b->rmse_threshold);
    } else if (strcmp(a->float_sha256, b->float_sha256) != 0) {
        snprintf(text, size, "the float model is %s there, %s here", file_text(there, a->float_file, a->float_sha256),
                 file_text(here, b->float_file, b->float_sha256));
    } else if (a->keep_pairs != b->keep_pairs) {
        snprintf(text, size, "single pairs are %s there, %s here", a->keep_pairs ? "kept" : "not kept",
                 b->keep_pairs ? "kept" : "not kept");
    } else if (shards && (a->shard != b->shard || a->n_shards != b->n_shards)) {
        snprintf(text, size, "the shard is %d/%d there, %d/%d here", a->shard, a->n_shards, b->shard, b->n_shards);
    } else if (!shards && a->n_shards != b->n_shards) {
        snprintf(text, size, "there are %d shards there, %d here", a->n_shards, b->n_shards);
    } else if (a->block_pairs != b->block_pairs) {
        snprintf(text, size, "blocks have %" PRId64 " pairs there, %" PRId64 " here", a->block_pairs, b->block_pairs);
    } else if (strcmp(a->tool, b->tool) != 0) {
        snprintf(text, size, "it was begun by %s, this is %s", a->tool, b->tool);
    } else if (b->golden_sha256 != NULL && strcmp(a->golden_sha256, b->golden_sha256) != 0) {
        snprintf(text, size,
                 "fault-free outputs differ: those of floats depend on the processor (%s there, %s here) and on oneDNN",
                 a->cpu, b->cpu);
    } else {
        return false;
    }
    return true;
}

qn_status qn_store_compare(const char *path, const qn_store_about *there, const qn_store_about *here, bool shards,
                           const char *remedy, qn_error *err)
{
    char text[2048];
    if (differs(text, sizeof text, there, here, shards)) {
        return qn_fail(err, QN_ECONFLICT, path, "is the store of another campaign: %s; %s", text, remedy);
    }
    return QN_OK;
}
