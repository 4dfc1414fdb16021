// Layers of integer networks for Vitis HLS: loops over arrays, told apart by configurations (parameters.h).
//
// A tensor is an array of codes, element (y, x, c) at (y * width + x) * channels + c. Its type is ap_int or ap_uint;
// built with QUERN_AP_FIXED it is ap_fixed or ap_ufixed where the scale is a power of two and the zero point 0. Both
// give the same bits: layers for which ap_fixed's own rounding is the network's use it, others work on the bits.
// Float is used where the network says so (requantize by float, averages): each operation is rounded by itself, whether
// or not the compiler fuses multiplications and additions.
//
// Part of quern, Apache License 2.0; may be used, changed and passed on with networks that quern exports.
#ifndef QUERN_HLS_H
#define QUERN_HLS_H

#if defined(__SYNTHESIS__) || defined(QUERN_AMD_AP_TYPES)
#include <ap_fixed.h>
#include <ap_int.h>
#else
#include "quern_ap.h"
#endif

#if defined(QUERN_TRACE) && !defined(__SYNTHESIS__)
#include <cstring>
#endif

#ifdef __SYNTHESIS__
#define QUERN_PRAGMA(text) _Pragma(#text)
#define QUERN_LABEL(name)                                                                                              \
    name:
#else // compilers warn of pragmas and labels that they do not use
#define QUERN_PRAGMA(text)
#define QUERN_LABEL(name)
#endif

namespace quern
{
// ---- codes
template <int W> inline ap_int<W> code(const ap_int<W> &x)
{
    return x;
}
template <int W> inline ap_uint<W> code(const ap_uint<W> &x)
{
    return x;
}
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> inline ap_int<W> code(const ap_fixed<W, I, Q, O, N> &x)
{
    return ap_int<W>(x.range(W - 1, 0).to_uint64());
}
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> inline ap_uint<W> code(const ap_ufixed<W, I, Q, O, N> &x)
{
    return ap_uint<W>(x.range(W - 1, 0).to_uint64());
}
template <int W> inline void set_code(ap_int<W> &x, int c)
{
    x = c;
}
template <int W> inline void set_code(ap_uint<W> &x, int c)
{
    x = c;
}
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> inline void set_code(ap_fixed<W, I, Q, O, N> &x, int c)
{
    x.range(W - 1, 0) = c;
}
template <int W, int I, ap_q_mode Q, ap_o_mode O, int N> inline void set_code(ap_ufixed<W, I, Q, O, N> &x, int c)
{
    x.range(W - 1, 0) = c;
}

inline int clamp(long long x, int lo, int hi)
{
    return x < lo ? lo : x > hi ? hi : int(x);
}

// ---- checksums of layers' results, for the test bench: built with QUERN_TRACE
#if defined(QUERN_TRACE) && !defined(__SYNTHESIS__)
void trace(int layer, unsigned checksum);
inline unsigned bits_of(float x)
{
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
template <class T> inline unsigned bits_of(const T &x)
{
    return unsigned(code(x).to_int());
}
template <class T> inline void trace_layer(int layer, const T *x, int n)
{
    unsigned checksum = 2166136261u; // FNV-1a, by words
    for (int i = 0; i < n; i++) {
        checksum = (checksum ^ bits_of(x[i])) * 16777619u;
    }
    trace(layer, checksum);
}
#define QUERN_TRACE_LAYER(layer, x, n) quern::trace_layer(layer, x, n);
#else
#define QUERN_TRACE_LAYER(layer, x, n)
#endif

// ---- float: no operation but what is written, each rounded once
inline float rounded(float x)
{
#ifndef __SYNTHESIS__
    volatile float v = x; // a product that is stored cannot become a part of a fused operation
    x = v;
#endif
    return x;
}
// clamp(rint(v), lo - zero, hi - zero) + zero, ties to even.
inline int code_of_float(float v, int zero, int lo, int hi)
{
    const float low = float(lo - zero), high = float(hi - zero);
    const ap_fixed<18, 18, AP_RND_CONV, AP_SAT> n = v < low ? low : v > high ? high : v;
    return n.to_int() + zero;
}

// ---- sums to codes; all products and shifts in ap_int<W>
// x / 2^shift, shift > 0.
template <ap_q_mode Q, int W> inline ap_int<W> shift_round(const ap_int<W> &x, int shift)
{
    const ap_int<W> one = 1, half = one << (shift - 1), floor = x >> shift;
    ap_int<W> nudged = x;
    if (Q == AP_RND) {
        nudged = x + half;
    } else if (Q == AP_RND_INF) {
        nudged = x + half - (x < 0 ? 1 : 0);
    } else if (Q == AP_RND_CONV) {
        nudged = x + half - 1 + (floor[0] ? 1 : 0);
    }
    return nudged >> shift;
}
template <int W> inline ap_int<W> saturate_32(const ap_int<W> &x)
{
    const ap_int<W> least = -2147483647LL - 1, most = 2147483647LL;
    return x < least ? least : x > most ? most : x;
}
// sum * 2^-shift
template <ap_q_mode Q, int W> inline ap_int<W> by_shift(int sum, int shift)
{
    const ap_int<W> x = sum;
    return shift > 0 ? shift_round<Q, W>(x, shift) : saturate_32<W>(x << -shift);
}
// sum * multiplier * 2^-shift, rounded once
template <ap_q_mode Q> inline ap_int<64> by_ratio(int sum, int multiplier, int shift)
{
    const ap_int<64> x = ap_int<32>(sum) * ap_int<32>(multiplier);
    return saturate_32<64>(shift > 0 ? shift_round<Q, 64>(x, shift) : ap_int<64>(saturate_32<64>(x) << -shift));
}
// The same, rounded twice: to the upper half of the product, ties up, then by the rest of the shift, ties away from 0.
inline ap_int<64> by_ratio_twice(int sum, int multiplier, int shift)
{
    const int left = shift < 31 ? 31 - shift : 0, right = shift > 31 ? shift - 31 : 0;
    const ap_int<64> x = saturate_32<64>(ap_int<64>(sum) << left);
    const ap_int<64> product = ap_int<32>(x) * ap_int<32>(multiplier);
    const ap_int<64> high = shift_round<AP_RND, 64>(product, 31);
    return right > 0 ? shift_round<AP_RND_INF, 64>(high, right) : high;
}

// ---- convolutions and matrices
// What a layer adds up, and what becomes of the sum: on codes, ...
template <class CFG> struct integer_view {
    template <class X> static void add(typename CFG::accum_t &acc, const X &x, int at, int k)
    {
        const typename CFG::difference_t d = code(x) - CFG::zero_x;
        const typename CFG::weight_difference_t w = CFG::weight(at) - CFG::zero_w(k);
        acc = acc + d * w; // the type wraps or saturates
    }
    template <class Y> static void finish(Y &y, const typename CFG::accum_t &acc, int k)
    {
        set_code(y, CFG::requantize(acc.to_int(), k));
    }
};
// ... on codes with a result in float, ...
template <class CFG> struct float_view : integer_view<CFG> {
    static void finish(float &y, const typename CFG::accum_t &acc, int k)
    {
        y = CFG::decode(acc.to_int(), k);
    }
};
// ... or on fixed-point numbers, whose conversion rounds and saturates.
template <class CFG> struct fixed_view {
    template <class X> static void add(typename CFG::accum_t &acc, const X &x, int at, int)
    {
        acc = acc + x * CFG::weight(at);
    }
    template <class Y> static void finish(Y &y, const typename CFG::accum_t &acc, int)
    {
        const Y v = acc;
        set_code(y, clamp(code(v).to_int(), CFG::lo, CFG::hi));
    }
};

template <class X, class Y, class CFG> void conv2d(const X x[CFG::n_in], Y y[CFG::n_out])
{
    // A saturating accumulator depends on the order of products: input channels come last, or of a matrix first.
    const int outer = CFG::by_matrix ? CFG::group_inputs : 1, inner = CFG::by_matrix ? 1 : CFG::group_inputs;
    QUERN_LABEL(ConvRow) for (int oy = 0; oy < CFG::out_height; oy++)
    {
        QUERN_LABEL(ConvColumn) for (int ox = 0; ox < CFG::out_width; ox++)
        {
            QUERN_LABEL(ConvOutput) for (int k = 0; k < CFG::outputs; k++)
            {
                const int first = k / CFG::group_outputs * CFG::group_inputs;
                typename CFG::accum_t acc = CFG::bias(k);
                QUERN_LABEL(ConvOuter) for (int i = 0; i < outer; i++)
                {
                    QUERN_LABEL(ConvKernelRow) for (int r = 0; r < CFG::kernel_height; r++)
                    {
                        QUERN_LABEL(ConvKernelColumn) for (int s = 0; s < CFG::kernel_width; s++)
                        {
                            const int iy = oy * CFG::stride_height - CFG::pad_top + r * CFG::dilation_height;
                            const int ix = ox * CFG::stride_width - CFG::pad_left + s * CFG::dilation_width;
                            if (iy < 0 || iy >= CFG::in_height || ix < 0 || ix >= CFG::in_width) {
                                continue; // padding adds 0
                            }
                            QUERN_LABEL(ConvInner) for (int j = 0; j < inner; j++)
                            {
                                QUERN_PRAGMA(HLS PIPELINE II = 1)
                                const int c = i + j;
                                CFG::view::add(
                                    acc, x[(iy * CFG::in_width + ix) * CFG::in_channels + first + c],
                                    ((k * CFG::kernel_height + r) * CFG::kernel_width + s) * CFG::group_inputs + c, k);
                            }
                        }
                    }
                }
                CFG::view::finish(y[CFG::channels_first ? (k * CFG::out_height + oy) * CFG::out_width + ox
                                                        : (oy * CFG::out_width + ox) * CFG::outputs + k],
                                  acc, k);
            }
        }
    }
}

// One input channel per output channel.
template <class X, class Y, class CFG> void depthwise_conv2d(const X x[CFG::n_in], Y y[CFG::n_out])
{
    QUERN_LABEL(DepthwiseRow) for (int oy = 0; oy < CFG::out_height; oy++)
    {
        QUERN_LABEL(DepthwiseColumn) for (int ox = 0; ox < CFG::out_width; ox++)
        {
            QUERN_LABEL(DepthwiseOutput) for (int k = 0; k < CFG::outputs; k++)
            {
                typename CFG::accum_t acc = CFG::bias(k);
                QUERN_LABEL(DepthwiseKernelRow) for (int r = 0; r < CFG::kernel_height; r++)
                {
                    QUERN_LABEL(DepthwiseKernelColumn) for (int s = 0; s < CFG::kernel_width; s++)
                    {
                        QUERN_PRAGMA(HLS PIPELINE II = 1)
                        const int iy = oy * CFG::stride_height - CFG::pad_top + r * CFG::dilation_height;
                        const int ix = ox * CFG::stride_width - CFG::pad_left + s * CFG::dilation_width;
                        if (iy >= 0 && iy < CFG::in_height && ix >= 0 && ix < CFG::in_width) {
                            CFG::view::add(acc, x[(iy * CFG::in_width + ix) * CFG::in_channels + k],
                                           (k * CFG::kernel_height + r) * CFG::kernel_width + s, k);
                        }
                    }
                }
                CFG::view::finish(y[CFG::channels_first ? (k * CFG::out_height + oy) * CFG::out_width + ox
                                                        : (oy * CFG::out_width + ox) * CFG::outputs + k],
                                  acc, k);
            }
        }
    }
}

// A matrix, for each pixel by itself: of a vector there is one.
template <class X, class Y, class CFG> void dense(const X x[CFG::n_in], Y y[CFG::n_out])
{
    const int pixels = CFG::out_height * CFG::out_width;
    QUERN_LABEL(DensePixel) for (int i = 0; i < pixels; i++)
    {
        QUERN_LABEL(DenseOutput) for (int k = 0; k < CFG::outputs; k++)
        {
            typename CFG::accum_t acc = CFG::bias(k);
            QUERN_LABEL(DenseInput) for (int c = 0; c < CFG::group_inputs; c++)
            {
                QUERN_PRAGMA(HLS PIPELINE II = 1)
                CFG::view::add(acc, x[i * CFG::group_inputs + c], k * CFG::group_inputs + c, k);
            }
            CFG::view::finish(y[CFG::channels_first ? k * pixels + i : i * CFG::outputs + k], acc, k);
        }
    }
}

// ---- sums of two tensors; an operand may have one row, or one column, for all
template <class CFG> struct integer_sum {
    template <class A, class B, class Y> static void of(const A &a, const B &b, Y &y)
    {
        set_code(y, CFG::sum(code(a).to_int() - CFG::zero_a, code(b).to_int() - CFG::zero_b));
    }
};
template <class CFG> struct fixed_sum {
    template <class A, class B, class Y> static void of(const A &a, const B &b, Y &y)
    {
        const Y v = a + b;
        set_code(y, clamp(code(v).to_int(), CFG::lo, CFG::hi));
    }
};
template <class A, class B, class Y, class CFG> void add(const A a[CFG::n_a], const B b[CFG::n_b], Y y[CFG::n_out])
{
    QUERN_LABEL(AddRow) for (int row = 0; row < CFG::height; row++)
    {
        QUERN_LABEL(AddColumn) for (int column = 0; column < CFG::width; column++)
        {
            const int at_a = ((CFG::one_row_a ? 0 : row) * CFG::width_a + (CFG::one_column_a ? 0 : column));
            const int at_b = ((CFG::one_row_b ? 0 : row) * CFG::width_b + (CFG::one_column_b ? 0 : column));
            QUERN_LABEL(AddChannel) for (int k = 0; k < CFG::channels; k++)
            {
                QUERN_PRAGMA(HLS PIPELINE II = 1)
                CFG::view::of(a[at_a * CFG::channels + k], b[at_b * CFG::channels + k],
                              y[(row * CFG::width + column) * CFG::channels + k]);
            }
        }
    }
}

// ---- pools; windows are cut to the input
template <class X, class Y, class CFG> void max_pool(const X x[CFG::n_in], Y y[CFG::n_out])
{
    QUERN_LABEL(MaxRow) for (int oy = 0; oy < CFG::out_height; oy++)
    {
        QUERN_LABEL(MaxColumn) for (int ox = 0; ox < CFG::out_width; ox++)
        {
            QUERN_LABEL(MaxChannel) for (int k = 0; k < CFG::channels; k++)
            {
                int greatest = CFG::lowest;
                QUERN_LABEL(MaxKernelRow) for (int r = 0; r < CFG::kernel_height; r++)
                {
                    QUERN_LABEL(MaxKernelColumn) for (int s = 0; s < CFG::kernel_width; s++)
                    {
                        QUERN_PRAGMA(HLS PIPELINE II = 1)
                        const int iy = oy * CFG::stride_height - CFG::pad_top + r * CFG::dilation_height;
                        const int ix = ox * CFG::stride_width - CFG::pad_left + s * CFG::dilation_width;
                        if (iy >= 0 && iy < CFG::in_height && ix >= 0 && ix < CFG::in_width) {
                            const int c = code(x[(iy * CFG::in_width + ix) * CFG::channels + k]).to_int();
                            greatest = c > greatest ? c : greatest;
                        }
                    }
                }
                set_code(y[(oy * CFG::out_width + ox) * CFG::channels + k], greatest);
            }
        }
    }
}
// CFG::term: what a code adds; CFG::average: the code of a sum over n pixels.
template <class X, class Y, class CFG> void average_pool(const X x[CFG::n_in], Y y[CFG::n_out])
{
    QUERN_LABEL(AverageRow) for (int oy = 0; oy < CFG::out_height; oy++)
    {
        QUERN_LABEL(AverageColumn) for (int ox = 0; ox < CFG::out_width; ox++)
        {
            QUERN_LABEL(AverageChannel) for (int k = 0; k < CFG::channels; k++)
            {
                typename CFG::sum_t sum = 0;
                int n = 0;
                QUERN_LABEL(AverageKernelRow) for (int r = 0; r < CFG::kernel_height; r++)
                {
                    QUERN_LABEL(AverageKernelColumn) for (int s = 0; s < CFG::kernel_width; s++)
                    {
                        QUERN_PRAGMA(HLS PIPELINE)
                        const int iy = oy * CFG::stride_height - CFG::pad_top + r * CFG::dilation_height;
                        const int ix = ox * CFG::stride_width - CFG::pad_left + s * CFG::dilation_width;
                        if (iy >= 0 && iy < CFG::in_height && ix >= 0 && ix < CFG::in_width) {
                            sum = sum + CFG::term(code(x[(iy * CFG::in_width + ix) * CFG::channels + k]).to_int());
                            n++;
                        }
                    }
                }
                set_code(y[(oy * CFG::out_width + ox) * CFG::channels + k], CFG::average(sum, n));
            }
        }
    }
}
// sum / n, halves away from 0; n > 0
inline int divide(long long sum, int n)
{
    return int((sum > 0 ? sum + n / 2 : sum - n / 2) / n);
}

// ---- moves: codes through a table, or copied, into a part of the output; elements in another order
template <class X, class Y, class CFG> void lookup(const X x[CFG::n_in], Y y[CFG::n_out])
{
    QUERN_LABEL(LookupRow) for (int row = 0; row < CFG::in_height; row++)
    {
        QUERN_LABEL(LookupColumn) for (int column = 0; column < CFG::in_width; column++)
        {
            QUERN_LABEL(LookupChannel) for (int k = 0; k < CFG::in_channels; k++)
            {
                QUERN_PRAGMA(HLS PIPELINE II = 1)
                const int c = code(x[(row * CFG::in_width + column) * CFG::in_channels + k]).to_int();
                set_code(y[((row + CFG::to_row) * CFG::out_width + column + CFG::to_column) * CFG::out_channels + k +
                           CFG::to_channel],
                         CFG::of(c));
            }
        }
    }
}
template <class X, class Y, class CFG> void gather(const X x[CFG::n_in], Y y[CFG::n_out])
{
    QUERN_LABEL(Gather) for (int i = 0; i < CFG::n_out; i++)
    {
        QUERN_PRAGMA(HLS PIPELINE II = 1)
        set_code(y[i], code(x[CFG::from(i)]).to_int());
    }
}
template <int N, class X, class Y> void copy(const X x[N], Y y[N])
{
    QUERN_LABEL(Copy) for (int i = 0; i < N; i++)
    {
        QUERN_PRAGMA(HLS PIPELINE II = 1)
        y[i] = x[i];
    }
}
} // namespace quern

#endif
