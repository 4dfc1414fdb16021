/* Data sets against brute force in double, whatever the file, the element type, the layout and the way of reading. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/threads.h"
#include "quern/dataset.h"

static qn_preprocess make_preprocess(double scale, int n_mean, int n_std, qn_layout layout)
{
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = scale;
    pre.n_mean = n_mean;
    pre.n_std = n_std;
    pre.layout = layout;
    for (int c = 0; c < n_mean; c++) {
        pre.mean[c] = 0.4914 - 0.013 * c;
    }
    for (int c = 0; c < n_std; c++) {
        pre.std[c] = 0.247 + 0.0071 * c;
    }
    return pre;
}

/* Element i of a tensor as a double, and a tensor of random elements in the small and the large. */
static double element(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_U8:
        return ((const uint8_t *)t->data)[i];
    case QN_DTYPE_S8:
        return ((const int8_t *)t->data)[i];
    case QN_DTYPE_U16:
        return ((const uint16_t *)t->data)[i];
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[i];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[i];
    case QN_DTYPE_U32:
        return ((const uint32_t *)t->data)[i];
    case QN_DTYPE_S64:
        return (double)((const int64_t *)t->data)[i];
    case QN_DTYPE_U64:
        return (double)((const uint64_t *)t->data)[i];
    case QN_DTYPE_F32:
        return (double)((const float *)t->data)[i];
    default:
        return ((const double *)t->data)[i];
    }
}

static qn_tensor make_tensor(qn_dtype dtype, int rank, const int64_t *dims, uint64_t seed)
{
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_alloc(&t, dtype, rank, dims, &err), &err);
    for (int64_t i = 0; i < qn_tensor_count(&t); i++) {
        if (dtype == QN_DTYPE_F32) {
            ((float *)t.data)[i] = qn_test_uniform(&seed, -300.0f, 300.0f);
        } else if (dtype == QN_DTYPE_F64) {
            ((double *)t.data)[i] = 1e-3 * (double)(int64_t)(qn_test_random(&seed) >> 20) - 4e9;
        } else {
            uint64_t bits = qn_test_random(&seed);
            memcpy((char *)t.data + (size_t)i * qn_dtype_size(dtype), &bits, qn_dtype_size(dtype));
        }
    }
    return t;
}

/* What the network must get at [item][c][y][x], straight from the definition. */
static float expected_at(const qn_tensor *t, const qn_preprocess *pre, int64_t item, int64_t in_item)
{
    int64_t n_channels = 1, plane = 1, stored = in_item;
    for (int d = 2; d < t->rank; d++) {
        plane *= t->dims[d];
    }
    if (t->rank > 1) {
        n_channels = t->dims[1];
    }
    int64_t item_elems = n_channels * plane;
    if (pre->layout == QN_LAYOUT_NHWC) {
        n_channels = t->dims[3];
        plane = t->dims[1] * t->dims[2];
        stored = in_item % plane * n_channels + in_item / plane;
    }
    int64_t c = in_item / plane;
    double mean = pre->n_mean == 0 ? 0.0 : pre->mean[pre->n_mean == 1 ? 0 : c];
    double std = pre->n_std == 0 ? 1.0 : pre->std[pre->n_std == 1 ? 0 : c];
    double scaled = element(t, item * item_elems + stored) * pre->scale;
    double centred = scaled - mean;
    return (float)(centred / std);
}

static void check_read(const qn_dataset *set, const qn_tensor *t, const qn_preprocess *pre, int64_t first, int64_t n)
{
    int64_t item_elems = t->dims[0] > 0 ? qn_tensor_count(t) / t->dims[0] : 0;
    float *x = malloc((size_t)(n * item_elems + 1) * sizeof *x);
    x[n * item_elems] = 1234.5f; /* nothing is written behind the items */
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_read(set, first, n, x, &err), &err);
    for (int64_t i = 0; i < n * item_elems; i++) {
        float expected = expected_at(t, pre, first + i / item_elems, i % item_elems);
        if (memcmp(&x[i], &expected, sizeof expected) != 0) {
            fail_msg("%s, items %lld+%lld, element %lld: %.9g, expected %.9g", qn_dtype_text(t->dtype),
                     (long long)first, (long long)n, (long long)i, (double)x[i], (double)expected);
        }
    }
    assert_true(x[n * item_elems] == 1234.5f);
    free(x);
}

static void check_set(const qn_tensor *t, const qn_preprocess *pre)
{
    static const int64_t parts[][2] = {{0, 0}, {0, 1}, {1, 1}, {0, 5}, {2, 3}, {4, 1}, {5, 0}};
    const char *path = qn_scratch_file("set.npy");
    qn_dataset *sets[2];
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_write_npy(t, path, true, &err), &err);
    qn_assert_ok(qn_dataset_of_tensor(&sets[0], t, pre, &err), &err);
    qn_assert_ok(qn_dataset_open(&sets[1], path, pre, &err), &err);
    for (int s = 0; s < 2; s++) {
        assert_int_equal(qn_dataset_count(sets[s]), 5);
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            check_read(sets[s], t, pre, parts[p][0], parts[p][1]);
        }
        qn_dataset_close(sets[s]);
    }
}

/* Shapes below, at and above the sizes of the chunks in which sets are read. */
static void every_type_matches_the_definition(void **state)
{
    (void)state;
    static const qn_dtype dtypes[] = {QN_DTYPE_U8,  QN_DTYPE_S8,  QN_DTYPE_U16, QN_DTYPE_S16, QN_DTYPE_S32,
                                      QN_DTYPE_U32, QN_DTYPE_S64, QN_DTYPE_U64, QN_DTYPE_F32, QN_DTYPE_F64};
    static const int64_t shapes[][4] = {{5, 3, 4, 6}, {5, 3, 32, 32}, {5, 1, 49, 10}, {5, 64, 1, 32}, {5, 3, 41, 23}};
    const double scales[] = {1.0, 1.0 / 255};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            qn_tensor t = make_tensor(dtypes[d], 4, shapes[s], 17 + d);
            int n_channels = (int)shapes[s][1];
            for (int variant = 0; variant < 8; variant++) {
                int n = variant & 4 ? n_channels : variant >> 1 & 1;
                qn_preprocess pre = make_preprocess(scales[variant & 1], n, variant & 2 ? n : 0, QN_LAYOUT_NCHW);
                check_set(&t, &pre);
            }
            qn_tensor_free(&t);
        }
    }
}

static void channels_last_is_transposed(void **state)
{
    (void)state;
    static const qn_dtype dtypes[] = {QN_DTYPE_U8, QN_DTYPE_S16, QN_DTYPE_F32, QN_DTYPE_F64};
    static const int64_t shapes[][4] = {{5, 4, 6, 3}, {5, 32, 32, 3}, {5, 49, 10, 1}, {5, 3, 2, 2500}, {5, 7, 13, 64}};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            qn_tensor t = make_tensor(dtypes[d], 4, shapes[s], 5 + d);
            int n = shapes[s][3] <= QN_MAX_PREPROCESS_CHANNELS ? (int)shapes[s][3] : 1;
            qn_preprocess identity = make_preprocess(1.0, 0, 0, QN_LAYOUT_NHWC);
            qn_preprocess uniform = make_preprocess(1.0 / 255, 1, 1, QN_LAYOUT_NHWC);
            qn_preprocess each = make_preprocess(1.0 / 128, n, n, QN_LAYOUT_NHWC);
            check_set(&t, &identity);
            check_set(&t, &uniform);
            check_set(&t, &each);
            qn_tensor_free(&t);
        }
    }
}

static void any_rank_but_0_is_a_set(void **state)
{
    (void)state;
    static const int64_t dims[8] = {5, 3, 2, 1, 2, 3, 1, 2};
    qn_preprocess pre = make_preprocess(0.5, 1, 1, QN_LAYOUT_NCHW);
    qn_preprocess each = make_preprocess(0.5, 3, 3, QN_LAYOUT_NCHW);
    for (int rank = 1; rank <= 8; rank++) {
        qn_tensor t = make_tensor(QN_DTYPE_F32, rank, dims, 3);
        check_set(&t, &pre);
        if (rank > 1) {
            check_set(&t, &each);
        }
        qn_dataset *set;
        int64_t item_dims[QN_MAX_RANK];
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
        assert_int_equal(qn_dataset_item_shape(set, item_dims), rank - 1);
        assert_memory_equal(item_dims, dims + 1, (size_t)(rank - 1) * sizeof dims[0]);
        qn_dataset_close(set);
        qn_tensor_free(&t);
    }
    float number = 1.0f;
    qn_tensor scalar = {.dtype = QN_DTYPE_F32, .data = &number};
    qn_dataset *set;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_dataset_of_tensor(&set, &scalar, NULL, &err), &err, QN_ESHAPE, "single number");
}

static void the_item_shape_is_what_the_network_sees(void **state)
{
    (void)state;
    const int64_t dims[4] = {2, 5, 7, 3};
    qn_tensor t = make_tensor(QN_DTYPE_U8, 4, dims, 1);
    qn_preprocess pre = make_preprocess(1.0, 0, 0, QN_LAYOUT_NHWC);
    qn_dataset *set;
    int64_t item_dims[QN_MAX_RANK];
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, &pre, &err), &err);
    assert_int_equal(qn_dataset_item_shape(set, item_dims), 3);
    assert_int_equal(item_dims[0], 3);
    assert_int_equal(item_dims[1], 5);
    assert_int_equal(item_dims[2], 7);
    qn_dataset_close(set);
    qn_tensor_free(&t);
}

static void empty_sets_open(void **state)
{
    (void)state;
    const int64_t no_items[2] = {0, 3}, empty_items[3] = {4, 0, 2};
    qn_tensor t = make_tensor(QN_DTYPE_F32, 2, no_items, 1);
    qn_dataset *set;
    float x;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    assert_int_equal(qn_dataset_count(set), 0);
    qn_assert_ok(qn_dataset_read(set, 0, 0, &x, &err), &err);
    qn_assert_fails(qn_dataset_read(set, 0, 1, &x, &err), &err, QN_EINVAL, "outside a set of 0 items");
    qn_dataset_close(set);
    qn_tensor_free(&t);
    t = make_tensor(QN_DTYPE_F32, 3, empty_items, 1);
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_assert_ok(qn_dataset_read(set, 0, 4, &x, &err), &err);
    qn_dataset_close(set);
    qn_tensor_free(&t);
}

static void reads_outside_the_set_are_refused(void **state)
{
    (void)state;
    static const int64_t bad[][2] = {{-1, 1}, {0, -1}, {0, 4}, {3, 1}, {4, 0}, {INT64_MAX, 1}, {1, INT64_MAX}};
    const int64_t dims[2] = {3, 2};
    qn_tensor t = make_tensor(QN_DTYPE_F32, 2, dims, 1);
    qn_dataset *set;
    float x[8];
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_dataset_read(set, bad[i][0], bad[i][1], x, &err), &err, QN_EINVAL, "outside");
    }
    qn_dataset_close(set);
    qn_tensor_free(&t);
}

static void refuse_value(qn_dtype dtype, qn_layout layout, double value, double scale, int64_t at, const char *fragment)
{
    const int64_t dims[4] = {7, 3, 20, 30};
    qn_tensor t = make_tensor(dtype, 4, dims, 9);
    if (dtype == QN_DTYPE_F32) {
        ((float *)t.data)[at] = (float)value;
    } else {
        ((double *)t.data)[at] = value;
    }
    qn_preprocess pre = make_preprocess(scale, 0, 0, layout);
    qn_dataset *set;
    char position[64];
    float *x = malloc(7 * 1800 * sizeof *x);
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, &pre, &err), &err);
    qn_assert_fails(qn_dataset_read(set, 1, 6, x, &err), &err, QN_ERANGE, fragment);
    snprintf(position, sizeof position, "item %d, element %d", (int)(at / 1800), (int)(at % 1800));
    assert_non_null(strstr(err.message, position));
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_read(set, 0, 1, x, &err), &err); /* the other items are fine */
    free(x);
    qn_dataset_close(set);
    qn_tensor_free(&t);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    static const int64_t places[] = {1800, 1801, 2048, 4095, 4096, 7 * 1800 - 1};
    for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
        for (int layout = 0; layout < 2; layout++) {
            refuse_value(QN_DTYPE_F32, (qn_layout)layout, (double)NAN, 1.0, places[p], "is NaN");
            refuse_value(QN_DTYPE_F32, (qn_layout)layout, (double)INFINITY, 0.5, places[p], "is infinite");
            refuse_value(QN_DTYPE_F64, (qn_layout)layout, (double)-INFINITY, 1.0, places[p], "is infinite");
            refuse_value(QN_DTYPE_F64, (qn_layout)layout, 1e39, 1.0, places[p], "does not fit float32");
            refuse_value(QN_DTYPE_F32, (qn_layout)layout, 3e38, 1e3, places[p], "does not fit float32");
        }
    }
}

static void half_floats_are_exact(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        float value;
    } rows[] = {{0x0000, 0.0f},        {0x0001, 0x1p-24f}, {0x03FF, 0x3FFp-24f}, {0x0400, 0x1p-14f}, {0x3C00, 1.0f},
                {0x3555, 0x1.554p-2f}, {0x7BFF, 65504.0f}, {0xC000, -2.0f},      {0x8001, -0x1p-24f}};
    enum { N = (int)(sizeof rows / sizeof rows[0]) };
    uint16_t bits[N];
    for (int i = 0; i < N; i++) {
        bits[i] = rows[i].bits;
    }
    qn_tensor t = {.dtype = QN_DTYPE_F16, .rank = 1, .dims = {N}, .data = bits};
    qn_dataset *set;
    float x[N];
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_dataset_of_tensor(&set, &t, NULL, &err), &err);
    qn_assert_ok(qn_dataset_read(set, 0, N, x, &err), &err);
    for (int i = 0; i < N; i++) {
        assert_true(x[i] == rows[i].value);
    }
    bits[4] = 0x7C01;
    qn_assert_fails(qn_dataset_read(set, 0, N, x, &err), &err, QN_ERANGE, "item 4, element 0 is NaN");
    qn_dataset_close(set);
}

static void preprocessing_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    const int64_t dims[4] = {2, 5, 7, 3};
    qn_tensor t = make_tensor(QN_DTYPE_U8, 4, dims, 1), flat = t;
    flat.rank = 3;
    struct {
        qn_preprocess pre;
        const qn_tensor *t;
        qn_status status;
        const char *fragment;
    } rows[] = {
        {make_preprocess(1.0, 3, 0, QN_LAYOUT_NCHW), &t, QN_ESHAPE, "mean has 3 values, but the data has 5 channels"},
        {make_preprocess(1.0, 0, 5, QN_LAYOUT_NHWC), &t, QN_ESHAPE, "std has 5 values, but the data has 3 channels"},
        {make_preprocess(1.0, 0, 0, QN_LAYOUT_NHWC), &flat, QN_ESHAPE, "4 dimensions; this has 3"},
        {make_preprocess(0.0, 0, 0, QN_LAYOUT_NCHW), &t, QN_EINVAL, "scale is 0"},
        {make_preprocess((double)NAN, 0, 0, QN_LAYOUT_NCHW), &t, QN_EINVAL, "scale"},
        {make_preprocess(1.0, 0, 0, (qn_layout)2), &t, QN_EINVAL, "2 is not a layout"},
        {make_preprocess(1.0, 1, 1, QN_LAYOUT_NCHW), &t, QN_EINVAL, "mean 0 is inf"},
        {make_preprocess(1.0, 1, 1, QN_LAYOUT_NCHW), &t, QN_EINVAL, "std 0 is 0"},
        {make_preprocess(1.0, 0, 0, QN_LAYOUT_NCHW), &t, QN_EINVAL, "at most 64"},
        {make_preprocess(1.0, 0, 0, QN_LAYOUT_NCHW), &t, QN_EINVAL, "qn_preprocess_init"},
    };
    rows[6].pre.mean[0] = (double)INFINITY;
    rows[7].pre.std[0] = 0.0;
    rows[8].pre.n_mean = 65;
    rows[9].pre.struct_size = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_dataset *set;
        qn_error err;
        qn_error_init(&err);
        qn_assert_fails(qn_dataset_of_tensor(&set, rows[i].t, &rows[i].pre, &err), &err, rows[i].status,
                        rows[i].fragment);
    }
    qn_tensor_free(&t);
}

typedef struct shared_read {
    const qn_dataset *set;
    float *x;
    int64_t item_elems;
    char hex[65];
} shared_read;

static qn_status read_item(void *ctx, int worker, int64_t item, qn_error *err)
{
    (void)worker;
    shared_read *job = ctx;
    char hex[65];
    qn_status status = qn_dataset_sha256(job->set, hex, err);
    if (status == QN_OK && strcmp(hex, job->hex) != 0) {
        return QN_EINTERNAL;
    }
    return status == QN_OK ? qn_dataset_read(job->set, item, 1, job->x + item * job->item_elems, err) : status;
}

static void threads_read_what_one_reads(void **state)
{
    (void)state;
    const int64_t dims[4] = {64, 3, 17, 19};
    qn_tensor t = make_tensor(QN_DTYPE_F32, 4, dims, 77);
    qn_preprocess pre = make_preprocess(0.1, 3, 3, QN_LAYOUT_NCHW);
    const char *path = qn_scratch_file("threads.npy");
    qn_dataset *set;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_write_npy(&t, path, true, &err), &err);
    qn_assert_ok(qn_dataset_open(&set, path, &pre, &err), &err);
    shared_read job = {.set = set, .item_elems = 3 * 17 * 19};
    job.x = malloc(qn_tensor_bytes(&t));
    float *alone = malloc(qn_tensor_bytes(&t));
    qn_file_bytes file;
    qn_assert_ok(qn_file_read(&file, path, &err), &err);
    qn_sha256_hex(job.hex, file.data, file.size);
    qn_file_bytes_free(&file);
    qn_assert_ok(qn_parallel_for(4, 64, read_item, &job, &err), &err);
    qn_assert_ok(qn_dataset_read(set, 0, 64, alone, &err), &err);
    assert_memory_equal(job.x, alone, qn_tensor_bytes(&t));
    free(job.x);
    free(alone);
    qn_dataset_close(set);
    qn_tensor_free(&t);
}

/* 64 MB of data; the pages of a file that is mapped and touched would show. */
static void memory_does_not_grow_with_the_set(void **state)
{
    (void)state;
    const char *path = qn_scratch_file("large.npy");
    const int64_t dims[2] = {0, 16384};
    qn_tensor none = {.dtype = QN_DTYPE_U8, .rank = 2, .dims = {dims[0], dims[1]}, .data = &none};
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_write_npy(&none, path, true, &err), &err);
    FILE *file = fopen(path, "r+");
    char header[129] = {0};
    assert_int_equal(fread(header, 1, 128, file), 128);
    char *zero = strstr(header + 10, "(0,");
    assert_non_null(zero);
    char *brace = strchr(zero, '}');
    memcpy(zero, "(4096, 16384), }    ", 20);
    memset(zero + 20, ' ', brace + 1 > zero + 20 ? (size_t)(brace + 1 - zero - 20) : 0);
    rewind(file);
    assert_int_equal(fwrite(header, 1, 128, file), 128);
    fclose(file);
    assert_int_equal(truncate(path, 128 + 4096 * 16384), 0);

    static float x[4 * 16384];
    qn_dataset *set;
    qn_assert_ok(qn_dataset_open(&set, path, NULL, &err), &err);
    assert_int_equal(qn_dataset_count(set), 4096);
    qn_assert_ok(qn_dataset_read(set, 0, 4, x, &err), &err);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t n_allocs = qn_alloc_count();
    for (int64_t i = 0; i < 4096; i += 4) {
        qn_assert_ok(qn_dataset_read(set, i, 4, x, &err), &err);
    }
    assert_int_equal(qn_alloc_count(), n_allocs);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_maxrss - before.ru_maxrss < 8 * 1024); /* in KiB */
    qn_dataset_close(set);
}

static void failing_allocations_are_reported(void **state)
{
    (void)state;
    const int64_t dims[2] = {3, 2};
    qn_tensor t = make_tensor(QN_DTYPE_F32, 2, dims, 1);
    qn_status status = QN_ENOMEM;
    int n_failures = 0;
    while (status != QN_OK) {
        qn_dataset *set;
        qn_error err;
        qn_error_init(&err);
        qn_alloc_fail_after(n_failures);
        status = qn_dataset_of_tensor(&set, &t, NULL, &err);
        qn_alloc_fail_after(-1);
        if (status == QN_OK) {
            qn_dataset_close(set);
        } else {
            assert_int_equal(status, QN_ENOMEM);
            n_failures++;
        }
    }
    assert_true(n_failures >= 2);
    qn_tensor_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_does_not_grow_with_the_set), /* first: the peak must not be there already */
        cmocka_unit_test(every_type_matches_the_definition),
        cmocka_unit_test(channels_last_is_transposed),
        cmocka_unit_test(any_rank_but_0_is_a_set),
        cmocka_unit_test(the_item_shape_is_what_the_network_sees),
        cmocka_unit_test(empty_sets_open),
        cmocka_unit_test(reads_outside_the_set_are_refused),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
        cmocka_unit_test(half_floats_are_exact),
        cmocka_unit_test(preprocessing_that_does_not_fit_is_refused),
        cmocka_unit_test(threads_read_what_one_reads),
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
