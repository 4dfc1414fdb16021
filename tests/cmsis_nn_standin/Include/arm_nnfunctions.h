/* A stand-in for CMSIS-NN where it is not at hand: the types and functions that exported C uses, declared as the
 * library's documentation has them (arm_nn_types.h and arm_nnfunctions.h of github.com/ARM-software/CMSIS-NN). Meant to
 * find a wrong parameter, not to be fast. With ARM_MATH_DSP or ARM_MATH_MVEI it asks for that code's scratch memory. */
#ifndef ARM_NNFUNCTIONS_H
#define ARM_NNFUNCTIONS_H

#include <stdint.h>

typedef enum {
    ARM_CMSIS_NN_SUCCESS = 0,
    ARM_CMSIS_NN_ARG_ERROR = -1,
    ARM_CMSIS_NN_NO_IMPL_ERROR = -2,
    ARM_CMSIS_NN_FAILURE = -3,
} arm_cmsis_nn_status;

typedef struct {
    int32_t w, h;
} cmsis_nn_tile;
typedef struct {
    void *buf;
    int32_t size;
} cmsis_nn_context;
typedef struct {
    int32_t n, h, w, c;
} cmsis_nn_dims;
typedef struct {
    int32_t *multiplier, *shift;
} cmsis_nn_per_channel_quant_params;
typedef struct {
    int32_t min, max;
} cmsis_nn_activation;
typedef struct {
    int32_t input_offset, output_offset;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_conv_params;
typedef struct {
    int32_t input_offset, output_offset, ch_mult;
    cmsis_nn_tile stride, padding, dilation;
    cmsis_nn_activation activation;
} cmsis_nn_dw_conv_params;
typedef struct {
    cmsis_nn_tile stride, padding;
    cmsis_nn_activation activation;
} cmsis_nn_pool_params;

#define STANDIN_CONVOLUTION(name, params_t)                                                                            \
    arm_cmsis_nn_status name(const cmsis_nn_context *ctx, const params_t *params,                                      \
                             const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,   \
                             const int8_t *input_data, const cmsis_nn_dims *filter_dims, const int8_t *filter_data,    \
                             const cmsis_nn_dims *bias_dims, const int32_t *bias_data,                                 \
                             const cmsis_nn_dims *output_dims, int8_t *output_data)
#define STANDIN_SIZE(name, params_t)                                                                                   \
    int32_t name##_get_buffer_size(const params_t *params, const cmsis_nn_dims *input_dims,                            \
                                   const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims)

STANDIN_CONVOLUTION(arm_convolve_wrapper_s8, cmsis_nn_conv_params);
STANDIN_CONVOLUTION(arm_convolve_wrapper_s4, cmsis_nn_conv_params);
STANDIN_CONVOLUTION(arm_depthwise_conv_wrapper_s8, cmsis_nn_dw_conv_params);
STANDIN_CONVOLUTION(arm_depthwise_conv_wrapper_s4, cmsis_nn_dw_conv_params);
STANDIN_SIZE(arm_convolve_wrapper_s8, cmsis_nn_conv_params);
STANDIN_SIZE(arm_convolve_wrapper_s4, cmsis_nn_conv_params);
STANDIN_SIZE(arm_depthwise_conv_wrapper_s8, cmsis_nn_dw_conv_params);
STANDIN_SIZE(arm_depthwise_conv_wrapper_s4, cmsis_nn_dw_conv_params);

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *pool_params,
                                    const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                    const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                                    int8_t *output_data);
arm_cmsis_nn_status arm_avgpool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *pool_params,
                                   const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                   const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims,
                                   int8_t *output_data);
int32_t arm_avgpool_s8_get_buffer_size(const int dim_dst_width, const int ch_src);

arm_cmsis_nn_status
arm_elementwise_add_s8(const int8_t *input_1_vect, const int8_t *input_2_vect, const int32_t input_1_offset,
                       const int32_t input_1_mult, const int32_t input_1_shift, const int32_t input_2_offset,
                       const int32_t input_2_mult, const int32_t input_2_shift, const int32_t left_shift,
                       int8_t *output, const int32_t out_offset, const int32_t out_mult, const int32_t out_shift,
                       const int32_t out_activation_min, const int32_t out_activation_max, const int32_t block_size);

#endif
