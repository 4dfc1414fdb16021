/* Sums after a change of many input channels, few of whose codes differ, on AVX512-VNNI. The groups of four that do are
 * written to a list once, instead of being looked for again by every window that meets them; as changes nearly always fit s8,
 * one vpdpbusd adds the products of a group, with 128 added to the weights to make them u8, and 128 times the changes taken
 * off. A kernel row meets one run of the list.
 * Included behind conv_delta_template.h. */

enum { LISTED_GROUPS = 2048, LISTED_PIXELS = 1024, LISTED_LANES = 16, LISTED_LEAST_PIXELS = 4 };

/* Some rows of the output, row0..row1, and the changed input pixels that their windows see, columns of them in a row.
 *  tap        bytes from the weights of a tap to those of the next in its kernel row
 *  first   per pixel, and behind the last: the length of the list before it
 *  change  per group that differs, pixel by pixel: four s8
 *  place   where its weights are, in bytes, as seen from those of a window that begins at changed.x0
 *  total   the sum of all changes before it; and behind the last */
typedef struct listed_changes {
    int row0, row1, y0, y1, columns;
    ptrdiff_t tap;
    int32_t first[LISTED_PIXELS + 1], total[LISTED_GROUPS + LISTED_LANES];
    _Alignas(64) int32_t change[LISTED_GROUPS + LISTED_LANES];
    _Alignas(64) int32_t place[LISTED_GROUPS + LISTED_LANES];
} listed_changes;

QN_INLINE int listed_groups(const qn_conv_delta_job *job)
{
    return (job->changed.k1 + 3) / 4 - job->changed.k0 / 4;
}

/* Output rows that the list has room for; 0: not one, or taps are not at a constant distance, or too far apart. */
static int listed_prepare(const qn_conv_delta_job *job, listed_changes *list)
{
    list->columns = job->changed.x1 - job->changed.x0;
    if ((job->rows_adjoin && job->channels % 4 != 0) || (job->dilation[1] != 1 && job->kernel[1] != 1)) {
        return 0;
    }
    list->tap = (ptrdiff_t)(job->rows_adjoin ? job->channels / 4 : job->layout.group_pitch) * DELTA_GROUP_BYTES;
    if (list->tap > INT32_MAX / list->columns) { /* places are s32 */
        return 0;
    }
    const int64_t pixels = LISTED_GROUPS / ((int64_t)list->columns * listed_groups(job)) < LISTED_PIXELS / list->columns
                               ? LISTED_GROUPS / ((int64_t)list->columns * listed_groups(job))
                               : LISTED_PIXELS / list->columns;
    if (pixels >= job->changed.y1 - job->changed.y0) {
        return job->box.y1 - job->box.y0;
    }
    const int64_t first = (int64_t)(job->kernel[0] - 1) * job->dilation[0] + 1;
    return pixels < first ? 0 : (int)((pixels - first) / job->stride[0]) + 1;
}

/* The groups of a vector that differ go to the list's end, *n. Lanes where a change does not fit s8. */
DELTA_TARGET QN_INLINE __mmask64 listed_append(listed_changes *list, int *n, const uint8_t *now, const uint8_t *old,
                                               __mmask16 there, __m512i places, __mmask16 *differ)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const __m512i after = _mm512_maskz_loadu_epi32(there, now), before = _mm512_maskz_loadu_epi32(there, old);
    *differ = _mm512_cmpneq_epi32_mask(after, before);
    if (*differ == 0) {
        return 0;
    }
    const __m512i change = _mm512_sub_epi8(after, before);
    const __m512i limited = _mm512_subs_epi8(_mm512_xor_si512(after, flip), _mm512_xor_si512(before, flip));
    _mm512_storeu_si512(list->change + *n, _mm512_maskz_compress_epi32(*differ, change));
    _mm512_storeu_si512(list->place + *n, _mm512_maskz_compress_epi32(*differ, places));
    *n += __builtin_popcount(*differ);
    return _mm512_cmpneq_epi8_mask(change, limited);
}

/* Sums of the changes before each group of the list, and of all n. */
DELTA_TARGET static void listed_totals(listed_changes *list, int n)
{
    const __m512i ones = _mm512_set1_epi8(1);
    int32_t total = 0;
    for (int e = 0; e < n; e += LISTED_LANES) {
        _Alignas(64) int32_t sums[LISTED_LANES];
        const __m512i change = _mm512_load_si512(list->change + e);
        _mm512_store_si512(sums, _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, change));
        for (int i = 0; i < LISTED_LANES; i++) {
            list->total[e + i] = total;
            total += sums[i];
        }
    }
    if (n % LISTED_LANES == 0) {
        list->total[n] = total;
    }
}

/* A row of pixels of few groups, as many to a vector as go into it. */
DELTA_TARGET QN_INLINE __mmask64 listed_fill_packed(const qn_conv_delta_job *job, listed_changes *list, int *n,
                                                    ptrdiff_t x, int32_t *first, const int of_pixel)
{
    const int group0 = job->changed.k0 / 4, group1 = group0 + listed_groups(job), pack = LISTED_LANES / of_pixel;
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i group = _mm512_and_si512(lanes, _mm512_set1_epi32(of_pixel - 1));
    const __m512i pixel = _mm512_srl_epi32(lanes, _mm_cvtsi32_si128(__builtin_ctz((unsigned)of_pixel)));
    const __m512i places = _mm512_add_epi32(_mm512_slli_epi32(group, __builtin_ctz(DELTA_GROUP_BYTES)),
                                            _mm512_mullo_epi32(pixel, _mm512_set1_epi32((int32_t)list->tap)));
    const __mmask16 seen = _mm512_cmpge_epi32_mask(group, _mm512_set1_epi32(group0)) &
                           _mm512_cmplt_epi32_mask(group, _mm512_set1_epi32(group1));
    __mmask64 beyond = 0;
    for (int column = 0; column < list->columns; column += pack) {
        const int left = list->columns - column, here = left < pack ? left : pack, before = *n;
        const __mmask16 there = (__mmask16)(seen & ((1u << here * of_pixel) - 1));
        const __m512i base = _mm512_set1_epi32((int32_t)(column * list->tap));
        __mmask16 differ;
        beyond |=
            listed_append(list, n, job->x_new + x, job->x_old + x, there, _mm512_add_epi32(places, base), &differ);
        for (int i = 0; i < here; i++) {
            first[column + i] = before + __builtin_popcount(differ & ((1u << i * of_pixel) - 1));
        }
        x += (ptrdiff_t)pack * job->x_pixel;
    }
    return beyond;
}

DELTA_TARGET QN_INLINE __mmask64 listed_fill_wide(const qn_conv_delta_job *job, listed_changes *list, int *n,
                                                  ptrdiff_t x, int32_t *first)
{
    const int group0 = job->changed.k0 / 4, n_groups = listed_groups(job);
    const __m512i lanes = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                             _mm512_set1_epi32(DELTA_GROUP_BYTES));
    ptrdiff_t place = (ptrdiff_t)group0 * DELTA_GROUP_BYTES;
    __mmask64 beyond = 0;
    x += (ptrdiff_t)group0 * 4;
    for (int column = 0; column < list->columns; column++, place += list->tap, x += job->x_pixel) {
        first[column] = *n;
        for (int g = 0; g < n_groups; g += LISTED_LANES) {
            const int left = n_groups - g;
            const __mmask16 there = (__mmask16)(left >= LISTED_LANES ? 0xffffu : (1u << left) - 1);
            const __m512i base = _mm512_set1_epi32((int32_t)place + g * DELTA_GROUP_BYTES);
            __mmask16 differ;
            beyond |= listed_append(list, n, job->x_new + x + (ptrdiff_t)g * 4, job->x_old + x + (ptrdiff_t)g * 4,
                                    there, _mm512_add_epi32(lanes, base), &differ);
        }
    }
    return beyond;
}

/* False when a change does not fit s8. */
DELTA_TARGET static bool listed_fill(const qn_conv_delta_job *job, listed_changes *list)
{
    const qn_box *changed = &job->changed;
    const int top = list->row0 * job->stride[0] - job->pad[0];
    const int bottom = (list->row1 - 1) * job->stride[0] - job->pad[0] + (job->kernel[0] - 1) * job->dilation[0] + 1;
    list->y0 = changed->y0 > top ? changed->y0 : top;
    list->y1 = changed->y1 < bottom ? changed->y1 : bottom;
    int n = 0;
    int32_t *first = list->first;
    __mmask64 beyond = 0;
    for (int y = list->y0; y < list->y1; y++, first += list->columns) {
        const ptrdiff_t x = y * job->x_row + changed->x0 * job->x_pixel;
        if (job->x_pixel == 16) {
            beyond |= listed_fill_packed(job, list, &n, x, first, 4);
        } else if (job->x_pixel == 32) {
            beyond |= listed_fill_packed(job, list, &n, x, first, 8);
        } else {
            beyond |= listed_fill_wide(job, list, &n, x, first);
        }
    }
    *first = n;
    if (beyond != 0) {
        return false;
    }
    listed_totals(list, n);
    return true;
}

/* n_blocks blocks of channels from kb on. So many groups at once that each waits for no other's sum. */
DELTA_TARGET QN_INLINE void listed_map(const qn_conv_delta_job *job, const listed_changes *list, int kb,
                                       const int n_blocks, const int at_once, const bool whole)
{
    const delta_run run = delta_begin(job);
    const qn_conv_delta_job j = *job; /* which no store of codes can change */
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    const size_t block_bytes = run.block_bytes;
    const size_t weight_row = run.segment_bytes * (size_t)(j.rows_adjoin ? 1 : j.kernel[1]);
    const int columns = list->columns;
    for (int row = list->row0; row < list->row1; row++) {
        delta_pixel at = delta_pixel_at(&j, row, j.box.x0);
        const int y = row * j.stride[0] - j.pad[0];
        int r0, r1;
        delta_cut(y, j.dilation[0], j.kernel[0], list->y0, list->y1, &r0, &r1);
        const uint8_t *w_row0 = (const uint8_t *)j.weights + (size_t)kb * block_bytes + (size_t)r0 * weight_row;
        const ptrdiff_t pixel0 = (ptrdiff_t)(y + r0 * j.dilation[0] - list->y0) * columns;
        int x = j.box.x0 * j.stride[1] - j.pad[1] - j.changed.x0;
        for (int column = j.box.x0; column < j.box.x1; column++, x += j.stride[1]) {
            const int end = x + j.kernel[1], a = x > 0 ? x : 0, b = end < columns ? end : columns;
            __m512i acc[4][4];
            QN_UNROLL for (int i = 0; i < at_once; i++)
            {
                QN_UNROLL for (int k = 0; k < n_blocks; k++)
                {
                    acc[i][k] = _mm512_setzero_si512();
                }
            }
            int32_t total = 0;
            const uint8_t *w_row = w_row0 - x * list->tap;
            ptrdiff_t pixel = pixel0;
            for (int r = r0; r < r1 && a < b; r++, w_row += weight_row, pixel += (ptrdiff_t)j.dilation[0] * columns) {
                int e = list->first[pixel + a];
                const int last = list->first[pixel + b];
                total += list->total[last] - list->total[e];
                for (; e + at_once <= last; e += at_once) {
                    QN_UNROLL for (int i = 0; i < at_once; i++)
                    {
                        const __m512i change = _mm512_set1_epi32(list->change[e + i]);
                        const uint8_t *w = w_row + list->place[e + i];
                        QN_UNROLL for (int k = 0; k < n_blocks; k++)
                        {
                            const __m512i weights = _mm512_load_si512(w + (size_t)k * block_bytes);
                            acc[i][k] = _mm512_dpbusd_epi32(acc[i][k], _mm512_xor_si512(weights, flip), change);
                        }
                    }
                }
                for (; e < last; e++) {
                    const __m512i change = _mm512_set1_epi32(list->change[e]);
                    const uint8_t *w = w_row + list->place[e];
                    QN_UNROLL for (int k = 0; k < n_blocks; k++)
                    {
                        const __m512i weights = _mm512_load_si512(w + (size_t)k * block_bytes);
                        acc[0][k] = _mm512_dpbusd_epi32(acc[0][k], _mm512_xor_si512(weights, flip), change);
                    }
                }
            }
            const __m512i added = _mm512_set1_epi32((int32_t)((uint32_t)total << 7));
            vec sums[4][1];
            QN_UNROLL for (int k = 0; k < n_blocks; k++)
            {
                delta_load(&j.box, at.before, kb + k, whole, sums[k]);
                sums[k][0] = _mm512_sub_epi32(sums[k][0], added);
                QN_UNROLL for (int i = 0; i < at_once; i++)
                {
                    sums[k][0] = _mm512_add_epi32(sums[k][0], acc[i][k]);
                }
            }
            delta_finish(&run, &at, kb, sums, n_blocks, whole);
            delta_next(&at, j.accumulator_pixel, j.y_pixel, j.sums_pixel);
        }
    }
}

#define LISTED_MAP_FUNCTION(n_blocks, at_once)                                                                         \
    DELTA_TARGET static __attribute__((noinline)) void listed_map_##n_blocks(const qn_conv_delta_job *job,             \
                                                                             const listed_changes *list, int kb)       \
    {                                                                                                                  \
        if (delta_is_whole(&job->box, kb, n_blocks)) {                                                                 \
            listed_map(job, list, kb, n_blocks, at_once, true);                                                        \
        } else {                                                                                                       \
            listed_map(job, list, kb, n_blocks, at_once, false);                                                       \
        }                                                                                                              \
    }
LISTED_MAP_FUNCTION(1, 4)
LISTED_MAP_FUNCTION(2, 2)
LISTED_MAP_FUNCTION(4, 2)

static void listed_rows_run(const qn_conv_delta_job *job, listed_changes *list)
{
    if (!listed_fill(job, list)) {
        delta_rows(job, list->row0, list->row1);
        return;
    }
    const int end = (job->box.k1 + 15) / 16;
    int kb = job->box.k0 / 16;
    for (; kb + 4 <= end; kb += 4) {
        listed_map_4(job, list, kb);
    }
    for (; kb + 2 <= end; kb += 2) {
        listed_map_2(job, list, kb);
    }
    if (kb < end) {
        listed_map_1(job, list, kb);
    }
}

/* False where this way does not pay, or has no room. */
static bool delta_listed(const qn_conv_delta_job *job)
{
    const qn_box *box = &job->box, *changed = &job->changed;
    if ((box->y1 - box->y0) * (box->x1 - box->x0) < LISTED_LEAST_PIXELS || changed->k0 >= changed->k1 ||
        changed->x0 >= changed->x1 || changed->y0 >= changed->y1) {
        return false;
    }
    listed_changes list;
    const int rows = listed_prepare(job, &list);
    if (rows == 0) {
        return false;
    }
    for (int row = box->y0; row < box->y1; row += rows) {
        list.row0 = row;
        list.row1 = row + rows < box->y1 ? row + rows : box->y1;
        listed_rows_run(job, &list);
    }
    return true;
}
