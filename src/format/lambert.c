#include "format/lambert.h"

#include <math.h>

/* Halley's iteration (Corless et al., "On the Lambert W function", 1996), on w + log w = log x where x is large, so that
 * no exponential overflows. */
double qn_lambert_w(double x)
{
    if (!(x > 0.0)) {
        return 0.0;
    }
    double w = x < 3.0 ? log1p(x) * 0.75 : log(x) - log(log(x));
    for (int i = 0; i < 32; i++) {
        double step;
        if (x < 3.0) {
            double e = exp(w), f = w * e - x;
            step = f / (e * (w + 1.0) - (w + 2.0) * f / (2.0 * w + 2.0));
        } else {
            double f = w + log(w / x);
            step = f / (1.0 + 1.0 / w + f / (2.0 * w * (w + 1.0)));
        }
        w -= step;
        if (fabs(step) <= 1e-16 * fabs(w)) {
            break;
        }
    }
    return w;
}
