/* What a fault in memory is in files: elements of npz/, words of mem/, elements of arrays in c/model.c and
 * hls/weights/. Each target's own list of what it prints is made of both networks and compared. */
#include "export/faulty.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export/c/parts.h"
#include "export/manifest.h"
#include "export/mem/images.h"

static bool has(const qn_export_job *job, qn_export_target target)
{
    return (job->options->targets >> target & 1) != 0;
}

static json_t *hex(uint64_t x, int bits)
{
    char digits[20], text[24];
    snprintf(digits, sizeof digits, "%016" PRIx64, bits < 64 ? x & ((UINT64_C(1) << bits) - 1) : x);
    snprintf(text, sizeof text, "0x%s", digits + 16 - (bits + 3) / 4);
    return json_string(text);
}

/* ---- npz ---- */

static void compare_constant(json_t *list, const qn_export_constant *a, const qn_export_constant *b)
{
    const size_t size = qn_dtype_size(a->codes->dtype);
    const int bits = a->q->format.bits;
    for (int64_t i = 0, n = qn_tensor_count(a->codes); i < n; i++) {
        const int64_t was = qn_export_code_at(a->codes, i), is = qn_export_code_at(b->codes, i);
        if (was == is) {
            continue;
        }
        char path[128];
        json_t *o = json_object();
        snprintf(path, sizeof path, "npz/%s.bin", a->id);
        qn_export_json_set(o, "file", json_string(path));
        qn_export_json_set(o, "offset", json_integer((json_int_t)((size_t)i * size)));
        qn_export_json_set(o, "bytes", json_integer((json_int_t)size));
        qn_export_json_set(o, "index", json_integer(i));
        qn_export_json_set(o, "before", json_integer(was));
        qn_export_json_set(o, "after", json_integer(is));
        qn_export_json_set(o, "xor", hex((uint64_t)was ^ (uint64_t)is, (int)size * 8));
        if (bits < 8) {
            snprintf(path, sizeof path, "npz/%s.packed.bin", a->id);
            qn_export_json_set(o, "packed_file", json_string(path));
            qn_export_json_set(o, "packed_bit", json_integer(i * bits));
            qn_export_json_set(o, "packed_xor", hex((uint64_t)was ^ (uint64_t)is, bits));
        }
        qn_export_json_append(list, o);
    }
}

static qn_status npz_places(json_t *list, const qn_export_network *a, const qn_export_network *b, qn_error *err)
{
    qn_export_constants x = {0}, y = {0};
    qn_status status = qn_export_constants_list(&x, a, err);
    if (status == QN_OK) {
        status = qn_export_constants_list(&y, b, err);
    }
    for (int i = 0; status == QN_OK && i < x.n && x.n == y.n; i++) {
        if (x.rows[i].value == y.rows[i].value) {
            compare_constant(list, &x.rows[i], &y.rows[i]);
        }
    }
    qn_export_constants_free(&x);
    qn_export_constants_free(&y);
    return status;
}

/* ---- mem ---- */

/* Lines of comment before the first word of a .mem file. */
enum { MEM_HEADER = 3 };

static void compare_image(json_t *list, const qn_export_image *a, const qn_export_image *b)
{
    const int bits = qn_export_image_bits(a);
    char path[128];
    snprintf(path, sizeof path, "mem/%s.mem", a->file);
    for (int64_t i = 0; i < a->n_words; i++) {
        const uint64_t was = qn_export_image_word(a, i), is = qn_export_image_word(b, i);
        if (was == is) {
            continue;
        }
        json_t *o = json_object();
        qn_export_json_set(o, "file", json_string(path));
        qn_export_json_set(o, "word", json_integer(i));
        qn_export_json_set(o, "line", json_integer(MEM_HEADER + 1 + i));
        qn_export_json_set(o, "before", hex(was, bits));
        qn_export_json_set(o, "after", hex(is, bits));
        qn_export_json_set(o, "xor", hex(was ^ is, bits));
        qn_export_json_append(list, o);
    }
}

static qn_status mem_places(json_t *list, const qn_export_network *a, const qn_export_network *b, qn_error *err)
{
    qn_export_images x = {0}, y = {0};
    qn_status status = qn_export_images_make(&x, a, err);
    if (status == QN_OK) {
        status = qn_export_images_make(&y, b, err);
    }
    for (size_t i = 0, k = 0; status == QN_OK && i < x.n; i++) {
        for (k = 0; k < y.n && strcmp(x.list[i].file, y.list[k].file) != 0;) {
            k++;
        }
        if (k < y.n && x.list[i].n_words == y.list[k].n_words && x.list[i].elem_bits == y.list[k].elem_bits) {
            compare_image(list, &x.list[i], &y.list[k]);
        }
    }
    qn_export_images_free(&x);
    qn_export_images_free(&y);
    return status;
}

/* ---- c ---- */

static json_t *array_place(const qn_c_array *a)
{
    json_t *o = json_object();
    qn_export_json_set(o, "file", json_string("c/model.c"));
    qn_export_json_set(o, "array", json_string(a->name));
    return o;
}

static qn_status compare_array(json_t *list, const qn_export_network *x, const qn_c_array *a,
                               const qn_export_network *y, const qn_c_array *b, qn_error *err)
{
    const size_t n = (size_t)a->count;
    int64_t *was = qn_alloc(n * sizeof *was), *is = qn_alloc(n * sizeof *is);
    if (was == NULL || is == NULL) {
        qn_free(was);
        qn_free(is);
        return qn_fail_memory(err, "c/model.c", n * sizeof *was);
    }
    qn_c_array_values(x, a, was);
    qn_c_array_values(y, b, is);
    for (size_t i = 0; i < n; i++) {
        if (was[i] != is[i]) {
            json_t *o = array_place(a);
            qn_export_json_set(o, "index", json_integer((json_int_t)i));
            qn_export_json_set(o, "before", json_integer(was[i]));
            qn_export_json_set(o, "after", json_integer(is[i]));
            qn_export_json_set(o, "xor", hex((uint64_t)was[i] ^ (uint64_t)is[i], a->n_bytes * 8));
            if (a->role == QN_C_RATIO) {
                qn_export_json_set(o, "as", json_string("bits of a float"));
            }
            qn_export_json_append(list, o);
        }
    }
    qn_free(was);
    qn_free(is);
    return QN_OK;
}

static const qn_c_array *find_array(const qn_c_array *arrays, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(arrays[i].name, name) == 0) {
            return &arrays[i];
        }
    }
    return NULL;
}

/* Arrays that the other network has in another size: all of it is 0 in one of them, or all of it is alike. */
static void add_other(json_t *list, const qn_c_array *a, int64_t has_now, int64_t needs)
{
    json_t *o = array_place(a);
    qn_export_json_set(o, "elements", json_integer(has_now));
    qn_export_json_set(o, "elements_with_fault", json_integer(needs));
    qn_export_json_append(list, o);
}

static qn_status compare_arrays(json_t *list, const qn_export_network *x, const qn_c_array *a, int n_a,
                                const qn_export_network *y, const qn_c_array *b, int n_b, qn_error *err)
{
    for (int i = 0; i < n_a; i++) {
        const qn_c_array *other = find_array(b, n_b, a[i].name);
        if (other != NULL && other->count == a[i].count && other->n_bytes == a[i].n_bytes) {
            QN_TRY(compare_array(list, x, &a[i], y, other, err));
        } else {
            add_other(list, &a[i], a[i].count, other != NULL ? other->count : 0);
        }
    }
    for (int i = 0; i < n_b; i++) {
        if (find_array(a, n_a, b[i].name) == NULL) {
            add_other(list, &b[i], 0, b[i].count);
        }
    }
    return QN_OK;
}

static qn_status array_places(json_t *list, const qn_export_network *x, const qn_export_network *y,
                              const qn_export_network *cmsis_nn, qn_error *err)
{
    qn_c_array *a = NULL, *b = NULL;
    int n_a = 0, n_b = 0;
    qn_status status = qn_c_arrays_list(&a, &n_a, x, cmsis_nn, err);
    if (status == QN_OK) {
        status = qn_c_arrays_list(&b, &n_b, y, cmsis_nn, err);
    }
    if (status == QN_OK) {
        status = compare_arrays(list, x, a, n_a, y, b, n_b, err);
    }
    qn_free(a);
    qn_free(b);
    return status;
}

static qn_status c_places(json_t *list, const qn_export_network *x, const qn_export_network *y, qn_error *err)
{
    return array_places(list, x, y, NULL, err);
}

/* The calls in model.c are those of the network without the fault. */
static qn_status cmsis_places(json_t *list, const qn_export_network *x, const qn_export_network *y, qn_error *err)
{
    return array_places(list, x, y, x, err);
}

/* ---- hls ---- */

/* Weights and biases, whose order there is the network's. */
static qn_status hls_places(json_t *list, const qn_export_network *x, const qn_export_network *y, qn_error *err)
{
    for (int i = 0; i < x->n_layers; i++) {
        if (x->layers[i].kind != QN_EXPORT_CONV) {
            continue;
        }
        const qn_export_conv *a = &x->layers[i].u.conv, *b = &y->layers[i].u.conv;
        for (int64_t k = 0, n = a->n_weights + a->outputs; k < n; k++) {
            const bool weight = k < a->n_weights;
            const int64_t at = weight ? k : k - a->n_weights;
            const int32_t was = weight ? a->weights[at] : a->bias[at], is = weight ? b->weights[at] : b->bias[at];
            if (was != is) {
                char path[64], name[32];
                snprintf(name, sizeof name, "%c%d", weight ? 'w' : 'b', i + 1);
                snprintf(path, sizeof path, "hls/weights/%s.h", name);
                json_t *o = json_pack("{s:s, s:s, s:I, s:i, s:i}", "file", path, "array", name, "index", (json_int_t)at,
                                      "before", was, "after", is);
                qn_export_json_set(o, "xor", hex((uint64_t)(was ^ is), weight ? a->weight_bits : 32));
                if (qn_export_json_append(list, o) != 0) {
                    return qn_fail_memory(err, path, 0);
                }
            }
        }
    }
    return QN_OK;
}

qn_status qn_export_faulty_files(json_t *places, const qn_export_job *job, const qn_export_network *faulty,
                                 bool same_layers, qn_error *err)
{
    typedef qn_status find(json_t *, const qn_export_network *, const qn_export_network *, qn_error *);
    const struct {
        const char *key;
        bool wanted;
        find *fn;
    } all[] = {{"npz", has(job, QN_EXPORT_NPZ), npz_places},
               {"mem", has(job, QN_EXPORT_MEM) || has(job, QN_EXPORT_VERILOG), mem_places},
               {"c", has(job, QN_EXPORT_C), job->options->cmsis_nn ? cmsis_places : c_places},
               {"hls", has(job, QN_EXPORT_HLS), hls_places}};
    for (size_t i = 0; i < sizeof all / sizeof all[0] && same_layers; i++) {
        json_t *list = all[i].wanted ? json_array() : NULL;
        if (list != NULL) {
            qn_export_json_set(places, all[i].key, list);
            QN_TRY(all[i].fn(list, job->network, faulty, err));
        }
    }
    return QN_OK;
}
