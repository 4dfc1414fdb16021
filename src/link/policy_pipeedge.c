/* PipeEdge's policies (policy.md 3): the formulas of its runtime.py, utils/quant.py and utils/controller.py, with the
 * widths of its arithmetic, and results where it would stop. */
#include <math.h>

#include "link/policy.h"

static const double KALMAN_Q = 0.00001, KALMAN_R = 0.01;

int qn_policy_choice_of_bits(const qn_policy_link *link, double bits)
{
    int best = 0;
    for (int k = 1; k < link->n_choices; k++) {
        const double a = link->choices[k].bits, b = link->choices[best].bits;
        const bool better = b > bits ? a < b : a <= bits && a > b;
        best = better ? k : best;
    }
    return best;
}

int qn_policy_constrain_bits(double time, double size, double speed, int most)
{
    const float scale = (float)speed * (float)time / (float)size;
    for (int bits = most; bits >= 1; bits--) {
        if (scale >= 1.0f / (float)(32 / bits)) {
            return bits;
        }
    }
    return 0;
}

void qn_policy_controller_start(qn_policy_controller *c, const qn_policy_link *link, double reference)
{
    *c = (qn_policy_controller){.reference = reference, .p = 1};
    for (int k = 0; k < link->n_choices; k++) { /* sorted in, the first of equals alone */
        const double bits = link->choices[k].bits;
        int at = 0;
        while (at < c->n && c->bits[at] > bits) {
            at++;
        }
        if (at < c->n && c->bits[at] == bits) {
            continue;
        }
        for (int i = c->n; i > at; i--) {
            c->bits[i] = c->bits[i - 1];
            c->choice[i] = c->choice[i - 1];
        }
        c->bits[at] = bits;
        c->choice[at] = k;
        c->n++;
    }
    c->u = c->bits[0] / link->choices[link->start].bits;
}

/* One step of the filter and the integral controller. A base rate that is not above 0, by which PipeEdge would divide,
 * leaves everything as it was. */
static void control(qn_policy_controller *c, double rate)
{
    const double p_minus = c->p + KALMAN_Q;
    const double k = (p_minus * c->u) / ((c->u * p_minus * c->u) + KALMAN_R);
    const double x_hat = c->x_hat + (k * (rate - (c->u * c->x_hat)));
    if (!(x_hat > 0) || !isfinite(x_hat)) {
        return;
    }
    c->x_hat = x_hat;
    c->p = (1.0 - (k * c->u)) * p_minus;
    const double u_max = c->bits[0] / c->bits[c->n - 1];
    const double u = c->u + (c->reference - rate) / x_hat;
    c->u = fmax(fmin(u, u_max), 1);
}

void qn_policy_controller_step(qn_policy_controller *c, double rate, int64_t window, int *slow, int *fast,
                               int64_t *n_slow)
{
    control(c, rate);
    int at = 0;
    while (at + 1 < c->n && c->bits[0] / c->bits[at + 1] <= c->u) {
        at++;
    }
    *slow = at;
    *fast = at + 1 < c->n ? at + 1 : at;
    const double s = c->bits[0] / c->bits[*slow], f = c->bits[0] / c->bits[*fast];
    const bool close = fabs(s - f) <= 1e-9 * fmax(s, f);
    const double x = close ? 0 : (s * (f - c->u)) / (c->u * (f - s));
    *n_slow = (int64_t)rint((double)window * x); /* half to even */
}

static int heuristic(const qn_policy *p, const qn_policy_member *link)
{
    const double sent = link->last.bytes * 8 / 1000000, bandwidth = sent / link->last.seconds; /* Mbit, Mbit/s */
    const double time = (double)p->options.items * (double)p->options.window / (double)(float)p->options.target_rate;
    const double bits = link->about.choices[link->plan.parts[0].choice].bits;
    const double ratio = trunc(sent * (32 / bits) / (time * bandwidth)) + 1;
    return ratio <= 1 ? 32 : ratio <= 2 ? 16 : ratio <= 4 ? 8 : ratio <= 5 ? 6 : ratio <= 8 ? 4 : 2;
}

static int heuristic2(const qn_policy *p, const qn_policy_member *link)
{
    const double bandwidth = link->last.bytes * 8 / 1000000 / link->last.seconds;
    const double size = (double)link->about.values * 4 * 8 / 1000000;
    const float time = (float)p->options.items / (float)p->options.target_rate;
    const int bits = qn_policy_constrain_bits(time, size, bandwidth, 32);
    return bits > 2 ? bits : 2;
}

void qn_policy_plan_pipeedge(qn_policy *p, qn_policy_member *link)
{
    if (p->kind == QN_POLICY_CONTROLLER) {
        qn_policy_controller *c = &link->controller;
        int slow, fast;
        int64_t n_slow;
        const double rate = (double)link->last.items / link->last.seconds;
        qn_policy_controller_step(c, rate, p->options.window, &slow, &fast, &n_slow);
        qn_policy_plan_two(&link->plan, p, link, c->choice[slow], c->choice[fast], n_slow);
        return;
    }
    int choice = link->about.start;
    if (p->kind != QN_POLICY_FIXED) {
        const int bits = p->kind == QN_POLICY_HEURISTIC ? heuristic(p, link) : heuristic2(p, link);
        choice = qn_policy_choice_of_bits(&link->about, bits);
    }
    qn_policy_plan_one(&link->plan, p, link, choice);
}
