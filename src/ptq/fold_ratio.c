/* Weight scales at which a requantization's ratio is exact. */
#include <math.h>

#include "ptq/ptq.h"

float qn_ptq_ratio_scale(const qn_arithmetic *arithmetic, float scale_x, float scale_y, float wanted)
{
    if (arithmetic->requantize != QN_REQUANTIZE_SHIFT) {
        return wanted;
    }
    int exponent;
    double ratio = (double)scale_x * (double)wanted / (double)scale_y, fraction = frexp(ratio, &exponent);
    exponent -= fraction == 0.5 ? 1 : 0;
    return (float)(ldexp((double)scale_y, exponent) / (double)scale_x);
}
