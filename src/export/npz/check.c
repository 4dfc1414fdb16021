/* Reading npz and vectors again: integers against the codes that the model has, the rest against what it should be. */
#include <stdio.h>
#include <string.h>

#include "export/vectors.h"
#include "export/verify.h"
#include "graph/model.h"

/* "npz/ID.SUFFIX": the ID, where the name ends so. */
static bool id_of(char id[100], const char *path, const char *suffix)
{
    const char *name = strrchr(path, '/') + 1;
    const size_t n = strlen(name), m = strlen(suffix);
    if (n <= m || n - m >= 100 || strcmp(name + n - m, suffix) != 0) {
        return false;
    }
    memcpy(id, name, n - m);
    id[n - m] = '\0';
    return true;
}

static const qn_export_constant *constant_of(const qn_export_checking *c, const char *id)
{
    for (int i = 0; i < c->constants.n; i++) {
        if (strcmp(c->constants.rows[i].id, id) == 0) {
            return &c->constants.rows[i];
        }
    }
    return NULL;
}

static const qn_export_io *io_of(const qn_export_checking *c, const char *id)
{
    const qn_export_network *n = c->job->network;
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const qn_export_io *io = i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
        if (strcmp(io->id, id) == 0) {
            return io;
        }
    }
    return NULL;
}

/* The name in the model of an input or output. */
static const char *io_name(const qn_export_checking *c, const char *id)
{
    const qn_export_io *io = io_of(c, id);
    return io != NULL ? io->name : id;
}

/* The codes as the model in the directory says, not as the export was made from. */
static const qn_tensor *codes_of(const qn_export_checking *c, const qn_export_constant *constant)
{
    const qn_value_id value = qn_graph_find(&c->model->graph, constant->name);
    const qn_tensor *codes = value != QN_NO_VALUE ? c->model->graph.values[value].codes : NULL;
    return codes != NULL ? codes : constant->codes;
}

static qn_status compare_npy(qn_export_checking *c, const char *path, const char *name, const void *found,
                             size_t n_found, const qn_tensor *expected)
{
    qn_tensor t;
    qn_error why;
    qn_error_init(&why);
    if (qn_export_read_npy(&t, found, n_found, path, &why) != QN_OK) {
        qn_export_differs(c, "%s: '%s': %s", path, name, why.message);
    } else {
        (void)qn_export_compare_tensors(c, path, name, expected, &t);
    }
    return QN_OK;
}

/* Against the array that should be there. */
static qn_status compare_arrays(qn_export_checking *c, const char *path, const char *name, const void *found,
                                size_t n_found, const void *expected, size_t n_expected, qn_error *err)
{
    qn_tensor t;
    QN_TRY(qn_export_read_npy(&t, expected, n_expected, path, err));
    return compare_npy(c, path, name, found, n_found, &t);
}

qn_status qn_export_check_vectors(qn_export_checking *c, const char *path, const void *found, size_t n_found,
                                  const void *expected, size_t n_expected, qn_error *err)
{
    char id[100];
    const char *name = id_of(id, path, "_floats.npy") || id_of(id, path, "_codes.npy") ? io_name(c, id) : path;
    return compare_arrays(c, path, name, found, n_found, expected, n_expected, err);
}

static void compare_bin(qn_export_checking *c, const char *path, const char *name, const void *found, size_t n_found,
                        const qn_tensor *expected)
{
    qn_tensor t = *expected;
    t.data = (void *)(uintptr_t)found;
    if (n_found == qn_tensor_bytes(expected)) {
        (void)qn_export_compare_tensors(c, path, name, expected, &t);
    }
}

static qn_status compare_packed(qn_export_checking *c, const char *path, const char *name, const void *found,
                                size_t n_found, const qn_tensor *expected, const qn_format *format, qn_error *err)
{
    size_t n_bytes;
    qn_tensor t;
    const int64_t n = qn_tensor_count(expected);
    QN_TRY(qn_packed_bytes(&n_bytes, n, format->bits, QN_PACKING_DENSE, err));
    if (n_bytes != n_found) {
        return QN_OK; /* sizes are told elsewhere */
    }
    QN_TRY(qn_tensor_alloc(&t, expected->dtype, expected->rank, expected->dims, err));
    const qn_packed p = {.data = (void *)(uintptr_t)found, .n = n, .bits = format->bits, .packing = QN_PACKING_DENSE};
    for (int64_t i = 0; i < n; i++) { /* of the formats that are packed, codes are bytes */
        const uint32_t code = qn_packed_get(&p, i);
        const bool negative = format->is_signed && t.dtype == QN_DTYPE_S8 && (code >> (format->bits - 1) & 1) != 0;
        ((uint8_t *)t.data)[i] = (uint8_t)(negative ? code | (~0u << format->bits) : code);
    }
    (void)qn_export_compare_tensors(c, path, name, expected, &t);
    qn_tensor_free(&t);
    return QN_OK;
}

/* The member of an archive of stored members that byte `at` is in: archive and names are our own. */
static void name_member(char name[160], const unsigned char *zip, size_t n, size_t at)
{
    size_t p = 0;
    snprintf(name, 160, "the directory of the archive");
    while (p + 30 <= n && memcmp(zip + p, "PK\3\4", 4) == 0) {
        const size_t n_name = zip[p + 26] | (size_t)zip[p + 27] << 8, n_extra = zip[p + 28] | (size_t)zip[p + 29] << 8;
        const size_t size =
            zip[p + 18] | (size_t)zip[p + 19] << 8 | (size_t)zip[p + 20] << 16 | (size_t)zip[p + 21] << 24;
        const size_t end = p + 30 + n_name + n_extra + size;
        if (end > n || (zip[p + 6] & 8) != 0) {
            return;
        }
        if (at < end) {
            snprintf(name, 160, "member %.*s", (int)(n_name < 140 ? n_name : 140), (const char *)zip + p + 30);
            return;
        }
        p = end;
    }
}

static void compare_archives(qn_export_checking *c, const char *path, const unsigned char *found, size_t n_found,
                             const unsigned char *expected, size_t n_expected)
{
    char member[160], name[300] = "";
    size_t at = 0;
    while (at < n_found && at < n_expected && found[at] == expected[at]) {
        at++;
    }
    if (at == n_found && at == n_expected) {
        return;
    }
    name_member(member, expected, n_expected, at);
    for (int i = 0; i < c->constants.n; i++) {
        const size_t n = strlen(c->constants.rows[i].id);
        if (strlen(member) > 7 + n && strncmp(member + 7, c->constants.rows[i].id, n) == 0 &&
            (member[7 + n] == '.' || strncmp(member + 7 + n, "_scales", 7) == 0 ||
             strncmp(member + 7 + n, "_zero_points", 12) == 0)) {
            snprintf(name, sizeof name, ", of '%.200s'", c->constants.rows[i].name);
        }
    }
    qn_export_differs(c, "%s: %s%s: byte %zu of the file is 0x%02x, should be 0x%02x", path, member, name, at,
                      at < n_found ? found[at] : 0, at < n_expected ? expected[at] : 0);
}

static qn_status check_constant(qn_export_checking *c, const qn_export_constant *constant, const char *path,
                                const void *found, size_t n_found, qn_error *err)
{
    const qn_tensor *codes = codes_of(c, constant);
    char id[100];
    if (id_of(id, path, ".packed.bin")) {
        return compare_packed(c, path, constant->name, found, n_found, codes, &constant->q->format, err);
    }
    if (id_of(id, path, ".bin")) {
        compare_bin(c, path, constant->name, found, n_found, codes);
        return QN_OK;
    }
    return compare_npy(c, path, constant->name, found, n_found, codes);
}

/* Codes of an input or output, in the model's order; of packed ones the bytes are compared elsewhere. */
static qn_status check_vector(qn_export_checking *c, const char *id, const char *path, const void *found,
                              size_t n_found, const void *expected, size_t n_expected, qn_error *err)
{
    char other[100];
    const qn_export_io *io = io_of(c, id);
    if (id_of(other, path, ".npy")) {
        return compare_arrays(c, path, io_name(c, id), found, n_found, expected, n_expected, err);
    }
    if (io == NULL || io->tensor < 0 || id_of(other, path, ".packed.bin")) {
        return QN_OK;
    }
    const qn_export_tensor *t = &c->job->network->tensors[io->tensor];
    qn_tensor codes = {.dtype = qn_export_code_dtype(t->bits, t->is_signed), .data = (void *)(uintptr_t)expected};
    codes.dims[0] = c->job->n_vectors;
    codes.rank = 1 + qn_export_code_shape(t, true, codes.dims + 1);
    if (qn_tensor_bytes(&codes) == n_expected) {
        compare_bin(c, path, io->name, found, n_found, &codes);
    }
    return QN_OK;
}

qn_status qn_export_check_npz(qn_export_checking *c, const char *path, const void *found, size_t n_found,
                              const void *expected, size_t n_expected, qn_error *err)
{
    char id[100];
    if (strcmp(path, "npz/weights.npz") == 0) {
        compare_archives(c, path, found, n_found, expected, n_expected);
        return QN_OK;
    }
    if (!id_of(id, path, ".packed.bin") && !id_of(id, path, ".bin") && !id_of(id, path, ".npy")) {
        return QN_OK;
    }
    const qn_export_constant *constant = constant_of(c, id);
    if (constant != NULL) {
        return check_constant(c, constant, path, found, n_found, err);
    }
    if (id_of(id, path, "_scales.npy") || id_of(id, path, "_zero_points.npy")) {
        constant = constant_of(c, id);
        return compare_arrays(c, path, constant != NULL ? constant->name : id, found, n_found, expected, n_expected,
                              err);
    }
    (void)(id_of(id, path, ".packed.bin") || id_of(id, path, ".bin") || id_of(id, path, ".npy"));
    return check_vector(c, id, path, found, n_found, expected, n_expected, err);
}
