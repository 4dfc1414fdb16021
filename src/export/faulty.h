/* Vectors of faults: what a network gives with a fault of a campaign in it, and which bit of which exported file is
 * that fault, so that the same fault in hardware, or in exported C, can be held against the same numbers.
 *
 * A **case** is a fault and the images it is written for. faulty.c takes cases from a campaign's store;
 * faulty_again.c reads them from a former export, to check it. Both write the same files, by faulty_case.c:
 * faulty/ID/fault.json and arrays below faulty/ID/image_N. Nothing but the model, the changes and the images goes
 * into a case's numbers; what the store has of the fault is passed on as it is. */
#ifndef QN_EXPORT_FAULTY_H
#define QN_EXPORT_FAULTY_H

#include "export/target.h"
#include "fault/inject_whole.h"

/* Images written of a fault, at most: the first of those that it is present in. Changes that a fault may have. */
enum { QN_EXPORT_FAULTY_IMAGES = 4, QN_EXPORT_FAULTY_CHANGES = 4096 };
#define QN_EXPORT_FAULTY_SCHEMA "quern-faulty"
enum { QN_EXPORT_FAULTY_VERSION = 1 };

/* What others found: the campaign's injector, which shares nothing with this. outputs NULL: as without the fault. */
typedef struct qn_export_faulty_expected {
    bool refused;
    const float *outputs;
    uint32_t before, after; /* of the first change */
} qn_export_faulty_expected;

/*  fault       its changes name targets of the job's network
 *  n_of        images of the campaign, modulo which lifetimes are
 *  campaign, store  for fault.json
 *  images, inputs   n_images of them, and f32 of each, as the network reads it (NCHW)
 *  expected    per image, or NULL */
typedef struct qn_export_faulty_case {
    qn_fault fault;
    int64_t n_of;
    json_t *campaign, *store;
    int n_images;
    int64_t images[QN_EXPORT_FAULTY_IMAGES];
    float *inputs;
    const qn_export_faulty_expected *expected;
} qn_export_faulty_case;

/* Write the files of a case. `list`: an array of the manifest, which gets an entry. Errors: QN_EINTERNAL naming
 * fault and image where the outputs are not the expected ones; those of making networks and writing. */
qn_status qn_export_faulty_write_case(qn_export_job *job, const qn_fault_targets *targets,
                                      const qn_export_faulty_case *c, json_t *list, qn_error *err);

/* Write the cases of options->campaign and options->ids, and fill job->section. file, sha256: of the model as the
 * user has it, which must be the campaign's.
 * Errors: QN_EINVAL (ids that are not there, by name; no ids), QN_ECONFLICT (another model, other images: both
 * hashes and the remedy), QN_EUNSUPPORTED (float layers, another engine, a fault of too many changes), QN_EINTERNAL,
 * those of the store. */
qn_status qn_export_write_faulty(qn_export_job *job, const char *file, const char *sha256, qn_error *err);

/* The same files again, as far as the export job->again says which: cases are read from its faulty/ID/fault.json and
 * inputs, for every id in job->again_section. Only files that its walk found are opened. What is written goes to `job`,
 * whose section is filled. Errors: QN_EFORMAT naming a file that is missing or none of ours; QN_EIO; those of
 * qn_export_faulty_write_case. */
qn_status qn_export_faulty_again(qn_export_job *job, qn_error *err);

/* ---- parts ---- */

/* A network with a fault in it, run image by image (faulty_run.c).
 *  network    of the faulty model where constants or parameters are struck; else the job's
 *  refused    a parameter breaks its rules: there is no such network
 *  before, after   codes of each change: of those in memory from the start, of others after an image */
typedef struct qn_export_faulty_run {
    const qn_export_network *network;
    bool refused;
    uint32_t *before, *after;
    qn_export_network *own;
    qn_export_run *run;
    qn_whole_codes statics, codes;
    struct qn_export_faulty_sum *sums;
    size_t n_sums, capacity;
    bool failed;
} qn_export_faulty_run;
/* Released by qn_export_faulty_run_end, also after an error. The targets are the job's network's. */
qn_status qn_export_faulty_run_begin(qn_export_faulty_run *r, const qn_export_job *job, const qn_fault_targets *targets,
                                     const qn_fault *fault, qn_error *err);
void qn_export_faulty_run_end(qn_export_faulty_run *r);
qn_status qn_export_faulty_run_image(qn_export_faulty_run *r, const float *input, qn_error *err);
/* As qn_export_run_sums, with what the fault makes of them. */
void qn_export_faulty_run_sums(const qn_export_faulty_run *r, int layer, int32_t *sums);
static inline bool qn_export_faulty_in_memory(const qn_fault_targets *targets, const qn_fault_change *change)
{
    return qn_whole_is_static(targets->list[change->target].where);
}

/* Arrays of an image (faulty_arrays.c): their files are named ID_SUFFIX, and told in `files` under `key`; `what` is
 * for the manifest. */
typedef struct qn_export_faulty_folder {
    qn_export_job *job;
    char path[64];
    int64_t fault, image;
} qn_export_faulty_folder;
/* Codes of a tensor in the network's order. */
qn_status qn_export_faulty_put_codes(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                                     const char *suffix, const char *what, const qn_export_tensor *t,
                                     const int16_t *codes, qn_error *err);
qn_status qn_export_faulty_put_reals(const qn_export_faulty_folder *w, json_t *files, const char *key, const char *id,
                                     const char *suffix, const char *what, int rank, const int64_t *dims,
                                     const float *x, qn_error *err);
/* Accumulators of the layer `id` that makes tensor `t`, in its order. */
qn_status qn_export_faulty_put_sums(const qn_export_faulty_folder *w, json_t *files, const char *id,
                                    const qn_export_tensor *t, const int32_t *sums, qn_error *err);

/* JSON (faulty_json.c); NULL when out of memory. */
json_t *qn_export_faulty_mask(uint32_t mask, int bits); /* "0x7f" */
json_t *qn_export_faulty_real(double x);                /* null where it is not finite */
/* A code of a target: {bits, code, real}. */
json_t *qn_export_faulty_code(const qn_export_job *job, const qn_fault_target *target, int64_t element, uint32_t code);
json_t *qn_export_faulty_change(const qn_export_job *job, const qn_fault_targets *targets,
                                const qn_fault_change *change);
/* How to put the fault into what is exported, one sentence a string. */
json_t *qn_export_faulty_how(const qn_export_job *job, const qn_fault_targets *targets, const qn_fault *fault);
/* The change that such a tree says. QN_EFORMAT naming `where` and what is wrong. */
qn_status qn_export_faulty_parse(qn_fault_change *change, const json_t *tree, const qn_fault_targets *targets,
                                 const char *where, qn_error *err);

/* What is other in the files of this export when the fault is in memory (faulty_places.c): an object, see
 * doc/spec/export.md. */
qn_status qn_export_faulty_places(json_t **places, const qn_export_job *job, const qn_export_network *faulty,
                                  qn_error *err);
/* The part of it that is about files of the targets asked for (faulty_files.c). */
qn_status qn_export_faulty_files(json_t *places, const qn_export_job *job, const qn_export_network *faulty,
                                 bool same_layers, qn_error *err);

#endif
