/* quern pack: an array in, a frame for a link out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/arrays.h"
#include "cli/session.h"

static const cli_option options[] = {
    {"format", 0, "FMT", "format of the codes, such as 'adaptivfloat<6,4>' (see 'quern formats'), or fp32; required"},
    {"per", 0, "SET", "what shares parameters: item (default), tensor, channel, token, group:N; block of bfp, mx"},
    {"clamp", 0, "CLAMP", "before parameters are made: none (default), laplace, gelu, ds-aciq or mse"},
    {"layout", 0, "LAYOUT", "frame (default), or pipeedge: the five tensors that PipeEdge sends, as .npz"},
    {"checksum", 0, "on|off", "of frames: on (default), or off, to study what errors of a link do"},
    {"output", 'o', "FILE", "file to write; required"},
    CLI_OPTION_NAN,
    CLI_OPTION_INF,
    {"force", 'f', NULL, "overwrite the output"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_link_options link;
    bool pipeedge;
    qn_tensor x, y;
    unsigned char *data;
    qn_frame frame;
    qn_pipeedge sent;
    size_t n_bytes;
} pack_state;

static qn_status make_frame(pack_state *s, qn_error *err)
{
    qn_frame parsed;
    qn_frame_verdict verdict;
    QN_TRY(qn_frame_plan(&s->frame, &s->link, s->x.rank, s->x.dims, err));
    s->n_bytes = s->frame.n_bytes;
    s->data = qn_alloc(s->n_bytes);
    if (s->data == NULL) {
        return qn_fail_memory(err, NULL, s->n_bytes);
    }
    QN_TRY(qn_frame_encode(s->data, &s->frame, &s->x, &s->link, err));
    if (qn_frame_parse(&parsed, &verdict, s->data, s->n_bytes, SIZE_MAX) != QN_FRAME_COMPLETE) {
        return qn_fail(err, QN_EINTERNAL, NULL, "the frame does not read back: %s", qn_frame_fault_text(verdict.fault));
    }
    QN_TRY(qn_tensor_alloc(&s->y, QN_DTYPE_F32, s->x.rank, s->x.dims, err));
    return qn_frame_decode(s->y.data, &parsed, err);
}

static qn_status make_pipeedge(pack_state *s, qn_error *err)
{
    QN_TRY(qn_pipeedge_encode(&s->sent, &s->x, &s->link, err));
    s->n_bytes = qn_pipeedge_bytes(&s->sent);
    return qn_pipeedge_decode(&s->y, &s->sent, err);
}

static void report(const cli_args *args, const pack_state *s)
{
    const char *output = cli_value(args, "output"), *per = cli_value(args, "per");
    const int64_t n = qn_tensor_count(&s->x);
    const cli_distance d = cli_distance_of(&s->x, &s->y);
    const double bits = n > 0 ? 8.0 * (double)s->n_bytes / (double)n : 0.0;
    char shape[CLI_SHAPE_MAX], db[CLI_DB_MAX], format[QN_FORMAT_NAME_MAX] = "fp32";
    qn_format f;
    if (qn_format_parse(&f, s->link.format, NULL) == QN_OK) {
        qn_format_name(format, f);
    }
    static const char *const names[] = {
#define PER_NAME(name, value, text) text,
        QN_LINK_PER_LIST(PER_NAME)
#undef PER_NAME
    };
    per = per != NULL ? per : names[s->link.per];
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_update_new(
            object, json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "output", cli_json_string(output),
                              "layout", s->pipeedge ? "pipeedge" : "frame", "format", format, "per", per, "count",
                              (json_int_t)n, "bytes", (json_int_t)s->n_bytes, "bits_per_value", cli_json_real(bits),
                              "sqnr_db", cli_json_real(d.sqnr_db), "max_error", cli_json_real(d.max_error)));
        cli_print_json(object);
        return;
    }
    printf("%s -> %s: %s as %s per %s, %zu bytes, %.2f bits per value, SQNR %s\n", args->positional[0], output,
           cli_shape(shape, s->x.rank, s->x.dims), format, per, s->n_bytes, bits, cli_db(db, d.sqnr_db));
}

/* Per item unless said otherwise or the format has but one. */
static qn_status choose_granularity(const cli_args *args, pack_state *s, qn_error *err)
{
    qn_format f = {0};
    const bool raw = strcmp(s->link.format, "fp32") == 0;
    if (!raw) {
        QN_TRY(qn_format_parse(&f, s->link.format, err));
    }
    if (cli_value(args, "per") == NULL) {
        s->link.per = s->pipeedge    ? QN_LINK_PER_ITEM
                      : raw          ? QN_LINK_PER_TENSOR
                      : f.block != 0 ? QN_LINK_PER_BLOCK
                                     : QN_LINK_PER_ITEM;
    }
    return QN_OK;
}

static qn_status pack(const cli_args *args, pack_state *s, qn_error *err)
{
    const char *output = cli_value(args, "output");
    const bool force = cli_has(args, "force");
    QN_TRY(choose_granularity(args, s, err));
    QN_TRY(cli_check_output(args, output, err));
    QN_TRY(cli_read_array(&s->x, args->positional[0], err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = (s->pipeedge ? make_pipeedge : make_frame)(s, &inner);
    if (status != QN_OK) {
        qn_error_prefix(&inner, args->positional[0]);
        *err = inner;
        return status;
    }
    return s->pipeedge ? qn_pipeedge_write(&s->sent, output, force, err)
                       : qn_file_write_all(output, force, s->data, s->n_bytes, err);
}

/* Options into s->link; CLI_USAGE for what they cannot be. */
static cli_exit take_options(const cli_args *args, pack_state *s)
{
    const char *per = cli_value(args, "per"), *clamp = cli_value(args, "clamp"), *layout = cli_value(args, "layout");
    const char *checksum = cli_value(args, "checksum");
    qn_fit_options fit;
    qn_codec_options codec;
    qn_error err;
    qn_error_init(&err);
    qn_link_options_init(&s->link);
    cli_exit code = cli_fit_options(args, "fit", &fit, &codec);
    if (code != CLI_OK) {
        return code;
    }
    s->link.format = cli_value(args, "format");
    s->link.nan = codec.nan;
    s->link.inf = codec.inf;
    if (layout != NULL && strcmp(layout, "frame") != 0 && strcmp(layout, "pipeedge") != 0) {
        return cli_misuse("--layout '%s' is unknown; it is frame or pipeedge", layout);
    }
    s->pipeedge = layout != NULL && strcmp(layout, "pipeedge") == 0;
    if (per != NULL && qn_link_per_parse(&s->link.per, &s->link.group, per, &err) != QN_OK) {
        return cli_misuse("--per %s", err.message);
    }
    if (clamp != NULL && qn_link_clamp_parse(&s->link.clamp, clamp, &err) != QN_OK) {
        return cli_misuse("--clamp %s", err.message);
    }
    if (checksum != NULL && qn_link_checksum_parse(&s->link.checksum, checksum, &err) != QN_OK) {
        return cli_misuse("--checksum %s", err.message);
    }
    if (checksum != NULL && s->pipeedge) {
        return cli_misuse("--checksum is of frames; PipeEdge's arrays have none");
    }
    return CLI_OK;
}

static cli_exit run(cli_args *args)
{
    const char *output = cli_value(args, "output");
    if (cli_value(args, "format") == NULL || output == NULL) {
        return cli_misuse("%s is missing; usage: quern pack %s", output == NULL ? "-o FILE" : "--format FMT",
                          args->command->usage);
    }
    pack_state state = {0};
    cli_exit code = take_options(args, &state);
    if (code != CLI_OK) {
        return code;
    }
    qn_error err;
    qn_error_init(&err);
    if (pack(args, &state, &err) == QN_OK) {
        report(args, &state);
    } else {
        code = cli_fail(&err);
    }
    qn_free(state.data);
    qn_tensor_free(&state.x);
    qn_tensor_free(&state.y);
    qn_pipeedge_free(&state.sent);
    return code;
}

const cli_command cli_pack = {
    .name = "pack",
    .summary = "pack an array into a frame for a link between machines",
    .usage = "X --format FMT [--per SET] [--clamp CLAMP] [--layout frame|pipeedge] -o x.qnt",
    .description =
        "Writes one file that 'quern unpack' needs nothing else to read: format, shape, parameters and codes, packed "
        "densely,\nwith checksums of both (doc/spec/link.md). X is an array of floats or integers (.npy, "
        "file.npz:name, "
        ".pb), or\nmodel.onnx:NAME for a constant of a model; items are along its first axis. --layout pipeedge writes "
        "what PipeEdge sends:\ncomm, shape, scale, shift and bit, for pipeedge<1> to pipeedge<32> and fp32.\n"
        "laplace, gelu and ds-aciq clamp the whole array, as PipeEdge does; mse chooses each set's parameters for the "
        "least\nsquared error. NaN and infinities are kept where the format has codes for them, else refused unless "
        "--nan and --inf say\notherwise.",
    .example = "quern pack activations.npy --format 'adaptivfloat<6,4>' --per item -o x.qnt\n"
               "quern pack activations.npy --format 'pipeedge<4>' --clamp laplace --layout pipeedge -o sent.npz",
    .positional = {"X"},
    .options = options,
    .run = run,
};
