/* quern decode: codes and parameters in, float32 out. */
#include <stdio.h>
#include <string.h>

#include "cli/arrays.h"
#include "cli/session.h"

static const cli_option options[] = {
    {"params", 0, "FILE", "parameters that 'quern encode' wrote; required, except with a constant of a model"},
    {"output", 'o', "FILE", "float32 array to write, .npy; required"},
    {"packed", 0, NULL, "the codes are packed densely"},
    {"force", 'f', NULL, "overwrite outputs"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_tensor codes, y;
    qn_quantizer *q;
    int rank;
    int64_t dims[QN_MAX_RANK];
} decode_state;

static bool same_shape(const decode_state *s)
{
    return s->codes.rank == s->rank &&
           (s->rank == 0 || memcmp(s->codes.dims, s->dims, (size_t)s->rank * sizeof s->dims[0]) == 0);
}

static qn_status decode_packed(decode_state *s, const char *path, qn_error *err)
{
    int64_t n;
    size_t n_bytes;
    QN_TRY(qn_shape_count(s->dims, s->rank, &n, err));
    QN_TRY(qn_packed_bytes(&n_bytes, n, s->q->format.bits, QN_PACKING_DENSE, err));
    if (s->codes.dtype != QN_DTYPE_U8 || qn_tensor_bytes(&s->codes) != n_bytes) {
        return qn_fail(err, QN_ESHAPE, path,
                       "%lld codes of %d bits are %zu bytes of uint8 when packed; these are %zu of %s", (long long)n,
                       s->q->format.bits, n_bytes, qn_tensor_bytes(&s->codes), qn_dtype_text(s->codes.dtype));
    }
    const qn_packed packed = {s->codes.data, n, s->q->format.bits, QN_PACKING_DENSE};
    return qn_decode_packed(&s->y, &packed, s->q, s->rank, s->dims, err);
}

static qn_status decode_plain(decode_state *s, const char *path, qn_error *err)
{
    if (!same_shape(s)) {
        char own[CLI_SHAPE_MAX], wanted[CLI_SHAPE_MAX];
        return qn_fail(err, QN_ESHAPE, path, "codes are %s, the parameters are for %s; packed codes need --packed",
                       cli_shape(own, s->codes.rank, s->codes.dims), cli_shape(wanted, s->rank, s->dims));
    }
    return qn_decode(&s->y, &s->codes, s->q, err);
}

static bool is_model_constant(const char *path)
{
    return strstr(path, ".onnx:") != NULL;
}

static qn_status decode(const cli_args *args, decode_state *s, qn_error *err)
{
    const char *path = args->positional[0], *output = cli_value(args, "output");
    QN_TRY(cli_check_output(args, output, err));
    if (is_model_constant(path)) { /* the model has both codes and parameters */
        QN_TRY(cli_read_array(&s->y, path, err));
        return qn_tensor_write_npy(&s->y, output, cli_has(args, "force"), err);
    }
    QN_TRY(qn_quantizer_read_json(&s->q, &s->rank, s->dims, cli_value(args, "params"), err));
    QN_TRY(qn_tensor_read(&s->codes, path, err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = (cli_has(args, "packed") ? decode_packed : decode_plain)(s, path, &inner);
    if (status != QN_OK) {
        if (inner.where[0] == '\0') {
            qn_error_prefix(&inner, path);
        }
        *err = inner;
        return status;
    }
    return qn_tensor_write_npy(&s->y, output, cli_has(args, "force"), err);
}

static void report(const cli_args *args, const decode_state *s)
{
    const char *output = cli_value(args, "output");
    char format[QN_FORMAT_NAME_MAX] = "float32", shape[CLI_SHAPE_MAX];
    if (s->q != NULL) {
        qn_format_name(format, s->q->format);
    }
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_update_new(object, json_pack("{s:o, s:s, s:I}", "output", cli_json_string(output), "format", format,
                                                 "count", (json_int_t)qn_tensor_count(&s->y)));
        cli_print_json(object);
    } else {
        printf("%s -> %s: %s of %s\n", args->positional[0], output, cli_shape(shape, s->y.rank, s->y.dims), format);
    }
}

static cli_exit run(cli_args *args)
{
    bool from_model = is_model_constant(args->positional[0]);
    if (from_model && (cli_value(args, "params") != NULL || cli_has(args, "packed"))) {
        return cli_misuse("--params and --packed are for files of codes, not for a constant of a model");
    }
    if ((cli_value(args, "params") == NULL && !from_model) || cli_value(args, "output") == NULL) {
        return cli_misuse("%s is missing; usage: quern decode %s",
                          cli_value(args, "output") == NULL ? "-o FILE" : "--params FILE", args->command->usage);
    }
    qn_error err;
    qn_error_init(&err);
    decode_state state = {0};
    cli_exit code = CLI_OK;
    if (decode(args, &state, &err) == QN_OK) {
        report(args, &state);
    } else {
        code = cli_fail(&err);
    }
    qn_tensor_free(&state.codes);
    qn_tensor_free(&state.y);
    qn_quantizer_free(state.q);
    return code;
}

const cli_command cli_decode = {
    .name = "decode",
    .summary = "turn codes back into numbers",
    .usage = "CODES --params p.json -o y.npy [--packed]",
    .description =
        "Reads codes and the parameters that 'quern encode' wrote with them, and writes the numbers they stand "
        "for as float32,\nin the shape of the array that was encoded. CODES may be model.onnx:NAME, a constant of a "
        "model, "
        "which needs no\nparameters.",
    .example = "quern decode codes.npy --params p.json -o y.npy",
    .positional = {"CODES"},
    .options = options,
    .run = run,
};
