/* The calibration room: the ranges of a network's values over real inputs.
 *
 * observe*.c reduce one value of one run, calibrate.c runs the network and gathers, explain.c finds what was not finite,
 * calibration.c holds the result,
 * calibration_json.c and histogram_json.c read and write it, fit.c sets ranges with it. What a worker sees is in sight.c,
 * counts in bins in tally.c, sums in sum.c.
 * Invariants of a qn_calibration: names are unique and not empty; min <= max, all numbers finite, zeros positive.
 * Ownership: everything but the arrays of ranges and slots lives in the calibration's arena. Threads: each worker gathers in memory of its own; a finished
 * calibration never changes. */
#ifndef QN_CALIB_CALIB_H
#define QN_CALIB_CALIB_H

#include "base/arch.h"
#include "base/file.h"
#include "base/memory.h"
#include "engine/program.h"
#include "quern/calibrate.h"

struct qn_calibration {
    qn_arena arena;
    const char *version; /* of the quern that made it */
    const char *model_file, *data_file;
    char model_sha256[QN_SHA256_HEX], data_sha256[QN_SHA256_HEX]; /* "" when unknown */
    int64_t n_items;
    bool has_preprocess;
    qn_preprocess preprocess;
    qn_range *ranges;
    qn_histogram **histograms; /* of the ranges, which point at them; NULL where there is none */
    size_t n_ranges, capacity, histogram_capacity;
    uint32_t *slots; /* by name: index of a range + 1, 0 where free; open addressing */
    size_t n_slots;  /* a power of two, at least twice n_ranges */
};

/* Paths are bytes, JSON is UTF-8: a string for a record, in which a text that is not UTF-8 keeps its ASCII and has '?' for
 * the rest. NULL when out of memory. */
struct json_t *qn_json_record(const char *text);

/* Where to fill in the numbers of a range's channels. All but absmax are NULL in a range without details. */
typedef struct qn_range_arrays {
    float *absmax, *channel_min, *channel_max;
    double *mean, *variance;
} qn_range_arrays;

/* Release what a calibration owns, but not itself. */
void qn_calibration_release(qn_calibration *calibration);

/* Append a range of `n_channels` channels with no more than absmax, its name copied and its numbers zero; *absmax is where
 * to fill them in. */
qn_status qn_calibration_add(qn_calibration *calibration, const char *name, int64_t n_channels, qn_range **range,
                             float **absmax, qn_error *err);
/* The same with all arrays when there are `details`. */
qn_status qn_calibration_add_arrays(qn_calibration *calibration, const char *name, int64_t n_channels, bool details,
                                    qn_range **range, qn_range_arrays *arrays, qn_error *err);
/* Give the range that was added last its histogram, which then belongs to the calibration. */
void qn_calibration_keep(qn_calibration *calibration, qn_range *range, qn_histogram *histogram);

/* Say what made a calibration fail: QN_ERANGE, naming the first item of the set with a value that is NaN or infinite, and the
 * first such value. Costs another run up to there, on one thread. */
qn_status qn_calibrate_explain(const qn_model *model, const qn_dataset *data, const qn_program_options *options,
                               qn_error *err);

/* How elements are counted: `counts` points at the bin [0, width[1]) of an array with QN_TALLY_HALF bins to either side of
 * it, and QN_TALLY_SPARE more behind them, which are scratch. Bins of negative elements are 1 / inverse[0] wide, the
 * others 1 / inverse[1]; both are powers of two, and large enough for the elements. */
enum { QN_TALLY_HALF = 2048, QN_TALLY_SPARE = 8 };
typedef struct qn_count_grid {
    float inverse[2];
    int64_t *counts;
} qn_count_grid;

/* Kernels that look at elements.
 * row, columns: least and greatest element. Minimum and maximum are exact, so every order of comparing gives the same
 * value; a zero result is +0 whatever zeros were seen. `min` and `max` hold what was seen before (INFINITY and -INFINITY
 * at first). The result is false when there is a NaN, which takes part in nothing else; infinities take part.
 *  row      n contiguous elements into *min, *max
 *  columns  n_rows rows of `width` contiguous elements, `stride` elements apart, into min[width], max[width]
 * moments_row, moments_columns: over the same, sums of max(x, lo) and of its squares, in double. A column is added in the
 * order of its rows; a row into sixteen sums, element i into sum i % 16, of which sum k takes sum k + 8, then k + 4,
 * k + 2 and k + 1. Elements are finite.
 * count: n contiguous finite elements on a grid: bin floor(x * inverse), of x < 0 at most -1. Returns how many are zero, which
 * are in no bin. */
typedef struct qn_observe_kernels {
    const char *name;
    qn_cpu cpu;
    bool (*row)(const float *x, int64_t n, float *min, float *max);
    bool (*columns)(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min, float *max);
    void (*moments_row)(const float *x, int64_t n, float lo, double *sum, double *squares);
    void (*moments_columns)(const float *x, int64_t n_rows, int64_t stride, int64_t width, float lo, double *sum,
                            double *squares);
    int64_t (*count)(const float *x, int64_t n, const qn_count_grid *grid);
} qn_observe_kernels;

enum { QN_MOMENTS_LANES = 16 };

#define QN_OBSERVE_ROW(isa, level)                                                                                     \
    bool qn_observe_row_f32_##isa(const float *x, int64_t n, float *min, float *max);                                  \
    bool qn_observe_columns_f32_##isa(const float *x, int64_t n_rows, int64_t stride, int64_t width, float *min,       \
                                      float *max);                                                                     \
    void qn_moments_row_f32_##isa(const float *x, int64_t n, float lo, double *sum, double *squares);                  \
    void qn_moments_columns_f32_##isa(const float *x, int64_t n_rows, int64_t stride, int64_t width, float lo,         \
                                      double *sum, double *squares);                                                   \
    int64_t qn_count_f32_##isa(const float *x, int64_t n, const qn_count_grid *grid);
#include "calib/observe_kernels.inc"
#undef QN_OBSERVE_ROW

/* All kernel sets of this build, the reference first. */
const qn_observe_kernels *qn_observe_kernels_all(size_t *n);
/* The best that `cpu` allows. */
const qn_observe_kernels *qn_observe_kernels_for(qn_cpu cpu);

/* One item of a value, in any layout, into min[channels], max[channels]; false when there is a NaN. */
bool qn_observe_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item, float *min,
                     float *max);
/* Its sums of max(x, lo) and of squares into sum[channels], squares[channels]. */
void qn_moments_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item, float lo, double *sum,
                     double *squares);
/* Its counts; returns how many elements are zero. */
int64_t qn_count_item(const qn_observe_kernels *kernels, const qn_value_view *view, int64_t item,
                      const qn_count_grid *grid);

#endif
