/* The calibration object: building, looking up, releasing. */
#include "calib/calib.h"

#include <string.h>

void qn_calibration_free(qn_calibration *calibration)
{
    if (calibration != NULL) {
        qn_arena_free(&calibration->arena);
        qn_free(calibration->ranges);
        qn_free(calibration);
    }
}

qn_status qn_calibration_add(qn_calibration *calibration, const char *name, int64_t n_channels, qn_range **range,
                             float **absmax, qn_error *err)
{
    void *ranges = calibration->ranges;
    QN_TRY(qn_grow(&ranges, &calibration->capacity, calibration->n_ranges, sizeof *calibration->ranges, err));
    calibration->ranges = ranges;
    char *copy = qn_arena_string(&calibration->arena, name);
    *absmax = qn_arena_array(&calibration->arena, (size_t)n_channels, sizeof **absmax);
    if (copy == NULL || *absmax == NULL) {
        return qn_fail_memory(err, name, (size_t)n_channels * sizeof **absmax);
    }
    *range = &calibration->ranges[calibration->n_ranges++];
    **range = (qn_range){.value_name = copy, .n_channels = n_channels, .absmax = *absmax};
    return QN_OK;
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
    for (size_t i = 0; i < calibration->n_ranges; i++) {
        if (strcmp(calibration->ranges[i].value_name, value_name) == 0) {
            return &calibration->ranges[i];
        }
    }
    return NULL;
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
