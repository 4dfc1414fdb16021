/* quern unpack: a frame, or PipeEdge's arrays, in; float32 out. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/arrays.h"
#include "cli/session.h"
#include "tensor/npz_write.h"

static const cli_option options[] = {
    {"output", 'o', "FILE", "float32 array to write, .npy, or .npz of all frames in the file; required"},
    {"force", 'f', NULL, "overwrite the output"},
    {NULL, 0, NULL, NULL},
};

/* One array that came out. */
typedef struct {
    char format[QN_FORMAT_NAME_MAX];
    int64_t count;
    bool unchecked;
} unpacked;

typedef struct {
    qn_tensor y; /* of a file with one array */
    unpacked *arrays;
    size_t n_arrays, capacity;
    bool pipeedge, archive;
} unpack_state;

enum { ARRAY_NAME_MAX = 32 };

/* As numpy.savez calls arrays that have no name. */
static void array_name(char name[ARRAY_NAME_MAX], size_t index)
{
    snprintf(name, ARRAY_NAME_MAX, "arr_%zu", index);
}

/* The frame that starts at byte `at`, which is number `index` of the file. */
static qn_status parse_frame(qn_frame *frame, const qn_file_bytes *bytes, size_t at, size_t index, const char *path,
                             qn_error *err)
{
    qn_frame_verdict verdict;
    char which[64] = "";
    if (index > 0) {
        snprintf(which, sizeof which, "frame %zu, from byte %zu: ", index, at);
    }
    const size_t left = bytes->size - at;
    switch (qn_frame_parse(frame, &verdict, bytes->data + at, left, SIZE_MAX)) {
    case QN_FRAME_MORE:
        return qn_fail_at(err, QN_EFORMAT, (int64_t)bytes->size, path, "%s%s: %zu bytes are there, %zu are needed",
                          which, qn_frame_fault_text(QN_FRAME_TRUNCATED), left, verdict.need);
    case QN_FRAME_BAD:
        if (index > 0 && verdict.fault == QN_FRAME_MAGIC) {
            return qn_fail_at(err, QN_EFORMAT, (int64_t)at, path,
                              "%zu bytes after the last frame, which ends at byte %zu, are none; cut the file there",
                              left, at);
        }
        return qn_fail_at(err, QN_EFORMAT, (int64_t)(at + verdict.offset), path, "%s%s (at byte %zu)", which,
                          qn_frame_fault_text(verdict.fault), at + verdict.offset);
    default:
        return QN_OK;
    }
}

/* All frames of the file are in order; *n of them. */
static qn_status count_frames(size_t *n, const qn_file_bytes *bytes, const char *path, qn_error *err)
{
    size_t count = 0;
    for (size_t at = 0; at < bytes->size || count == 0; count++) {
        qn_frame frame;
        QN_TRY(parse_frame(&frame, bytes, at, count, path, err));
        at += frame.n_bytes;
    }
    *n = count;
    return QN_OK;
}

static qn_status remember(unpack_state *s, const char *format, int64_t count, bool unchecked, qn_error *err)
{
    QN_TRY(qn_grow((void **)&s->arrays, &s->capacity, s->n_arrays, sizeof s->arrays[0], err));
    unpacked *array = &s->arrays[s->n_arrays++];
    *array = (unpacked){.count = count, .unchecked = unchecked};
    snprintf(array->format, sizeof array->format, "%s", format);
    return QN_OK;
}

/* The frame at byte *at, which moves past it, into s->y. */
static qn_status unpack_next(unpack_state *s, size_t *at, const qn_file_bytes *bytes, const char *path, qn_error *err)
{
    qn_frame frame;
    QN_TRY(parse_frame(&frame, bytes, *at, s->n_arrays, path, err));
    *at += frame.n_bytes;
    QN_TRY(qn_tensor_alloc(&s->y, QN_DTYPE_F32, frame.rank, frame.dims, err));
    QN_TRY(remember(s, frame.name, frame.n_elems, (frame.flags & QN_FRAME_UNCHECKED) != 0, err));
    return qn_frame_decode(s->y.data, &frame, err);
}

/* Frame after frame becomes an array of the archive. */
static qn_status unpack_frames(unpack_state *s, qn_npz_out *out, const qn_file_bytes *bytes, const char *path,
                               qn_error *err)
{
    qn_status status = QN_OK;
    for (size_t at = 0; at < bytes->size && status == QN_OK;) {
        char name[ARRAY_NAME_MAX];
        array_name(name, s->n_arrays);
        status = unpack_next(s, &at, bytes, path, err);
        status = status == QN_OK ? qn_npz_add(out, name, &s->y, err) : status;
        qn_tensor_free(&s->y);
    }
    return status;
}

static qn_status unpack_pipeedge(unpack_state *s, const char *path, qn_error *err)
{
    qn_pipeedge sent;
    QN_TRY(qn_pipeedge_read(&sent, path, err));
    qn_status status = qn_pipeedge_decode(&s->y, &sent, err);
    if (status == QN_OK) {
        const int bits = ((const int8_t *)sent.bit.data)[0];
        char format[QN_FORMAT_NAME_MAX];
        s->pipeedge = true;
        snprintf(format, sizeof format, bits == 0 ? "fp32" : "pipeedge<%d>", bits);
        status = remember(s, format, qn_tensor_count(&s->y), false, err);
    }
    qn_pipeedge_free(&sent);
    return status;
}

static bool is_archive(const qn_file_bytes *bytes)
{
    return bytes->size >= 4 && (memcmp(bytes->data, "PK\3\4", 4) == 0 || memcmp(bytes->data, "PK\5\6", 4) == 0);
}

/* What is in the file becomes s->y, or, as an archive, a member of `out`. */
static qn_status unpack_bytes(unpack_state *s, qn_npz_out *out, const qn_file_bytes *bytes, const char *path,
                              qn_error *err)
{
    char name[ARRAY_NAME_MAX];
    if (is_archive(bytes)) {
        QN_TRY(unpack_pipeedge(s, path, err));
        array_name(name, 0);
        return out != NULL ? qn_npz_add(out, name, &s->y, err) : QN_OK;
    }
    size_t n_frames, at = 0;
    QN_TRY(count_frames(&n_frames, bytes, path, err));
    if (out != NULL) {
        return unpack_frames(s, out, bytes, path, err);
    }
    if (n_frames > 1) {
        return qn_fail(err, QN_EINVAL, path, "has %zu frames, and an .npy holds one array; write -o FILE.npz",
                       n_frames);
    }
    return unpack_next(s, &at, bytes, path, err);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static qn_status unpack(const cli_args *args, unpack_state *s, qn_error *err)
{
    const char *path = args->positional[0], *output = cli_value(args, "output");
    const bool force = cli_has(args, "force");
    qn_file_bytes bytes;
    qn_npz_out *out = NULL;
    QN_TRY(cli_check_output(args, output, err));
    QN_TRY(qn_file_read(&bytes, path, err));
    qn_error inner;
    qn_error_init(&inner);
    s->archive = ends_with(output, ".npz");
    qn_status status = s->archive ? qn_npz_begin(&out, &inner) : QN_OK;
    status = status == QN_OK ? unpack_bytes(s, out, &bytes, path, &inner) : status;
    qn_file_bytes_free(&bytes);
    if (status != QN_OK) {
        qn_npz_abandon(out);
        if (strncmp(inner.where, path, strlen(path)) != 0) {
            qn_error_prefix(&inner, path);
        }
        *err = inner;
        return status;
    }
    return out != NULL ? qn_npz_write(out, output, force, err) : qn_tensor_write_npy(&s->y, output, force, err);
}

static json_t *json_of(const unpacked *array, bool pipeedge)
{
    return json_pack("{s:s, s:I, s:b}", "format", array->format, "count", (json_int_t)array->count, "checksum",
                     !array->unchecked && !pipeedge);
}

static void report(const cli_args *args, const unpack_state *s)
{
    const char *output = cli_value(args, "output");
    char shape[CLI_SHAPE_MAX];
    if (args->json) {
        json_t *object = cli_json_start(args), *list = json_array();
        json_object_update_new(object, json_pack("{s:o, s:s}", "output", cli_json_string(output), "layout",
                                                 s->pipeedge ? "pipeedge" : "frame"));
        if (!s->archive) {
            json_object_update_new(object, json_of(&s->arrays[0], s->pipeedge));
        }
        for (size_t i = 0; s->archive && i < s->n_arrays; i++) {
            char name[ARRAY_NAME_MAX];
            array_name(name, i);
            json_t *array = json_of(&s->arrays[i], s->pipeedge);
            json_object_set_new(array, "name", json_string(name));
            json_array_append_new(list, array);
        }
        if (s->archive) {
            json_object_set(object, "arrays", list);
        }
        json_decref(list);
        cli_print_json(object);
        return;
    }
    if (s->archive) {
        printf("%s -> %s: %zu array%s\n", args->positional[0], output, s->n_arrays, s->n_arrays == 1 ? "" : "s");
    } else {
        printf("%s -> %s: %s of %s%s\n", args->positional[0], output, cli_shape(shape, s->y.rank, s->y.dims),
               s->arrays[0].format, s->arrays[0].unchecked ? ", without checksums" : "");
    }
}

static cli_exit run(cli_args *args)
{
    if (cli_value(args, "output") == NULL) {
        return cli_misuse("-o FILE is missing; usage: quern unpack %s", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    unpack_state state = {0};
    cli_exit code = CLI_OK;
    if (unpack(args, &state, &err) == QN_OK) {
        report(args, &state);
    } else {
        code = cli_fail(&err);
    }
    qn_tensor_free(&state.y);
    qn_free(state.arrays);
    return code;
}

const cli_command cli_unpack = {
    .name = "unpack",
    .summary = "turn a frame back into an array",
    .usage = "FRAME -o y.npy",
    .description = "Reads what 'quern pack' wrote, in either layout, and writes the numbers as float32 in the shape of "
                   "the array that was\npacked. Frames one after the other in a file become arr_0, arr_1, ... of an "
                   ".npz. A frame that is damaged, cut off or\nnot "
                   "one is refused, with the reason and the byte. Files may have up to 2 GB.",
    .example = "quern unpack x.qnt -o y.npy",
    .positional = {"FRAME"},
    .options = options,
    .run = run,
};
