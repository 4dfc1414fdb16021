/* Where two arrays of codes differ, in portable C: the definition of every other. */
#include "engine/integer/kernels/kernels.h"

bool qn_differ_reference(const uint8_t *a, const uint8_t *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    qn_box least = {box->y1, box->y0, box->x1, box->x0, box->k1, box->k0};
    for (int y = box->y0; y < box->y1; y++) {
        for (int x = box->x0; x < box->x1; x++) {
            for (int k = box->k0; k < box->k1; k++) {
                const ptrdiff_t at = y * row + x * pixel + k;
                if (a[at] != b[at]) {
                    least = (qn_box){
                        .y0 = least.y0 < y ? least.y0 : y,
                        .y1 = y + 1,
                        .x0 = least.x0 < x ? least.x0 : x,
                        .x1 = least.x1 > x + 1 ? least.x1 : x + 1,
                        .k0 = least.k0 < k ? least.k0 : k,
                        .k1 = least.k1 > k + 1 ? least.k1 : k + 1,
                    };
                }
            }
        }
    }
    if (least.y0 >= least.y1) {
        return false;
    }
    *box = least;
    return true;
}

bool qn_differ_f32(qn_differ_fn *differ, const float *a, const float *b, ptrdiff_t row, ptrdiff_t pixel, qn_box *box)
{
    qn_box bytes = *box;
    bytes.k0 *= (int)sizeof(float), bytes.k1 *= (int)sizeof(float);
    if (!differ((const uint8_t *)a, (const uint8_t *)b, row, pixel, &bytes)) {
        return false;
    }
    bytes.k0 /= (int)sizeof(float), bytes.k1 = (bytes.k1 + 3) / (int)sizeof(float);
    *box = bytes;
    return true;
}
