/* Quantiles of the normal and the beta distribution. Neither needs a table of anybody's coefficients: both refine a rough
 * start by Newton's method inside a bracket that bisection keeps. */
#include <float.h>
#include <math.h>

#include "fault/stats.h"

static const double HALF_LOG_2PI = 0.91893853320467274178;

/* p <= 1/2: the x >= 0 with upper tail p. */
static double normal_upper(double p)
{
    enum { STEPS = 60 };
    const double sqrt_half = 0.70710678118654752440, log_density_0 = -HALF_LOG_2PI;
    double x = 0;
    if (p > 0.25) { /* by the area from 0, which keeps its digits near p = 1/2 */
        for (int i = 0; i < STEPS; i++) {
            const double step = (0.5 * erf(x * sqrt_half) - (0.5 - p)) / exp(log_density_0 - 0.5 * x * x);
            x -= step;
            if (fabs(step) <= 0.5 * DBL_EPSILON * fabs(x)) {
                break;
            }
        }
        return x;
    }
    /* On the logarithm of the tail, which is concave: steps from the left of the root overshoot little, later ones not at all. */
    x = sqrt(-2.0 * log(p));
    for (int i = 0; i < STEPS; i++) {
        const double tail = 0.5 * erfc(x * sqrt_half);
        const double step = log(tail / p) * tail / exp(log_density_0 - 0.5 * x * x);
        x += step;
        if (fabs(step) <= 0.5 * DBL_EPSILON * x) {
            break;
        }
    }
    return x;
}

double qn_normal_quantile(double p)
{
    return p < 0.5 ? -normal_upper(p) : normal_upper(1.0 - p);
}

/* log(1 + u) - u without cancellation; u > -1. */
static double log1p_less(double u)
{
    if (fabs(u) > 0.1) {
        return log1p(u) - u;
    }
    double sum = 0, power = -u; /* -u^2/2 + u^3/3 - ... */
    for (int k = 2; k < 20; k++) {
        power *= -u;
        sum -= power / k;
    }
    return sum;
}

/* log Gamma(z) - Stirling's (z - 1/2) log z - z + log(2 pi) / 2. */
static double stirling_rest(double z)
{
    if (z < 10) { /* Gamma(z) = Gamma(z + k) / (z (z + 1) ... (z + k - 1)) */
        double product = 1, y = z;
        for (; y < 10; y++) {
            product *= y;
        }
        return stirling_rest(y) + (y - 0.5) * log(y) - (z - 0.5) * log(z) - (y - z) - log(product);
    }
    const double r = 1.0 / (z * z);
    return (1.0 / 12 -
            r * (1.0 / 360 - r * (1.0 / 1260 - r * (1.0 / 1680 - r * (1.0 / 1188 - r * (691.0 / 360360)))))) /
           z;
}

/* log(x^a (1 - x)^b / B(a, b)). Large numbers cancel on paper, not in the machine (Loader, "Fast and accurate computation of
 * binomial probabilities", 2000): with n = a + b and deviation d = x n - a, a log(x n / a) + b log((1 - x) n / b). */
static double log_front(double x, double a, double b)
{
    const double n = a + b, d = b * x - a * (1.0 - x);
    /* Near 0 and 1 log1p would see but rounding. */
    const double of_x = d / a > -0.9 ? log1p_less(d / a) : log(x) + log(n / a) - d / a;
    const double of_rest = d / b < 0.9 ? log1p_less(-d / b) : log1p(-x) + log(n / b) + d / b;
    const double log_power = a * of_x + b * of_rest;
    return log_power + 0.5 * (log(a) + log(b / n)) - HALF_LOG_2PI + stirling_rest(n) - stirling_rest(a) -
           stirling_rest(b);
}

/* The continued fraction of I_x(a, b) (Abramowitz and Stegun 26.5.8) by Lentz's method; converges fast where
 * x < (a + 1) / (a + b + 2). */
static double fraction(double x, double a, double b)
{
    enum { TERMS = 200000 }; /* about sqrt(min(a, b)) are needed */
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double product = d;
    for (int m = 1; m < TERMS; m++) {
        const double even = m * (b - m) * x / ((a + 2.0 * m - 1) * (a + 2.0 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        product *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        product *= d * c;
        if (fabs(d * c - 1) < 4 * DBL_EPSILON) {
            break;
        }
    }
    return product;
}

double qn_incomplete_beta(double x, double a, double b)
{
    if (!(x > 0)) {
        return 0;
    }
    if (x >= 1) {
        return 1;
    }
    if (x < (a + 1) / (a + b + 2)) {
        return exp(log_front(x, a, b)) * fraction(x, a, b) / a;
    }
    return 1 - exp(log_front(x, a, b)) * fraction(1 - x, b, a) / b;
}

double qn_beta_quantile(double p, double a, double b)
{
    enum { STEPS = 2000 };
    if (!(p > 0)) {
        return 0;
    }
    if (p >= 1) {
        return 1;
    }
    double low = 0, high = 1, x = a / (a + b);
    for (int i = 0; i < STEPS && high - low > DBL_EPSILON * low; i++) {
        const double rest = qn_incomplete_beta(x, a, b) - p;
        low = rest < 0 ? x : low;
        high = rest < 0 ? high : x;
        const double step = rest * exp(-log_front(x, a, b)) * x * (1 - x);
        if (fabs(step) <= DBL_EPSILON * x) {
            return x;
        }
        x -= step;
        if (!(x > low && x < high)) { /* geometrically where the bracket spans magnitudes */
            x = low > 0 && high > 4 * low ? sqrt(low) * sqrt(high) : low + (high - low) / (low > 0 ? 2 : 16);
        }
    }
    return x;
}
