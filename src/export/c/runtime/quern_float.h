/* Layers in 32-bit float; see quern_ops.h. Part of quern, Apache License 2.0. */
#ifndef QUERN_FLOAT_H
#define QUERN_FLOAT_H

#include "quern_ops.h"

void quern_add_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[2]);
void quern_mul_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[1]);
void quern_sub_float(const quern_add *p, const uint8_t *a, const uint8_t *b, uint8_t *y, const float ratio[3]);
void quern_average_whole(const quern_pool *p, const uint8_t *x, uint8_t *y, const float ratio[1]);
void quern_average_steps(const quern_pool *p, const uint8_t *x, uint8_t *y, const float ratio[2]);

#endif
