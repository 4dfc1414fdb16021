/* Write arrays in every form quern reads, from a uint8 .npy in C order, for the scripts in tests/cli.
 *
 *   make_array convert IN OUT DESCR ORDER [DIVISOR]   .npy of type DESCR (|u1 |i1 <f4 >f8 >i2 ...), ORDER c, fortran or
 *                                                     nhwc (C order, channels last); each value divided first,
 * downwards make_array take IN OUT FIRST COUNT                items FIRST..FIRST+COUNT-1; COUNT may be 0 make_array idx
 * IN OUT                             MNIST IDX make_array pb IN OUT                              ONNX TensorProto
 *   make_array npz IN OUT NAME store|deflate          array NAME.npy of a zip archive, beside what is in it
 *
 * The files are an oracle: nothing of the library's readers or writers is used here, only its arenas. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/memory.h"
#include "proto/onnx.pb-c.h"

enum { MAX_RANK = 8, NPY_PREFIX = 10, NPY_ALIGNMENT = 64 };

typedef struct {
    int rank;
    int64_t dims[MAX_RANK];
    uint8_t *values;
} array;

static qn_arena arena;

static void die(const char *message, const char *subject)
{
    fprintf(stderr, "make_array: %s: %s\n", subject, message);
    exit(1);
}

static void *allocate(size_t n_bytes)
{
    void *memory = qn_arena_alloc(&arena, n_bytes);
    if (memory == NULL) {
        die("out of memory", "allocate");
    }
    return memory;
}

static int64_t count(const array *a, int first_dim)
{
    int64_t n = 1;
    for (int d = first_dim; d < a->rank; d++) {
        n *= a->dims[d];
    }
    return n;
}

static uint8_t *read_file(const char *path, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        die("cannot read", path);
    }
    *n_bytes = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = allocate(*n_bytes + 1); /* ends with a 0 */
    if (fread(bytes, 1, *n_bytes, file) != *n_bytes) {
        die("cannot read", path);
    }
    fclose(file);
    return bytes;
}

static FILE *create(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        die("cannot write", path);
    }
    return file;
}

static void finish(FILE *file, const char *path)
{
    if (ferror(file) || fclose(file) != 0) {
        die("cannot write", path);
    }
}

static array read_npy(const char *path)
{
    size_t n_bytes;
    uint8_t *bytes = read_file(path, &n_bytes);
    array a = {0};
    const char *header = (const char *)bytes + NPY_PREFIX, *shape = strstr(header, "'shape': (");
    if (n_bytes < NPY_PREFIX || strstr(header, "'|u1'") == NULL || strstr(header, "False") == NULL || shape == NULL) {
        die("is not uint8 .npy in C order", path);
    }
    shape += strlen("'shape': (");
    for (char *end; a.rank < MAX_RANK && (*shape == ' ' || (*shape >= '0' && *shape <= '9')); a.rank++) {
        a.dims[a.rank] = strtoll(shape, &end, 10);
        shape = *end == ',' ? end + 1 : end;
    }
    a.values = bytes + NPY_PREFIX + bytes[8] + 256 * bytes[9];
    if (a.values + count(&a, 0) != bytes + n_bytes) {
        die("has a shape that does not fit its size", path);
    }
    return a;
}

static void write_npy_header(FILE *file, const array *a, const char *descr, bool fortran)
{
    char text[400];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': %s, 'shape': (", descr,
                     fortran ? "True" : "False");
    for (int d = 0; d < a->rank; d++) {
        n += snprintf(text + n, sizeof text - (size_t)n, "%lld,%s", (long long)a->dims[d], d + 1 < a->rank ? " " : "");
    }
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    int padded = (n + 1 + NPY_PREFIX + NPY_ALIGNMENT - 1) / NPY_ALIGNMENT * NPY_ALIGNMENT - NPY_PREFIX;
    fwrite("\x93NUMPY\x01", 1, 7, file);
    fputc(0, file);
    fputc(padded & 0xFF, file);
    fputc(padded >> 8, file);
    fprintf(file, "%-*s\n", padded - 1, text);
}

/* The bytes of one value, least significant first, as a number. */
static uint64_t encode(uint8_t value, char kind, size_t size)
{
    uint64_t bits = value;
    if (kind == 'f' && size == sizeof(float)) {
        float f = value;
        uint32_t word;
        memcpy(&word, &f, sizeof word);
        bits = word;
    } else if (kind == 'f') {
        double f = value;
        memcpy(&bits, &f, sizeof bits);
    }
    return bits;
}

static void write_value(FILE *file, uint8_t value, const char *descr)
{
    size_t size = (size_t)(descr[2] - '0');
    uint64_t bits = encode(value, descr[1], size);
    for (size_t i = 0; i < size; i++) {
        size_t byte = descr[0] == '>' ? size - 1 - i : i;
        fputc((int)(bits >> (8 * byte) & 0xFF), file);
    }
}

/* `a` with its axes in another order. */
static array transpose(const array *a, const int *axes)
{
    array t = {.rank = a->rank};
    int64_t strides[MAX_RANK], index[MAX_RANK] = {0}, n = count(a, 0);
    for (int d = 0; d < a->rank; d++) {
        t.dims[d] = a->dims[axes[d]];
        strides[d] = count(a, axes[d] + 1);
    }
    t.values = allocate((size_t)n + 1);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        for (int d = 0; d < a->rank; d++) {
            from += index[d] * strides[d];
        }
        t.values[i] = a->values[from];
        for (int d = a->rank - 1; d >= 0 && ++index[d] == t.dims[d]; d--) {
            index[d] = 0;
        }
    }
    return t;
}

static void convert(const array *a, const char *out, char **args, int n_args)
{
    const char *descr = args[0], *order = args[1];
    int divisor = n_args > 2 ? atoi(args[2]) : 1;
    bool fortran = strcmp(order, "fortran") == 0;
    static const int nhwc[] = {0, 2, 3, 1};
    int reversed[MAX_RANK];
    for (int d = 0; d < a->rank; d++) {
        reversed[d] = a->rank - 1 - d;
    }
    array stored = *a, shape = *a;
    if (fortran) { /* Fortran order of a shape is C order of the reversed one */
        stored = transpose(a, reversed);
    } else if (strcmp(order, "nhwc") == 0 && a->rank == 4) {
        stored = shape = transpose(a, nhwc);
    } else if (strcmp(order, "c") != 0) {
        die("is not an order of this array", order);
    }
    FILE *file = create(out);
    write_npy_header(file, &shape, descr, fortran);
    for (int64_t i = 0, n = count(a, 0); i < n; i++) {
        write_value(file, (uint8_t)(stored.values[i] / divisor), descr);
    }
    finish(file, out);
}

static void take(const array *a, const char *out, char **args, int n_args)
{
    (void)n_args;
    int64_t first = atoll(args[0]), n = atoll(args[1]), item = count(a, 1);
    if (first < 0 || n < 0 || first + n > a->dims[0]) {
        die("has fewer items", out);
    }
    array part = *a;
    part.dims[0] = n;
    FILE *file = create(out);
    write_npy_header(file, &part, "|u1", false);
    fwrite(a->values + first * item, 1, (size_t)(n * item), file);
    finish(file, out);
}

static void write_idx(const array *a, const char *out, char **args, int n_args)
{
    (void)args;
    (void)n_args;
    FILE *file = create(out);
    const unsigned char magic[4] = {0, 0, 8 /* uint8 */, (unsigned char)a->rank};
    fwrite(magic, 1, sizeof magic, file);
    for (int d = 0; d < a->rank; d++) {
        for (int shift = 24; shift >= 0; shift -= 8) {
            fputc((int)((uint64_t)a->dims[d] >> shift & 0xFF), file);
        }
    }
    fwrite(a->values, 1, (size_t)count(a, 0), file);
    finish(file, out);
}

static void write_pb(const array *a, const char *out, char **args, int n_args)
{
    (void)args;
    (void)n_args;
    Onnx__TensorProto tensor = ONNX__TENSOR_PROTO__INIT;
    int64_t dims[MAX_RANK];
    memcpy(dims, a->dims, sizeof dims);
    tensor.n_dims = (size_t)a->rank;
    tensor.dims = dims;
    tensor.has_data_type = 1;
    tensor.data_type = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    tensor.has_raw_data = 1;
    tensor.raw_data.data = a->values;
    tensor.raw_data.len = (size_t)count(a, 0);
    size_t n_bytes = onnx__tensor_proto__get_packed_size(&tensor);
    uint8_t *bytes = allocate(n_bytes);
    onnx__tensor_proto__pack(&tensor, bytes);
    FILE *file = create(out);
    fwrite(bytes, 1, n_bytes, file);
    finish(file, out);
}

static void write_npz(const char *in, const char *out, char **args)
{
    size_t n_bytes;
    uint8_t *bytes = read_file(in, &n_bytes);
    char entry[200];
    snprintf(entry, sizeof entry, "%s.npy", args[0]);
    zip_t *archive = zip_open(out, ZIP_CREATE, NULL);
    zip_source_t *source = archive != NULL ? zip_source_buffer(archive, bytes, n_bytes, 0) : NULL;
    zip_int64_t index = source != NULL ? zip_file_add(archive, entry, source, ZIP_FL_ENC_UTF_8) : -1;
    int method = strcmp(args[1], "store") == 0 ? ZIP_CM_STORE : ZIP_CM_DEFLATE;
    if (index < 0 || zip_set_file_compression(archive, (zip_uint64_t)index, method, 0) != 0 ||
        zip_close(archive) != 0) {
        die("cannot write", out);
    }
}

static const struct {
    const char *name;
    int least_args;
    void (*write)(const array *a, const char *out, char **args, int n_args);
} forms[] = {
    {"convert", 2, convert},
    {"take", 2, take},
    {"idx", 0, write_idx},
    {"pb", 0, write_pb},
};

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "npz") == 0) {
        write_npz(argv[2], argv[3], argv + 4);
        qn_arena_free(&arena);
        return 0;
    }
    for (size_t i = 0; argc >= 4 && i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(argv[1], forms[i].name) == 0 && argc - 4 >= forms[i].least_args) {
            array a = read_npy(argv[2]);
            forms[i].write(&a, argv[3], argv + 4, argc - 4);
            qn_arena_free(&arena);
            return 0;
        }
    }
    fprintf(stderr, "usage: make_array convert|take|idx|pb|npz IN OUT ...; see the source's first comment\n");
    return 2;
}
