/* quern unpack: a frame, or PipeEdge's arrays, in; float32 out. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/arrays.h"
#include "cli/session.h"

static const cli_option options[] = {
    {"output", 'o', "FILE", "float32 array to write, .npy; required"},
    {"force", 'f', NULL, "overwrite the output"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_tensor y;
    char format[QN_FORMAT_NAME_MAX];
    bool pipeedge, unchecked;
} unpack_state;

static qn_status unpack_frame(unpack_state *s, const qn_file_bytes *bytes, const char *path, qn_error *err)
{
    qn_frame frame;
    qn_frame_verdict verdict;
    switch (qn_frame_parse(&frame, &verdict, bytes->data, bytes->size, SIZE_MAX)) {
    case QN_FRAME_MORE:
        return qn_fail_at(err, QN_EFORMAT, (int64_t)bytes->size, path, "%s: %zu bytes are there, %zu are needed",
                          qn_frame_fault_text(QN_FRAME_TRUNCATED), bytes->size, verdict.need);
    case QN_FRAME_BAD:
        return qn_fail_at(err, QN_EFORMAT, (int64_t)verdict.offset, path, "%s (at byte %zu)",
                          qn_frame_fault_text(verdict.fault), verdict.offset);
    default:
        break;
    }
    if (frame.n_bytes < bytes->size) {
        return qn_fail_at(err, QN_EFORMAT, (int64_t)frame.n_bytes, path,
                          "%zu bytes after the frame, which has %zu; cut the file there", bytes->size - frame.n_bytes,
                          frame.n_bytes);
    }
    QN_TRY(qn_tensor_alloc(&s->y, QN_DTYPE_F32, frame.rank, frame.dims, err));
    snprintf(s->format, sizeof s->format, "%s", frame.name);
    s->unchecked = (frame.flags & QN_FRAME_UNCHECKED) != 0;
    return qn_frame_decode(s->y.data, &frame, err);
}

static qn_status unpack_pipeedge(unpack_state *s, const char *path, qn_error *err)
{
    qn_pipeedge sent;
    QN_TRY(qn_pipeedge_read(&sent, path, err));
    qn_status status = qn_pipeedge_decode(&s->y, &sent, err);
    if (status == QN_OK) {
        const int bits = ((const int8_t *)sent.bit.data)[0];
        s->pipeedge = true;
        snprintf(s->format, sizeof s->format, bits == 0 ? "fp32" : "pipeedge<%d>", bits);
    }
    qn_pipeedge_free(&sent);
    return status;
}

static bool is_archive(const qn_file_bytes *bytes)
{
    return bytes->size >= 4 && (memcmp(bytes->data, "PK\3\4", 4) == 0 || memcmp(bytes->data, "PK\5\6", 4) == 0);
}

static qn_status unpack(const cli_args *args, unpack_state *s, qn_error *err)
{
    const char *path = args->positional[0], *output = cli_value(args, "output");
    qn_file_bytes bytes;
    QN_TRY(cli_check_output(args, output, err));
    QN_TRY(qn_file_read(&bytes, path, err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = is_archive(&bytes) ? unpack_pipeedge(s, path, &inner) : unpack_frame(s, &bytes, path, &inner);
    qn_file_bytes_free(&bytes);
    if (status != QN_OK) {
        if (strncmp(inner.where, path, strlen(path)) != 0) {
            qn_error_prefix(&inner, path);
        }
        *err = inner;
        return status;
    }
    return qn_tensor_write_npy(&s->y, output, cli_has(args, "force"), err);
}

static void report(const cli_args *args, const unpack_state *s)
{
    const char *output = cli_value(args, "output");
    char shape[CLI_SHAPE_MAX];
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_update_new(object, json_pack("{s:o, s:s, s:s, s:I, s:b}", "output", cli_json_string(output),
                                                 "layout", s->pipeedge ? "pipeedge" : "frame", "format", s->format,
                                                 "count", (json_int_t)qn_tensor_count(&s->y), "checksum",
                                                 !s->unchecked && !s->pipeedge));
        cli_print_json(object);
    } else {
        printf("%s -> %s: %s of %s%s\n", args->positional[0], output, cli_shape(shape, s->y.rank, s->y.dims), s->format,
               s->unchecked ? ", without checksums" : "");
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
    return code;
}

const cli_command cli_unpack = {
    .name = "unpack",
    .summary = "turn a frame back into an array",
    .usage = "FRAME -o y.npy",
    .description =
        "Reads what 'quern pack' wrote, in either layout, and writes the numbers as float32 in the shape of "
        "the array that was\npacked. A frame that is damaged, cut off or not one is refused, with the reason "
        "and the byte.",
    .example = "quern unpack x.qnt -o y.npy",
    .positional = {"FRAME"},
    .options = options,
    .run = run,
};
