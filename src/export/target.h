/* What targets have in common: the job, the directory under way, and text that is written into files.
 *
 * A target appends files below its folder; every file goes through qn_export_file, which keeps its size and SHA-256 for the
 * manifest, written last. Nothing that depends on time, place, machine or user is written: the same model and options give
 * the same bytes. */
#ifndef QN_EXPORT_TARGET_H
#define QN_EXPORT_TARGET_H

#include <jansson.h>

#include "base/directory.h"
#include "export/network.h"
#include "quern/export.h"

/*  model      as given; network: made of it
 *  options    as given
 *  n_vectors  items to write, 0: none
 *  files      of the manifest: an array of {path, bytes, sha256, what}
 *  section    of the manifest: an object the target may fill, kept under its name
 *  report     text for the user */
typedef struct qn_export_job {
    const qn_model *model;
    const qn_export_network *network;
    const qn_export_options *options;
    qn_directory_out *directory;
    int64_t n_vectors;
    json_t *files, *section;
    struct qn_export_text *report;
} qn_export_job;

typedef qn_status qn_export_target_fn(qn_export_job *job, qn_error *err);
/* One row per target, in the order of QN_EXPORT_TARGET_LIST (target.c). */
qn_export_target_fn qn_export_write_npz, qn_export_write_c, qn_export_write_hls, qn_export_write_mem,
    qn_export_write_verilog;

/* Growing text. A failed allocation is remembered and told by qn_export_text_status. Starts as {0}. */
typedef struct qn_export_text {
    char *data;
    size_t n, capacity;
    bool failed;
} qn_export_text;
void qn_export_printf(qn_export_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qn_export_append(qn_export_text *text, const char *data, size_t n);
void qn_export_text_free(qn_export_text *text);

/* A float as the shortest decimal that reads as the same float, and as hex float ("0x1.8p-3"), whatever the locale. */
enum { QN_EXPORT_FLOAT_MAX = 40 };
const char *qn_export_float(char text[QN_EXPORT_FLOAT_MAX], float x);
const char *qn_export_hex_float(char text[QN_EXPORT_FLOAT_MAX], float x);

/* Write a file below the directory: `path` with slashes, folders are made. `what`: one line for the manifest. */
qn_status qn_export_file(qn_export_job *job, const char *path, const char *what, const void *data, size_t n_bytes,
                         qn_error *err);
/* The same with a text, which is freed and starts anew. */
qn_status qn_export_text_file(qn_export_job *job, const char *path, const char *what, qn_export_text *text,
                              qn_error *err);
/* An array as a .npy file: element type, shape, data in C order. */
qn_status qn_export_npy(qn_export_job *job, const char *path, const char *what, const qn_tensor *t, qn_error *err);

/* Run the engine on each vector and show it: `run` after qn_export_run_image of item i. For all n_vectors, with progress. */
typedef qn_status qn_export_see_fn(void *ctx, int64_t i, const qn_export_run *run, qn_error *err);
qn_status qn_export_each_vector(qn_export_job *job, qn_export_see_fn *see, void *ctx, qn_error *err);

#endif
