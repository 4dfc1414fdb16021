/* Data sets: many inputs of one shape in one file, streamed as preprocessed float32.
 *
 * x = (value * scale - mean[c]) / std[c], computed in double and rounded once to float. */
#ifndef QUERN_DATASET_H
#define QUERN_DATASET_H

#include <stdbool.h>
#include <stdint.h>

#include "quern/tensor.h"

typedef enum qn_layout { QN_LAYOUT_NCHW = 0, QN_LAYOUT_NHWC = 1 } qn_layout;

enum { QN_MAX_PREPROCESS_CHANNELS = 64 };

/* How stored values become network inputs. Start from qn_preprocess_init (the identity).
 *  scale      finite, not 0
 *  n_mean     0 (none), 1 (for all channels) or the number of channels; n_std the same
 *  std        finite, not 0
 *  layout     how the file is laid out; the network always gets NCHW. Only rank 4 data can be NHWC. */
typedef struct qn_preprocess {
    size_t struct_size;
    double scale;
    int n_mean, n_std;
    double mean[QN_MAX_PREPROCESS_CHANNELS];
    double std[QN_MAX_PREPROCESS_CHANNELS];
    qn_layout layout;
} qn_preprocess;

QN_API void qn_preprocess_init(qn_preprocess *pre);
QN_API bool qn_preprocess_is_identity(const qn_preprocess *pre);
QN_API bool qn_preprocess_equal(const qn_preprocess *a, const qn_preprocess *b);
/* JSON object {"scale", "mean", "std", "layout"}; the form kept in ONNX metadata_props (key "quern.preprocess") and in
 * calibration files. The numbers survive the round trip. `text` is released with free(). */
QN_API QN_NODISCARD qn_status qn_preprocess_to_json(const qn_preprocess *pre, char **text, qn_error *err);
QN_API QN_NODISCARD qn_status qn_preprocess_from_json(qn_preprocess *pre, const char *text, qn_error *err);

typedef struct qn_dataset qn_dataset;

/* Open `path` (any form qn_tensor_read takes; the first dimension counts items). Memory use does not depend on the
 * number of items. `pre` may be NULL for the identity. Errors: as qn_tensor_read; QN_ESHAPE when pre does not fit. */
QN_API QN_NODISCARD qn_status qn_dataset_open(qn_dataset **set, const char *path, const qn_preprocess *pre,
                                              qn_error *err);
/* The same over a tensor in memory, which must outlive the set. */
QN_API QN_NODISCARD qn_status qn_dataset_of_tensor(qn_dataset **set, const qn_tensor *t, const qn_preprocess *pre,
                                                   qn_error *err);
/* `n` tensors (1 or more) for the inputs of a network, with equally many items; as they are stored. */
QN_API QN_NODISCARD qn_status qn_dataset_of_tensors(qn_dataset **set, const qn_tensor *tensors, size_t n,
                                                    qn_error *err);
/* Several arrays of one .npz archive, `names` in this order, each with as many items: what a network of several inputs
 * takes. Functions of a set tell and read its first array, but for the hash, which is of all. `pre` must be the
 * identity. Errors: as above; QN_EINVAL when an array is missing, QN_ESHAPE when the numbers of items differ. */
QN_API QN_NODISCARD qn_status qn_dataset_open_arrays(qn_dataset **set, const char *path, const char *const *names,
                                                     size_t n_names, const qn_preprocess *pre, qn_error *err);
QN_API size_t qn_dataset_n_arrays(const qn_dataset *set); /* 1 for a plain set */
/* Array `index` of it, as a set; it belongs to `set`. */
QN_API const qn_dataset *qn_dataset_array(const qn_dataset *set, size_t index);
QN_API void qn_dataset_close(qn_dataset *set);

QN_API int64_t qn_dataset_count(const qn_dataset *set);
/* Shape of one item as the network sees it (NCHW without N); its rank is returned. dims has QN_MAX_RANK entries. */
QN_API int qn_dataset_item_shape(const qn_dataset *set, int64_t *dims);
QN_API const char *qn_dataset_name(const qn_dataset *set); /* for messages: the path */
/* The preprocessing the set applies (the identity when none was given); belongs to the set. */
QN_API const qn_preprocess *qn_dataset_preprocess(const qn_dataset *set);

/* Items first..first+n-1, preprocessed, into x[n * item count]. Thread safe.
 * Errors: QN_ERANGE for NaN (and infinities), naming the item and element; QN_EINVAL outside the set; QN_EIO. */
QN_API QN_NODISCARD qn_status qn_dataset_read(const qn_dataset *set, int64_t first, int64_t n, float *x, qn_error *err);

/* SHA-256 of the stored bytes as hex, for records; computed at the first call. `hex` has 65 bytes. */
QN_API QN_NODISCARD qn_status qn_dataset_sha256(const qn_dataset *set, char *hex, qn_error *err);

#endif
