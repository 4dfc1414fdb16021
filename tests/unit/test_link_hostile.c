/* Bytes that are not quite a frame: flipped, cut, lengthened, absurd. None is taken for a frame, and none makes the
 * parser allocate or wait for what is never going to come. */
#include "guard.h" /* first: it chooses what headers declare */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "link/crc32c.h"
#include "quern/link.h"
#include "support.h"

enum { LIMIT = 1 << 20, ROOM = 4096 };

/* Where fields lie: doc/spec/link.md. */
enum {
    AT_VERSION = 4,
    AT_FLAGS = 6,
    AT_PER = 8,
    AT_RANK = 9,
    AT_NAME_BYTES = 10,
    AT_RESERVED = 11,
    AT_GROUP = 16,
    AT_BODY_BYTES = 24,
    AT_DIMS = 32
};

static const struct {
    const char *format;
    qn_link_per per;
    int64_t group;
    int rank;
    int64_t dims[3];
} frames[] = {
    {"int8", QN_LINK_PER_ITEM, 0, 2, {3, 5}},
    {"pipeedge<3>", QN_LINK_PER_TOKEN, 0, 3, {2, 2, 3}},
    {"adaptivfloat<6,4>", QN_LINK_PER_GROUP, 4, 1, {9}},
    {"mx<fp4e2m1>", QN_LINK_PER_BLOCK, 0, 1, {40}},
    {"fp32", QN_LINK_PER_TENSOR, 0, 0, {0}},
    {"int4", QN_LINK_PER_TENSOR, 0, 2, {0, 3}},
    {"binary", QN_LINK_PER_CHANNEL, 0, 1, {13}},
};
enum { N_FRAMES = sizeof frames / sizeof frames[0] };

static size_t make_with(unsigned char *data, size_t index, qn_link_checksum checksum)
{
    float x[64];
    uint64_t random = index + 1;
    for (int i = 0; i < 64; i++) {
        x[i] = qn_test_uniform(&random, -1.0f, 1.0f);
    }
    qn_link_options o;
    qn_link_options_init(&o);
    o.format = frames[index].format;
    o.per = frames[index].per;
    o.group = frames[index].group;
    o.checksum = checksum;
    qn_tensor t = {.dtype = QN_DTYPE_F32, .rank = frames[index].rank, .data = x};
    memcpy(t.dims, frames[index].dims, sizeof frames[index].dims);
    qn_frame frame;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_frame_plan(&frame, &o, t.rank, t.dims, &err), &err);
    assert_true(frame.n_bytes <= ROOM);
    qn_assert_ok(qn_frame_encode(data, &frame, &t, &o, &err), &err);
    return frame.n_bytes;
}

static size_t make(unsigned char *data, size_t index)
{
    return make_with(data, index, QN_LINK_CHECKSUM_ON);
}

/* Parse the bytes where a page ends, so that reading further kills the test; nothing is allocated. */
static qn_frame_state parse(qn_frame_verdict *verdict, const unsigned char *data, size_t n, size_t limit)
{
    static guarded page;
    if (page.data == NULL) {
        page = guarded_new(ROOM);
    }
    qn_frame frame;
    unsigned char *at = page.data + page.size - n;
    memcpy(at, data, n);
    const uint64_t allocations = qn_alloc_count();
    qn_frame_state state = qn_frame_parse(&frame, verdict, at, n, limit);
    assert_int_equal(qn_alloc_count(), allocations);
    assert_true(state == QN_FRAME_COMPLETE ? frame.codes + frame.code_bytes == at + frame.n_bytes
                                           : frame.codes == NULL);
    assert_true(state != QN_FRAME_BAD || (verdict->fault != QN_FRAME_FINE && verdict->offset < n));
    return state;
}

static void test_flips(void **state)
{
    (void)state;
    unsigned char data[ROOM];
    for (size_t k = 0; k < N_FRAMES; k++) {
        const size_t n = make(data, k);
        qn_frame_verdict v;
        assert_int_equal(parse(&v, data, n, LIMIT), QN_FRAME_COMPLETE);
        for (size_t bit = 0; bit < 8 * n; bit++) {
            data[bit / 8] ^= (unsigned char)(1u << bit % 8);
            const qn_frame_state got = parse(&v, data, n, LIMIT);
            /* Rank and name's length say where the header ends; a longer one may want more bytes, at most 164. */
            const bool header_length = bit / 8 == AT_RANK || bit / 8 == AT_NAME_BYTES;
            if (got != QN_FRAME_BAD && !(got == QN_FRAME_MORE && header_length && v.need > n && v.need <= 164)) {
                fail_msg("%s: bit %zu flipped, state %d", frames[k].format, bit, (int)got);
            }
            data[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
}

/* Every prefix wants more: as much as it knows of, and never too much. The bytes after a frame do not matter. */
static void test_prefixes(void **state)
{
    (void)state;
    unsigned char data[ROOM];
    for (size_t k = 0; k < N_FRAMES; k++) {
        const size_t n = make(data, k);
        qn_frame_verdict v;
        size_t last = 0;
        for (size_t have = 0; have < n; have++) {
            assert_int_equal(parse(&v, data, have, LIMIT), QN_FRAME_MORE);
            assert_true(v.need > have && v.need <= n && v.need >= last);
            last = v.need;
        }
        memset(data + n, 0xff, 16);
        assert_int_equal(parse(&v, data, n + 16, LIMIT), QN_FRAME_COMPLETE);
        assert_int_equal(v.need, n);
        /* A reader that asks for what is needed gets there in a few steps. */
        int steps = 0;
        for (size_t have = 0; parse(&v, data, have, LIMIT) == QN_FRAME_MORE; have = v.need) {
            steps++;
        }
        assert_true(steps <= 3);
    }
}

/* Put the CRC of a header right, as an attacker would. */
static void seal(unsigned char *data)
{
    const size_t at = (size_t)AT_DIMS + 8 * (size_t)data[AT_RANK] + ((size_t)data[AT_NAME_BYTES] + 3) / 4 * 4;
    const uint32_t crc = qn_crc32c(0, data, at);
    memcpy(data + at, &crc, sizeof crc);
}

static void expect_fault(const unsigned char *data, size_t n, size_t limit, qn_frame_fault fault)
{
    qn_frame_verdict v;
    const qn_frame_state got = parse(&v, data, n, limit);
    if (got != QN_FRAME_BAD || v.fault != fault) {
        fail_msg("state %d, fault '%s' where '%s' was expected", (int)got, qn_frame_fault_text(v.fault),
                 qn_frame_fault_text(fault));
    }
}

static void set(unsigned char *data, size_t at, uint64_t value, size_t n)
{
    memcpy(data + at, &value, n);
    seal(data);
}

/* Headers whose checksum is right and whose content is not; told before any of the body is there. */
static void test_absurd(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint64_t value;
        size_t n;
        qn_frame_fault fault;
    } rows[] = {
        {0, 'X', 1, QN_FRAME_MAGIC},
        {AT_VERSION, 2, 2, QN_FRAME_VERSION},
        {AT_FLAGS, 16, 2, QN_FRAME_FLAGS},
        {AT_FLAGS, QN_FRAME_UNCHECKED, 2, QN_FRAME_FLAGS}, /* and yet it has checksums */
        {AT_RESERVED, 1, 1, QN_FRAME_FLAGS},
        {AT_PER, 6, 1, QN_FRAME_PER},
        {AT_PER, 255, 1, QN_FRAME_PER},
        {AT_PER, QN_LINK_PER_GROUP, 1, QN_FRAME_PER},
        {AT_PER, QN_LINK_PER_BLOCK, 1, QN_FRAME_PER},
        {AT_PER, QN_LINK_PER_CHANNEL, 1, QN_FRAME_LENGTH},
        {AT_GROUP, 1, 8, QN_FRAME_PER},
        {AT_GROUP, UINT64_MAX, 8, QN_FRAME_PER},
        {AT_BODY_BYTES, UINT64_MAX, 8, QN_FRAME_LENGTH},
        {AT_BODY_BYTES, 0, 8, QN_FRAME_LENGTH},
        {AT_DIMS, 4, 8, QN_FRAME_LENGTH},
        {AT_DIMS, UINT64_MAX, 8, QN_FRAME_SHAPE},
        {AT_DIMS, INT64_MAX, 8, QN_FRAME_SHAPE},
        {AT_DIMS, UINT64_C(1) << 62, 8, QN_FRAME_SHAPE},
        {AT_DIMS + 16, 'J', 1, QN_FRAME_FORMAT}, /* of "int8" */
        {AT_DIMS + 16 + 2, 0, 1, QN_FRAME_FORMAT},
        {AT_DIMS + 16 + 3, '0', 1, QN_FRAME_FORMAT},
    };
    unsigned char data[ROOM];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)make(data, 0);
        set(data, rows[i].at, rows[i].value, rows[i].n);
        expect_fault(data, AT_DIMS + 16 + 4 + 4, LIMIT, rows[i].fault);
    }
    (void)make(data, 0);
    data[AT_RANK] = 9;
    expect_fault(data, AT_DIMS, LIMIT, QN_FRAME_SHAPE);
    data[AT_RANK] = 2;
    data[AT_NAME_BYTES] = 64;
    expect_fault(data, AT_DIMS, LIMIT, QN_FRAME_FORMAT);
    data[AT_NAME_BYTES] = 0;
    expect_fault(data, AT_DIMS, LIMIT, QN_FRAME_FORMAT);
    for (int i = 0; i <= QN_FRAME_TRUNCATED; i++) { /* no two texts are the same */
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(qn_frame_fault_text((qn_frame_fault)i), qn_frame_fault_text((qn_frame_fault)k));
        }
    }
}

/* A well-formed header of a terabyte is refused by the limit, at once; so is a small frame of many elements, as
 * decoding it needs more, and one of few elements and many parameters. */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        qn_link_per per;
        int64_t dims[2];
    } rows[] = {{"int8", QN_LINK_PER_TENSOR, {1 << 20, 1 << 20}},
                {"binary", QN_LINK_PER_TENSOR, {1 << 10, 1 << 10}},
                {"int8", QN_LINK_PER_CHANNEL, {0, INT64_C(1) << 40}}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char data[ROOM];
        const size_t n = make(data, 0); /* two dimensions */
        (void)n;
        qn_link_options o;
        qn_link_options_init(&o);
        o.format = rows[i].format;
        o.per = rows[i].per;
        qn_frame frame;
        assert_int_equal(qn_frame_plan(&frame, &o, 2, rows[i].dims, NULL), QN_OK);
        const size_t name_at = AT_DIMS + 16;
        memset(data + name_at, 0, 12);
        memcpy(data + name_at, rows[i].format, strlen(rows[i].format));
        data[AT_NAME_BYTES] = (unsigned char)strlen(rows[i].format);
        data[AT_PER] = (unsigned char)rows[i].per;
        set(data, AT_DIMS, (uint64_t)rows[i].dims[0], 8);
        set(data, AT_DIMS + 8, (uint64_t)rows[i].dims[1], 8);
        set(data, AT_BODY_BYTES, frame.n_bytes - frame.header_bytes, 8);
        expect_fault(data, frame.header_bytes, LIMIT, QN_FRAME_LIMIT);
        qn_frame_verdict v;
        assert_int_equal(parse(&v, data, frame.header_bytes, SIZE_MAX), QN_FRAME_MORE);
        assert_int_equal(v.need, frame.n_bytes);
        const size_t most = frame.n_bytes > frame.decoded_bytes ? frame.n_bytes : frame.decoded_bytes;
        assert_int_equal(parse(&v, data, frame.header_bytes, most), QN_FRAME_MORE);
        expect_fault(data, frame.header_bytes, most - 1, QN_FRAME_LIMIT);
    }
}

/* Parameters that the checksum vouches for and the format forbids. */
static void test_parameters(void **state)
{
    (void)state;
    static const float wrong[] = {NAN, INFINITY, -1.0f, 0.0f};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        unsigned char data[ROOM];
        const size_t n = make(data, 0), header = AT_DIMS + 16 + 4 + 4;
        memcpy(data + header + 4, &wrong[i], sizeof wrong[i]); /* the scale of item 1 */
        const uint32_t crc = qn_crc32c(0, data + header, n - header);
        set(data, 12, crc, 4);
        qn_frame frame;
        qn_frame_verdict v;
        assert_int_equal(qn_frame_parse(&frame, &v, data, n, LIMIT), QN_FRAME_COMPLETE);
        float y[15];
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_frame_decode(y, &frame, &err), &err, QN_EFORMAT, "scale 1 is");
    }
}

/* Decoding allocates its parameters, once; a failure is told. */
static void test_allocation(void **state)
{
    (void)state;
    unsigned char data[ROOM];
    const size_t n = make(data, 0);
    qn_frame frame;
    qn_frame_verdict v;
    assert_int_equal(qn_frame_parse(&frame, &v, data, n, LIMIT), QN_FRAME_COMPLETE);
    assert_int_equal(frame.decoded_bytes, 15 * sizeof(float) + 3 * 2 * sizeof(float));
    float y[15];
    qn_error err;
    qn_error_init(&err);
    const uint64_t before = qn_alloc_count();
    qn_assert_ok(qn_frame_decode(y, &frame, &err), &err);
    assert_int_equal(qn_alloc_count(), before + 1);
    qn_alloc_fail_after(0);
    const qn_status status = qn_frame_decode(y, &frame, &err);
    qn_alloc_fail_after(-1);
    assert_int_equal(status, QN_ENOMEM);
}

/* Noise, and frames with several wrong bytes under a right header checksum: no crash, no endless wish. */
static void test_noise(void **state)
{
    (void)state;
    uint64_t random = 5;
    int n_complete = 0;
    for (int round = 0; round < 200000; round++) {
        unsigned char data[ROOM];
        const size_t n = make(data, (size_t)(qn_test_random(&random) % N_FRAMES));
        const int changes = (int)(qn_test_random(&random) % 4) + 1;
        for (int i = 0; i < changes; i++) {
            const size_t most = qn_test_random(&random) % 4 != 0 && n > 64 ? 64 : n;
            data[qn_test_random(&random) % most] = (unsigned char)(qn_test_random(&random) >> 40);
        }
        if (data[AT_RANK] <= 8 && data[AT_NAME_BYTES] < 64) {
            seal(data);
        }
        qn_frame_verdict v;
        const qn_frame_state got = parse(&v, data, n, LIMIT);
        assert_true(got != QN_FRAME_MORE || (v.need > n && v.need <= LIMIT));
        n_complete += got == QN_FRAME_COMPLETE ? 1 : 0;
    }
    assert_true(n_complete > 0); /* flags are not in what the body's CRC covers: some changes are legal frames */
}

/* A frame without checksums after bytes of it changed: it is read as what it then says, or refused; decoding never reads
 * further than the frame, and makes numbers or says which parameter is wrong. */
static void test_unchecked_noise(void **state)
{
    (void)state;
    uint64_t random = 6;
    int n_complete = 0, n_decoded = 0, n_refused = 0;
    static guarded page;
    page = guarded_new(ROOM);
    float *y = malloc(LIMIT);
    assert_non_null(y);
    for (int round = 0; round < 100000; round++) {
        unsigned char data[ROOM];
        const size_t n = make_with(data, (size_t)(qn_test_random(&random) % N_FRAMES), QN_LINK_CHECKSUM_OFF);
        for (int i = (int)(qn_test_random(&random) % 3); i >= 0; i--) {
            const size_t most = qn_test_random(&random) % 2 != 0 && n > 64 ? 64 : n;
            const size_t at = qn_test_random(&random) % most;
            data[at] = qn_test_random(&random) % 2 != 0 ? (unsigned char)(qn_test_random(&random) >> 40)
                                                        : (unsigned char)(data[at] ^ 1u << round % 8);
        }
        unsigned char *at = page.data + page.size - n;
        memcpy(at, data, n);
        qn_frame frame;
        qn_frame_verdict v;
        const qn_frame_state got = qn_frame_parse(&frame, &v, at, n, LIMIT);
        assert_true(got != QN_FRAME_MORE || (v.need > n && v.need <= LIMIT));
        if (got == QN_FRAME_COMPLETE) {
            qn_error err;
            qn_error_init(&err);
            const qn_status status = qn_frame_decode(y, &frame, &err);
            assert_true(status == QN_OK || (status == QN_EFORMAT && err.message[0] != '\0'));
            n_complete++;
            n_decoded += status == QN_OK ? 1 : 0;
            n_refused += status != QN_OK ? 1 : 0;
        }
    }
    assert_true(n_complete > 1000 && n_decoded > 1000 && n_refused > 10);
    free(y);
    guarded_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flips),  cmocka_unit_test(test_prefixes),        cmocka_unit_test(test_absurd),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_parameters),      cmocka_unit_test(test_allocation),
        cmocka_unit_test(test_noise),  cmocka_unit_test(test_unchecked_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
