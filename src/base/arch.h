/* What quern takes for granted of the processor, and which of its kernels can be built.
 *
 * Bytes of words are little-endian, as in the files quern reads; nothing is assumed of the sign of char. Kernels for
 * one architecture lie between #if QN_X86_64 and #endif, as do their rows in the kernel lists: elsewhere the plain C
 * references remain. Defining QN_PORTABLE gives that build on any machine; tests do, so that it keeps compiling. */
#ifndef QN_BASE_ARCH_H
#define QN_BASE_ARCH_H

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "quern needs a little-endian processor: it reads and writes the words of files as they lie in memory"
#endif

#if defined(__x86_64__) && !defined(QN_PORTABLE)
#define QN_X86_64 1
#else
#define QN_X86_64 0
#endif

/* For loops of kernels. */
#if defined(__GNUC__) && !defined(__clang__)
#define QN_UNROLL _Pragma("GCC unroll 64")
#else
#define QN_UNROLL _Pragma("unroll")
#endif
#define QN_INLINE static inline __attribute__((always_inline))

#endif
