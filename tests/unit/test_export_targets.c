/* Random networks to every target that can hold them, and read back: no differences, the same bytes again, and whatever
 * allocation fails, an error and no directory. What the files compute, compiled and simulated, is in tests of each target. */
#include "export_dir.h"

enum { N_SEEDS = 10, N_ITEMS = 2, N_ALLOCATIONS = 5 };

static qn_status export_targets(random_net *t, unsigned targets, const char *directory, const qn_dataset *set,
                                qn_error *err)
{
    qn_export_options options;
    qn_export_options_init(&options);
    options.targets = targets;
    options.overwrite = true;
    options.vectors = set;
    return qn_export(&t->model, directory, &options, NULL, err);
}

static void assert_same_files(const char *a, const char *b)
{
    json_t *root = manifest_of(a);
    const json_t *files = json_object_get(root, "files");
    assert_true(json_array_size(files) > 10);
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *path = json_string_value(json_object_get(json_array_get(files, i), "path"));
        qn_file_bytes one = file_of(a, path), two = file_of(b, path);
        assert_int_equal(one.size, two.size);
        assert_memory_equal(one.data, two.data, one.size);
        qn_file_bytes_free(&one);
        qn_file_bytes_free(&two);
    }
    json_decref(root);
}

/* Every count-th allocation of an export fails in turn. */
static void fail_allocations(random_net *t, unsigned targets, const qn_dataset *set, uint64_t total)
{
    for (uint64_t at = 0; at < total; at += total / N_ALLOCATIONS + 1) {
        qn_error err;
        qn_error_init(&err);
        qn_alloc_fail_after((int64_t)at);
        const qn_status status = export_targets(t, targets, qn_scratch_file("failed"), set, &err);
        qn_alloc_fail_after(-1);
        assert_int_equal(status, QN_ENOMEM);
        assert_int_equal(access(qn_scratch_file("failed"), F_OK), -1);
    }
}

static void test_targets(void **state)
{
    (void)state;
    int written[QN_EXPORT_VERILOG + 1] = {0}, refused = 0;
    for (uint64_t seed = 0; seed < N_SEEDS; seed++) {
        random_net t;
        export_net(&t, seed);
        qn_tensor items = export_inputs(&t, N_ITEMS);
        qn_dataset *set;
        qn_assert_ok(qn_dataset_of_tensor(&set, &items, NULL, &t.err), &t.err);
        unsigned targets = 1u << QN_EXPORT_MANIFEST;
        for (int target = QN_EXPORT_NPZ; target <= QN_EXPORT_VERILOG; target++) {
            qn_error err;
            qn_error_init(&err);
            const qn_status status = export_targets(&t, 1u << target, qn_scratch_file("one"), set, &err);
            if (status == QN_OK) {
                targets |= 1u << target;
                written[target]++;
            } else {
                assert_int_equal(status, QN_EUNSUPPORTED);
                assert_true(strlen(err.message) > 20);
                refused++;
            }
        }
        char all[16]; /* a directory that is there takes allocations to replace */
        snprintf(all, sizeof all, "all%d", (int)seed);
        const uint64_t before = qn_alloc_count();
        qn_assert_ok(export_targets(&t, targets, qn_scratch_file(all), set, &t.err), &t.err);
        const uint64_t total = qn_alloc_count() - before;
        qn_assert_ok(export_targets(&t, targets, qn_scratch_file("again"), set, &t.err), &t.err);
        assert_same_files(qn_scratch_file(all), qn_scratch_file("again"));
        qn_export_check check;
        qn_assert_ok(qn_export_verify(&check, qn_scratch_file(all), NULL, NULL, &t.err), &t.err);
        assert_string_equal(check.text, "");
        assert_int_equal(check.n_differences, 0);
        free(check.text);
        fail_allocations(&t, targets, set, total);
        qn_dataset_close(set);
        qn_tensor_free(&items);
        net_release(&t);
    }
    for (int target = QN_EXPORT_NPZ; target <= QN_EXPORT_VERILOG; target++) {
        assert_true(written[target] > 0);
    }
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
