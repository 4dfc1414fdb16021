/* Arrays in Fortran order, rewritten in C order. */
#include "tensor/fortran.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"
#include "tensor/spool.h"

enum { CHUNK = 64 * 1024 };

/* Elements are copied in C order: `index` counts, `from` is its position in Fortran order. */
typedef struct cursor {
    int rank;
    int64_t dims[QN_MAX_RANK], strides[QN_MAX_RANK], index[QN_MAX_RANK];
    int64_t from;
} cursor;

static void cursor_start(cursor *c, const qn_array_header *h)
{
    *c = (cursor){.rank = h->rank};
    int64_t stride = 1;
    for (int d = 0; d < h->rank; d++) {
        c->dims[d] = h->dims[d];
        c->strides[d] = stride;
        stride *= h->dims[d];
    }
}

static void cursor_next(cursor *c)
{
    for (int d = c->rank - 1; d >= 0; d--) {
        c->from += c->strides[d];
        if (++c->index[d] < c->dims[d]) {
            return;
        }
        c->from -= c->strides[d] * c->dims[d];
        c->index[d] = 0;
    }
}

static qn_status copy(int fd, const unsigned char *elems, const qn_array_header *h, unsigned char *chunk, qn_error *err)
{
    size_t size = qn_dtype_size(h->dtype);
    int64_t left = h->n_bytes / (int64_t)size;
    cursor c;
    cursor_start(&c, h);
    while (left > 0) {
        size_t n = (size_t)left < CHUNK / size ? (size_t)left : CHUNK / size;
        for (size_t i = 0; i < n; i++) {
            memcpy(chunk + i * size, elems + (size_t)c.from * size, size);
            cursor_next(&c);
        }
        QN_TRY(qn_spool_write(fd, chunk, n * size, err));
        left -= (int64_t)n;
    }
    return QN_OK;
}

qn_status qn_fortran_to_c(int out_fd, int in_fd, const qn_array_header *h, const char *where, qn_error *err)
{
    if (h->n_bytes == 0) {
        return QN_OK;
    }
    size_t n_bytes = (size_t)(h->data_offset + h->n_bytes);
    unsigned char *mapping = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, in_fd, 0);
    if (mapping == MAP_FAILED) {
        return qn_fail_errno(err, QN_EIO, errno, where, "cannot map");
    }
    unsigned char *chunk = qn_alloc(CHUNK);
    qn_status status =
        chunk == NULL ? qn_fail_memory(err, where, CHUNK) : copy(out_fd, mapping + h->data_offset, h, chunk, err);
    qn_free(chunk);
    munmap(mapping, n_bytes);
    return status;
}
