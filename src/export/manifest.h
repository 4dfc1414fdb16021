/* manifest.json (doc/spec/export.md): all numbers of an export as text, and what lies in which file.
 *
 * It is made as a tree of jansson's, keys in the order in which they are set, and printed by qn_export_json_print: the
 * same tree gives the same bytes. Numbers are integers, or floats with digits enough to read as the same ones. */
#ifndef QN_EXPORT_MANIFEST_H
#define QN_EXPORT_MANIFEST_H

#include <jansson.h>

#include "export/constants.h"
#include "export/target.h"

#define QN_EXPORT_MANIFEST_FILE "manifest.json"
#define QN_EXPORT_SCHEMA        "quern-export"
enum { QN_EXPORT_SCHEMA_VERSION = 1 };

/* Make the manifest of a job whose files are written, and write it. */
qn_status qn_export_write_manifest(qn_export_job *job, qn_error *err);
/* Trees are put together by these, which take over `value` as jansson's functions do. When one fails, as its value could
 * not be made or memory runs out, texts that this thread makes of trees have failed from then on, until the next job
 * begins. */
void qn_export_json_begin(void);
int qn_export_json_set(json_t *object, const char *key, json_t *value);
int qn_export_json_append(json_t *array, json_t *value);
/* A tree as text: objects over several lines, arrays of plain values on one. */
void qn_export_json_print(qn_export_text *text, const json_t *tree);
/* SHA-256 of what qn_export_json_print makes of all members but "digest". */
qn_status qn_export_digest(char hex[65], const json_t *manifest, qn_error *err);

/* The parts; NULL when out of memory. */
json_t *qn_export_tensor_json(const qn_export_job *job, const qn_export_tensor *t, const char *role);
json_t *qn_export_constant_json(const qn_export_job *job, const qn_export_constant *c);
json_t *qn_export_layer_json(const qn_export_job *job, const qn_export_constants *constants, int layer);
/* The formulas of a layer, one string a line; sum_bits: of a convolution, that hold every sum. */
json_t *qn_export_formula(const qn_export_network *network, const qn_export_constants *constants, int layer,
                          int sum_bits);

/* Small things. Strings that are not UTF-8 have '?' where it ends. */
json_t *qn_export_json_string(const char *text);
json_t *qn_export_json_ints(const int32_t *x, int64_t n); /* NULL x: zeros */
json_t *qn_export_json_reals(const float *x, int64_t n);
json_t *qn_export_json_hex(const float *x, int64_t n);
/* e of 2^e per entry; JSON null when one is no power of two. */
json_t *qn_export_json_exponents(const float *x, int64_t n);
json_t *qn_export_json_shape(int rank, const int64_t *dims);

#endif
