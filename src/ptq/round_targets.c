/* The real weights that a layer's codes should come near to. */
#include <math.h>
#include <string.h>

#include "ptq/round_layer.h"

void qn_round_layer_products(double *h, double *g, const qn_round_layer *layer, int64_t group, int fold, bool centered)
{
    int64_t k = layer->k, n = 0;
    int first = fold < 0 ? 0 : fold, last = fold < 0 ? layer->n_folds : fold + 1;
    double *const both[2] = {h, g};
    for (int f = first; f < last; f++) {
        n += layer->moments[f].n;
    }
    for (int which = 0; which < 2; which++) {
        double *to = both[which];
        for (int64_t r = 0; to != NULL && r < k; r++) {
            for (int64_t c = 0; c < k; c++) {
                double sum = 0, z = 0, x = 0;
                for (int f = first; f < last; f++) {
                    const qn_moments *m = &layer->moments[f];
                    const double *sums = which == 0 ? m->h : m->g;
                    sum += sums != NULL ? sums[(group * k + r) * k + c] : r == c;
                    z += m->z[group * k + r];
                    x += (which == 0 ? m->z : m->x)[group * k + c];
                }
                bool subtract = centered && n > 0 && layer->moments->h != NULL;
                to[r * k + c] = subtract ? sum - z * x / (double)n : sum;
            }
        }
    }
}

/* Room for one group. */
typedef struct {
    double *h, *g, *h_other, *g_other, *work;
} aim_room;

static qn_status room_make(aim_room *room, int64_t k, bool validates, const char *where, qn_error *err)
{
    size_t n_square = (size_t)k * (size_t)k * sizeof(double); /* fits: the moments do */
    *room = (aim_room){.h = qn_alloc_uncleared(n_square),
                       .g = qn_alloc_uncleared(n_square),
                       .h_other = validates ? qn_alloc_uncleared(n_square) : NULL,
                       .g_other = validates ? qn_alloc_uncleared(n_square) : NULL,
                       .work = qn_alloc(QN_ROUND_TARGETS_AT_ONCE * (size_t)k * sizeof(double))};
    bool have = room->h != NULL && room->g != NULL && room->work != NULL;
    have = have && (!validates || (room->h_other != NULL && room->g_other != NULL));
    return have ? QN_OK : qn_fail_memory(err, where, n_square);
}

static void room_free(aim_room *room)
{
    qn_free(room->h);
    qn_free(room->g);
    qn_free(room->h_other);
    qn_free(room->g_other);
    qn_free(room->work);
}

/* sum (w.x - t.z)^2 on the other fold, but for what does not depend on t. */
static double loss_elsewhere(const aim_room *room, const double *t, const double *w, int64_t k)
{
    double loss = 0;
    for (int64_t r = 0; r < k; r++) {
        double row = 0;
        for (int64_t c = 0; c < k; c++) {
            row += t[c] * room->h_other[r * k + c] - 2 * w[c] * room->g_other[r * k + c];
        }
        loss += t[r] * row;
    }
    return loss;
}

/* Ridges tried, of the mean of the diagonal; the last choice is the weights as they are. */
static const double ridges[] = {0.01, 0.1, 1};
enum { N_RIDGES = sizeof ridges / sizeof ridges[0] };

static qn_status validate_group(const qn_round_layer *layer, aim_room *room, int64_t group, int fold, bool centered,
                                double losses[N_RIDGES + 1], const char *where, qn_error *err)
{
    int64_t k = layer->k, per_group = layer->m / layer->moments->n_groups;
    qn_round_layer_products(room->h, room->g, layer, group, fold, centered);
    qn_round_layer_products(room->h_other, room->g_other, layer, group, 1 - fold, centered);
    const double *w = layer->weights + group * per_group * k;
    double *targets = layer->targets + group * per_group * k; /* written again in the end */
    for (int ridge = 0; ridge < N_RIDGES; ridge++) {
        qn_round_metric metric;
        QN_TRY(qn_round_metric_make(&metric, room->h, k, ridges[ridge], where, err));
        qn_round_targets(targets, &metric, room->g, w, per_group, room->work);
        for (int64_t c = 0; c < per_group; c++) {
            losses[ridge] += loss_elsewhere(room, targets + c * k, w + c * k, k);
        }
        qn_round_metric_free(&metric);
    }
    for (int64_t c = 0; c < per_group; c++) {
        losses[N_RIDGES] += loss_elsewhere(room, w + c * k, w + c * k, k);
    }
    return QN_OK;
}

/* The index of the best ridge; without a second fold the greatest, which does little harm. */
static qn_status choose_ridge(const qn_round_layer *layer, aim_room *room, bool centered, int *best, const char *where,
                              qn_error *err)
{
    double losses[N_RIDGES + 1] = {0};
    *best = N_RIDGES - 1;
    if (layer->n_folds < 2) {
        return QN_OK;
    }
    for (int64_t group = 0; group < layer->moments->n_groups; group++) {
        for (int fold = 0; fold < 2; fold++) {
            QN_TRY(validate_group(layer, room, group, fold, centered, losses, where, err));
        }
    }
    *best = N_RIDGES;
    for (int ridge = N_RIDGES - 1; ridge >= 0; ridge--) {
        *best = losses[ridge] < losses[*best] ? ridge : *best;
    }
    return QN_OK;
}

static qn_status aim(qn_round_layer *layer, aim_room *room, bool centered, const char *where, qn_error *err)
{
    int64_t k = layer->k, per_group = layer->m / layer->moments->n_groups;
    int ridge;
    QN_TRY(choose_ridge(layer, room, centered, &ridge, where, err));
    memcpy(layer->targets, layer->weights, (size_t)(layer->m * k) * sizeof *layer->targets);
    for (int64_t group = 0; ridge < N_RIDGES && group < layer->moments->n_groups; group++) {
        qn_round_metric metric;
        qn_round_layer_products(room->h, room->g, layer, group, -1, centered);
        QN_TRY(qn_round_metric_make(&metric, room->h, k, ridges[ridge], where, err));
        int64_t at = group * per_group * k;
        qn_round_targets(layer->targets + at, &metric, room->g, layer->weights + at, per_group, room->work);
        qn_round_metric_free(&metric);
    }
    return QN_OK;
}

qn_status qn_round_layer_aim(qn_round_layer *layer, bool centered, const char *where, qn_error *err)
{
    aim_room room;
    memcpy(layer->targets, layer->weights, (size_t)(layer->m * layer->k) * sizeof *layer->targets);
    if (layer->moments->g == NULL) {
        return QN_OK;
    }
    qn_status status = room_make(&room, layer->k, layer->n_folds > 1, where, err);
    if (status == QN_OK) {
        status = aim(layer, &room, centered, where, err);
    }
    room_free(&room);
    return status;
}
