/* Networks of operators on codes, as other tools write them: the integer engine gives ONNX Runtime's bits, and so does what
 * an export of them gives back. tests/golden/make_quantized_networks.py made them. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "graph/compute/compute.h"
#include "graph/model.h"
#include "quern/quern.h"

static const char folder[] = QN_SOURCE_DIR "/tests/golden/quantized";

typedef struct data {
    qn_tensor x, y;
    float *floats;
} data;

static void read_tensor(qn_tensor *t, const char *name, const char *ending)
{
    char path[512];
    qn_error err;
    qn_error_init(&err);
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    qn_assert_ok(qn_tensor_read(t, path, &err), &err);
}

/* The first element that differs, or -1. Models of one item run whole. */
static int64_t compare(const qn_model *model, const data *d)
{
    qn_error err;
    qn_error_init(&err);
    qn_program_options options;
    qn_program *program;
    qn_workspace *workspace;
    qn_assert_ok(qn_program_options_init(&options, QN_ENGINE_INTEGER, &err), &err);
    qn_assert_ok(qn_program_create(&program, model, &options, &err), &err);
    qn_assert_ok(qn_workspace_create(&workspace, program, &err), &err);
    const int64_t n_in = qn_program_input_count(program, 0), n_out = qn_program_output_count(program, 0);
    const int64_t n = qn_tensor_count(&d->x) / n_in;
    assert_int_equal(n * n_out, qn_tensor_count(&d->y));
    float *y = qn_alloc((size_t)(n * n_out) * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        const float *in = d->floats + i * n_in;
        float *out = y + i * n_out;
        qn_assert_ok(qn_program_run(program, workspace, &in, 1, &out, &err), &err);
    }
    int64_t differ = -1;
    for (int64_t i = n * n_out - 1; i >= 0; i--) {
        differ = memcmp(&y[i], (const float *)d->y.data + i, sizeof *y) != 0 ? i : differ;
    }
    qn_free(y);
    qn_workspace_free(workspace);
    qn_program_free(program);
    return differ;
}

static void check(const char *name)
{
    qn_error err;
    qn_error_init(&err);
    char path[512];
    qn_model *model, *again;
    data d;
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    qn_assert_ok(qn_model_load(&model, path, &err), &err);
    read_tensor(&d.x, name, "_x.npy");
    read_tensor(&d.y, name, "_y.npy");
    assert_int_equal(d.y.dtype, QN_DTYPE_F32);
    d.floats = qn_alloc((size_t)qn_tensor_count(&d.x) * sizeof *d.floats);
    qn_convert_elements(QN_DTYPE_F32, d.floats, d.x.dtype, d.x.data, qn_tensor_count(&d.x));
    const char *written = qn_scratch_file("again.onnx");
    qn_assert_ok(qn_model_save(model, written, true, &err), &err);
    qn_assert_ok(qn_model_load(&again, written, &err), &err);
    const int64_t differ[2] = {compare(model, &d), compare(again, &d)};
    if (differ[0] >= 0 || differ[1] >= 0) {
        print_error("%s: element %lld differs from ONNX Runtime; written and read again, %lld\n", name,
                    (long long)differ[0], (long long)differ[1]);
    }
    assert_true(differ[0] < 0 && differ[1] < 0);
    qn_free(d.floats);
    qn_tensor_free(&d.x);
    qn_tensor_free(&d.y);
    qn_model_free(again);
    qn_model_free(model);
}

static void codes_equal_those_of_onnx_runtime(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    int n = 0;
    assert_non_null(dir);
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char name[256];
        const char *end = strstr(entry->d_name, ".onnx");
        if (end != NULL) {
            snprintf(name, sizeof name, "%.*s", (int)(end - entry->d_name), entry->d_name);
            check(name);
            n++;
        }
    }
    closedir(dir);
    assert_true(n >= 20);
}

static void sums_are_fused_only_where_it_matters(void **state)
{
    (void)state;
    static const struct {
        const char *file, *sums;
    } cases[] = {{"quantized/tied_sum", "fused"}, {"quantized/conv_qop", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[512];
        qn_error err;
        qn_error_init(&err);
        qn_model *model;
        snprintf(path, sizeof path, QN_SOURCE_DIR "/tests/golden/%s.onnx", cases[i].file);
        qn_assert_ok(qn_model_load(&model, path, &err), &err);
        const char *sums = qn_model_metadata(model, "quern.sums");
        assert_int_equal(sums != NULL, cases[i].sums != NULL);
        if (sums != NULL) {
            assert_string_equal(sums, cases[i].sums);
        }
        qn_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_equal_those_of_onnx_runtime),
        cmocka_unit_test(sums_are_fused_only_where_it_matters),
    };
    return cmocka_run_group_tests_name("quantized networks", tests, NULL, NULL);
}
