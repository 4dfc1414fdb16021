/* quern encode: an array in, codes of a format out. */
#include <stdio.h>
#include <string.h>

#include "cli/arrays.h"
#include "cli/session.h"

static const cli_option options[] = {
    {"format", 0, "FMT", "format of the codes, such as int8 or 'adaptivfloat<8,3>' (see 'quern formats'); required"},
    CLI_OPTION_AXIS,
    CLI_OPTION_GROUP,
    {"fit", 0, "RULE", "range the parameters are made for, or params=FILE; see below; default: what the format says"},
    {"output", 'o', "FILE", "codes to write, .npy; required"},
    {"params", 0, "FILE", "parameters to write, JSON; 'quern decode' needs them"},
    {"packed", 0, NULL, "write codes densely: element k is bits [k*b, k*b+b) of the bytes"},
    CLI_OPTION_NAN,
    CLI_OPTION_INF,
    {"force", 'f', NULL, "overwrite outputs"},
    {NULL, 0, NULL, NULL},
};

typedef struct {
    qn_format format;
    qn_fit_options fit;
    qn_codec_options codec;
    qn_tensor x, codes;
    qn_quantizer *q;
} encode_state;

static qn_status make_codes(const cli_args *args, encode_state *s, qn_error *err)
{
    if (!cli_has(args, "packed")) {
        return qn_encode(&s->codes, &s->x, s->q, &s->codec, err);
    }
    int64_t n = qn_tensor_count(&s->x);
    size_t n_bytes;
    QN_TRY(qn_packed_bytes(&n_bytes, n, s->format.bits, QN_PACKING_DENSE, err));
    QN_TRY(qn_tensor_alloc(&s->codes, QN_DTYPE_U8, 1, (const int64_t[]){(int64_t)n_bytes}, err));
    qn_packed packed = {s->codes.data, n, s->format.bits, QN_PACKING_DENSE};
    return qn_encode_packed(&packed, &s->x, s->q, &s->codec, err);
}

/* Parameters first: they alone are no half of a result that could be taken for the whole. */
static qn_status write_outputs(const cli_args *args, const encode_state *s, qn_error *err)
{
    const char *output = cli_value(args, "output"), *params = cli_value(args, "params");
    const bool force = cli_has(args, "force");
    if (params != NULL) {
        QN_TRY(qn_quantizer_write_json(s->q, s->x.rank, s->x.dims, params, force, err));
    }
    qn_status status = qn_tensor_write_npy(&s->codes, output, force, err);
    if (status != QN_OK && params != NULL && !force) {
        remove(params); /* made just now */
    }
    return status;
}

static void report(const cli_args *args, const encode_state *s)
{
    const char *output = cli_value(args, "output");
    char format[QN_FORMAT_NAME_MAX], shape[CLI_SHAPE_MAX], params[CLI_PARAMS_MAX];
    qn_format_name(format, s->format);
    if (args->json) {
        json_t *object = cli_json_start(args);
        json_object_update_new(object,
                               json_pack("{s:o, s:s, s:s, s:I, s:I, s:f}", "output", cli_json_string(output), "format",
                                         format, "dtype", qn_dtype_text(s->codes.dtype), "count",
                                         (json_int_t)qn_tensor_count(&s->x), "parameter_sets", (json_int_t)s->q->n,
                                         "bits_per_value", cli_bits_per_value(s->q, qn_tensor_count(&s->x))));
        cli_print_json(object);
        return;
    }
    printf("%s -> %s: %s as %s%s", args->positional[0], output, cli_shape(shape, s->x.rank, s->x.dims), format,
           cli_has(args, "packed") ? ", packed" : "");
    if (s->q->n == 1) {
        printf(", %s\n", cli_params(params, s->q, 0));
    } else {
        printf(", %lld sets of parameters\n", (long long)s->q->n);
    }
    if (cli_value(args, "params") == NULL && qn_format_parameters(s->format) != 0) {
        cli_note(args, "note: without --params FILE the codes cannot be decoded again");
    }
}

static qn_status encode(const cli_args *args, encode_state *s, qn_error *err)
{
    QN_TRY(qn_format_parse(&s->format, cli_value(args, "format"), err));
    QN_TRY(cli_check_output(args, cli_value(args, "output"), err));
    QN_TRY(cli_check_output(args, cli_value(args, "params"), err));
    QN_TRY(cli_read_array(&s->x, args->positional[0], err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = qn_fit(&s->q, &s->x, s->format, &s->fit, &inner);
    status = status == QN_OK ? make_codes(args, s, &inner) : status;
    if (status != QN_OK) {
        qn_error_prefix(&inner, args->positional[0]);
        *err = inner;
        return status;
    }
    return write_outputs(args, s, err);
}

static cli_exit run(cli_args *args)
{
    const char *output = cli_value(args, "output"), *params = cli_value(args, "params");
    if (cli_value(args, "format") == NULL || output == NULL) {
        return cli_misuse("%s is missing; usage: quern encode %s", output == NULL ? "-o FILE" : "--format FMT",
                          args->command->usage);
    }
    if (params != NULL && strcmp(params, output) == 0) {
        return cli_misuse("-o and --params both name '%s'; give each a file of its own", output);
    }
    encode_state state = {0};
    cli_exit code = cli_fit_options(args, "fit", &state.fit, &state.codec);
    if (code != CLI_OK) {
        return code;
    }
    qn_error err;
    qn_error_init(&err);
    if (encode(args, &state, &err) == QN_OK) {
        report(args, &state);
    } else {
        code = cli_fail(&err);
    }
    qn_tensor_free(&state.x);
    qn_tensor_free(&state.codes);
    qn_quantizer_free(state.q);
    return code;
}

const cli_command cli_encode = {
    .name = "encode",
    .summary = "turn an array into codes of a number format",
    .usage = "X --format FMT [--axis A] [--group N] [--fit RULE] -o codes.npy [--params p.json] [--packed]",
    .description =
        "Chooses the format's parameters for the array, and writes its codes: bit patterns in uint8, uint16 or uint32, "
        "in the\n"
        "shape of the input, or densely with --packed. X is an array of floats or integers (.npy, file.npz:name, .pb), "
        "or\n"
        "model.onnx:NAME for a constant of a model. NaN and infinities are refused unless --nan and --inf say "
        "otherwise.",
    .example = "quern encode weights.npy --format 'adaptivfloat<8,3>' --axis 0 -o codes.npy --params p.json",
    .positional = {"X"},
    .options = options,
    .run = run,
};
