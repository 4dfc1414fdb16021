/* The principal branch of Lambert's function. */
#ifndef QN_FORMAT_LAMBERT_H
#define QN_FORMAT_LAMBERT_H

/* W(x) with W e^W = x, for x >= 0; within a few units in the last place. */
double qn_lambert_w(double x);

#endif
