/* Bandwidths over time: when bytes have passed, against counting in small steps; what is refused, with the line. Units. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "quern/policy.h"

static qn_bandwidth_trace *parse(const char *text)
{
    qn_bandwidth_trace *trace;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_bandwidth_trace_parse(&trace, text, strlen(text), "t.csv", &err), &err);
    return trace;
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double bits_per_second;
    } fine[] = {{"10Mbit", 1e7},       {"10 Mbit/s", 1e7}, {"1.5kbit", 1500}, {"2Gbit/s", 2e9}, {"9600bit", 9600},
                {"1e3kbit", 1e6},      {"3MB/s", 24e6},    {"1kB/s", 8000},   {"1B/s", 8},      {"0.5GB/s", 4e9},
                {"+1.25Mbit", 1.25e6}, {".5kbit", 500},    {"5.kbit", 5000}};
    double value;
    qn_error err;
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        qn_error_init(&err);
        qn_assert_ok(qn_bandwidth_parse(&value, fine[i].text, &err), &err);
        assert_true(value == fine[i].bits_per_second);
    }
    static const char *const units[] = {"",       "Mbit",   "10",       "10mbit",  "10MB", "10Mbits", "0x10Mbit",
                                        "nanbit", "infbit", "10 Mbit ", "10Mibit", "1e",   "1-2bit",  ".bit"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_bandwidth_parse(&value, units[i], &err), &err, QN_EINVAL, "bit, kbit, Mbit, Gbit");
    }
    static const char *const beyond[] = {"0Mbit", "-1Mbit", "1e400bit", "1e308Gbit", "0.0MB/s", "1e-400bit"};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_bandwidth_parse(&value, beyond[i], &err), &err, QN_EINVAL, "above 0, and finite");
    }
    static const struct {
        const char *text;
        double seconds;
    } latencies[] = {{"5ms", 0.005}, {"0", 0}, {"0ms", 0}, {"250us", 250e-6}, {"3 ns", 3e-9}, {"1.5s", 1.5}};
    for (size_t i = 0; i < sizeof latencies / sizeof latencies[0]; i++) {
        qn_error_init(&err);
        qn_assert_ok(qn_latency_parse(&value, latencies[i].text, &err), &err);
        assert_true(value == latencies[i].seconds);
    }
    static const struct {
        const char *text, *says;
    } bad[] = {{"5", "ns, us, ms, s"},    {"5min", "ns, us, ms, s"}, {"-1ms", "0 or more"},
               {"nans", "ns, us, ms, s"}, {"1e400s", "finite"},      {"", "ns, us, ms, s"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_latency_parse(&value, bad[i].text, &err), &err, QN_EINVAL, bad[i].says);
    }
    char digits[200];
    memset(digits, '1', sizeof digits);
    memcpy(digits + sizeof digits - 4, "bit", 4);
    qn_error_init(&err);
    qn_assert_fails(qn_bandwidth_parse(&value, digits, &err), &err, QN_EINVAL, "is no bandwidth");
}

static void test_steps(void **state)
{
    (void)state;
    /* 800 bit/s to 2 s, nothing to 5 s, 1600 bit/s to 6 s, then 80 bit/s. */
    qn_bandwidth_trace *t = parse("\xef\xbb\xbfseconds,bits_per_second\r\n# outage\r\n\n 0 ,800\n2, 0\n5,1600\n6,80\n");
    static const struct {
        double start, bytes, latency, finish;
    } cases[] = {{0, 0, 0, 0},     {0, 100, 0, 1},     {0, 200, 0, 2},      {0, 201, 0, 5.005}, {1, 100, 0.5, 2.5},
                 {3, 0, 0, 3},     {3, 1, 0, 5.005},   {-1, 100, 0, 0},     {-1, 300, 0, 2},    {0, 400, 0, 6},
                 {0, 401, 0, 6.1}, {10, 1000, 1, 111}, {2, 200, 0.25, 6.25}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const double finish = qn_trace_finish(t, 0, cases[i].start, cases[i].bytes, cases[i].latency);
        if (fabs(finish - cases[i].finish) > 1e-12 * 111) {
            fail_msg("case %zu: %.17g", i, finish);
        }
    }
    assert_true(qn_trace_bandwidth(t, 0, -7) == 800 && qn_trace_bandwidth(t, 0, 2) == 0);
    assert_true(qn_trace_bandwidth(t, 0, 5.999) == 1600 && qn_trace_bandwidth(t, 0, 1e300) == 80);
    assert_int_equal(qn_trace_link(t, "any"), 0);
    assert_int_equal(qn_trace_n_links(t), 0);
    assert_null(qn_trace_link_name(t, 0));
    static const double odd[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        assert_true(isnan(qn_trace_finish(t, 0, odd[i], 1, 0)));
        assert_true(isnan(qn_trace_finish(t, 0, 0, odd[i], 0)));
        assert_true(isnan(qn_trace_finish(t, 0, 0, 1, odd[i])));
    }
    assert_true(isnan(qn_trace_finish(t, 0, 0, -1, 0)) && isnan(qn_trace_finish(t, 0, 0, 1, -1)));
    assert_true(isnan(qn_trace_finish(t, 1, 0, 1, 0)) && isnan(qn_trace_finish(t, -1, 0, 1, 0)));
    qn_bandwidth_trace_free(t);

    t = parse("0,8\n1,0"); /* ends in an outage */
    assert_true(qn_trace_finish(t, 0, 0, 1, 3) == 4);
    assert_true(qn_trace_finish(t, 0, 0, 1.5, 3) == INFINITY);
    assert_true(qn_trace_finish(t, 0, 2, 0, 3) == 5);
    qn_bandwidth_trace_free(t);

    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_bandwidth_trace_constant(&t, 1e6, &err), &err);
    assert_true(qn_trace_finish(t, qn_trace_link(t, "x"), 7, 125000, 0.5) == 8.5);
    qn_bandwidth_trace_free(t);
    qn_assert_fails(qn_bandwidth_trace_constant(&t, 0, &err), &err, QN_EINVAL, "above 0");
    assert_null(t);
}

static void test_links(void **state)
{
    (void)state;
    qn_bandwidth_trace *t = parse("seconds,bits_per_second,link\n0,8,a\n0,80,b\n1,16,a\n0.5,8,b\n");
    assert_int_equal(qn_trace_n_links(t), 2);
    assert_string_equal(qn_trace_link_name(t, 1), "b");
    assert_null(qn_trace_link_name(t, 2));
    assert_int_equal(qn_trace_link(t, "c"), -1);
    assert_true(qn_trace_finish(t, qn_trace_link(t, "a"), 0, 2, 0) == 1.5);
    assert_true(qn_trace_finish(t, qn_trace_link(t, "b"), 0, 6, 0) == 1.5);
    qn_bandwidth_trace_free(t);
}

/* Random traces: what has passed until the finish, summed piece by piece, is what was sent. */
static void test_integral(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int trial = 0; trial < 2000; trial++) {
        char text[2048];
        double times[16], rates[16];
        const int n = 1 + (int)(qn_test_random(&seed) % 16);
        size_t used = 0;
        double time = qn_test_uniform(&seed, -2, 2);
        for (int i = 0; i < n; i++) {
            times[i] = time;
            rates[i] = qn_test_random(&seed) % 3 == 0 && i + 1 < n ? 0 : qn_test_uniform(&seed, 1, 1000);
            used += (size_t)snprintf(text + used, sizeof text - used, "%.17g,%.17g\n", times[i], rates[i]);
            time += qn_test_uniform(&seed, 0.001f, 2);
        }
        qn_bandwidth_trace *t = parse(text);
        const double start = qn_test_uniform(&seed, -4, 20), bytes = qn_test_uniform(&seed, 0, 500);
        const double finish = qn_trace_finish(t, 0, start, bytes, 0);
        double passed = 0;
        for (int i = 0; i < n; i++) {
            const double from = fmax(i == 0 ? -INFINITY : times[i], start);
            const double to = fmin(i + 1 == n ? INFINITY : times[i + 1], finish);
            passed += to > from ? rates[i] * (to - from) / 8 : 0;
        }
        if (!(fabs(passed - bytes) <= 1e-10 * (bytes + 1))) {
            fail_msg("trial %d: %.17g of %.17g bytes", trial, passed, bytes);
        }
        qn_bandwidth_trace_free(t);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {{"", "no bandwidth in it"},
                 {"seconds,bits_per_second\n", "no bandwidth in it"},
                 {"seconds,bits_per_second,link\n", "no bandwidth in it"},
                 {"seconds,bps\n0,1\n", "line 1: the names of columns"},
                 {"seconds,bits_per_second,name\n0,1\n", "line 1: the names of columns"},
                 {"0,1\nseconds,bits_per_second\n", "line 2: 'seconds' is not a number of seconds"},
                 {"0\n", "line 1: one column"},
                 {"0,1,a,b\n", "line 1: more than 3 columns"},
                 {"0,1,,\n", "line 1: more than 3 columns"},
                 {"0,1\n1,2,a\n", "line 2: 3 columns, where the first line has 2"},
                 {"0,1,a\n1,2\n", "line 2: 2 columns, where the first line has 3"},
                 {"0,1\n\n#\n0,2\n", "line 4: time 0 s does not come after 0 s"},
                 {"0,1,a\n0,1,b\n-1,2,a\n", "line 3: time -1 s does not come after 0 s of link a"},
                 {"0,-1\n", "line 1: a bandwidth of -1"},
                 {"0,nan\n", "line 1: 'nan' is not a number of bits per second"},
                 {"0,1e999\n", "'1e999' is not a number"},
                 {"inf,1\n", "'inf' is not a number of seconds"},
                 {"0,0x10\n", "'0x10' is not a number"},
                 {"0,1 2\n", "'1 2' is not a number"},
                 {"0,\n", "'' is not a number"},
                 {",1\n", "'' is not a number"},
                 {"0,1,\n", "a link's name has 1 to 255 bytes"},
                 {"0,1,\"a\"\n", "without quotes"},
                 {"0,0\n1,0\n", "the bandwidth is always 0"},
                 {"0,1,a\n0,0,b\n", "the bandwidth of link b is always 0"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_bandwidth_trace *t;
        qn_error err;
        qn_error_init(&err);
        const char *colon = strstr(cases[i].says, ": "), *says = colon != NULL ? colon + 2 : cases[i].says;
        qn_assert_fails(qn_bandwidth_trace_parse(&t, cases[i].text, strlen(cases[i].text), "t.csv", &err), &err,
                        QN_EFORMAT, says);
        char where[64];
        snprintf(where, sizeof where, "t.csv%s%.*s", colon != NULL ? ", " : "",
                 colon != NULL ? (int)(colon - cases[i].says) : 0, cases[i].says);
        assert_memory_equal(err.where, where, strlen(where));
        assert_null(t);
    }
    char many[257 * 16];
    size_t used = 0;
    for (int i = 0; i < 257; i++) {
        used += (size_t)snprintf(many + used, sizeof many - used, "0,1,link%d\n", i);
    }
    qn_bandwidth_trace *t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_bandwidth_trace_parse(&t, many, used, "t.csv", &err), &err, QN_ELIMIT,
                    "line 257");
    qn_error_init(&err);
    qn_assert_fails(qn_bandwidth_trace_read(&t, qn_scratch_file("none.csv"), &err), &err, QN_EIO, "none.csv");
}

/* A file, and every failure of memory on the way. */
static void test_file(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("t.csv");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 40; i++) {
        fprintf(f, "%d,%d,%s\n", i, 100 * (i % 3), i % 2 ? "a" : "b");
    }
    fclose(f);
    qn_bandwidth_trace *t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_bandwidth_trace_read(&t, path, &err), &err);
    assert_true(qn_trace_bandwidth(t, qn_trace_link(t, "a"), 5) == 200);
    qn_bandwidth_trace_free(t);
    qn_status status = QN_ENOMEM;
    int n_failures = 0;
    for (; status != QN_OK; n_failures++) {
        qn_error_init(&err);
        qn_alloc_fail_after(n_failures);
        status = qn_bandwidth_trace_read(&t, path, &err);
        qn_alloc_fail_after(-1);
        assert_true(status == QN_OK || (status == QN_ENOMEM && t == NULL));
    }
    assert_true(n_failures > 5);
    qn_bandwidth_trace_free(t);
}

/* Damaged text: a verdict, and what is taken behaves. */
static void test_damage(void **state)
{
    (void)state;
    static const char whole[] = "seconds,bits_per_second,link\n0,8e3,a\n0,80,b\n1.5,0,a\n2,1e6,a\n# x\n3,7,b\n";
    static const char letters[] = "0123456789.,-+eE\n\r\t #ab\"xn";
    uint64_t seed = 11;
    int n_taken = 0;
    for (int trial = 0; trial < 20000; trial++) {
        char *text = malloc(sizeof whole); /* its own, so that a sanitizer sees a read beyond */
        size_t n = sizeof whole - 1;
        memcpy(text, whole, n);
        for (int k = (int)(qn_test_random(&seed) % 4); k >= 0; k--) {
            const size_t at = qn_test_random(&seed) % n;
            const uint64_t what = qn_test_random(&seed) % 4;
            if (what == 0) {
                n = at + 1;
            } else {
                text[at] =
                    what == 1 ? (char)qn_test_random(&seed) : letters[qn_test_random(&seed) % (sizeof letters - 1)];
            }
        }
        char *exact = realloc(text, n);
        qn_bandwidth_trace *t;
        qn_error err;
        qn_error_init(&err);
        const qn_status status = qn_bandwidth_trace_parse(&t, exact, n, "t.csv", &err);
        assert_true(status == QN_OK || (status == QN_EFORMAT && err.message[0] != '\0' && t == NULL));
        if (status == QN_OK) {
            n_taken++;
            const double finish = qn_trace_finish(t, 0, 0.25, 1000, 0);
            assert_true(finish >= 0.25);
        }
        qn_bandwidth_trace_free(t);
        free(exact);
    }
    assert_in_range(n_taken, 1000, 19000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_units),    cmocka_unit_test(test_steps),
                                       cmocka_unit_test(test_links),    cmocka_unit_test(test_integral),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_file),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
