/* Write the shared vectors of AMD's ap_fixed as one file of little-endian 64-bit words, which tests/hls_ap.cpp reads.
 *
 *   hls_vectors FOLDER OUT       FOLDER holds ap_fixed_from_double.npz and hls4ml_dense.npz
 *
 * Casts:  1, signed, W, I, Qs, Os, n, then n doubles and Qs * Os * n raw integers
 * Dense:  2, inputs, outputs, samples, of x w b acc y r {signed, W, I, Q, O}, then arrays x w b y r, all per sample
 * Q and O are indices into the names of the vectors. Ends with 0. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npz_json.h"
#include "support.h"

static const char *const q_names[] = {"TRN", "TRN_ZERO", "RND", "RND_CONV", "RND_INF", "RND_ZERO", "RND_MIN_INF"};
static const char *const o_names[] = {"WRAP", "SAT", "SAT_SYM", "SAT_ZERO", "WRAP_SM"};
static FILE *out;

static void put(int64_t word)
{
    if (fwrite(&word, sizeof word, 1, out) != 1) {
        perror("hls_vectors");
        exit(1);
    }
}

static int64_t element(const qn_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case QN_DTYPE_S16:
        return ((const int16_t *)t->data)[i];
    case QN_DTYPE_S32:
        return ((const int32_t *)t->data)[i];
    case QN_DTYPE_S64:
        return ((const int64_t *)t->data)[i];
    case QN_DTYPE_F64: { /* its bits */
        int64_t bits;
        memcpy(&bits, (const double *)t->data + i, sizeof bits);
        return bits;
    }
    default:
        fprintf(stderr, "hls_vectors: unexpected element type\n");
        exit(1);
    }
}

static void put_array(const char *path, const char *key, const char *part, int64_t dims[8], bool header_only)
{
    char name[64];
    snprintf(name, sizeof name, "%s_%s", key, part);
    qn_tensor t = npz_read(path, name);
    memcpy(dims, t.dims, (size_t)t.rank * sizeof *dims);
    for (int64_t i = 0; !header_only && i < qn_tensor_count(&t); i++) {
        put(element(&t, i));
    }
    qn_tensor_free(&t);
}

static int index_of(const char *const *names, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "hls_vectors: unknown mode %s\n", name);
    exit(1);
}

static int64_t number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_true(value) ? 1 : json_integer_value(value);
}

static void casts(const char *path)
{
    json_t *meta = npz_meta_read(path, "meta_json");
    const char *key;
    json_t *row;
    json_object_foreach(meta, key, row)
    {
        char name[64];
        snprintf(name, sizeof name, "%s_x", key);
        qn_tensor x = npz_read_optional(path, name);
        if (x.data == NULL) {
            continue; /* the shared copy is a selection */
        }
        int64_t dims[8];
        put_array(path, key, "raw", dims, true);
        put(1);
        put(number(row, "signed"));
        put(number(row, "W"));
        put(number(row, "I"));
        put(dims[0]);
        put(dims[1]);
        put(dims[2]);
        for (int64_t i = 0; i < dims[2]; i++) {
            put(element(&x, i));
        }
        put_array(path, key, "raw", dims, false);
        qn_tensor_free(&x);
    }
    json_decref(meta);
}

static void dense(const char *path)
{
    static const char *const parts[] = {"x", "w", "b", "acc", "y", "r"};
    json_t *types = npz_meta_read(path, "types_json");
    const char *key;
    json_t *row;
    json_object_foreach(types, key, row)
    {
        int64_t x[8], b[8], dims[8];
        put_array(path, key, "x", x, true);
        put_array(path, key, "b", b, true);
        put(2);
        put(x[1]);
        put(b[1]);
        put(x[0]);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            const json_t *type = json_object_get(row, parts[i]);
            put(number(type, "signed"));
            put(number(type, "W"));
            put(number(type, "I"));
            put(index_of(q_names, 7, json_string_value(json_object_get(type, "Q"))));
            put(index_of(o_names, 5, json_string_value(json_object_get(type, "O"))));
        }
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            if (strcmp(parts[i], "acc") != 0) {
                put_array(path, key, parts[i], dims, false);
            }
        }
    }
    json_decref(types);
}

int main(int argc, char **argv)
{
    if (argc != 3 || (out = fopen(argv[2], "wb")) == NULL) {
        fprintf(stderr, "usage: hls_vectors FOLDER OUT\n");
        return 2;
    }
    char path[1024];
    snprintf(path, sizeof path, "%s/ap_fixed_from_double.npz", argv[1]);
    casts(path);
    snprintf(path, sizeof path, "%s/hls4ml_dense.npz", argv[1]);
    dense(path);
    put(0);
    return fclose(out) != 0;
}
