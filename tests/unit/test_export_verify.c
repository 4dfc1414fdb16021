/* Whatever is changed in an export is found, and told by its place. */
#include "export_dir.h"

#include "export/manifest.h"

enum { STEP = 97, N_ITEMS = 2, LINES = 20 };

static qn_export_check verify(const char *directory)
{
    qn_error err;
    qn_error_init(&err);
    qn_export_check check;
    qn_assert_ok(qn_export_verify(&check, directory, NULL, NULL, &err), &err);
    return check;
}

/* The export differs, and what is told has all of `a` and `b` (NULL: any). */
static void assert_told(const char *directory, const char *a, const char *b)
{
    qn_export_check check = verify(directory);
    if (check.n_differences == 0 || strstr(check.text, a) == NULL || (b != NULL && strstr(check.text, b) == NULL)) {
        fail_msg("'%s', '%s' is not told: %lld differences: %s", a, b != NULL ? b : "", (long long)check.n_differences,
                 check.text);
    }
    free(check.text);
}

static void assert_clean(const char *directory)
{
    qn_export_check check = verify(directory);
    if (check.n_differences != 0) {
        fail_msg("%s: %s", directory, check.text);
    }
    assert_string_equal(check.text, "");
    free(check.text);
}

static void make(random_net *t, uint64_t seed, const char *directory)
{
    export_net(t, seed);
    qn_tensor items = export_inputs(t, N_ITEMS);
    export_to(t, directory, &items);
    qn_tensor_free(&items);
}

static void test_exports_are_what_they_say(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 16; seed++) {
        random_net t;
        make(&t, seed, qn_scratch_file("clean"));
        qn_export_check check = verify(qn_scratch_file("clean"));
        assert_int_equal(check.n_differences, 0);
        assert_int_equal(check.n_vectors, N_ITEMS);
        assert_true(check.n_files > 10 && check.n_tensors > 10 && check.n_elements > 100);
        free(check.text);
        net_release(&t);
    }
}

/* The item of a list of objects, "tensors" or "layers", that byte `at` of the manifest is in; -1: none. */
static int item_of(const char *text, const char *list, const char *next, size_t at)
{
    char head[64], tail[64];
    snprintf(head, sizeof head, "\n \"%s\": [", list);
    snprintf(tail, sizeof tail, "\n \"%s\": ", next);
    const char *start = strstr(text, head), *end = strstr(text, tail);
    assert_non_null(start);
    assert_non_null(end);
    int item = -1;
    if (text + at < start + strlen(head) || text + at >= end) {
        return -1;
    }
    for (const char *p = start; (p = strstr(p, "\n  {")) != NULL && p + 4 <= text + at; p++) {
        item++;
    }
    return item;
}

/* The "name" of that item, as the manifest says. */
static void name_of(char *name, size_t size, const json_t *root, const char *list, int item)
{
    const json_t *object = json_array_get(json_object_get(root, list), (size_t)item);
    snprintf(name, size, "'%s'", json_string_value(json_object_get(object, "name")));
}

static void test_every_bit_of_the_manifest_counts(void **state)
{
    (void)state;
    int n_parsed = 0, n_named = 0, n_all = 0;
    for (uint64_t seed = 0; seed < 2; seed++) {
        const char *directory = qn_scratch_file("manifest");
        random_net t;
        make(&t, seed, directory);
        qn_file_bytes bytes = file_of(directory, "manifest.json");
        json_t *root = manifest_of(directory);
        char *text = qn_alloc(bytes.size + 1);
        for (size_t at = seed; at < bytes.size; at += seed == 0 ? STEP : 5 * STEP, n_all++) {
            qn_error err;
            qn_error_init(&err);
            qn_export_check check;
            memcpy(text, bytes.data, bytes.size);
            text[at] = (char)(text[at] ^ 1 << (at / STEP + seed) % 7);
            write_file(directory, "manifest.json", text, bytes.size);
            const qn_status status = qn_export_verify(&check, directory, NULL, NULL, &err);
            if (status != QN_OK) { /* it is no manifest any more */
                assert_int_equal(status, QN_EFORMAT);
                assert_non_null(strstr(err.message, "manifest.json"));
                continue;
            }
            n_parsed++;
            if (check.n_differences == 0) {
                fail_msg("bit %zu of byte %zu of the manifest is not missed: %.80s", (at / STEP + seed) % 7, at,
                         (const char *)bytes.data + (at > 40 ? at - 40 : 0));
            }
            const int tensor = item_of((const char *)bytes.data, "tensors", "layers", at);
            const int layer = item_of((const char *)bytes.data, "layers", "targets", at);
            char place[32], name[200];
            if (tensor >= 0 || layer >= 0) {
                const char *list = tensor >= 0 ? "tensors" : "layers";
                snprintf(place, sizeof place, "%s[%d]", list, tensor >= 0 ? tensor : layer);
                name_of(name, sizeof name, root, list, tensor >= 0 ? tensor : layer);
                if (strstr(check.text, place) == NULL || strstr(check.text, name) == NULL) {
                    fail_msg("byte %zu: '%s' or %s is not in %s", at, place, name, check.text);
                }
                n_named++;
            }
            free(check.text);
        }
        write_file(directory, "manifest.json", bytes.data, bytes.size);
        assert_clean(directory);
        qn_free(text);
        json_decref(root);
        qn_file_bytes_free(&bytes);
        net_release(&t);
    }
    assert_true(n_all > 300 && n_parsed > n_all / 2 && n_named > n_parsed / 3);
}

/* Every file but the manifest: bytes here and there, and the last one. */
static void test_every_bit_of_the_files_counts(void **state)
{
    (void)state;
    for (uint64_t seed = 4; seed < 6; seed++) {
        const char *directory = qn_scratch_file("files");
        random_net t;
        make(&t, seed, directory);
        json_t *root = manifest_of(directory);
        const json_t *files = json_object_get(root, "files"), *tensors = json_object_get(root, "tensors");
        for (size_t f = 0; f < json_array_size(files); f++) {
            const char *path = json_string_value(json_object_get(json_array_get(files, f), "path"));
            qn_file_bytes bytes = file_of(directory, path);
            const size_t step = strcmp(path, "model.onnx") == 0 || seed != 4 ? 11 * STEP : STEP;
            for (size_t at = f; at < bytes.size + step; at += step) {
                const size_t place = at < bytes.size ? at : bytes.size - 1;
                const unsigned char bit = (unsigned char)(1u << (at / STEP) % 8);
                bytes.data[place] ^= bit;
                write_file(directory, path, bytes.data, bytes.size);
                assert_told(directory, path, NULL);
                bytes.data[place] ^= bit;
            }
            write_file(directory, path, bytes.data, bytes.size);
            qn_file_bytes_free(&bytes);
        }
        assert_clean(directory);
        /* integers: the element by its indices, and the tensor by its name in the model */
        for (size_t i = 0; i < json_array_size(tensors); i++) {
            const json_t *tensor = json_array_get(tensors, i), *shape = json_object_get(tensor, "shape");
            const char *role = json_string_value(json_object_get(tensor, "role"));
            if (strcmp(role, "weights") != 0) {
                continue;
            }
            char path[128], place[300];
            size_t n = 0;
            snprintf(path, sizeof path, "npz/%s.bin", json_string_value(json_object_get(tensor, "id")));
            qn_file_bytes bytes = file_of(directory, path);
            n = (size_t)snprintf(place, sizeof place, "%s: '%s'[", path,
                                 json_string_value(json_object_get(tensor, "name")));
            for (size_t d = 0; d < json_array_size(shape); d++) { /* the last element */
                n += (size_t)snprintf(place + n, sizeof place - n, d == 0 ? "%lld" : ", %lld",
                                      (long long)json_integer_value(json_array_get(shape, d)) - 1);
            }
            const int was = (int8_t)bytes.data[bytes.size - 1];
            bytes.data[bytes.size - 1] ^= 2;
            snprintf(place + n, sizeof place - n, "]: is %d, should be %d", (int8_t)bytes.data[bytes.size - 1], was);
            write_file(directory, path, bytes.data, bytes.size);
            assert_told(directory, place, NULL);
            bytes.data[bytes.size - 1] ^= 2;
            write_file(directory, path, bytes.data, bytes.size);
            qn_file_bytes_free(&bytes);
        }
        json_decref(root);
        net_release(&t);
    }
}

/* Files that are not there, too long, too many, links; all told, nothing outside read. */
static void test_other_files_are_told(void **state)
{
    (void)state;
    const char *directory = qn_scratch_file("others");
    random_net t;
    make(&t, 7, directory);
    write_file(directory, "npz/extra.bin", "x", 1);
    assert_told(directory, "npz/extra.bin: is not listed in the manifest", NULL);
    assert_int_equal(unlink(in_dir(directory, "npz/extra.bin")), 0);
    assert_int_equal(symlink("/etc/hostname", in_dir(directory, "link")), 0);
    assert_told(directory, "link: is a symbolic link", NULL);
    assert_int_equal(unlink(in_dir(directory, "link")), 0);
    assert_int_equal(mkfifo(in_dir(directory, "pipe"), 0600), 0);
    assert_told(directory, "pipe: is neither file nor folder", NULL);
    assert_int_equal(unlink(in_dir(directory, "pipe")), 0);

    json_t *root = manifest_of(directory);
    json_t *files = json_object_get(root, "files");
    for (size_t i = 0; i < json_array_size(files); i += 3) {
        const char *path = json_string_value(json_object_get(json_array_get(files, i), "path"));
        char told[200];
        qn_file_bytes bytes = file_of(directory, path);
        assert_int_equal(unlink(in_dir(directory, path)), 0);
        snprintf(told, sizeof told, "%s: is missing", path);
        assert_told(directory, told, NULL);
        assert_int_equal(symlink("/etc/hostname", in_dir(directory, path)), 0); /* a link in its place */
        assert_told(directory, told, "is a symbolic link");
        assert_int_equal(unlink(in_dir(directory, path)), 0);
        write_file(directory, path, bytes.data, bytes.size / 2);
        snprintf(told, sizeof told, "%s: has %zu bytes, the manifest says %zu", path, bytes.size / 2, bytes.size);
        assert_told(directory, told, NULL);
        write_file(directory, path, bytes.data, bytes.size);
        qn_file_bytes_free(&bytes);
    }
    assert_clean(directory);

    json_array_append(files, json_array_get(files, 0)); /* once more */
    assert_int_equal(json_dump_file(root, in_dir(directory, "manifest.json"), 0), 0);
    assert_told(directory, "lists 'model.onnx' again", NULL);
    json_array_remove(files, json_array_size(files) - 1);

    static const char *const paths[] = {"../model.onnx", "/etc/hostname", "npz/../../x", "npz//x", "./model.onnx", ""};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        json_t *entry = json_deep_copy(json_array_get(files, 0));
        json_object_set_new(entry, "path", json_string(paths[i]));
        json_array_append_new(files, entry);
        assert_int_equal(json_dump_file(root, in_dir(directory, "manifest.json"), 0), 0);
        assert_told(directory, "leads out of the directory; it is not read", paths[i]);
        json_array_remove(files, json_array_size(files) - 1);
    }
    json_decref(root);
    net_release(&t);
}

static void set(json_t *root, const char *keys, json_t *value)
{
    char word[64];
    json_t *at = root;
    while (strchr(keys, '.') != NULL) {
        snprintf(word, sizeof word, "%.*s", (int)strcspn(keys, "."), keys);
        at = json_object_get(at, word);
        keys = strchr(keys, '.') + 1;
    }
    assert_int_equal(json_object_set_new(at, keys, value), 0);
}

/* Manifests of another kind, or whose members are of another type: an error or a difference, whatever they are. */
static void test_hostile_manifests(void **state)
{
    (void)state;
    static const char *const keys[] = {"schema",
                                       "version",
                                       "quern",
                                       "model",
                                       "options",
                                       "options.targets",
                                       "options.cmsis_nn",
                                       "options.vectors",
                                       "vectors",
                                       "inputs",
                                       "outputs",
                                       "tensors",
                                       "layers",
                                       "targets",
                                       "files",
                                       "digest",
                                       "model.source",
                                       "model.source.name",
                                       "model.source.sha256",
                                       "model.sha256",
                                       "arithmetic"};
    static const char *const values[] = {
        "null", "[]", "{}", "-1", "\"\"", "true", "[[null, 3]]", "\"..\"", "9223372036854775807"};
    const char *directory = qn_scratch_file("hostile");
    random_net t;
    make(&t, 8, directory);
    json_t *root = manifest_of(directory);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            json_t *copy = json_deep_copy(root);
            set(copy, keys[k], json_loads(values[v], JSON_DECODE_ANY, NULL));
            assert_int_equal(json_dump_file(copy, in_dir(directory, "manifest.json"), 0), 0);
            qn_error err;
            qn_error_init(&err);
            qn_export_check check;
            const qn_status status = qn_export_verify(&check, directory, NULL, NULL, &err);
            if (status == QN_OK) {
                assert_true(check.n_differences > 0);
                free(check.text);
            } else {
                assert_int_equal(status, QN_EFORMAT);
            }
            json_decref(copy);
        }
    }
    json_decref(root);
    static const struct {
        const char *text, *told;
    } rows[] = {
        {"", "manifest.json: line 1"},
        {"[]", "is no JSON object"},
        {"{", "manifest.json: line 1"},
        {"{\"schema\": 1, \"schema\": 2}", "manifest.json: line 1"},
        {"{\"schema\": \"other\"}", "is no manifest of an export"},
        {"{\"schema\": \"quern-export\", \"version\": 99}", "schema version that this quern does not know"},
        {"{\"schema\": \"quern-export\", \"version\": 1}", "'files' is no list"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        qn_error err;
        qn_error_init(&err);
        qn_export_check check;
        write_file(directory, "manifest.json", rows[i].text, strlen(rows[i].text));
        qn_assert_fails(qn_export_verify(&check, directory, NULL, NULL, &err), &err, QN_EFORMAT, rows[i].told);
        assert_null(check.text);
    }
    qn_error err;
    qn_error_init(&err);
    qn_export_check check;
    assert_int_equal(unlink(in_dir(directory, "manifest.json")), 0);
    qn_assert_fails(qn_export_verify(&check, directory, NULL, NULL, &err), &err, QN_EFORMAT, "holds no manifest.json");
    qn_error_init(&err);
    qn_assert_fails(qn_export_verify(&check, qn_scratch_file("nowhere"), NULL, NULL, &err), &err, QN_EIO, "directory");
    net_release(&t);
}

/* Another model in its place, with the right list: what it is not is told. */
static void test_another_model_is_told(void **state)
{
    (void)state;
    const char *directory = qn_scratch_file("swapped");
    random_net t, u;
    make(&t, 10, directory);
    export_net(&u, 12);
    qn_assert_ok(qn_model_save(&u.model, in_dir(directory, "model.onnx"), true, &u.err), &u.err);
    assert_told(directory, "model.onnx: its SHA-256 is", NULL);
    write_file(directory, "model.onnx", "no model", 8);
    assert_told(directory, "model.onnx: cannot be read", NULL);
    net_release(&t);
    net_release(&u);
}

/* At most twenty lines, then a count. */
static void test_many_differences_are_counted(void **state)
{
    (void)state;
    const char *directory = qn_scratch_file("many");
    random_net t;
    make(&t, 14, directory);
    json_t *root = manifest_of(directory);
    const json_t *tensors = json_object_get(root, "tensors");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        if (strcmp(json_string_value(json_object_get(tensor, "role")), "weights") != 0 ||
            json_integer_value(json_object_get(tensor, "count")) < 60) {
            continue;
        }
        char path[128];
        snprintf(path, sizeof path, "npz/%s.bin", json_string_value(json_object_get(tensor, "id")));
        qn_file_bytes bytes = file_of(directory, path);
        for (size_t k = 0; k < bytes.size; k++) {
            bytes.data[k] ^= 1;
        }
        write_file(directory, path, bytes.data, bytes.size);
        qn_export_check check = verify(directory);
        int lines = 0;
        for (const char *p = check.text; *p != '\0'; p++) {
            lines += *p == '\n';
        }
        char more[64];
        snprintf(more, sizeof more, "... and %zu more", bytes.size - LINES);
        assert_int_equal(check.n_differences, bytes.size);
        assert_int_equal(lines, LINES + 1);
        assert_non_null(strstr(check.text, more));
        free(check.text);
        qn_file_bytes_free(&bytes);
        json_decref(root);
        net_release(&t);
        return;
    }
    fail_msg("no weights of 60 elements");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exports_are_what_they_say),
        cmocka_unit_test(test_every_bit_of_the_manifest_counts),
        cmocka_unit_test(test_every_bit_of_the_files_counts),
        cmocka_unit_test(test_other_files_are_told),
        cmocka_unit_test(test_hostile_manifests),
        cmocka_unit_test(test_another_model_is_told),
        cmocka_unit_test(test_many_differences_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
