// quern_ap.h against what AMD's headers gave (vectors), and against exact rational arithmetic on small widths.
// usage: hls_ap VECTORS ("": none); prints what was compared, fails on the first difference of each kind.
// Compiles with AMD's headers too, which then are what is tested.
#ifdef QUERN_AMD_AP_TYPES
#include <ap_fixed.h>
#include <ap_int.h>
#else
#include "quern_ap.h"
#endif
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

typedef long long s64;
static s64 n_compared, n_wrong;

static void compare(s64 got, s64 expected, const char *what, int W, int I, int mode, double x)
{
    n_compared++;
    if (got != expected && n_wrong++ < 10) {
        std::printf("WRONG: %s, <%d,%d> mode %d, x %.17g: %lld, expected %lld\n", what, W, I, mode, x, got, expected);
    }
}

template <int W, int I, ap_q_mode Q, ap_o_mode O> s64 raw(const ap_fixed<W, I, Q, O> &x)
{
    return s64(x.range(W - 1, 0).to_uint64() << (64 - W)) >> (64 - W);
}
template <int W, int I, ap_q_mode Q, ap_o_mode O> s64 raw(const ap_ufixed<W, I, Q, O> &x)
{
    return s64(x.range(W - 1, 0).to_uint64());
}

// The types by a flag, as the vectors have it.
template <bool S, int W, int I, ap_q_mode Q, ap_o_mode O> struct fixed {
    typedef ap_fixed<W, I, Q, O> type;
};
template <int W, int I, ap_q_mode Q, ap_o_mode O> struct fixed<false, W, I, Q, O> {
    typedef ap_ufixed<W, I, Q, O> type;
};

// All modes, in the order of the vectors' names: f.of<Q, O>(7 * o + q).
template <class F, ap_o_mode O> void each_q(F &f, int o)
{
    f.template of<AP_TRN, O>(7 * o);
    f.template of<AP_TRN_ZERO, O>(7 * o + 1);
    f.template of<AP_RND, O>(7 * o + 2);
    f.template of<AP_RND_CONV, O>(7 * o + 3);
    f.template of<AP_RND_INF, O>(7 * o + 4);
    f.template of<AP_RND_ZERO, O>(7 * o + 5);
    f.template of<AP_RND_MIN_INF, O>(7 * o + 6);
}
template <class F> void each_mode(F f)
{
    each_q<F, AP_WRAP>(f, 0);
    each_q<F, AP_SAT>(f, 1);
    each_q<F, AP_SAT_SYM>(f, 2);
    each_q<F, AP_SAT_ZERO>(f, 3);
}

// ---- vectors
static std::vector<s64> words;
static size_t at;
static s64 next()
{
    return words.at(at++);
}

template <bool S, int W, int I> struct from_double {
    const s64 *x, *raws; // [Q][O][n]
    int n_o, n;
    template <ap_q_mode Q, ap_o_mode O> void of(int mode)
    {
        for (int i = 0; i < n; i++) {
            double v;
            std::memcpy(&v, x + i, sizeof v);
            const typename fixed<S, W, I, Q, O>::type y = v;
            compare(raw(y), raws[(mode % 7 * n_o + mode / 7) * n + i], "from double", W, I, mode, v);
        }
    }
};

static int n_types;
template <bool S, int W, int I> void casts(const s64 *head)
{
    if (head[0] == S && head[1] == W && head[2] == I) {
        const from_double<S, W, I> f = {head + 6, head + 6 + head[5], int(head[4]), int(head[5])};
        each_mode(f);
        n_types++;
    }
}

template <class X> void fill(std::vector<X> &v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        X x;
        x.range(X::width - 1, 0) = next();
        v.push_back(x);
    }
}
// Sequential: the product into the accumulator's type, then their sum, then the result (hls4ml's dense_latency).
template <class X, class W, class B, class A, class Y, class R>
void dense(int n_in, int n_out, int n_samples, const char *name)
{
    std::vector<X> x;
    std::vector<W> w;
    std::vector<B> b;
    fill(x, n_in * n_samples);
    fill(w, n_in * n_out * n_samples);
    fill(b, n_out * n_samples);
    std::vector<Y> results;
    for (int s = 0; s < n_samples; s++) {
        for (int k = 0; k < n_out; k++) {
            A acc = b[s * n_out + k];
            for (int i = 0; i < n_in; i++) {
                const A product = x[s * n_in + i] * w[(s * n_in + i) * n_out + k];
                acc = acc + product;
            }
            const Y y = acc;
            results.push_back(y);
        }
    }
    for (size_t i = 0; i < results.size(); i++) {
        compare(raw(results[i]), next(), name, Y::width, 0, 0, double(i));
    }
    for (size_t i = 0; i < results.size(); i++) {
        const Y zero = 0;
        const R r = results[i] > zero ? results[i] : zero;
        compare(raw(r), next(), name, R::width, 0, 1, double(i));
    }
}

static bool is_case(const s64 *types, const s64 (&expected)[30])
{
    return std::memcmp(types, expected, sizeof expected) == 0;
}

static bool vectors(const char *path)
{
    std::FILE *file = std::fopen(path, "rb");
    s64 word;
    while (file != NULL && std::fread(&word, sizeof word, 1, file) == 1) {
        words.push_back(word);
    }
    if (file != NULL) {
        std::fclose(file);
    }
    int n_casts = 0, n_dense = 0;
    for (s64 kind = next(); kind != 0; kind = next()) {
        const s64 *head = &words[at];
        if (kind == 1) {
            const int before = n_types;
            casts<true, 4, 4>(head);
            casts<true, 8, 1>(head), casts<true, 8, 8>(head), casts<true, 8, -2>(head), casts<true, 6, 8>(head);
            casts<true, 16, 6>(head), casts<true, 12, 5>(head), casts<true, 2, 1>(head), casts<true, 3, 1>(head);
            casts<false, 8, 3>(head), casts<false, 8, 8>(head), casts<false, 16, 6>(head), casts<false, 2, 1>(head);
            if (n_types != before + 1) {
                std::printf("WRONG: no type <%lld,%lld> in this test\n", head[1], head[2]);
                return false;
            }
            at += size_t(6 + head[5] + head[3] * head[4] * head[5]);
            n_casts++;
            continue;
        }
        const int n_in = int(head[0]), n_out = int(head[1]), n_samples = int(head[2]);
        const s64 *types = head + 3; // x w b acc y r: signed, W, I, Q, O
        at += 33;
        const s64 default16[30] = {1, 16, 6, 0, 0, 1, 16, 6, 0, 0, 1, 16, 6, 0, 0,
                                   1, 16, 6, 0, 0, 1, 16, 6, 0, 0, 0, 8,  2, 3, 1};
        const s64 full24[30] = {1, 8,  3,  0, 0, 1, 8, 1, 0, 0, 1, 8, 1, 0, 0,
                                1, 24, 10, 0, 0, 1, 8, 4, 3, 1, 0, 6, 2, 3, 1};
        const s64 satacc12[30] = {0, 8,  0, 0, 0, 1, 6,  1, 0, 0, 1, 6, 1, 0, 0,
                                  1, 12, 5, 2, 1, 1, 10, 5, 0, 0, 0, 4, 1, 0, 1};
        const s64 wrapacc10[30] = {1, 8,  2, 0, 0, 1, 8,  2, 0, 0, 1, 8,  2, 0, 0,
                                   1, 10, 3, 0, 0, 1, 10, 3, 0, 0, 0, 10, 3, 0, 0};
        typedef ap_fixed<16, 6> d16;
        typedef ap_fixed<8, 1> w8;
        typedef ap_fixed<6, 1> w6;
        typedef ap_fixed<8, 2> t8;
        typedef ap_fixed<10, 3> t10;
        if (is_case(types, default16)) {
            dense<d16, d16, d16, d16, d16, ap_ufixed<8, 2, AP_RND_CONV, AP_SAT>>(n_in, n_out, n_samples, "default");
        } else if (is_case(types, full24)) {
            dense<ap_fixed<8, 3>, w8, w8, ap_fixed<24, 10>, ap_fixed<8, 4, AP_RND_CONV, AP_SAT>,
                  ap_ufixed<6, 2, AP_RND_CONV, AP_SAT>>(n_in, n_out, n_samples, "full");
        } else if (is_case(types, satacc12)) {
            dense<ap_ufixed<8, 0>, w6, w6, ap_fixed<12, 5, AP_RND, AP_SAT>, ap_fixed<10, 5>,
                  ap_ufixed<4, 1, AP_TRN, AP_SAT>>(n_in, n_out, n_samples, "saturating");
        } else if (is_case(types, wrapacc10)) {
            dense<t8, t8, t8, t10, t10, ap_ufixed<10, 3>>(n_in, n_out, n_samples, "wrapping");
        } else {
            std::printf("WRONG: a dense layer of types that are not in this test\n");
            return false;
        }
        n_dense++;
    }
    std::printf("vectors: %d types, %d dense layers\n", n_casts, n_dense);
    return n_casts >= 13 && n_dense >= 4;
}

// ---- exact: x = num / 2^den as a number <W, I>, by the definition, in divisions and remainders.
static s64 floor_div(s64 a, s64 b)
{
    return a / b - (a % b < 0 ? 1 : 0);
}
static s64 defined(s64 num, int den, bool S, int W, int I, int mode)
{
    const int F = W - I;
    s64 n = num, d = 1; // x * 2^F = n / d
    (F > den ? n : d) *= s64(1) << std::abs(F - den);
    const s64 fl = floor_div(n, d), twice = 2 * (n - fl * d); // of d: the rest
    const bool tie = twice == d, above = twice > d;
    s64 y = fl;
    switch (mode % 7) {
    case 0:
        break;
    case 1:
        y = n / d;
        break;
    case 2:
        y = above || tie ? fl + 1 : fl;
        break;
    case 3:
        y = above || (tie && fl % 2 != 0) ? fl + 1 : fl;
        break;
    case 4:
        y = above || (tie && n > 0) ? fl + 1 : fl;
        break;
    case 5:
        y = above || (tie && n < 0) ? fl + 1 : fl;
        break;
    case 6:
        y = above ? fl + 1 : fl;
        break;
    }
    const s64 span = s64(1) << W, hi = (S ? span / 2 : span) - 1, lo = S ? -hi - 1 : 0;
    const int o = mode / 7;
    if (o == 0) {
        y -= floor_div(y, span) * span;
        return y > hi ? y - span : y;
    }
    const s64 least = o == 2 && S ? -hi : lo;
    return y > hi ? (o == 3 ? 0 : hi) : y < least ? (o == 3 ? 0 : least) : y;
}

template <bool S, int W, int I, bool S2, int W2, int I2> struct from_number {
    template <ap_q_mode Q, ap_o_mode O> void of(int mode)
    {
        for (int n = S ? -(1 << (W - 1)) : 0; n < (S ? 1 << (W - 1) : 1 << W); n++) {
            typename fixed<S, W, I, AP_TRN, AP_WRAP>::type x;
            x.range(W - 1, 0) = s64(n);
            const typename fixed<S2, W2, I2, Q, O>::type y = x;
            compare(raw(y), defined(n, W - I, S2, W2, I2, mode), "from a number", W2, I2, mode, std::ldexp(n, I - W));
            const typename fixed<S2, W2, I2, Q, O>::type z = std::ldexp(n, I - W);
            compare(raw(z), raw(y), "from its double", W2, I2, mode, std::ldexp(n, I - W));
        }
    }
};
template <bool S, int W, int I> void from_all()
{
    each_mode(from_number<S, W, I, false, 4, 2>());
    each_mode(from_number<S, W, I, true, 3, 4>());
    each_mode(from_number<S, W, I, true, 5, -1>());
    each_mode(from_number<S, W, I, true, 20, 9>());
    each_mode(from_number<S, W, I, true, 6, 25>());
}

// Operators on all pairs: as exact numbers with 10 bits behind the point.
template <class A, class B> void pairs(int a_least, int a_most, int b_least, int b_most, double a_step, double b_step)
{
    typedef ap_fixed<40, 30> exact;
    for (int i = a_least; i <= a_most; i++) {
        for (int j = b_least; j <= b_most; j++) {
            A a;
            B b;
            a.range(A::width - 1, 0) = s64(i);
            b.range(B::width - 1, 0) = s64(j);
            const double x = i * a_step, y = j * b_step;
            const exact sum = a + b, difference = a - b, product = a * b, minus = -a;
            compare(raw(sum), s64((x + y) * 1024), "sum", 0, 0, i, y);
            compare(raw(difference), s64((x - y) * 1024), "difference", 0, 0, i, y);
            compare(raw(product), s64(x * y * 1024), "product", 0, 0, i, y);
            compare(raw(minus), s64(-x * 1024), "negative", 0, 0, i, y);
            compare((a < b) + 2 * (a == b) + 4 * (a > b) + 8 * (a <= b) + 16 * (a >= b) + 32 * (a != b),
                    (x < y) + 2 * (x == y) + 4 * (x > y) + 8 * (x <= y) + 16 * (x >= y) + 32 * (x != y), "order", 0, 0,
                    i, y);
            const exact z = a;
            compare((z < y) + 2 * (z == y) + 4 * (a > j) + 8 * (a != j),
                    (x < y) + 2 * (x == y) + 4 * (x > j) + 8 * (x != j), "order of built-in types", 0, 0, i, y);
        }
    }
}

// Integers: conversions cut towards zero; shifts keep the width; wide ones do not lose bits.
static void integers()
{
    for (int i = -128; i < 128; i++) {
        const ap_int<8> a = i;
        compare(a.to_int(), i, "int", 8, 8, 0, i);
        compare(ap_uint<8>(a).to_int(), i & 255, "unsigned", 8, 8, 0, i);
        compare(ap_int<3>(a).to_int(), ((i & 7) ^ 4) - 4, "wrapped", 3, 3, 0, i);
        ap_fixed<8, 6> f;
        f.range(7, 0) = s64(i);
        compare(ap_int<8>(f).to_int(), i / 4, "of fixed", 8, 8, 0, i);
        compare(f.to_int(), i / 4, "of fixed to int", 8, 8, 0, i);
        for (int s = 0; s < 9; s++) {
            const ap_int<8> right = a >> s, left = a << s;
            compare(right.to_int(), floor_div(i, 1 << s), "right", 8, 8, s, i);
            compare(left.to_int(), (((i * (1 << s)) & 255) ^ 128) - 128, "left", 8, 8, s, i);
        }
        ap_int<32> sum = i;
        sum += a;
        sum *= 3;
        sum -= 7;
        compare(sum.to_int(), 6 * i - 7, "compound", 32, 32, 0, i);
        const ap_int<64> wide = ap_int<32>(i * 16777216 + 12345) * ap_int<32>(1987654321);
        compare(wide.to_int64(), (i * 16777216LL + 12345) * 1987654321LL, "wide product", 64, 64, 0, i);
        const ap_fixed<64, 40> fine = 0.0000001, product = ap_fixed<64, 40>(i) * fine;
        compare(raw(product), floor_div(raw(fine) * i, 1), "long product", 64, 40, 0, i);
    }
    const ap_uint<64> most = ~0ULL;
    compare((most > 5) + 2 * (most == most) + 4 * (ap_int<64>(most) == -1), 7, "64 bits", 64, 64, 0, 0);
    const ap_fixed<64, 64, AP_TRN, AP_SAT> high = most, low = -1e30;
    compare(raw(high), 0x7fffffffffffffffLL, "saturated", 64, 64, 0, 0);
    compare(raw(low), -0x7fffffffffffffffLL - 1, "saturated", 64, 64, 0, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != 0 && !vectors(argv[1])) {
        return 1;
    }
    const s64 from_vectors = n_compared;
    from_all<true, 8, -2>();
    from_all<false, 7, 3>();
    from_all<true, 6, 9>();
    from_all<false, 8, 8>();
    pairs<ap_fixed<6, 3>, ap_fixed<5, 1>>(-32, 31, -16, 15, 1. / 8, 1. / 16);
    pairs<ap_fixed<6, 3>, ap_ufixed<5, 7>>(-32, 31, 0, 31, 1. / 8, 4);
    pairs<ap_ufixed<5, 5>, ap_ufixed<4, 0>>(0, 31, 0, 15, 1, 1. / 16);
    pairs<ap_int<6>, ap_uint<5>>(-32, 31, 0, 31, 1, 1);
    pairs<ap_uint<4>, ap_fixed<6, 2>>(0, 15, -32, 31, 1, 1. / 16);
    integers();
    std::printf("%lld of vectors, %lld by definition, %lld wrong\n", from_vectors, n_compared - from_vectors, n_wrong);
    return n_wrong == 0 ? 0 : 1;
}
