/* CRC-32C: the published check value, the vectors of RFC 3720 (iSCSI), and table against instruction. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "link/crc32c.h"

static const qn_cpu levels[] = {QN_CPU_REFERENCE, QN_CPU_AVX2, QN_CPU_AMX};

static void expect(const void *data, size_t n, uint32_t crc)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (levels[i] == QN_CPU_REFERENCE || qn_cpu_best() >= QN_CPU_AVX2) {
            assert_int_equal(qn_crc32c_at(levels[i], 0, data, n), crc);
        }
    }
    assert_int_equal(qn_crc32c(0, data, n), crc);
}

/* Catalogue of parametrised CRC algorithms, CRC-32/ISCSI; RFC 3720, appendix B.4, whose CRCs are shown as bytes in the
 * order of transmission, least significant first. */
static void test_published(void **state)
{
    (void)state;
    unsigned char bytes[32];
    expect("", 0, 0);
    expect("123456789", 9, 0xE3069283);
    memset(bytes, 0, sizeof bytes);
    expect(bytes, 32, 0x8A9136AA);
    memset(bytes, 0xff, sizeof bytes);
    expect(bytes, 32, 0x62A8AB43);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)i;
    }
    expect(bytes, 32, 0x46DD794E);
    for (int i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)(31 - i);
    }
    expect(bytes, 32, 0x113FDB5C);
    static const unsigned char read_command[48] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                                   0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                                   0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
    expect(read_command, sizeof read_command, 0xD9963A56);
}

/* Bit by bit, from the definition. */
static uint32_t slow(const unsigned char *p, size_t n)
{
    uint32_t crc = ~UINT32_C(0);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            uint32_t feed = (crc ^ (uint32_t)(p[i] >> bit)) & 1;
            crc = crc >> 1 ^ (feed != 0 ? 0x82F63B78 : 0);
        }
    }
    return ~crc;
}

/* Lengths around the borders of words and of interleaved streams; odd addresses; in pieces. */
static void test_lengths(void **state)
{
    (void)state;
    enum { MOST = 3 * 8192 * 2 + 40 };
    unsigned char *bytes = malloc(MOST + 8);
    assert_non_null(bytes);
    uint64_t random = 7;
    for (int i = 0; i < MOST + 8; i++) {
        bytes[i] = (unsigned char)(qn_test_random(&random) >> 32);
    }
    for (size_t n = 0; n <= 300; n++) {
        expect(bytes + n % 8, n, slow(bytes + n % 8, n));
    }
    for (int k = -1; k <= 33; k++) {
        for (int streams = 1; streams <= 2; streams++) {
            size_t n = (size_t)(3 * 8192 * streams + k);
            uint32_t whole = slow(bytes + 3, n);
            expect(bytes + 3, n, whole);
            size_t cut = (size_t)(qn_test_random(&random) % n);
            assert_int_equal(qn_crc32c(qn_crc32c(0, bytes + 3, cut), bytes + 3 + cut, n - cut), whole);
        }
    }
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
