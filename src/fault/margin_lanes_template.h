/* Loops over channels, once for each instruction set: LANES(name), LANES_ISA. Lanes are independent and no product is
 * fused with a sum, so that all give the same bits. */

LANES_ISA static void LANES(products)(float *restrict x_total, float *restrict x_most, const float *restrict gain,
                                      const float *restrict most_gain, const float *restrict total,
                                      const float *restrict most, int n_inputs, int n)
{
    for (int k = 0; k < n; k += QN_MARGIN_LANES) {
        lanes t, m, g, h;
        memcpy(&t, x_total + k, sizeof t);
        memcpy(&m, x_most + k, sizeof m);
        for (int c = 0; c < n_inputs; c++) {
            if (most[c] > 0) {
                memcpy(&g, gain + (ptrdiff_t)c * n + k, sizeof g);
                memcpy(&h, most_gain + (ptrdiff_t)c * n + k, sizeof h);
                t += g * total[c];
                m += h * most[c];
            }
        }
        memcpy(x_total + k, &t, sizeof t);
        memcpy(x_most + k, &m, sizeof m);
    }
}

LANES_ISA static void LANES(each)(float *restrict x_total, float *restrict x_most, const float *restrict gain,
                                  const float *restrict most_gain, const float *restrict total,
                                  const float *restrict most, int n)
{
#pragma omp simd
    for (int k = 0; k < n; k++) {
        x_total[k] += total[k] * gain[k];
        x_most[k] += most[k] * most_gain[k];
    }
}

LANES_ISA static void LANES(differences)(int32_t *restrict total, uint8_t *restrict most, const uint8_t *restrict now,
                                         const uint8_t *restrict golden, int n, int pixels, ptrdiff_t step)
{
    if (n == 1) {
        int32_t sum = total[0];
        uint8_t greatest = most[0];
        for (int x = 0; x < pixels; x++, now += step, golden += step) {
            const uint8_t difference = (uint8_t)(*now > *golden ? *now - *golden : *golden - *now);
            sum += difference;
            greatest = difference > greatest ? difference : greatest;
        }
        total[0] = sum;
        most[0] = greatest;
        return;
    }
    for (int x = 0; x < pixels; x++, now += step, golden += step) {
#pragma omp simd
        for (int k = 0; k < n; k++) {
            const uint8_t a = now[k], b = golden[k];
            const uint8_t difference = (uint8_t)(a > b ? a - b : b - a);
            total[k] += difference;
            most[k] = difference > most[k] ? difference : most[k];
        }
    }
}

LANES_ISA static bool LANES(round)(const qn_margin_moved *moved, const qn_margin_seen *seen, int n, int pixels,
                                   float range, float most_extra)
{
    const float reached = (float)pixels;
    const int first = moved->k0, some = moved->k1 - moved->k0;
    float *restrict total = moved->total + first, *restrict most = moved->most + first;
    float *restrict extra = moved->extra + first;
    const float *restrict least = seen->least + first;
    int any = 0;
#pragma omp simd
    for (int k = 0; k < some; k++) {
        most[k] = most[k] < total[k] ? most[k] : total[k];
        extra[k] = reached * most_extra;
    }
    for (int bin = 0; bin < QN_MARGIN_BINS; bin++) {
        const float edge = qn_margin_edges[bin], price = (1 - edge) / edge * (1 + 0x1p-20f);
        const float *restrict free = seen->free + (ptrdiff_t)bin * n + first;
        const float *restrict all = seen->all + (ptrdiff_t)bin * n + first;
#pragma omp simd
        for (int k = 0; k < some; k++) {
            const float bought = free[k] + total[k] * price, below = most[k] < edge ? all[k] : bought;
            const float best = bought < below ? bought : below;
            extra[k] = best < extra[k] ? best : extra[k];
        }
    }
#pragma omp simd reduction(| : any)
    for (int k = 0; k < some; k++) {
        const bool moves = most[k] >= least[k] && most[k] > 0;
        float each = moves ? most[k] - least[k] + 1 : 0; /* thresholds may be infinite, which no int is */
        each = each < range ? (float)(int)each : range;
        const float sum = total[k] + extra[k], limit = each * reached, codes = sum < limit ? sum : limit;
        total[k] = moves ? codes : 0;
        most[k] = moves ? each : 0;
        any |= moves;
    }
    return any != 0;
}

static const qn_margin_lanes LANES(table) = {LANES(products), LANES(each), LANES(differences), LANES(round)};
