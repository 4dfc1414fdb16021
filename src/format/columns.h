/* Packed codes of a matrix whose columns have a parameter set each, such as the features of tokens. */
#ifndef QN_FORMAT_COLUMNS_H
#define QN_FORMAT_COLUMNS_H

#include "format/codec.h"

/* Encode or decode as qn_codec_run does, when sets lie along the last axis and there is a kernel; else false, before
 * anything is done. */
bool qn_codec_columns(const qn_codec *codec, const qn_quantizer *q, const qn_format_kernel *kernel, int rank,
                      const int64_t *dims);

#endif
