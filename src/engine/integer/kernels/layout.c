/* Packed weight layouts: where the weight of one output channel and window element lies. */
#include <stddef.h>

#include "base/memory.h"
#include "engine/integer/kernels/kernels.h"

static int divide_up(int a, int b)
{
    return a / b + (a % b != 0);
}

qn_weight_layout qn_conv_layout(int n_channels, int n_segments, int segment_elems, int elem_bytes, bool tiles)
{
    int n_groups = divide_up(segment_elems, 4);
    return (qn_weight_layout){
        .kind = QN_WEIGHT_CONV,
        .elem_bytes = elem_bytes,
        .block = 16,
        .n_channels = n_channels,
        .n_segments = n_segments,
        .segment_elems = segment_elems,
        .n_groups = n_groups,
        .group_pitch = tiles ? divide_up(n_groups, 16) * 16 : n_groups,
    };
}

qn_weight_layout qn_depthwise_layout(int n_channels, int n_taps, int elem_bytes)
{
    int n_groups = divide_up(n_taps, 4 / elem_bytes);
    return (qn_weight_layout){
        .kind = QN_WEIGHT_DEPTHWISE,
        .elem_bytes = elem_bytes,
        .block = elem_bytes == 1 ? 64 : 16,
        .n_channels = n_channels,
        .n_segments = n_taps,
        .segment_elems = 1,
        .n_groups = n_groups,
        .group_pitch = n_groups,
    };
}

/* Bytes of all weights of one block of output channels. */
static bool block_bytes(const qn_weight_layout *layout, size_t *n_bytes)
{
    size_t lanes = (size_t)layout->block * 4; /* bytes of one s8 group, or of two s16 taps */
    if (layout->kind == QN_WEIGHT_CONV) {
        lanes *= (size_t)layout->elem_bytes;
    }
    size_t groups;
    size_t n_segments = layout->kind == QN_WEIGHT_CONV ? (size_t)layout->n_segments : 1;
    return qn_mul_size((size_t)layout->group_pitch, n_segments, &groups) && qn_mul_size(groups, lanes, n_bytes);
}

bool qn_layout_bytes(const qn_weight_layout *layout, size_t *n_bytes)
{
    size_t one;
    return block_bytes(layout, &one) && qn_mul_size(one, (size_t)divide_up(layout->n_channels, layout->block), n_bytes);
}

/* Vectors of depthwise kernels are interleaved inside 128-bit lanes of 16 (u8) or 8 (widened) channels, four channels
 * of every lane to a vector; packing the results puts them back in order. */
static int depthwise_position(const qn_weight_layout *layout, int c)
{
    int lane_channels = layout->elem_bytes == 1 ? 16 : 8;
    int n_lanes = layout->block / lane_channels;
    int lane = c / lane_channels, within = c % lane_channels;
    return within / 4 * (n_lanes * 4) + lane * 4 + within % 4;
}

int qn_layout_channel(const qn_weight_layout *layout, int k)
{
    if (layout->kind == QN_WEIGHT_CONV) {
        return k;
    }
    return k / layout->block * layout->block + depthwise_position(layout, k % layout->block);
}

int qn_layout_channels(const qn_weight_layout *layout)
{
    return divide_up(layout->n_channels, layout->block) * layout->block;
}

size_t qn_layout_offset(const qn_weight_layout *layout, int k, int segment, int j)
{
    size_t one = 0;
    (void)block_bytes(layout, &one); /* checked when the weights were allocated */
    size_t offset = (size_t)(k / layout->block) * one;
    int lane = k % layout->block;
    if (layout->kind == QN_WEIGHT_DEPTHWISE) {
        int taps = 4 / layout->elem_bytes;
        size_t group = (size_t)(segment / taps) * (size_t)layout->block * 4;
        return offset + group + (size_t)(depthwise_position(layout, lane) * 4 + segment % taps * layout->elem_bytes);
    }
    size_t group = (size_t)segment * (size_t)layout->group_pitch + (size_t)(j / 4);
    if (layout->elem_bytes == 1) {
        return offset + group * 64 + (size_t)(lane * 4 + j % 4);
    }
    return offset + group * 128 + (size_t)(j % 2 * 64 + lane * 4 + j % 4 / 2 * 2);
}

int32_t qn_layout_get(const qn_weight_layout *layout, const void *weights, int k, int segment, int j)
{
    const char *at = (const char *)weights + qn_layout_offset(layout, k, segment, j);
    return layout->elem_bytes == 1 ? *(const int8_t *)at : *(const int16_t *)(const void *)at;
}

void qn_layout_set(const qn_weight_layout *layout, void *weights, int k, int segment, int j, int32_t w)
{
    char *at = (char *)weights + qn_layout_offset(layout, k, segment, j);
    if (layout->elem_bytes == 1) {
        *(int8_t *)at = (int8_t)w;
    } else {
        *(int16_t *)(void *)at = (int16_t)w;
    }
}
