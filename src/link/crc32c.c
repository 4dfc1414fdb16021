/* CRC-32C by table, eight bytes at a time, or by the processor's instruction in three interleaved streams. */
#include "link/crc32c.h"

#include <pthread.h>
#include <string.h>

#include "base/arch.h"

enum { STREAM_BYTES = 8192 };
static const uint32_t POLYNOMIAL = 0x82F63B78; /* reflected: bit 31 is x^0 */

static uint32_t table[8][256];
static uint32_t past_one, past_two; /* x^(8 * STREAM_BYTES) and its square, modulo the polynomial */

/* a * b modulo the polynomial. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (int i = 0; i < 32; i++) {
        product ^= b & (0u - (a >> 31));
        a <<= 1;
        b = b >> 1 ^ (POLYNOMIAL & (0u - (b & 1)));
    }
    return product;
}

static void make_tables(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (POLYNOMIAL & (0u - (crc & 1)));
        }
        table[0][i] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int i = 0; i < 256; i++) {
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
        }
    }
    past_one = UINT32_C(1) << 30; /* x */
    for (int bits = 1; bits < 8 * STREAM_BYTES; bits *= 2) {
        past_one = multiply(past_one, past_one);
    }
    past_two = multiply(past_one, past_one);
}

static uint64_t load_word(const unsigned char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word = load_word(p) ^ crc;
        crc = 0;
        for (int k = 0; k < 8; k++) {
            crc ^= table[7 - k][word >> 8 * k & 0xff];
        }
    }
    for (; n > 0; n--, p++) {
        crc = crc >> 8 ^ table[0][(crc ^ *p) & 0xff];
    }
    return crc;
}

#if QN_X86_64
#include <nmmintrin.h>

/* The instruction takes a word per cycle but three cycles for each: three streams keep it busy. */
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
    uint64_t first = crc;
    for (; n >= 3 * (size_t)STREAM_BYTES; n -= 3 * (size_t)STREAM_BYTES, p += 3 * (size_t)STREAM_BYTES) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < STREAM_BYTES; i += 8) {
            first = _mm_crc32_u64(first, load_word(p + i));
            second = _mm_crc32_u64(second, load_word(p + STREAM_BYTES + i));
            third = _mm_crc32_u64(third, load_word(p + 2 * (size_t)STREAM_BYTES + i));
        }
        first = multiply((uint32_t)first, past_two) ^ multiply((uint32_t)second, past_one) ^ (uint32_t)third;
    }
    for (; n >= 8; n -= 8, p += 8) {
        first = _mm_crc32_u64(first, load_word(p));
    }
    for (; n > 0; n--, p++) {
        first = _mm_crc32_u8((uint32_t)first, *p);
    }
    return (uint32_t)first;
}
#else
#define by_instruction by_table
#endif

uint32_t qn_crc32c_at(qn_cpu cpu, uint32_t crc, const void *data, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tables);
    return ~(cpu >= QN_CPU_AVX2 ? by_instruction : by_table)(~crc, data, n);
}

uint32_t qn_crc32c(uint32_t crc, const void *data, size_t n)
{
    qn_cpu cpu;
    if (qn_cpu_from_environment(&cpu, NULL, NULL) != QN_OK) {
        cpu = qn_cpu_best();
    }
    return qn_crc32c_at(cpu, crc, data, n);
}
