/* Data sets: elements are fetched, preprocessed and reordered in chunks that stay in cache.
 *
 * A set is immutable after it was opened, but for the hash, which has a lock; any number of threads may read. Chunks
 * are on the stack, so reading allocates nothing. */
#include "quern/dataset.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/memory.h"
#include "tensor/element.h"
#include "tensor/preprocess.h"
#include "tensor/source.h"

enum { CHUNK = 2048, TABLE = 256, MAX_ELEM_BYTES = 8 };

/* (value * scale - mean) / std for one channel. */
typedef struct channel {
    double mean, std;
    float table[TABLE]; /* of every 8-bit pattern, when elements have 8 bits */
} channel;

typedef struct hash {
    pthread_mutex_t lock;
    char hex[QN_SHA256_HEX]; /* "" until it is known */
} hash;

struct qn_dataset {
    qn_source source;        /* when tensor is NULL */
    const qn_tensor *tensor; /* borrowed */
    qn_dtype dtype;
    qn_widen_fn widen;
    int64_t count, item_elems;
    int item_rank;
    int64_t item_dims[QN_MAX_RANK];
    qn_preprocess pre;
    bool nhwc;
    int64_t n_channels, plane; /* of an item; elements per channel */
    bool copies;               /* the stored elements are the network's inputs */
    double scale;
    int n_params; /* channels that differ: 1, or n_channels */
    channel *params;
    hash *hash;
    qn_dataset **more; /* the other arrays, n_more of them */
    size_t n_more;
};

/* The stored shape to that of an item. */
static qn_status set_shape(qn_dataset *set, int rank, const int64_t *dims, const qn_preprocess *pre, qn_error *err)
{
    const char *name = qn_dataset_name(set);
    if (rank == 0) {
        return qn_fail(err, QN_ESHAPE, name,
                       "holds a single number; a data set needs a first dimension that counts items");
    }
    set->nhwc = pre->layout == QN_LAYOUT_NHWC;
    if (set->nhwc && rank != 4) {
        return qn_fail(err, QN_ESHAPE, name, "layout nhwc needs data of 4 dimensions; this has %d", rank);
    }
    set->count = dims[0];
    set->item_rank = rank - 1;
    memcpy(set->item_dims, dims + 1, (size_t)set->item_rank * sizeof *dims);
    if (set->nhwc) {
        set->item_dims[0] = dims[3];
        set->item_dims[1] = dims[1];
        set->item_dims[2] = dims[2];
    }
    QN_TRY(qn_shape_count(set->item_dims, set->item_rank, &set->item_elems, err));
    set->n_channels = set->item_rank > 0 ? set->item_dims[0] : 1;
    set->plane = set->n_channels > 0 ? set->item_elems / set->n_channels : 0;
    const int given[] = {pre->n_mean, pre->n_std};
    const char *const names[] = {"mean", "std"};
    for (int i = 0; i < 2; i++) {
        if (given[i] > 1 && given[i] != set->n_channels) {
            return qn_fail(err, QN_ESHAPE, name, "%s has %d values, but the data has %lld channel%s", names[i],
                           given[i], (long long)set->n_channels, set->n_channels == 1 ? "" : "s");
        }
    }
    return QN_OK;
}

static float preprocess(const qn_dataset *set, const channel *c, double value)
{
    return (float)((value * set->scale - c->mean) / c->std);
}

static void fill_table(const qn_dataset *set, channel *c)
{
    uint8_t patterns[TABLE];
    double values[TABLE];
    for (int i = 0; i < TABLE; i++) {
        patterns[i] = (uint8_t)i;
    }
    set->widen(values, patterns, TABLE);
    for (int i = 0; i < TABLE; i++) {
        c->table[i] = preprocess(set, c, values[i]);
    }
}

static qn_status set_params(qn_dataset *set, const qn_preprocess *pre, qn_error *err)
{
    set->widen = qn_widen(set->dtype);
    set->scale = pre->scale;
    set->n_params = pre->n_mean > 1 || pre->n_std > 1 ? (int)set->n_channels : 1;
    set->params = qn_alloc((size_t)set->n_params * sizeof *set->params);
    if (set->params == NULL) {
        return qn_fail_memory(err, qn_dataset_name(set), (size_t)set->n_params * sizeof *set->params);
    }
    bool identity = pre->scale == 1.0;
    for (int c = 0; c < set->n_params; c++) {
        channel *p = &set->params[c];
        p->mean = qn_preprocess_mean(pre, c);
        p->std = qn_preprocess_std(pre, c);
        identity = identity && p->mean == 0.0 && p->std == 1.0;
        if (qn_dtype_size(set->dtype) == 1) {
            fill_table(set, p);
        }
    }
    set->copies = identity && set->dtype == QN_DTYPE_F32;
    return QN_OK;
}

/* What both kinds of set share. */
static qn_status set_up(qn_dataset *set, qn_dtype dtype, int rank, const int64_t *dims, const qn_preprocess *pre,
                        qn_error *err)
{
    qn_preprocess identity;
    qn_preprocess_init(&identity);
    pre = pre != NULL ? pre : &identity;
    QN_TRY(qn_preprocess_check(pre, err));
    set->pre = *pre;
    set->dtype = dtype;
    QN_TRY(set_shape(set, rank, dims, pre, err));
    QN_TRY(set_params(set, pre, err));
    set->hash = qn_alloc(sizeof *set->hash);
    if (set->hash == NULL) {
        return qn_fail_memory(err, qn_dataset_name(set), sizeof *set->hash);
    }
    pthread_mutex_init(&set->hash->lock, NULL);
    return QN_OK;
}

qn_status qn_dataset_open(qn_dataset **set, const char *path, const qn_preprocess *pre, qn_error *err)
{
    qn_dataset *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, path, sizeof *made);
    }
    qn_status status = qn_source_open(&made->source, path, err);
    if (status != QN_OK) {
        qn_free(made);
        return status;
    }
    const qn_array_header *h = &made->source.header;
    status = set_up(made, h->dtype, h->rank, h->dims, pre, err);
    if (status != QN_OK) {
        qn_dataset_close(made);
        return status;
    }
    *set = made;
    return QN_OK;
}

qn_status qn_dataset_of_tensor(qn_dataset **set, const qn_tensor *t, const qn_preprocess *pre, qn_error *err)
{
    qn_dataset *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    made->tensor = t;
    qn_status status = set_up(made, t->dtype, t->rank, t->dims, pre, err);
    if (status != QN_OK) {
        qn_dataset_close(made);
        return status;
    }
    *set = made;
    return QN_OK;
}

qn_status qn_dataset_of_tensors(qn_dataset **set, const qn_tensor *tensors, size_t n, qn_error *err)
{
    qn_dataset *made;
    if (n < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "a data set of no tensors");
    }
    QN_TRY(qn_dataset_of_tensor(&made, &tensors[0], NULL, err));
    made->more = qn_alloc(n * sizeof *made->more);
    qn_status status = made->more != NULL ? QN_OK : qn_fail_memory(err, NULL, n * sizeof *made->more);
    for (size_t i = 1; status == QN_OK && i < n; i++) {
        status = qn_dataset_of_tensor(&made->more[i - 1], &tensors[i], NULL, err);
        made->n_more += status == QN_OK;
        if (status == QN_OK && made->more[i - 1]->count != made->count) {
            status = qn_fail(err, QN_ESHAPE, qn_dataset_name(made), "tensors of %lld and of %lld items",
                             (long long)made->count, (long long)made->more[i - 1]->count);
        }
    }
    if (status != QN_OK) {
        qn_dataset_close(made);
        return status;
    }
    *set = made;
    return QN_OK;
}

static qn_status open_array(qn_dataset **set, const char *path, const char *name, const qn_preprocess *pre,
                            qn_error *err)
{
    char *place = qn_alloc(strlen(path) + strlen(name) + 2);
    if (place == NULL) {
        return qn_fail_memory(err, path, strlen(path));
    }
    strcpy(place, path);
    strcat(strcat(place, ":"), name);
    qn_status status = qn_dataset_open(set, place, pre, err);
    qn_free(place);
    return status;
}

static qn_status open_more(qn_dataset *set, const char *path, const char *const *names, size_t n, qn_error *err)
{
    set->more = qn_alloc(n * sizeof *set->more);
    if (set->more == NULL) {
        return qn_fail_memory(err, path, n * sizeof *set->more);
    }
    for (; set->n_more < n; set->n_more++) {
        QN_TRY(open_array(&set->more[set->n_more], path, names[set->n_more], NULL, err));
        const int64_t count = set->more[set->n_more]->count;
        if (count != set->count) {
            qn_dataset_close(set->more[set->n_more]);
            return qn_fail(err, QN_ESHAPE, path, "array '%s' has %lld items, but %s has %lld", names[set->n_more],
                           (long long)count, qn_dataset_name(set), (long long)set->count);
        }
    }
    return QN_OK;
}

qn_status qn_dataset_open_arrays(qn_dataset **set, const char *path, const char *const *names, size_t n_names,
                                 const qn_preprocess *pre, qn_error *err)
{
    if (n_names < 1 || (n_names > 1 && pre != NULL && !qn_preprocess_is_identity(pre))) {
        return qn_fail(err, QN_EINVAL, path,
                       n_names < 1 ? "no arrays are asked for"
                                   : "several arrays are taken as they are stored; scale, mean, std and layout are for "
                                     "networks of one input");
    }
    qn_dataset *made;
    QN_TRY(open_array(&made, path, names[0], pre, err));
    qn_status status = n_names > 1 ? open_more(made, path, names + 1, n_names - 1, err) : QN_OK;
    if (status != QN_OK) {
        qn_dataset_close(made);
        return status;
    }
    *set = made;
    return QN_OK;
}

size_t qn_dataset_n_arrays(const qn_dataset *set)
{
    return 1 + set->n_more;
}

const qn_dataset *qn_dataset_array(const qn_dataset *set, size_t index)
{
    return index == 0 ? set : set->more[index - 1];
}

void qn_dataset_close(qn_dataset *set)
{
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; i < set->n_more; i++) {
        qn_dataset_close(set->more[i]);
    }
    qn_free(set->more);
    if (set->tensor == NULL) {
        qn_source_close(&set->source);
    }
    if (set->hash != NULL) {
        pthread_mutex_destroy(&set->hash->lock);
        qn_free(set->hash);
    }
    qn_free(set->params);
    qn_free(set);
}

int64_t qn_dataset_count(const qn_dataset *set)
{
    return set->count;
}

int qn_dataset_item_shape(const qn_dataset *set, int64_t *dims)
{
    memcpy(dims, set->item_dims, sizeof set->item_dims);
    return set->item_rank;
}

const char *qn_dataset_name(const qn_dataset *set)
{
    return set->tensor == NULL ? set->source.path : "data in memory";
}

const qn_preprocess *qn_dataset_preprocess(const qn_dataset *set)
{
    return &set->pre;
}

/* Elements begin, begin+step, ... below n of a chunk; all of channel c. */
static void apply(const qn_dataset *set, const channel *c, float *y, const void *elems, const double *v, int64_t begin,
                  int64_t n, int64_t step)
{
    if (qn_dtype_size(set->dtype) == 1) {
        const uint8_t *patterns = elems;
        for (int64_t i = begin; i < n; i += step) {
            y[i] = c->table[patterns[i]];
        }
    } else if (step == 1) {
        const double scale = set->scale, mean = c->mean, std = c->std;
#pragma omp simd
        for (int64_t i = begin; i < n; i++) {
            y[i] = (float)((v[i] * scale - mean) / std);
        }
    } else {
        for (int64_t i = begin; i < n; i += step) {
            y[i] = preprocess(set, c, v[i]);
        }
    }
}

/* Stored elements `at`..at+n-1 of the set, in stored order, to y. */
static void convert(const qn_dataset *set, float *y, const void *elems, int64_t at, int64_t n)
{
    double v[CHUNK];
    if (set->copies) {
        memcpy(y, elems, (size_t)n * sizeof *y);
        return;
    }
    if (qn_dtype_size(set->dtype) > 1) {
        set->widen(v, elems, (size_t)n);
    }
    if (set->n_params == 1) {
        apply(set, set->params, y, elems, v, 0, n, 1);
    } else if (set->nhwc) {
        for (int64_t i = 0; i < set->n_channels && i < n; i++) {
            apply(set, &set->params[(at + i) % set->n_channels], y, elems, v, i, n, set->n_channels);
        }
    } else {
        for (int64_t i = 0, end; i < n; i = end) {
            end = i + set->plane - (at + i) % set->plane;
            end = end < n ? end : n;
            apply(set, &set->params[(at + i) / set->plane % set->n_channels], y, elems, v, i, end, 1);
        }
    }
}

/* Index of the first NaN or infinity, or n. */
static int64_t first_nonfinite(const float *y, int64_t n)
{
    const uint32_t exponent = 0x7F800000u;
    uint32_t found = 0;
#pragma omp simd reduction(| : found)
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &y[i], sizeof bits);
        found |= (uint32_t)((bits & exponent) == exponent);
    }
    int64_t i = 0;
    while (i < n && (found == 0 || isfinite(y[i]))) {
        i = found == 0 ? n : i + 1;
    }
    return i;
}

static qn_status refuse_nonfinite(const qn_dataset *set, const void *elems, int64_t at, int64_t i, qn_error *err)
{
    double value;
    set->widen(&value, (const char *)elems + (size_t)i * qn_dtype_size(set->dtype), 1);
    long long item = (at + i) / set->item_elems, elem = (at + i) % set->item_elems;
    const char *name = qn_dataset_name(set);
    if (!isfinite(value)) {
        return qn_fail(err, QN_ERANGE, name, "item %lld, element %lld is %s; only finite values are accepted", item,
                       elem, isnan(value) ? "NaN" : "infinite");
    }
    return qn_fail(err, QN_ERANGE, name, "item %lld, element %lld (%g) does not fit float32 after preprocessing", item,
                   elem, value);
}

/* n elements in NHWC order, `at` the first one's index in the set, to their NCHW places; x is where item
 * `first_item` starts. */
static void scatter(const qn_dataset *set, float *x, int64_t first_item, const float *y, int64_t at, int64_t n)
{
    int64_t in_item = at % set->item_elems;
    int64_t c = in_item % set->n_channels, pixel = in_item / set->n_channels;
    float *item = x + (at / set->item_elems - first_item) * set->item_elems;
    for (int64_t i = 0; i < n; i++) {
        item[c * set->plane + pixel] = y[i];
        if (++c == set->n_channels) {
            c = 0;
            if (++pixel == set->plane) {
                pixel = 0;
                item += set->item_elems;
            }
        }
    }
}

/* The stored elements, in `buffer` unless they are in memory anyway. */
static qn_status fetch(const qn_dataset *set, int64_t at, int64_t n, void *buffer, const void **elems, qn_error *err)
{
    if (set->tensor != NULL) {
        *elems = (const char *)set->tensor->data + (size_t)at * qn_dtype_size(set->dtype);
        return QN_OK;
    }
    *elems = buffer;
    return qn_source_read(&set->source, at, n, buffer, err);
}

qn_status qn_dataset_read(const qn_dataset *set, int64_t first, int64_t n, float *x, qn_error *err)
{
    _Alignas(QN_CACHE_LINE) unsigned char buffer[CHUNK * MAX_ELEM_BYTES];
    float staging[CHUNK];
    if (first < 0 || n < 0 || first > set->count || n > set->count - first) {
        return qn_fail(err, QN_EINVAL, qn_dataset_name(set), "%lld items from %lld on are outside a set of %lld items",
                       (long long)n, (long long)first, (long long)set->count);
    }
    const int64_t begin = first * set->item_elems, end = begin + n * set->item_elems;
    for (int64_t at = begin; at < end; at += CHUNK) {
        int64_t n_chunk = end - at < CHUNK ? end - at : CHUNK;
        float *y = set->nhwc ? staging : x + (at - begin);
        const void *elems;
        QN_TRY(fetch(set, at, n_chunk, buffer, &elems, err));
        convert(set, y, elems, at, n_chunk);
        int64_t bad = first_nonfinite(y, n_chunk);
        if (bad < n_chunk) {
            return refuse_nonfinite(set, elems, at, bad, err);
        }
        if (set->nhwc) {
            scatter(set, x, first, y, at, n_chunk);
        }
    }
    return QN_OK;
}

static qn_status array_sha256(const qn_dataset *set, char *hex, qn_error *err)
{
    qn_status status = QN_OK;
    pthread_mutex_lock(&set->hash->lock);
    if (set->hash->hex[0] == '\0' && set->tensor != NULL) {
        qn_sha256_hex(set->hash->hex, set->tensor->data, qn_tensor_bytes(set->tensor));
    } else if (set->hash->hex[0] == '\0') {
        status = qn_source_sha256(&set->source, set->hash->hex, err);
    }
    memcpy(hex, set->hash->hex, sizeof set->hash->hex);
    pthread_mutex_unlock(&set->hash->lock);
    return status;
}

/* Of several arrays: of their hashes, one after the other. */
qn_status qn_dataset_sha256(const qn_dataset *set, char *hex, qn_error *err)
{
    QN_TRY(array_sha256(set, hex, err));
    struct sha256_ctx whole;
    sha256_init(&whole);
    for (size_t i = 0; i < set->n_more; i++) {
        sha256_update(&whole, QN_SHA256_HEX - 1, (const uint8_t *)hex);
        QN_TRY(array_sha256(set->more[i], hex, err));
    }
    if (set->n_more > 0) {
        sha256_update(&whole, QN_SHA256_HEX - 1, (const uint8_t *)hex);
        qn_sha256_finish(hex, &whole);
    }
    return QN_OK;
}
