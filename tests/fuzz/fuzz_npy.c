/* Array files: .npy, .npz, IDX, gzip and TensorProto.
 *
 * Whatever the bytes, reading ends in a status and a message. What can be read can be written, and reads back the same;
 * as a data set it has the same shape. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quern/dataset.h"
#include "tensor/tensor_proto.h"

enum { PATH_BYTES = 64 };

static void require(bool kept)
{
    if (!kept) {
        abort();
    }
}

/* An unlinked file, which has a path as long as it is open. */
static int make_file(char path[PATH_BYTES])
{
    char name[] = "/tmp/quern-fuzz-XXXXXX";
    int fd = mkstemp(name);
    require(fd >= 0);
    unlink(name);
    snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
    return fd;
}

static void check_failure(qn_status status, const qn_error *err)
{
    require(err->status == status && err->message[0] != '\0' && strchr(err->message, '\n') == NULL);
}

static void check_round_trip(const qn_tensor *t)
{
    char path[] = "/tmp/quern-fuzz-XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0);
    close(fd);
    qn_tensor again;
    qn_error err;
    qn_error_init(&err);
    if (qn_tensor_write_npy(t, path, true, &err) == QN_OK) {
        require(qn_tensor_read(&again, path, &err) == QN_OK);
        require(again.dtype == t->dtype && again.rank == t->rank);
        require(memcmp(again.dims, t->dims, sizeof t->dims) == 0);
        require(memcmp(again.data, t->data, qn_tensor_bytes(t)) == 0);
        qn_tensor_free(&again);
    } else {
        require(t->dtype == QN_DTYPE_BF16);
    }
    unlink(path);
}

/* The first and the last item. */
static void check_dataset(const char *path, const qn_tensor *t)
{
    qn_dataset *set;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_dataset_open(&set, path, NULL, &err);
    if (status != QN_OK) {
        check_failure(status, &err);
        require(t->rank == 0);
        return;
    }
    int64_t dims[QN_MAX_RANK], n = qn_dataset_count(set);
    require(qn_dataset_item_shape(set, dims) == t->rank - 1 && n == t->dims[0]);
    float *x = malloc(n > 0 ? (size_t)(qn_tensor_count(t) / n) * sizeof *x + 1 : 1);
    require(x != NULL);
    for (int64_t i = 0; i<n; i += n> 1 ? n - 1 : 1) {
        qn_error_init(&err);
        status = qn_dataset_read(set, i, 1, x, &err);
        if (status != QN_OK) {
            check_failure(status, &err);
        }
    }
    free(x);
    qn_dataset_close(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[PATH_BYTES];
    static int fd = -1;
    if (fd < 0) {
        fd = make_file(path);
    }
    require(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    qn_tensor t;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_tensor_read(&t, path, &err);
    if (status == QN_OK) {
        check_round_trip(&t);
        check_dataset(path, &t);
        qn_tensor_free(&t);
        return 0;
    }
    check_failure(status, &err);
    qn_error_init(&err);
    status = qn_tensor_from_pb_bytes(&t, data, size, "input", &err);
    if (status == QN_OK) {
        check_round_trip(&t);
        qn_tensor_free(&t);
    } else {
        check_failure(status, &err);
    }
    return 0;
}
