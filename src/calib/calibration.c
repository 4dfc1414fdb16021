/* The calibration object: building, looking up, releasing. */
#include "calib/calib.h"

#include <string.h>

#include "base/hash.h"

void qn_calibration_release(qn_calibration *calibration)
{
    for (size_t i = 0; i < calibration->n_ranges; i++) {
        qn_histogram_free(calibration->histograms[i]);
    }
    qn_free(calibration->histograms);
    qn_arena_free(&calibration->arena);
    qn_free(calibration->ranges);
    qn_free(calibration->slots);
}

void qn_calibration_free(qn_calibration *calibration)
{
    if (calibration != NULL) {
        qn_calibration_release(calibration);
        qn_free(calibration);
    }
}

/* The slot of the range called `name`, or the free one where it would go. */
static uint32_t *locate(const qn_calibration *calibration, const char *name)
{
    size_t mask = calibration->n_slots - 1, at = qn_hash_text(name, qn_hash_point(calibration)) & mask;
    while (calibration->slots[at] != 0 &&
           strcmp(calibration->ranges[calibration->slots[at] - 1].value_name, name) != 0) {
        at = (at + 1) & mask;
    }
    return &calibration->slots[at];
}

/* Room for one more name. */
static qn_status reserve_slot(qn_calibration *calibration, qn_error *err)
{
    enum { FIRST = 64, MAX_RANGES = 1 << 28 };
    if (2 * (calibration->n_ranges + 1) <= calibration->n_slots) {
        return QN_OK;
    }
    if (calibration->n_ranges >= MAX_RANGES) {
        return qn_fail(err, QN_ELIMIT, NULL, "a calibration of more than %d values", MAX_RANGES);
    }
    size_t n_slots = calibration->n_slots == 0 ? FIRST : 2 * calibration->n_slots;
    uint32_t *slots = qn_alloc(n_slots * sizeof *slots);
    if (slots == NULL) {
        return qn_fail_memory(err, NULL, n_slots * sizeof *slots);
    }
    qn_free(calibration->slots);
    calibration->slots = slots;
    calibration->n_slots = n_slots;
    for (size_t i = 0; i < calibration->n_ranges; i++) {
        *locate(calibration, calibration->ranges[i].value_name) = (uint32_t)i + 1;
    }
    return QN_OK;
}

/* Arrays of n zeros; false when out of memory. */
static bool arrays_alloc(qn_range_arrays *arrays, qn_arena *arena, size_t n, bool details)
{
    *arrays = (qn_range_arrays){.absmax = qn_arena_array(arena, n, sizeof(float))};
    if (!details) {
        return arrays->absmax != NULL;
    }
    arrays->channel_min = qn_arena_array(arena, n, sizeof(float));
    arrays->channel_max = qn_arena_array(arena, n, sizeof(float));
    arrays->mean = qn_arena_array(arena, n, sizeof(double));
    arrays->variance = qn_arena_array(arena, n, sizeof(double));
    return arrays->absmax != NULL && arrays->channel_min != NULL && arrays->channel_max != NULL &&
           arrays->mean != NULL && arrays->variance != NULL;
}

qn_status qn_calibration_add_arrays(qn_calibration *calibration, const char *name, int64_t n_channels, bool details,
                                    qn_range **range, qn_range_arrays *arrays, qn_error *err)
{
    QN_TRY(reserve_slot(calibration, err));
    void *ranges = calibration->ranges, *histograms = calibration->histograms;
    QN_TRY(qn_grow(&ranges, &calibration->capacity, calibration->n_ranges, sizeof *calibration->ranges, err));
    calibration->ranges = ranges;
    QN_TRY(qn_grow(&histograms, &calibration->histogram_capacity, calibration->n_ranges,
                   sizeof *calibration->histograms, err));
    calibration->histograms = histograms;
    char *copy = qn_arena_string(&calibration->arena, name);
    if (copy == NULL || !arrays_alloc(arrays, &calibration->arena, (size_t)n_channels, details)) {
        return qn_fail_memory(err, name, (size_t)n_channels * sizeof(double));
    }
    calibration->histograms[calibration->n_ranges] = NULL;
    *range = &calibration->ranges[calibration->n_ranges];
    **range = (qn_range){.value_name = copy,
                         .n_channels = n_channels,
                         .absmax = arrays->absmax,
                         .channel_min = arrays->channel_min,
                         .channel_max = arrays->channel_max,
                         .mean = arrays->mean,
                         .variance = arrays->variance};
    *locate(calibration, copy) = (uint32_t)++calibration->n_ranges;
    return QN_OK;
}

qn_status qn_calibration_add(qn_calibration *calibration, const char *name, int64_t n_channels, qn_range **range,
                             float **absmax, qn_error *err)
{
    qn_range_arrays arrays;
    QN_TRY(qn_calibration_add_arrays(calibration, name, n_channels, false, range, &arrays, err));
    *absmax = arrays.absmax;
    return QN_OK;
}

void qn_calibration_keep(qn_calibration *calibration, qn_range *range, qn_histogram *histogram)
{
    calibration->histograms[range - calibration->ranges] = histogram;
    range->histogram = histogram;
}

int64_t qn_calibration_n_items(const qn_calibration *calibration)
{
    return calibration->n_items;
}

size_t qn_calibration_count(const qn_calibration *calibration)
{
    return calibration->n_ranges;
}

const qn_range *qn_calibration_at(const qn_calibration *calibration, size_t index)
{
    return index < calibration->n_ranges ? &calibration->ranges[index] : NULL;
}

const qn_range *qn_calibration_find(const qn_calibration *calibration, const char *value_name)
{
    uint32_t found = calibration->n_slots > 0 ? *locate(calibration, value_name) : 0;
    return found > 0 ? &calibration->ranges[found - 1] : NULL;
}

qn_status qn_calibration_preprocess(const qn_calibration *calibration, qn_preprocess *pre, bool *found, qn_error *err)
{
    (void)err;
    *found = calibration->has_preprocess;
    if (*found) {
        *pre = calibration->preprocess;
    }
    return QN_OK;
}
