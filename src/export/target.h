/* What targets have in common: the job, the directory under way, and text that is written into files.
 *
 * A target appends files below its folder; every file goes through qn_export_file, which keeps its size and SHA-256 for
 * the manifest, written last. Nothing that depends on time, place, machine or user is written: the same model and
 * options give the same bytes. */
#ifndef QN_EXPORT_TARGET_H
#define QN_EXPORT_TARGET_H

#include <jansson.h>

#include "base/directory.h"
#include "export/network.h"
#include "quern/export.h"

/* Where the model came from, for the manifest: a file's name without folders, and its SHA-256 in hex; "": not known. */
typedef struct qn_export_source {
    const char *name, *sha256;
} qn_export_source;

/*  model      as model.onnx in the export holds it; network: made of it
 *  onnx       the bytes of model.onnx, n_onnx of them
 *  options    as given
 *  directory  under way; NULL: files go to `take`
 *  n_vectors  items to write, 0: none
 *  files      of the manifest: an array of {path, bytes, sha256, what}
 *  tensor_files  of the manifest: id of a tensor -> the files that hold it
 *  sections   of the manifest: name of a target -> its section
 *  section    the one of the target that is being written: an object it may fill, kept where it is not empty
 *  again, again_section  of `quern verify`: a former export, and section "faulty" of its manifest, whose vectors of faults
 *                   are written again; NULL
 *  least, greatest  per layer: sums seen over the vectors; NULL without vectors
 *  report     text for the user */
typedef struct qn_export_job {
    const qn_model *model;
    const qn_export_network *network;
    const qn_export_options *options;
    qn_export_source source;
    const unsigned char *onnx;
    size_t n_onnx;
    qn_directory_out *directory;
    qn_status (*take)(void *ctx, const char *path, const void *data, size_t n_bytes, qn_error *err);
    void *take_ctx;
    int64_t n_vectors;
    json_t *files, *tensor_files, *sections, *section;
    struct qn_export_checking *again;
    const json_t *again_section;
    int32_t *least, *greatest;
    struct qn_export_text *report;
} qn_export_job;

typedef qn_status qn_export_target_fn(qn_export_job *job, qn_error *err);
/* One row per target, in the order of QN_EXPORT_TARGET_LIST (target.c). */
qn_export_target_fn qn_export_write_npz, qn_export_write_c, qn_export_write_hls, qn_export_write_mem,
    qn_export_write_verilog, qn_export_write_onnx;
/* Write all targets that the options name. */
qn_status qn_export_write_targets(qn_export_job *job, qn_error *err);
/* The folder vectors, and the sums seen (vectors.c). */
qn_status qn_export_write_vectors(qn_export_job *job, qn_error *err);

/* All of an export but the directory: model.onnx, the targets, manifest.json last. `model` is written and read again
 * first, so that what is exported is what model.onnx says. Fields of `job` that are used: options, source, directory or
 * take, report; the others are set and hold until qn_export_job_free. */
qn_status qn_export_run_job(qn_export_job *job, const qn_model *model, qn_error *err);
void qn_export_job_free(qn_export_job *job);

/* Reading again (verify.h): `expected` is what file `path` should hold, `found` what it does, which may be anything.
 * Tell each element that differs with qn_export_differs; where bytes differ and nothing is told, the first line or byte
 * is. */
typedef struct qn_export_checking qn_export_checking;
typedef qn_status qn_export_check_fn(qn_export_checking *checking, const char *path, const void *found, size_t n_found,
                                     const void *expected, size_t n_expected, qn_error *err);
/* The reader of the target whose folder `path` is in, NULL: bytes are compared. */
qn_export_check_fn *qn_export_checker_of(const char *path);
qn_export_check_fn qn_export_check_npz, qn_export_check_c, qn_export_check_hls, qn_export_check_mem;

/* Growing text. A failed allocation is remembered and told by qn_export_text_status. Starts as {0}. */
typedef struct qn_export_text {
    char *data;
    size_t n, capacity;
    bool failed;
} qn_export_text;
void qn_export_printf(qn_export_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void qn_export_append(qn_export_text *text, const char *data, size_t n);
/* "%lld", and "%0*llx" of at most 16 digits, in a tenth of the time: for what has millions of numbers. */
void qn_export_integer(qn_export_text *text, int64_t value);
void qn_export_hex(qn_export_text *text, uint64_t value, int n_digits);
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
/* Say that file `path` holds the tensor or constant whose id is `id`. */
qn_status qn_export_holds(qn_export_job *job, const char *id, const char *path, qn_error *err);
/* An array as a .npy file: element type, shape, data in C order. */
qn_status qn_export_npy(qn_export_job *job, const char *path, const char *what, const qn_tensor *t, qn_error *err);

/* Run the engine on each vector and show it: `run` after qn_export_run_image of item i. For all n_vectors, with
 * progress. */
typedef qn_status qn_export_see_fn(void *ctx, int64_t i, const qn_export_run *run, qn_error *err);
qn_status qn_export_each_vector(qn_export_job *job, qn_export_see_fn *see, void *ctx, qn_error *err);

#endif
