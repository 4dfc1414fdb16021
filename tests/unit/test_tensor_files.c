/* Array files as numpy and zlib write them: read, written back, cut short, damaged. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "quern/tensor.h"
#include "tensor/element.h"
#include "tensor/source.h"

typedef struct golden {
    const char *name, *bytes;
    size_t n;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_MAX_RANK];
    bool same_when_written; /* native byte order and C order: our writer must give the same file */
    const char *sha256;
} golden;

static const golden goldens[] = {
#include "golden/numpy_files.inc"
};

enum { N_GOLDENS = (int)(sizeof goldens / sizeof goldens[0]) };

static const golden *find(const char *name)
{
    for (int i = 0; i < N_GOLDENS; i++) {
        if (strcmp(goldens[i].name, name) == 0) {
            return &goldens[i];
        }
    }
    fail_msg("no golden file %s", name);
    return NULL;
}

static const char *put(const char *name, const void *bytes, size_t n)
{
    const char *path = qn_scratch_file(name);
    qn_error err;
    qn_error_init(&err);
    unlink(path); /* some file systems wait for the disk when a file is replaced */
    qn_assert_ok(qn_file_write_all(path, true, bytes, n, &err), &err);
    return path;
}

/* Element k is k. */
static bool holds_its_indices(const qn_tensor *t)
{
    for (int64_t k = 0; k < qn_tensor_count(t); k++) {
        double value;
        qn_widen(t->dtype)(&value, (const char *)t->data + (size_t)k * qn_dtype_size(t->dtype), 1);
        if (value != (double)(t->dtype == QN_DTYPE_BOOL ? k % 2 : k)) {
            return false;
        }
    }
    return true;
}

static bool is_as_golden(const qn_tensor *t, const golden *g)
{
    return t->dtype == g->dtype && t->rank == g->rank &&
           memcmp(t->dims, g->dims, (size_t)g->rank * sizeof t->dims[0]) == 0 && holds_its_indices(t);
}

static void every_kind_of_file_is_read(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDENS; i++) {
        qn_tensor t;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_tensor_read(&t, put(goldens[i].name, goldens[i].bytes, goldens[i].n), &err), &err);
        if (!is_as_golden(&t, &goldens[i])) {
            fail_msg("%s is not read as it was written", goldens[i].name);
        }
        qn_tensor_free(&t);
    }
}

static void contents_count_not_names(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDENS; i++) {
        qn_tensor t;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_tensor_read(&t, put("misleading.pb", goldens[i].bytes, goldens[i].n), &err), &err);
        assert_true(is_as_golden(&t, &goldens[i]));
        qn_tensor_free(&t);
    }
}

static void written_files_equal_those_of_numpy(void **state)
{
    (void)state;
    int n_compared = 0;
    for (int i = 0; i < N_GOLDENS; i++) {
        const golden *g = &goldens[i];
        if (!g->same_when_written) {
            continue;
        }
        qn_tensor t;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_tensor_read(&t, put(g->name, g->bytes, g->n), &err), &err);
        const char *path = qn_scratch_file("written.npy");
        qn_assert_ok(qn_tensor_write_npy(&t, path, true, &err), &err);
        qn_tensor_free(&t);
        qn_file_bytes file;
        qn_assert_ok(qn_file_read(&file, path, &err), &err);
        assert_int_equal(file.size, g->n);
        assert_memory_equal(file.data, g->bytes, g->n);
        qn_file_bytes_free(&file);
        n_compared++;
    }
    assert_true(n_compared >= 12);
}

static void existing_files_are_kept(void **state)
{
    (void)state;
    float value = 1.0f;
    qn_tensor t = {.dtype = QN_DTYPE_F32, .data = &value};
    const char *path = put("kept.npy", "old", 3);
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_write_npy(&t, path, false, &err), &err, QN_EEXIST, "kept.npy");
}

static void hashes_are_of_the_stored_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDENS; i++) {
        qn_source source;
        qn_error err;
        char hex[QN_SHA256_HEX];
        qn_error_init(&err);
        qn_assert_ok(qn_source_open(&source, put(goldens[i].name, goldens[i].bytes, goldens[i].n), &err), &err);
        qn_assert_ok(qn_source_sha256(&source, hex, &err), &err);
        assert_string_equal(hex, goldens[i].sha256);
        qn_source_close(&source);
    }
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < N_GOLDENS; i++) {
        for (size_t n = 0; n < goldens[i].n; n++) {
            qn_tensor t;
            qn_error err;
            qn_error_init(&err);
            qn_status status = qn_tensor_read(&t, put("cut", goldens[i].bytes, n), &err);
            if (status != QN_EFORMAT) {
                fail_msg("%s cut to %zu of %zu bytes: %s", goldens[i].name, n, goldens[i].n, qn_status_text(status));
            }
        }
    }
    const golden *g = find("f4.npy");
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, put("cut", g->bytes, g->n - 5), &err), &err, QN_EFORMAT,
                    "needs 24 bytes of data, 19 are there");
}

/* Checksums protect what is inside archives: whatever bit flips, either an error or the same array results. */
static void flipped_bits_in_archives_are_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"stored.npz", "deflated.npz", "idx.gz", "npy.gz"};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        const golden *g = find(names[f]);
        unsigned char bytes[1024];
        assert_true(g->n <= sizeof bytes);
        memcpy(bytes, g->bytes, g->n);
        int n_refused = 0;
        for (size_t bit = 0; bit < 8 * g->n; bit++) {
            bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
            qn_tensor t;
            qn_error err;
            qn_error_init(&err);
            if (qn_tensor_read(&t, put("flipped", bytes, g->n), &err) == QN_OK) {
                if (!is_as_golden(&t, g)) {
                    fail_msg("%s: bit %zu changes the array without being noticed", names[f], bit);
                }
                qn_tensor_free(&t);
            } else {
                n_refused++;
            }
            bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ 1u << bit % 8);
        }
        assert_true(n_refused > 100);
    }
}

static void bytes_after_the_array_are_ignored(void **state)
{
    (void)state;
    const golden *g = find("f8_big.npy");
    char bytes[1024] = {0};
    memcpy(bytes, g->bytes, g->n);
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_read(&t, put("longer.npy", bytes, g->n + 17), &err), &err);
    assert_true(is_as_golden(&t, g));
    qn_tensor_free(&t);
}

static void arrays_of_an_archive_are_chosen_by_name(void **state)
{
    (void)state;
    const golden *g = find("stored.npz");
    const char *path = put("stored.npz", g->bytes, g->n);
    static const char *const good[] = {"", ":x", ":x.npy"};
    char named[256];
    qn_tensor t;
    qn_error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(named, sizeof named, "%s%s", path, good[i]);
        qn_error_init(&err);
        qn_assert_ok(qn_tensor_read(&t, named, &err), &err);
        assert_true(is_as_golden(&t, g));
        qn_tensor_free(&t);
    }
    snprintf(named, sizeof named, "%s:y", path);
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, named, &err), &err, QN_EINVAL, "it holds x");
    assert_non_null(strstr(err.where, "stored.npz:y"));
    snprintf(named, sizeof named, "%s:", path);
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, named, &err), &err, QN_EINVAL, "it holds x");

    /* A file whose own name has a colon is that file. */
    g = find("f4.npy");
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_read(&t, put("stored.npz:z", g->bytes, g->n), &err), &err);
    assert_true(is_as_golden(&t, g));
    qn_tensor_free(&t);
    snprintf(named, sizeof named, "%s:x", put("plain.npy", g->bytes, g->n));
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, named, &err), &err, QN_EINVAL, "only of an .npz");
}

static void other_files_are_refused_by_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
        qn_status status;
        const char *fragment;
    } rows[] = {
        {"empty", "", 0, QN_EFORMAT, "it is empty"},
        {"text.csv", "1,2,3\n", 6, QN_EFORMAT, "looks like text"},
        {"net.onnx", "\x08\x07\x12\x00", 4, QN_EFORMAT, "looks like an ONNX model"},
        {"noise", "\x01\x02\x03\x04", 4, QN_EFORMAT, "contents are unknown"},
        {"noise2", "\x01\x02\x03\x04", 4, QN_EFORMAT, "accepted are .npy, .npz"},
        {"bad.idx", "\x00\x00\x08\x09", 4, QN_ELIMIT, "9 dimensions"},
        {"odd.idx", "\x00\x00\x0A\x01\x00\x00\x00\x00", 8, QN_EFORMAT, "not a data file"},
        {"huge.idx", "\x00\x00\x0E\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16, QN_ELIMIT, "too large"},
        {"long.idx", "\x00\x00\x0E\x01\xFF\xFF\xFF\xFF", 8, QN_EFORMAT, "needs 34359738360 bytes of data, 0 are there"},
        {"empty.npz", "PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, QN_EFORMAT, "no array"},
        {"bad.npz", "PK\3\4xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 42, QN_EFORMAT, "damaged zip"},
        {"bad.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03xxxxxxxxxxxx", 22, QN_EFORMAT, "damaged gzip data: invalid"},
        {"bad.pb", "\xFF\xFF\xFF", 3, QN_EFORMAT, "bad.pb"},
    };
    qn_tensor t;
    qn_error err;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error_init(&err);
        qn_assert_fails(qn_tensor_read(&t, put(rows[i].name, rows[i].bytes, rows[i].n), &err), &err, rows[i].status,
                        rows[i].fragment);
    }
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, qn_scratch(), &err), &err, QN_EIO, "is a directory");
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, "/dev/null", &err), &err, QN_EIO, "not a regular file");
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, qn_scratch_file("missing.npz:x"), &err), &err, QN_EIO, "missing.npz:x");
    const char *pipe_path = qn_scratch_file("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    qn_error_init(&err);
    qn_assert_fails(qn_tensor_read(&t, pipe_path, &err), &err, QN_EIO, "not a regular file");
}

/* Field by field as in the protobuf encoding: dims 2 and 3, data_type FLOAT, name "w", raw_data. */
static void tensor_protos_are_read(void **state)
{
    (void)state;
    unsigned char bytes[35] = {0x08, 2, 0x08, 3, 0x10, 1, 0x42, 1, 'w', 0x4A, 24};
    const float values[6] = {0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
    memcpy(bytes + 11, values, sizeof values); /* little endian, as raw_data is */
    const char *path = put("w.pb", bytes, sizeof bytes);
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_tensor_read(&t, path, &err), &err);
    assert_int_equal(t.dtype, QN_DTYPE_F32);
    assert_int_equal(t.rank, 2);
    assert_int_equal(t.dims[0], 2);
    assert_int_equal(t.dims[1], 3);
    assert_true(holds_its_indices(&t));
    qn_tensor_free(&t);
    for (size_t n = 0; n < sizeof bytes; n++) {
        qn_error_init(&err);
        qn_assert_fails(qn_tensor_read(&t, put("cut.pb", bytes, n), &err), &err, QN_EFORMAT, "cut.pb");
    }
}

static void unusable_temporary_folder_is_named(void **state)
{
    (void)state;
    const golden *g = find("idx.gz");
    const char *path = put("idx.gz", g->bytes, g->n);
    char *old = getenv("TMPDIR") != NULL ? strdup(getenv("TMPDIR")) : NULL;
    setenv("TMPDIR", "/nonexistent/folder", 1);
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_tensor_read(&t, path, &err);
    if (old != NULL) {
        setenv("TMPDIR", old, 1);
    } else {
        unsetenv("TMPDIR");
    }
    free(old);
    qn_assert_fails(status, &err, QN_EIO, "/nonexistent/folder");
}

static void failing_allocations_are_reported(void **state)
{
    (void)state;
    static const char *const names[] = {"fortran.npy", "deflated.npz", "npy.gz"};
    for (size_t f = 0; f < sizeof names / sizeof names[0]; f++) {
        const golden *g = find(names[f]);
        const char *path = put(names[f], g->bytes, g->n);
        qn_status status = QN_ENOMEM;
        int n_failures = 0;
        while (status != QN_OK) {
            qn_tensor t;
            qn_error err;
            qn_error_init(&err);
            qn_alloc_fail_after(n_failures);
            status = qn_tensor_read(&t, path, &err);
            qn_alloc_fail_after(-1);
            if (status == QN_OK) {
                qn_tensor_free(&t);
            } else {
                assert_int_equal(status, QN_ENOMEM);
                n_failures++;
            }
        }
        assert_true(n_failures >= 4);
    }
}

static void shared_files_survive_reading_and_writing(void **state)
{
    (void)state;
    static const char *const names[] = {
        "data/inputs/cifar10_calib500_x_u8.npy",
        "data/inputs/cifar10_calib500_y_u8.npy",
        "data/inputs/cifar10_eval2000_x_u8.npy",
        "data/inputs/cifar10_lossless932_x_u8.npy",
        "data/inputs/cifar10_lossless_calib500_x_u8.npy",
        "data/inputs/kws_calib100_idx.npy",
        "data/inputs/kws_calib100_x_f32.npy",
        "data/inputs/kws_eval900_x_f32.npy",
        "data/inputs/kws_eval900_y_u8.npy",
        "data/reference/resnet8_cifar10__lossless932.npy",
        "data/tflite_int8/kws_ref_model__kws_eval1000_logits_i8.npy",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = qn_shared(names[i]);
        if (path == NULL) {
            skip();
        }
        qn_tensor t;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_tensor_read(&t, path, &err), &err);
        const char *copy = qn_scratch_file("copy.npy");
        qn_assert_ok(qn_tensor_write_npy(&t, copy, true, &err), &err);
        qn_tensor_free(&t);
        qn_file_bytes a, b;
        qn_assert_ok(qn_file_read(&a, path, &err), &err);
        qn_assert_ok(qn_file_read(&b, copy, &err), &err);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        qn_file_bytes_free(&a);
        qn_file_bytes_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_is_read),
        cmocka_unit_test(contents_count_not_names),
        cmocka_unit_test(written_files_equal_those_of_numpy),
        cmocka_unit_test(existing_files_are_kept),
        cmocka_unit_test(hashes_are_of_the_stored_bytes),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(flipped_bits_in_archives_are_noticed),
        cmocka_unit_test(bytes_after_the_array_are_ignored),
        cmocka_unit_test(arrays_of_an_archive_are_chosen_by_name),
        cmocka_unit_test(other_files_are_refused_by_what_they_are),
        cmocka_unit_test(tensor_protos_are_read),
        cmocka_unit_test(unusable_temporary_folder_is_named),
        cmocka_unit_test(failing_allocations_are_reported),
        cmocka_unit_test(shared_files_survive_reading_and_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
