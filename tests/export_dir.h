/* Exports of random networks in scratch directories, and their files in memory. */
#ifndef QN_TESTS_EXPORT_DIR_H
#define QN_TESTS_EXPORT_DIR_H

#include "random_networks.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"

/* "DIR/NAME"; lives until the next 8 calls. */
static inline const char *in_dir(const char *directory, const char *name)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static inline qn_file_bytes file_of(const char *directory, const char *name)
{
    qn_error err;
    qn_error_init(&err);
    qn_file_bytes bytes;
    qn_assert_ok(qn_file_read(&bytes, in_dir(directory, name), &err), &err);
    return bytes;
}

static inline void write_file(const char *directory, const char *name, const void *data, size_t n)
{
    FILE *file = fopen(in_dir(directory, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static inline json_t *manifest_of(const char *directory)
{
    json_error_t where;
    json_t *root = json_load_file(in_dir(directory, "manifest.json"), JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        fail_msg("%s: %s", directory, where.text);
    }
    return root;
}

/* The item of a list of objects whose `key` is `value`. */
static inline const json_t *member(const json_t *list, const char *key, const char *value)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (strcmp(json_string_value(json_object_get(item, key)), value) == 0) {
            return item;
        }
    }
    fail_msg("no %s '%s'", key, value);
    return NULL;
}

/* An integer member. */
static inline int64_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* A random network of an arithmetic; by turns of maps and of tokens. */
static inline void export_net(random_net *t, uint64_t seed)
{
    const qn_arithmetic arithmetic = net_arithmetic(seed / 2);
    if (seed % 2 == 0) {
        net_of_maps(t, seed);
    } else {
        net_of_tokens(t, seed);
    }
    qn_assert_ok(qn_graph_set_arithmetic(&t->model.graph, &arithmetic, &t->err), &t->err);
}

/* Items for the network's input, [n, ...]. */
static inline qn_tensor export_inputs(random_net *t, int64_t n)
{
    const qn_value *x = &t->model.graph.values[t->model.graph.inputs[0]];
    int64_t dims[QN_MAX_RANK] = {n};
    memcpy(dims + 1, x->dims + 1, (size_t)(x->rank - 1) * sizeof *dims);
    qn_tensor items;
    qn_assert_ok(qn_tensor_alloc(&items, QN_DTYPE_F32, x->rank, dims, &t->err), &t->err);
    for (int64_t i = 0; i < qn_tensor_count(&items); i++) {
        ((float *)items.data)[i] = qn_test_uniform(&t->seed, -4.5f, 4.5f);
    }
    return items;
}

/* Export with npz and n vectors (0: none). */
static inline void export_to(random_net *t, const char *directory, const qn_tensor *items)
{
    qn_export_options options;
    qn_export_options_init(&options);
    options.targets = 1u << QN_EXPORT_MANIFEST | 1u << QN_EXPORT_NPZ;
    options.overwrite = true;
    qn_dataset *set = NULL;
    if (items != NULL) {
        qn_assert_ok(qn_dataset_of_tensor(&set, items, NULL, &t->err), &t->err);
        options.vectors = set;
    }
    qn_assert_ok(qn_export(&t->model, directory, &options, NULL, &t->err), &t->err);
    qn_dataset_close(set);
}

#endif
