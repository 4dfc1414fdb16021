/* Sums after a change of one input channel, on AVX512-VNNI: the channel's changes are a plane of bytes of its own, and the
 * weights they meet are brought together, so that one vpdpbusd adds the products of four taps of a kernel row. Changes need
 * nine bits, but seldom all: `offset` is added to make them u8, and its products are taken off.
 * Included behind conv_delta_template.h. */

enum { CHANNEL_PLANE_BYTES = 8192, CHANNEL_GROUPS = 16, CHANNEL_LEAST_PIXELS = 6 };

/* Some rows of the output: rows row0..row1 of it, and the input pixels that their windows see. */
typedef struct channel_plane {
    int row0, row1, n_groups, per_row; /* groups of four taps; of one kernel row */
    ptrdiff_t pitch;
    uint8_t offset;
    ptrdiff_t group[CHANNEL_GROUPS]; /* their places in a window */
    _Alignas(64) uint8_t changes[CHANNEL_PLANE_BYTES + 64];
} channel_plane;

static int channel_rows(const qn_conv_delta_job *job, int rows)
{
    return (rows - 1) * job->stride[0] + (job->kernel[0] - 1) * job->dilation[0] + 1;
}

/* Output rows that a plane has room for; 0: not one. */
static int channel_prepare(const qn_conv_delta_job *job, channel_plane *plane)
{
    const int columns = job->box.x1 - job->box.x0;
    plane->per_row = (job->kernel[1] + 3) / 4;
    plane->n_groups = plane->per_row * job->kernel[0];
    plane->pitch = (ptrdiff_t)(columns - 1) * job->stride[1] + plane->per_row * 4;
    if (plane->n_groups > CHANNEL_GROUPS || (job->dilation[1] != 1 && job->kernel[1] != 1) ||
        channel_rows(job, 1) * plane->pitch > CHANNEL_PLANE_BYTES) {
        return 0;
    }
    for (int g = 0; g < plane->n_groups; g++) {
        plane->group[g] = g / plane->per_row * job->dilation[0] * plane->pitch + g % plane->per_row * 4;
    }
    return (int)(CHANNEL_PLANE_BYTES / plane->pitch - channel_rows(job, 1)) / job->stride[0] + 1;
}

/* False when the changes are too far apart for u8. */
DELTA_TARGET static bool channel_fill(const qn_conv_delta_job *job, channel_plane *plane)
{
    const int top = plane->row0 * job->stride[0] - job->pad[0], left = job->box.x0 * job->stride[1] - job->pad[1];
    const int rows = channel_rows(job, plane->row1 - plane->row0), columns = (int)plane->pitch;
    const int y0 = job->changed.y0 > top ? job->changed.y0 : top;
    const int y1 = job->changed.y1 < top + rows ? job->changed.y1 : top + rows;
    const int x0 = job->changed.x0 > left ? job->changed.x0 : left;
    const int x1 = job->changed.x1 < left + columns ? job->changed.x1 : left + columns;
    const size_t n = (size_t)(rows * plane->pitch);
    for (size_t i = 0; i < n; i += 64) {
        _mm512_store_si512(plane->changes + i, _mm512_setzero_si512());
    }
    int least = 0, most = 0;
    for (int y = y0; y < y1; y++) {
        const ptrdiff_t first = y * job->x_row + x0 * job->x_pixel + job->changed.k0;
        const uint8_t *after = job->x_new + first, *before = job->x_old + first;
        uint8_t *to = plane->changes + (y - top) * plane->pitch + (x0 - left);
        for (int x = x0; x < x1; x++) {
            const int change = *after - *before;
            least = change < least ? change : least;
            most = change > most ? change : most;
            *to++ = (uint8_t)change;
            after += job->x_pixel, before += job->x_pixel;
        }
    }
    plane->offset = (uint8_t)-least;
    const __m512i offset = _mm512_set1_epi8((char)plane->offset);
    for (size_t i = 0; i < n; i += 64) {
        _mm512_store_si512(plane->changes + i, _mm512_add_epi8(_mm512_load_si512(plane->changes + i), offset));
    }
    return most - least <= 255;
}

/* Four taps of a kernel row to a group, of block kb. */
DELTA_TARGET QN_INLINE __m512i channel_weights(const delta_run *run, const channel_plane *plane, int kb, int g)
{
    const qn_conv_delta_job *job = run->job;
    const uint8_t *weights = (const uint8_t *)job->weights + (size_t)kb * run->block_bytes;
    const int r = g / plane->per_row, s0 = g % plane->per_row * 4;
    __m512i packed = _mm512_setzero_si512();
    for (int i = 0; i < 4 && s0 + i < job->kernel[1]; i++) {
        const int s = s0 + i, segment = job->rows_adjoin ? r : r * job->kernel[1] + s;
        const int j = job->changed.k0 + (job->rows_adjoin ? s * job->channels : 0);
        const __m512i four = _mm512_load_si512(weights + (size_t)segment * run->segment_bytes + j / 4 * 64);
        const __m512i one =
            _mm512_and_si512(_mm512_srl_epi32(four, _mm_cvtsi32_si128(j % 4 * 8)), _mm512_set1_epi32(0xff));
        packed = _mm512_or_si512(packed, _mm512_sll_epi32(one, _mm_cvtsi32_si128(i * 8)));
    }
    return packed;
}

/* n_blocks blocks of channels from kb on; n_groups a compile-time constant or the plane's. */
DELTA_TARGET QN_INLINE void channel_map(const qn_conv_delta_job *job, const channel_plane *plane, int kb,
                                        const int n_blocks, const int n_groups, const bool whole)
{
    const delta_run run = delta_begin(job);
    const __m512i offset = _mm512_set1_epi8((char)plane->offset);
    __m512i w[CHANNEL_GROUPS][4], of_offset[4];
    QN_UNROLL for (int b = 0; b < n_blocks; b++)
    {
        of_offset[b] = _mm512_setzero_si512();
    }
    for (int g = 0; g < n_groups; g++) {
        QN_UNROLL for (int b = 0; b < n_blocks; b++)
        {
            w[g][b] = channel_weights(&run, plane, kb + b, g);
            of_offset[b] = _mm512_dpbusd_epi32(of_offset[b], offset, w[g][b]);
        }
    }
    const int columns = job->box.x1 - job->box.x0, stride = job->stride[1];
    const ptrdiff_t accumulator_pixel = job->accumulator_pixel, y_pixel = job->y_pixel, sums_pixel = job->sums_pixel;
    for (int row = plane->row0; row < plane->row1; row++) {
        const uint8_t *x = plane->changes + (row - plane->row0) * job->stride[0] * plane->pitch;
        delta_pixel at = delta_pixel_at(job, row, job->box.x0);
        for (int column = 0; column < columns; column++) {
            vec acc[4][1];
            QN_UNROLL for (int b = 0; b < n_blocks; b++)
            {
                delta_load(&job->box, at.before, kb + b, whole, acc[b]);
                acc[b][0] = _mm512_sub_epi32(acc[b][0], of_offset[b]);
            }
            for (int g = 0; g < n_groups; g++) {
                int32_t four;
                __builtin_memcpy(&four, x + plane->group[g], 4);
                QN_UNROLL for (int b = 0; b < n_blocks; b++)
                {
                    acc[b][0] = _mm512_dpbusd_epi32(acc[b][0], _mm512_set1_epi32(four), w[g][b]);
                }
            }
            delta_finish(&run, &at, kb, acc, n_blocks, whole);
            x += stride;
            delta_next(&at, accumulator_pixel, y_pixel, sums_pixel);
        }
    }
}

#define CHANNEL_MAP_FUNCTION(n_blocks)                                                                                 \
    DELTA_TARGET static __attribute__((noinline)) void channel_map_##n_blocks(const qn_conv_delta_job *job,            \
                                                                              const channel_plane *plane, int kb)      \
    {                                                                                                                  \
        if (!delta_is_whole(&job->box, kb, n_blocks)) {                                                                \
            channel_map(job, plane, kb, n_blocks, plane->n_groups, false);                                             \
        } else if (plane->n_groups == 3) {                                                                             \
            channel_map(job, plane, kb, n_blocks, 3, true);                                                            \
        } else if (plane->n_groups == 1) {                                                                             \
            channel_map(job, plane, kb, n_blocks, 1, true);                                                            \
        } else {                                                                                                       \
            channel_map(job, plane, kb, n_blocks, plane->n_groups, true);                                              \
        }                                                                                                              \
    }
CHANNEL_MAP_FUNCTION(1)
CHANNEL_MAP_FUNCTION(2)
CHANNEL_MAP_FUNCTION(4)

static void channel_rows_run(const qn_conv_delta_job *job, channel_plane *plane)
{
    if (!channel_fill(job, plane)) {
        delta_rows(job, plane->row0, plane->row1);
        return;
    }
    const int end = (job->box.k1 + 15) / 16;
    int kb = job->box.k0 / 16;
    for (; kb + 4 <= end; kb += 4) {
        channel_map_4(job, plane, kb);
    }
    for (; kb + 2 <= end; kb += 2) {
        channel_map_2(job, plane, kb);
    }
    if (kb < end) {
        channel_map_1(job, plane, kb);
    }
}

/* False where this way does not pay, or has no room. */
static bool delta_channel(const qn_conv_delta_job *job)
{
    const qn_box *box = &job->box;
    if (job->changed.k1 - job->changed.k0 != 1 || (box->y1 - box->y0) * (box->x1 - box->x0) < CHANNEL_LEAST_PIXELS) {
        return false;
    }
    channel_plane plane;
    const int rows = channel_prepare(job, &plane);
    if (rows == 0) {
        return false;
    }
    for (int row = box->y0; row < box->y1; row += rows) {
        plane.row0 = row;
        plane.row1 = row + rows < box->y1 ? row + rows : box->y1;
        channel_rows_run(job, &plane);
    }
    return true;
}
