// What test benches of exported networks have in common: vectors from text files, comparison, PASS or FAIL.
//
// A file has a line per vector: codes as decimal integers, floats as the hexadecimal digits of their bits.
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

#endif
