/* What the functions that prepare nodes share. */
#ifndef QN_GRAPH_COMPUTE_JOB_H
#define QN_GRAPH_COMPUTE_JOB_H

#include "base/arch.h"
#include "graph/compute/compute.h"

typedef qn_status qn_prepare_fn(qn_compute *compute, const qn_compute_job *job);

/* Input or output i as the job sees it; absent inputs have dtype QN_DTYPE_NONE. */
qn_bound_value qn_job_input(const qn_compute_job *job, int i);
qn_bound_value qn_job_output(const qn_compute_job *job);
/* For functions of graph/infer.h. */
qn_infer qn_job_infer(const qn_compute_job *job);
/* The function, a copy of its parameters, and inputs 0..n_args-1 as its arguments. */
qn_status qn_job_set(qn_compute *compute, const qn_compute_job *job, qn_compute_fn *run, const void *params,
                     size_t n_bytes, int n_args);

/* The variant of a table of three for a level: reference, AVX2, AVX-512. */
#if QN_X86_64
#define QN_LANES_FOR(cpu, table)                                                                                       \
    ((cpu) >= QN_CPU_AVX512 ? table##_avx512 : (cpu) >= QN_CPU_AVX2 ? table##_avx2 : table##_reference)
#else
#define QN_LANES_FOR(cpu, table) ((void)(cpu), table##_reference)
#endif

qn_prepare_fn qn_prepare_cast;                                                       /* convert.c */
qn_prepare_fn qn_prepare_elementwise, qn_prepare_where, qn_prepare_power;            /* elementwise.c */
qn_prepare_fn qn_prepare_reduce;                                                     /* reduce.c */
qn_prepare_fn qn_prepare_arg, qn_prepare_softmax;                                    /* arg.c */
qn_prepare_fn qn_prepare_normalize, qn_prepare_variance, qn_prepare_response;        /* normalize.c */
qn_prepare_fn qn_prepare_repeat, qn_prepare_split, qn_prepare_pad, qn_prepare_depth; /* moves.c */
qn_prepare_fn qn_prepare_gather, qn_prepare_elements, qn_prepare_tuples;             /* gather.c */
qn_prepare_fn qn_prepare_resize;                                                     /* resize.c */

/* The result of the part before plus an input, stretched to it. */
qn_status qn_prepare_sum_of_previous(qn_compute *compute, const qn_compute_job *job, int input);
/* Where coordinate o of output axis `axis`, right-aligned to the input's, lies on an input axis of `length` elements; -1
 * outside. */
typedef int64_t qn_source_fn(const void *how, int axis, int64_t o, int64_t length);
/* A move of which every output axis is one of the input; elements outside are `fill`. */
qn_status qn_map_axes(qn_compute *compute, const qn_compute_job *job, qn_source_fn *source, const void *how,
                      double fill);
qn_prepare_fn qn_prepare_top, qn_prepare_sums, qn_prepare_hot, qn_prepare_range, qn_prepare_eye; /* sequence.c */
qn_prepare_fn qn_prepare_unary;                                                                  /* unary.c */
qn_prepare_fn qn_prepare_max_pool, qn_prepare_norm_pool, qn_prepare_clip, qn_prepare_dropout;    /* pool.c */
qn_prepare_fn qn_prepare_transposed;                                                             /* transposed.c */
qn_prepare_fn qn_prepare_non_zero, qn_prepare_compress, qn_prepare_unique, qn_prepare_boxes;     /* selection.c */
qn_prepare_fn qn_prepare_trilu, qn_prepare_reverse, qn_prepare_lp_normalization;                 /* masks.c */
qn_prepare_fn qn_prepare_recurrent;                                                              /* recurrent.c */
qn_prepare_fn qn_prepare_grid_sample;                                                            /* grid_sample.c */
qn_prepare_fn qn_prepare_quantize, qn_prepare_dequantize, qn_prepare_dynamic_quantize;           /* quantized.c */
qn_prepare_fn qn_prepare_matmul_integer, qn_prepare_conv_integer; /* quantized_product.c */
qn_prepare_fn qn_prepare_average_pool;                                                           /* pool.c */
qn_prepare_fn qn_prepare_conv;                                                                   /* conv.c */
qn_prepare_fn qn_prepare_product;                                                                /* einsum.c */
qn_prepare_fn qn_prepare_einsum;                                  /* einsum.c */
qn_prepare_fn qn_prepare_qonnx;                                   /* qonnx.c */

#endif
