// What test benches of exported networks have in common: vectors from text files, comparison, PASS or FAIL.
//
// A file has a line per vector: codes as decimal integers, floats as the hexadecimal digits of their bits. Built with
// QUERN_TRACE, checksums of the layers' results are compared too, with tb_data/layers.dat.
// Part of quern, Apache License 2.0; may be used, changed and passed on with networks that quern exports.
#ifndef QUERN_TESTBENCH_H
#define QUERN_TESTBENCH_H

#include <cstdio>
#include <cstring>

#include "quern_hls.h"

namespace quern_bench
{
inline unsigned bits_of(float x)
{
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
template <class T> inline int bits_of(const T &x)
{
    return quern::code(x).to_int();
}

struct file {
    std::FILE *f;
    explicit file(const char *path) : f(std::fopen(path, "r"))
    {
        if (f == NULL) {
            std::printf("%s: cannot be read; quern export writes it with --vectors\n", path);
        }
    }
    ~file()
    {
        if (f != NULL) {
            std::fclose(f);
        }
    }
    bool read(float *x, int n)
    {
        for (int i = 0; i < n; i++) {
            unsigned bits;
            if (f == NULL || std::fscanf(f, "%x", &bits) != 1) {
                return false;
            }
            std::memcpy(&x[i], &bits, sizeof bits);
        }
        return true;
    }
    template <class T> bool read(T *x, int n)
    {
        for (int i = 0; i < n; i++) {
            int c;
            if (f == NULL || std::fscanf(f, "%d", &c) != 1) {
                return false;
            }
            quern::set_code(x[i], c);
            if (bits_of(x[i]) != c) {
                std::printf("%d does not fit its type\n", c);
                return false;
            }
        }
        return true;
    }

  private:
    file(const file &);
    file &operator=(const file &);
};

#ifdef QUERN_TRACE
enum { MAX_TRACED = 4096 };
static int n_traced, traced_layers[MAX_TRACED];
static unsigned traced_sums[MAX_TRACED];
#endif

struct result {
    long vectors, compared, wrong;
    result() : vectors(0), compared(0), wrong(0)
    {
    }
    template <class T> void expect(bool read, const char *name, const T *x, const T *expected, int n)
    {
        if (!read) {
            std::printf("vector %ld: no values for %s\n", vectors, name);
            wrong++;
            return;
        }
        for (int i = 0; i < n; i++) {
            compared++;
            if (bits_of(x[i]) != bits_of(expected[i]) && wrong++ < 10) {
                std::printf("vector %ld, %s[%d]: %d, expected %d\n", vectors, name, i, int(bits_of(x[i])),
                            int(bits_of(expected[i])));
            }
        }
    }
    // Checksums of the layers that have run, in their order.
    void expect_layers(file &f)
    {
#ifdef QUERN_TRACE
        for (int i = 0; i < n_traced; i++) {
            unsigned checksum;
            if (f.f == NULL || std::fscanf(f.f, "%x", &checksum) != 1) {
                std::printf("vector %ld: no checksum of layer %d\n", vectors, traced_layers[i]);
                wrong++;
                break;
            }
            compared++;
            if (checksum != traced_sums[i] && wrong++ < 10) {
                std::printf("vector %ld: the result of layer %d differs\n", vectors, traced_layers[i]);
            }
        }
        n_traced = 0;
#else
        (void)f;
#endif
    }
    void next()
    {
        vectors++;
    }
    // What main returns.
    int report() const
    {
        const bool pass = wrong == 0 && vectors > 0;
        std::printf("%s: %ld vectors, %ld values, %ld differ\n", pass ? "PASS" : "FAIL", vectors, compared, wrong);
        return pass ? 0 : 1;
    }
};
} // namespace quern_bench

#ifdef QUERN_TRACE
void quern::trace(int layer, unsigned checksum)
{
    if (quern_bench::n_traced < quern_bench::MAX_TRACED) {
        quern_bench::traced_layers[quern_bench::n_traced] = layer;
        quern_bench::traced_sums[quern_bench::n_traced++] = checksum;
    }
}
#endif

#endif
