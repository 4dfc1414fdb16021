/* Random networks as C++ for HLS: compiled without a warning, and every layer what the integer engine gives; constants
 * read back; decimals have all their digits. */
#include "export_dir.h"

#include "export/hls/hls.h"
#include "export/verify.h"

enum { N_NETWORKS = 10, N_ITEMS = 5 };

static int __attribute__((format(printf, 1, 2))) shell(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    return system(command);
}

static bool has_compiler(void)
{
    if (shell("g++ --version >/dev/null 2>&1 && make --version >/dev/null 2>&1") == 0) {
        return true;
    }
    print_message("skipped: networks compiled as C++; there is no g++, or no make (packages g++, make)\n");
    return false;
}

static qn_status export_hls(random_net *t, const char *directory, const qn_tensor *items)
{
    qn_export_options options;
    qn_dataset *set = NULL;
    qn_assert_ok(qn_dataset_of_tensor(&set, items, NULL, &t->err), &t->err);
    qn_export_options_init(&options);
    options.targets = 1u << QN_EXPORT_HLS;
    options.overwrite = true;
    options.vectors = set;
    const qn_status status = qn_export(&t->model, directory, &options, NULL, &t->err);
    qn_dataset_close(set);
    return status;
}

/* The lines that `verify` has to say. */
static int64_t differences(const char *directory)
{
    qn_export_check check;
    qn_error err;
    qn_error_init(&err);
    qn_assert_ok(qn_export_verify(&check, directory, NULL, NULL, &err), &err);
    if (check.n_differences != 0) {
        print_message("%s", check.text);
    }
    free(check.text);
    return check.n_differences;
}

/* All zero points 0: with scales that are powers of two, all that fixed point needs. */
static void drop_zero_points(random_net *t)
{
    qn_graph *g = &t->model.graph;
    for (qn_value_id id = 0; id < (qn_value_id)g->n_values; id++) {
        const qn_quantizer *from = g->values[id].quantizer;
        int32_t zero[64] = {0};
        if (from == NULL || from->zero_point == NULL) {
            continue;
        }
        assert_true(from->n <= 64);
        qn_quantizer q = *from;
        q.zero_point = zero;
        qn_assert_ok(qn_graph_set_quantizer(g, id, &q, &t->err), &t->err);
    }
}

/* By turns on codes and in fixed point. */
static void run_network(uint64_t seed, int *n_run, int *n_fixed)
{
    static const char *const builds[] = {
        "build/testbench_fixed CXX=g++ CXXFLAGS='-O0 -Werror -fsanitize=undefined -fno-sanitize-recover=all'",
        "build/testbench CXX=g++ CXXFLAGS='-O1 -Werror'"};
    random_net t;
    char directory[600];
    export_net(&t, seed);
    if (seed % 3 != 0) {
        drop_zero_points(&t);
    }
    qn_tensor items = export_inputs(&t, N_ITEMS);
    snprintf(directory, sizeof directory, "%s/net", qn_scratch());
    const qn_status status = export_hls(&t, directory, &items);
    if (status == QN_EUNSUPPORTED) {
        assert_non_null(strstr(t.err.message, "hls"));
    } else {
        const char *build = builds[seed % 3 != 0 ? 0 : 1];
        qn_assert_ok(status, &t.err);
        assert_int_equal(differences(directory), 0);
        if (shell("cd '%s/hls' && make -s %s && %.*s >out", directory, build, (int)strcspn(build, " "), build) != 0) {
            (void)shell("cat '%s/hls/out'", directory);
            fail_msg("network %llu with %s", (unsigned long long)seed, build);
        }
        *n_fixed += shell("grep -q fixed_view '%s/hls/parameters.h'", directory) == 0;
        (*n_run)++;
        assert_int_equal(shell("rm -rf '%s'", directory), 0);
    }
    qn_tensor_free(&items);
    net_release(&t);
}

static void test_random_networks(void **state)
{
    (void)state;
    if (!has_compiler()) {
        skip();
    }
    int n_run = 0, n_fixed = 0;
    for (uint64_t seed = 0; n_run < N_NETWORKS; seed++) {
        assert_true(seed < 5 * N_NETWORKS);
        run_network(seed, &n_run, &n_fixed);
    }
    assert_true(n_fixed > 0);
}

static const char *decimal(qn_export_text *text, int64_t code, int fraction)
{
    qn_export_text_free(text);
    qn_hls_decimal(text, code, fraction);
    return text->data;
}

static void test_decimals(void **state)
{
    (void)state;
    qn_export_text text = {0};
    assert_string_equal(decimal(&text, 41, 7), "0.3203125"); /* which hls4ml once cut to 0.320312 */
    assert_string_equal(decimal(&text, -1, 3), "-0.125");
    assert_string_equal(decimal(&text, -128, 7), "-1.0000000");
    assert_string_equal(decimal(&text, 0, 2), "0.00");
    assert_string_equal(decimal(&text, 3, 0), "3");
    assert_string_equal(decimal(&text, -5, -4), "-80");
    for (int fraction = 1; fraction <= 52; fraction++) { /* exact, so that reading gives the number itself */
        for (int64_t code = -1000003; code <= 1000003; code += 40009) {
            assert_true(strtod(decimal(&text, code, fraction), NULL) == ldexp((double)code, -fraction));
        }
    }
    qn_export_text_free(&text);
}

/* What reading a changed header tells. */
static int64_t told(const qn_export_network *n, const char *path, const char *data, char *first, size_t size)
{
    qn_export_check check = {0};
    qn_error err;
    qn_error_init(&err);
    const qn_export_job job = {.network = n};
    qn_export_checking checking = {.check = &check, .job = &job};
    qn_assert_ok(qn_export_check_hls(&checking, path, data, strlen(data), NULL, 0, &err), &err);
    snprintf(first, size, "%s", checking.text.data != NULL ? checking.text.data : "");
    qn_export_text_free(&checking.text);
    return check.n_differences;
}

/* Every digit of every number of a file changed, and the file cut anywhere. */
static void check_reading(const qn_export_network *n, const char *path, char *data, size_t size)
{
    char first[256];
    assert_int_equal(told(n, path, data, first, sizeof first), 0);
    bool inside = false;
    int n_changed = 0;
    for (size_t i = 0; i < size; i++) {
        inside = data[i] == '{' ? true : data[i] == '}' ? false : inside;
        if (inside && data[i] >= '0' && data[i] <= '9' && i % 7 == 0) {
            const char kept = data[i];
            data[i] = kept == '9' ? '1' : '9';
            assert_true(told(n, path, data, first, sizeof first) > 0);
            assert_non_null(strstr(first, path));
            data[i] = kept;
            n_changed++;
        }
    }
    assert_true(n_changed > 0);
    const size_t last = (size_t)(strrchr(data, '}') - data);
    for (size_t cut = 0; cut <= last; cut += 11) {
        const char kept = data[cut];
        data[cut] = '\0';
        assert_true(told(n, path, data, first, sizeof first) > 0);
        data[cut] = kept;
    }
}

static void test_constants_are_read_again(void **state)
{
    (void)state;
    random_net t;
    char directory[600];
    net_of_maps(&t, 4);
    const qn_arithmetic arithmetic = {.requantize = QN_REQUANTIZE_SHIFT};
    qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
    qn_tensor items = export_inputs(&t, 1);
    snprintf(directory, sizeof directory, "%s/read", qn_scratch());
    qn_assert_ok(export_hls(&t, directory, &items), &t.err);
    qn_export_network *n;
    qn_assert_ok(qn_export_network_make(&n, &t.model, &t.err), &t.err);
    int n_files = 0;
    for (int layer = 0; layer < n->n_layers; layer++) {
        for (const char *letter = "wb"; *letter != '\0' && n->layers[layer].kind == QN_EXPORT_CONV; letter++) {
            char path[64];
            snprintf(path, sizeof path, "hls/weights/%c%d.h", *letter, layer + 1);
            qn_file_bytes bytes = file_of(directory, path);
            char *data = malloc(bytes.size + 1);
            memcpy(data, bytes.data, bytes.size);
            data[bytes.size] = '\0';
            check_reading(n, path, data, bytes.size);
            free(data);
            qn_file_bytes_free(&bytes);
            n_files++;
        }
    }
    assert_true(n_files > 2);
    assert_int_equal(shell("rm -rf '%s'", directory), 0);
    qn_export_network_free(n);
    qn_tensor_free(&items);
    net_release(&t);
}

/* Whichever allocation fails, it is told, and nothing stays. */
static void test_out_of_memory(void **state)
{
    (void)state;
    random_net t;
    char directory[600];
    struct stat there;
    net_of_maps(&t, 4);
    const qn_arithmetic arithmetic = {.requantize = QN_REQUANTIZE_SHIFT};
    qn_assert_ok(qn_graph_set_arithmetic(&t.model.graph, &arithmetic, &t.err), &t.err);
    qn_tensor items = export_inputs(&t, 1);
    snprintf(directory, sizeof directory, "%s/memory", qn_scratch());
    qn_status status = QN_ENOMEM;
    int64_t n = 0;
    for (; status != QN_OK; n += 1 + n / 16) {
        qn_dataset *set = NULL;
        qn_export_options options;
        qn_error err;
        qn_error_init(&err);
        qn_assert_ok(qn_dataset_of_tensor(&set, &items, NULL, &t.err), &t.err);
        qn_export_options_init(&options);
        options.targets = 1u << QN_EXPORT_HLS;
        options.vectors = set;
        qn_alloc_fail_after(n);
        status = qn_export(&t.model, directory, &options, NULL, &err);
        qn_alloc_fail_after(-1);
        qn_dataset_close(set);
        assert_true(status == QN_OK || (status == QN_ENOMEM && err.status == QN_ENOMEM));
        assert_int_equal(stat(directory, &there) == 0, status == QN_OK);
    }
    assert_true(n > 100);
    assert_int_equal(shell("rm -rf '%s'", directory), 0);
    qn_tensor_free(&items);
    net_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_constants_are_read_again),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_random_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
