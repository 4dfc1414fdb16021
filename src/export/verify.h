/* Verifying: an export read again. What a directory holds may come from anywhere: nothing outside it is opened, links
 * are not followed, and a file is read only where it has the size that it should have. */
#ifndef QN_EXPORT_VERIFY_H
#define QN_EXPORT_VERIFY_H

#include "base/file.h"
#include "export/constants.h"
#include "export/manifest.h"
#include "export/target.h"

enum { QN_EXPORT_TOLD_MAX = 20 };

/* A regular file below the directory.
 *  listed   in the manifest, as files[index]
 *  altered  its bytes are not those of the manifest's SHA-256 */
typedef struct qn_export_found {
    char *path; /* with slashes */
    int64_t n_bytes;
    int index;
    bool listed, altered, made, told;
} qn_export_found;

struct qn_export_checking {
    const char *directory;
    qn_export_check *check;
    qn_export_text text;
    int n_told;
    qn_export_found *files; /* sorted by path */
    size_t n_files, files_capacity;
    json_t *manifest; /* as found */
    qn_file_bytes manifest_bytes;
    qn_model *model;               /* of the directory's model.onnx */
    qn_export_constants constants; /* of a network of it, once there is one */
    bool has_constants, manifest_told;
    const qn_export_job *job;
};

/* Tell a difference, the first QN_EXPORT_TOLD_MAX in full; all are counted. */
void qn_export_differs(qn_export_checking *c, const char *format, ...) QN_PRINTF(2, 3);
/* Element `index` of a tensor of this shape; `tensor` is its name in the model. */
void qn_export_element_differs(qn_export_checking *c, const char *path, const char *tensor, int rank,
                               const int64_t *dims, int64_t index, double expected, double found);
/* Compare tensors: type, shape, elements. True when something was told. */
bool qn_export_compare_tensors(qn_export_checking *c, const char *path, const char *name, const qn_tensor *expected,
                               const qn_tensor *found);
/* A .npy file in memory, as it is (native byte order, C order only); `t` is a view of the bytes. */
qn_status qn_export_read_npy(qn_tensor *t, const void *bytes, size_t n_bytes, const char *path, qn_error *err);
/* Tell the first line, or byte, that differs. */
void qn_export_bytes_differ(qn_export_checking *c, const char *path, const char *expected, size_t n_expected,
                            const char *found, size_t n_found);

/* Read what the directory holds: c->files. Links and what is no file are told. */
qn_status qn_export_walk(qn_export_checking *c, qn_error *err);
/* May -f replace it? QN_EINVAL where it holds anything that a former export did not write (folders `build` in those of
 * targets apart); QN_OK too where there is no manifest, or nothing at all. */
qn_status qn_export_check_former(const char *directory, qn_error *err);
/* NULL: there is none. */
qn_export_found *qn_export_find(qn_export_checking *c, const char *path);
qn_status qn_export_read_found(qn_file_bytes *bytes, const qn_export_checking *c, const qn_export_found *file,
                               qn_error *err);
/* What the manifest lists is there, with size and SHA-256, and nothing else is. */
qn_status qn_export_check_list(qn_export_checking *c, qn_error *err);
/* Compare the manifest found with what it should be; `text`: that one printed. */
qn_status qn_export_check_manifest(qn_export_checking *c, const char *text, size_t n, qn_error *err);
/* The reader of the folder vectors. */
qn_export_check_fn qn_export_check_vectors;

#endif
