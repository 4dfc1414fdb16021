// ap_int, ap_uint, ap_fixed and ap_ufixed for compilers without AMD's headers, written from the definition in UG1399.
//
// A number of W bits, I of them before the binary point, is V * 2^(I - W); I may be negative or above W. Whatever is
// assigned is first rounded as Q says, then brought into W bits as O says. Products and sums are exact: W1 + W2 bits of
// I1 + I2, and one bit more than the wider operand. W up to 64; results of operators up to 128.
// What is here means the same in AMD's headers, so that code written for either compiles with both. Not here: division,
// AP_WRAP_SM, saturation bits N, conversions to built-in types that are not asked for by name (to_int() and the like).
// Numbers from double must be finite.
//
// Part of quern, Apache License 2.0; may be used, changed and passed on with networks that quern exports.
#ifndef QUERN_AP_H
#define QUERN_AP_H

#include <cmath>
#include <cstring>
#include <type_traits>

enum ap_q_mode { AP_RND, AP_RND_ZERO, AP_RND_MIN_INF, AP_RND_INF, AP_RND_CONV, AP_TRN, AP_TRN_ZERO };
enum ap_o_mode { AP_SAT, AP_SAT_ZERO, AP_SAT_SYM, AP_WRAP, AP_WRAP_SM };

namespace quern_ap
{
__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 unsigned_wide;

constexpr int max(int a, int b)
{
    return a > b ? a : b;
}

template <bool Wide> struct integers {
    typedef long long raw;
    typedef unsigned long long bits;
};
template <> struct integers<true> {
    typedef wide raw;
    typedef unsigned_wide bits;
};
// What holds W bits and a sign.
template <int W, bool S> struct holder : integers<(W + (S ? 0 : 1) > 64)> {
    static_assert(W >= 1 && W + (S ? 0 : 1) <= 128, "quern_ap.h: results have 1 to 128 bits");
};

// n / 2^s as an integer, s > 0.
template <ap_q_mode Q, class T, class Bits> inline T round_shift(T n, int s)
{
    const int last = 8 * int(sizeof(T)) - 1; // the sign; further bits equal it
    const T floor = n >> (s < last ? s : last);
    const bool half = (n >> (s - 1 < last ? s - 1 : last)) & 1;
    const bool rest = s - 1 > last ? n != 0 : (Bits(n) & ((Bits(1) << (s - 1)) - 1)) != 0;
    bool up = false;
    switch (Q) {
    case AP_TRN:
        break;
    case AP_TRN_ZERO:
        up = n < 0 && (half || rest);
        break;
    case AP_RND:
        up = half;
        break;
    case AP_RND_INF:
        up = half && (rest || n >= 0);
        break;
    case AP_RND_ZERO:
        up = half && (rest || n < 0);
        break;
    case AP_RND_MIN_INF:
        up = half && rest;
        break;
    case AP_RND_CONV:
        up = half && (rest || (floor & 1));
        break;
    }
    return floor + (up ? 1 : 0);
}

// n * 2^left in W bits; left >= 0.
template <int W, bool S, ap_o_mode O, class T> inline typename holder<W, S>::raw overflow(T n, int left)
{
    typedef typename holder<W, S>::raw raw;
    typedef typename holder<W, S>::bits bits;
    if (O == AP_WRAP) {
        const int unused = 8 * int(sizeof(raw)) - W;
        const bits low = left >= W ? bits(0) : bits(bits(n) << left);
        return S ? raw(low << unused) >> unused : raw(bits(low << unused) >> unused);
    }
    // The bounds are scaled instead of n, which might leave any type.
    const wide high = (wide(1) << (S ? W - 1 : W)) - 1;
    const wide below = S ? high + (O == AP_SAT_SYM ? 0 : 1) : 0;
    const int shift = left < 127 ? left : 127;
    if (n > (high >> shift)) {
        return raw(O == AP_SAT_ZERO ? 0 : high);
    }
    if (n < -(below >> shift)) {
        return raw(O == AP_SAT_ZERO ? 0 : -below);
    }
    return raw(bits(n) << (n == 0 ? 0 : left));
}

// n * 2^-fraction as V of a number of W bits with F behind the point.
template <int W, int F, bool S, ap_q_mode Q, ap_o_mode O, class T>
inline typename holder<W, S>::raw cast(T n, int fraction)
{
    static_assert(W <= 64, "quern_ap.h: types have at most 64 bits");
    static_assert(O != AP_WRAP_SM, "quern_ap.h: AP_WRAP_SM is not supported; use AP_WRAP or AP_SAT");
    typedef typename integers<(sizeof(T) > 8)>::bits bits;
    const int s = fraction - F;
    return s > 0 ? overflow<W, S, O, T>(round_shift<Q, T, bits>(n, s), 0) : overflow<W, S, O, T>(n, -s);
}

// A finite double as n * 2^-fraction.
inline long long from_double(double x, int &fraction)
{
    unsigned long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    const int exponent = int(bits >> 52 & 0x7ff);
    const long long mantissa = (long long)(bits & 0xfffffffffffffULL) + (exponent > 0 ? 1LL << 52 : 0);
    fraction = exponent > 0 ? 1075 - exponent : 1074;
    return bits >> 63 ? -mantissa : mantissa;
}

// Bits hi..lo of a number, as they are.
struct slice {
    unsigned_wide value;
    int width;
    int to_int() const
    {
        return int(value);
    }
    unsigned to_uint() const
    {
        return unsigned(value);
    }
    long long to_int64() const
    {
        return (long long)value;
    }
    unsigned long long to_uint64() const
    {
        return (unsigned long long)value;
    }
};

template <int W, int I, bool S> struct number;

// The same, to be written to.
template <int W, int I, bool S> struct slice_ref {
    number<W, I, S> &of;
    int high, low;
    slice_ref(number<W, I, S> &n, int hi, int lo) : of(n), high(hi), low(lo)
    {
    }
    slice_ref(const slice_ref &) = default;
    operator slice() const
    {
        return static_cast<const number<W, I, S> &>(of).range(high, low);
    }
    long long to_int64() const
    {
        return slice(*this).to_int64();
    }
    int to_int() const
    {
        return slice(*this).to_int();
    }
    slice_ref &operator=(const slice &x)
    {
        of.write(high, low, x.value);
        return *this;
    }
    slice_ref &operator=(const slice_ref &x)
    {
        return *this = slice(x);
    }
    template <int W2, bool S2> slice_ref &operator=(const number<W2, W2, S2> &x)
    {
        of.write(high, low, unsigned_wide(wide(x.V)));
        return *this;
    }
    template <class T> typename std::enable_if<std::is_integral<T>::value, slice_ref &>::type operator=(T x)
    {
        of.write(high, low, unsigned_wide(wide(x)));
        return *this;
    }
};

template <int W, int I, bool S> struct number {
    typedef typename holder<W, S>::raw raw;
    typedef typename holder<W, S>::bits bits;
    static const int width = W;
    static const int iwidth = I;
    raw V;

    number() : V(0)
    {
    }
    static number of(raw v)
    {
        number n;
        n.V = v;
        return n;
    }

    // Towards zero, as C converts.
    long long to_int64() const
    {
        return cast<64, 0, true, AP_TRN_ZERO, AP_WRAP>(V, W - I);
    }
    int to_int() const
    {
        return int(to_int64());
    }
    unsigned to_uint() const
    {
        return unsigned(to_int64());
    }
    unsigned long long to_uint64() const
    {
        return (unsigned long long)to_int64();
    }
    double to_double() const
    {
        return std::ldexp(double(V), I - W);
    }
    float to_float() const
    {
        return std::ldexp(float(V), I - W);
    }

    slice range(int hi, int lo) const
    {
        const int n = hi - lo + 1;
        const unsigned_wide all = unsigned_wide(wide(V)) >> lo;
        const slice s = {n < 128 ? all & ((unsigned_wide(1) << n) - 1) : all, n};
        return s;
    }
    slice range() const
    {
        return range(W - 1, 0);
    }
    slice_ref<W, I, S> range(int hi, int lo)
    {
        return slice_ref<W, I, S>(*this, hi, lo);
    }
    slice_ref<W, I, S> range()
    {
        return range(W - 1, 0);
    }
    bool operator[](int i) const
    {
        return (V >> i) & 1;
    }
    void write(int hi, int lo, unsigned_wide value)
    {
        const int n = hi - lo + 1;
        const unsigned_wide mask = n < 128 ? (unsigned_wide(1) << n) - 1 : ~unsigned_wide(0);
        const unsigned_wide all = (unsigned_wide(wide(V)) & ~(mask << lo)) | ((value & mask) << lo);
        V = overflow<W, S, AP_WRAP, wide>(wide(all), 0);
    }

    number<W + 1, I + 1, true> operator-() const
    {
        typedef number<W + 1, I + 1, true> result;
        return result::of(-typename result::raw(V));
    }
    bool operator!() const
    {
        return V == 0;
    }
    // Bits move, the point stays; what leaves W bits is lost.
    number operator<<(int n) const
    {
        return n < 0 ? *this >> -n : of(overflow<W, S, AP_WRAP, raw>(V, n));
    }
    number operator>>(int n) const
    {
        const int last = 8 * int(sizeof(raw)) - 1;
        return n < 0 ? *this << -n : of(V >> (n < last ? n : last));
    }
};
template <int W, int I, bool S> const int number<W, I, S>::width;
template <int W, int I, bool S> const int number<W, I, S>::iwidth;

// Built-in integers as numbers; nothing of other types.
template <class T, bool = std::is_integral<T>::value> struct builtin {
};
template <class T> struct builtin<T, true> {
    typedef number<std::is_same<T, bool>::value ? 1 : 8 * int(sizeof(T)),
                   std::is_same<T, bool>::value ? 1 : 8 * int(sizeof(T)), std::is_signed<T>::value>
        type;
    static type of(T x)
    {
        return type::of(typename type::raw(x));
    }
};

template <int W1, int I1, bool S1, int W2, int I2, bool S2> struct results {
    static const int F = max(W1 - I1, W2 - I2);
    static const int I = max(I1 + (S2 && !S1 ? 1 : 0), I2 + (S1 && !S2 ? 1 : 0)) + 1;
    typedef number<W1 + W2, I1 + I2, S1 || S2> product;
    typedef number<I + F, I, S1 || S2> sum;
    typedef number<I + F, I, true> difference;
};
#define QUERN_AP_TEMPLATE template <int W1, int I1, bool S1, int W2, int I2, bool S2>
#define QUERN_AP_RESULT   typename results<W1, I1, S1, W2, I2, S2>

QUERN_AP_TEMPLATE inline QUERN_AP_RESULT::product operator*(const number<W1, I1, S1> &a, const number<W2, I2, S2> &b)
{
    typedef QUERN_AP_RESULT::product result;
    return result::of(typename result::raw(a.V) * typename result::raw(b.V));
}
// V of a number with F bits behind the point.
template <int F, class Result, int W, int I, bool S> inline typename Result::raw aligned(const number<W, I, S> &x)
{
    return typename Result::raw(typename Result::bits(typename Result::raw(x.V)) << (F - (W - I)));
}
QUERN_AP_TEMPLATE inline QUERN_AP_RESULT::sum operator+(const number<W1, I1, S1> &a, const number<W2, I2, S2> &b)
{
    typedef QUERN_AP_RESULT::sum result;
    const int F = results<W1, I1, S1, W2, I2, S2>::F;
    return result::of(aligned<F, result>(a) + aligned<F, result>(b));
}
QUERN_AP_TEMPLATE inline QUERN_AP_RESULT::difference operator-(const number<W1, I1, S1> &a, const number<W2, I2, S2> &b)
{
    typedef QUERN_AP_RESULT::difference result;
    const int F = results<W1, I1, S1, W2, I2, S2>::F;
    return result::of(aligned<F, result>(a) - aligned<F, result>(b));
}

// Below 0, 0 or above: a against b, n * 2^-fraction each. The finer one is cut, so that nothing leaves a type.
inline int compare(wide a, int fraction_a, wide b, int fraction_b)
{
    if (fraction_a > fraction_b) {
        return -compare(b, fraction_b, a, fraction_a);
    }
    const int s = fraction_b - fraction_a < 127 ? fraction_b - fraction_a : 127;
    const wide floor = b >> s;
    return a < floor ? -1 : a > floor ? 1 : b != wide(unsigned_wide(floor) << s) ? -1 : 0;
}

#define QUERN_AP_MIXED(op)                                                                                             \
    template <int W, int I, bool S, class T>                                                                           \
    inline auto operator op(const number<W, I, S> &a, T b)->decltype(a op builtin<T>::of(b))                           \
    {                                                                                                                  \
        return a op builtin<T>::of(b);                                                                                 \
    }                                                                                                                  \
    template <int W, int I, bool S, class T>                                                                           \
    inline auto operator op(T a, const number<W, I, S> &b)->decltype(builtin<T>::of(a) op b)                           \
    {                                                                                                                  \
        return builtin<T>::of(a) op b;                                                                                 \
    }
#define QUERN_AP_COMPARE(op)                                                                                           \
    QUERN_AP_TEMPLATE inline bool operator op(const number<W1, I1, S1> &a, const number<W2, I2, S2> &b)                \
    {                                                                                                                  \
        return compare(a.V, W1 - I1, b.V, W2 - I2) op 0;                                                               \
    }                                                                                                                  \
    template <int W, int I, bool S> inline bool operator op(const number<W, I, S> &a, double b)                        \
    {                                                                                                                  \
        int fraction;                                                                                                  \
        const long long n = from_double(b, fraction);                                                                  \
        return compare(a.V, W - I, n, fraction) op 0;                                                                  \
    }                                                                                                                  \
    QUERN_AP_MIXED(op)
QUERN_AP_MIXED(+)
QUERN_AP_MIXED(-)
QUERN_AP_MIXED(*)
QUERN_AP_COMPARE(==)
QUERN_AP_COMPARE(!=)
QUERN_AP_COMPARE(<)
QUERN_AP_COMPARE(<=)
QUERN_AP_COMPARE(>)
QUERN_AP_COMPARE(>=)
#undef QUERN_AP_COMPARE
#undef QUERN_AP_MIXED
#undef QUERN_AP_TEMPLATE
#undef QUERN_AP_RESULT
} // namespace quern_ap

// Construction from numbers, built-in integers, floats and slices; assignment follows, through a copy.
#define QUERN_AP_MEMBERS(name, W, I, S, Q, O)                                                                          \
    typedef quern_ap::number<W, I, S> base;                                                                            \
    name()                                                                                                             \
    {                                                                                                                  \
    }                                                                                                                  \
    template <int W2, int I2, bool S2> name(const quern_ap::number<W2, I2, S2> &x)                                     \
    {                                                                                                                  \
        this->V = quern_ap::cast<W, W - I, S, Q, O>(x.V, W2 - I2);                                                     \
    }                                                                                                                  \
    template <class T, class = typename std::enable_if<std::is_integral<T>::value>::type> name(T x)                    \
    {                                                                                                                  \
        this->V = quern_ap::cast<W, W - I, S, Q, O>(quern_ap::builtin<T>::of(x).V, 0);                                 \
    }                                                                                                                  \
    name(double x)                                                                                                     \
    {                                                                                                                  \
        int fraction;                                                                                                  \
        const long long n = quern_ap::from_double(x, fraction);                                                        \
        this->V = quern_ap::cast<W, W - I, S, Q, O>(n, fraction);                                                      \
    }                                                                                                                  \
    name(float x)                                                                                                      \
    {                                                                                                                  \
        *this = name(double(x));                                                                                       \
    }                                                                                                                  \
    name(const quern_ap::slice &x)                                                                                     \
    {                                                                                                                  \
        this->V = quern_ap::cast<W, W - I, S, Q, O>(quern_ap::wide(x.value), 0);                                       \
    }                                                                                                                  \
    template <int W2, int I2, bool S2> name(const quern_ap::slice_ref<W2, I2, S2> &x)                                  \
    {                                                                                                                  \
        *this = name(quern_ap::slice(x));                                                                              \
    }                                                                                                                  \
    template <class T> name &operator+=(const T &x)                                                                    \
    {                                                                                                                  \
        return *this = name(*this + x);                                                                                \
    }                                                                                                                  \
    template <class T> name &operator-=(const T &x)                                                                    \
    {                                                                                                                  \
        return *this = name(*this - x);                                                                                \
    }                                                                                                                  \
    template <class T> name &operator*=(const T &x)                                                                    \
    {                                                                                                                  \
        return *this = name(*this * x);                                                                                \
    }

template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0>
struct ap_fixed : quern_ap::number<W, I, true> {
    static_assert(N == 0, "quern_ap.h: saturation bits are not supported");
    QUERN_AP_MEMBERS(ap_fixed, W, I, true, Q, O)
};
template <int W, int I, ap_q_mode Q = AP_TRN, ap_o_mode O = AP_WRAP, int N = 0>
struct ap_ufixed : quern_ap::number<W, I, false> {
    static_assert(N == 0, "quern_ap.h: saturation bits are not supported");
    QUERN_AP_MEMBERS(ap_ufixed, W, I, false, Q, O)
};
template <int W> struct ap_int : quern_ap::number<W, W, true> {
    QUERN_AP_MEMBERS(ap_int, W, W, true, AP_TRN_ZERO, AP_WRAP)
};
template <int W> struct ap_uint : quern_ap::number<W, W, false> {
    QUERN_AP_MEMBERS(ap_uint, W, W, false, AP_TRN_ZERO, AP_WRAP)
};
#undef QUERN_AP_MEMBERS

#endif
