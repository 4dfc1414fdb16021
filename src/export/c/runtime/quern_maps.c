/* Sums of maps, pools, tables and moves, in integers. Part of quern, Apache License 2.0. */
#include "quern_inline.h"

static int32_t scale(int32_t x, int32_t multiplier, int32_t shift, int32_t rounding, int32_t twice)
{
    return twice ? quern_scale_twice(x, multiplier, shift) : quern_scale_once(x, multiplier, shift, rounding);
}

void quern_add_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3])
{
    const int32_t one = (int32_t)1 << p->left;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = (quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0]) * one;
                const int32_t right = (quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1]) * one;
                const int32_t sum = scale(left, multiplier[0], p->shift[0], p->rounding, p->twice) +
                                    scale(right, multiplier[1], p->shift[1], p->rounding, p->twice);
                const int32_t q = scale(sum, multiplier[2], p->shift[2], p->rounding, p->twice);
                y[c] = (uint8_t)(quern_clamp(q, p->lo - p->zero, p->hi - p->zero) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_sub_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3])
{
    const int32_t one = (int32_t)1 << p->left;
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = (quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0]) * one;
                const int32_t right = (quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1]) * one;
                const int32_t sum = scale(left, multiplier[0], p->shift[0], p->rounding, p->twice) -
                                    scale(right, multiplier[1], p->shift[1], p->rounding, p->twice);
                const int32_t q = scale(sum, multiplier[2], p->shift[2], p->rounding, p->twice);
                y[c] = (uint8_t)(quern_clamp(q, p->lo - p->zero, p->hi - p->zero) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_mul_fixed(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const int32_t multiplier[3])
{
    int32_t row, column, c;
    for (row = 0; row < p->height; row++) {
        for (column = 0; column < p->width; column++) {
            const uint8_t *from_a = a + row * p->row[0] + column * p->pixel[0];
            const uint8_t *from_b = b + row * p->row[1] + column * p->pixel[1];
            for (c = 0; c < p->channels; c++) {
                const int32_t left = quern_code(from_a[c], p->flip_x[0]) - p->zero_x[0];
                const int32_t right = quern_code(from_b[c], p->flip_x[1]) - p->zero_x[1];
                const int32_t q = scale(left * right, multiplier[2], p->shift[2], p->rounding, p->twice);
                y[c] = (uint8_t)(quern_clamp(q, p->lo - p->zero, p->hi - p->zero) + p->zero);
            }
            y += p->channels;
        }
    }
}

void quern_max_pool(const quern_pool *p, const uint8_t *x, uint8_t *y)
{
    int32_t row, column, c, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            for (c = 0; c < p->channels; c++) {
                uint8_t greatest = 0;
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        const uint8_t raised = (uint8_t)(x[at * p->channels + c] ^ p->flip_x);
                        greatest = raised > greatest ? raised : greatest;
                    }
                }
                *y++ = (uint8_t)quern_clamp(greatest - p->flip_x, p->lo, p->hi);
            }
        }
    }
}

void quern_average_fixed(const quern_pool *p, const uint8_t *x, uint8_t *y)
{
    int32_t row, column, c, r, s;
    for (row = 0; row < p->out_height; row++) {
        const int32_t top = row * p->stride[0] - p->pad[0];
        const quern_range rows = quern_inside(top, p->kernel[0], p->dilation[0], p->height);
        for (column = 0; column < p->out_width; column++) {
            const int32_t left = column * p->stride[1] - p->pad[1];
            const quern_range columns = quern_inside(left, p->kernel[1], p->dilation[1], p->width);
            const int32_t seen = (rows.last - rows.first) * (columns.last - columns.first);
            const int32_t n = p->divisor != 0 ? p->divisor : seen;
            for (c = 0; c < p->channels; c++) {
                uint32_t sum = 0;
                int32_t q;
                for (r = rows.first; r < rows.last; r++) {
                    for (s = columns.first; s < columns.last; s++) {
                        const int32_t at = (top + r * p->dilation[0]) * p->width + left + s * p->dilation[1];
                        sum += (uint32_t)(quern_code(x[at * p->channels + c], p->flip_x) - p->zero_x);
                    }
                }
                q = (int32_t)sum;
                if (p->rescales) {
                    q = scale(q, p->multiplier, p->shift, p->rounding, p->twice);
                }
                q = (int32_t)((q > 0 ? (int64_t)q + n / 2 : (int64_t)q - n / 2) / n);
                *y++ = (uint8_t)(quern_clamp(q, p->lo - p->zero, p->hi - p->zero) + p->zero);
            }
        }
    }
}

void quern_lookup_codes(const quern_lookup *p, const uint8_t *x, uint8_t *y, const void *table)
{
    const uint8_t *codes = (const uint8_t *)table;
    int32_t row, i;
    for (row = 0; row < p->rows; row++) {
        for (i = 0; i < p->n; i++) {
            y[i] = codes != 0 ? codes[quern_code(x[i], p->flip_x) - p->lowest] : x[i];
        }
        x += p->x_step;
        y += p->y_step;
    }
}

void quern_gather_16(const uint16_t *index, int32_t n, const uint8_t *x, uint8_t *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = x[index[i]];
    }
}

void quern_gather_32(const uint32_t *index, int32_t n, const uint8_t *x, uint8_t *y)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = x[index[i]];
    }
}

void quern_pad_16(const uint16_t *index, int32_t n, const uint8_t *x, uint8_t *y, uint32_t n_x, uint8_t fill)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = index[i] < n_x ? x[index[i]] : fill;
    }
}

void quern_pad_32(const uint32_t *index, int32_t n, const uint8_t *x, uint8_t *y, uint32_t n_x, uint8_t fill)
{
    int32_t i;
    for (i = 0; i < n; i++) {
        y[i] = index[i] < n_x ? x[index[i]] : fill;
    }
}
