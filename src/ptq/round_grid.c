/* What weights may become: integers, or the values of any format with few codes. */
#include <math.h>
#include <stdlib.h>

#include "ptq/rounding.h"

double qn_round_value(const qn_round_grid *grid, int32_t code)
{
    return grid->levels != NULL ? grid->levels[code - grid->lo] : (double)code;
}

static int32_t nearest_level(const qn_round_grid *grid, double x)
{
    int32_t low = 0, high = grid->hi - grid->lo;
    while (low < high) { /* the first level whose midpoint to the next is above x */
        int32_t middle = low + (high - low) / 2;
        double midpoint = 0.5 * grid->levels[middle] + 0.5 * grid->levels[middle + 1];
        if (x < midpoint) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return grid->lo + low;
}

int32_t qn_round_nearest(const qn_round_grid *grid, double x)
{
    if (!(x == x)) {
        return grid->lo;
    }
    if (grid->levels != NULL) {
        return nearest_level(grid, x);
    }
    double code = rint(x);
    return code < grid->lo ? grid->lo : code > grid->hi ? grid->hi : (int32_t)code;
}

static int compare_levels(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

qn_status qn_round_grid_of_format(qn_round_grid *grid, double levels[QN_ROUND_LEVELS], qn_format format,
                                  const char *where, qn_error *err)
{
    const qn_params neutral = {.scale = 1, .multiplier = 1};
    int n = 0, n_different = 0;
    *grid = (qn_round_grid){.step = QN_ROUND_SCALE_ANY};
    if (format.kind == QN_FORMAT_INT) {
        qn_format_range(format, &grid->lo, &grid->hi);
        return QN_OK;
    }
    if (format.bits > QN_ROUND_BITS_MAX) {
        char name[QN_FORMAT_NAME_MAX];
        qn_format_name(name, format);
        return qn_fail(err, QN_EUNSUPPORTED, where, "%s has more than %d bits; weights of that width need no search",
                       name, QN_ROUND_BITS_MAX);
    }
    for (uint32_t code = 0; code < 1u << format.bits; code++) {
        double value = qn_format_value(format, &neutral, code);
        if (isfinite(value)) {
            levels[n++] = value + 0.0; /* one zero */
        }
    }
    qsort(levels, (size_t)n, sizeof *levels, compare_levels);
    for (int i = 0; i < n; i++) {
        if (i == 0 || levels[i] > levels[n_different - 1]) {
            levels[n_different++] = levels[i];
        }
    }
    unsigned parameters = qn_format_parameters(format);
    grid->step = (parameters & QN_PARAM_SCALE) != 0      ? QN_ROUND_SCALE_ANY
                 : (parameters & QN_PARAM_EXP_BIAS) != 0 ? QN_ROUND_SCALE_POWER_OF_TWO
                                                         : QN_ROUND_SCALE_ONE;
    grid->levels = levels;
    grid->hi = n_different - 1;
    return QN_OK;
}

double qn_round_grid_scale(const qn_round_grid *grid, double scale)
{
    int exponent;
    if (grid->step == QN_ROUND_SCALE_ONE) {
        return 1;
    }
    if (grid->step == QN_ROUND_SCALE_ANY || frexp(scale, &exponent) == 0.5) {
        return scale;
    }
    return ldexp(1, exponent);
}
