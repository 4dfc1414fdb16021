/* quern compare: what several formats make of one array, best first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/arrays.h"

static const cli_option options[] = {
    {"formats", 0, "LIST", "formats separated by commas; required"},
    CLI_OPTION_AXIS,
    CLI_OPTION_GROUP,
    {"fit", 0, "RULE", "range the parameters are made for, as 'quern encode' takes it"},
    CLI_OPTION_NAN,
    CLI_OPTION_INF,
    {NULL, 0, NULL, NULL},
};

enum { FORMATS_MAX = 64 };

typedef struct {
    char name[QN_FORMAT_NAME_MAX];
    qn_format format;
    cli_distance distance;
    double bits_per_value;
    int64_t n_sets;
} row;

/* Split at commas outside of <>: "int8,ap_fixed<8,3>". Returns the length of the first name. */
static size_t name_length(const char *list)
{
    int depth = 0;
    size_t n = 0;
    for (; list[n] != '\0' && (list[n] != ',' || depth > 0); n++) {
        depth += list[n] == '<' ? 1 : list[n] == '>' ? -1 : 0;
    }
    return n;
}

static qn_status parse_list(row *rows, int *n_rows, const char *list, qn_error *err)
{
    *n_rows = 0;
    for (const char *at = list;; at++) {
        char text[2 * QN_FORMAT_NAME_MAX];
        size_t n = name_length(at);
        if (*n_rows == FORMATS_MAX) {
            return qn_fail(err, QN_ELIMIT, "--formats", "more than %d formats", (int)FORMATS_MAX);
        }
        snprintf(text, sizeof text, "%.*s", n < sizeof text ? (int)n : (int)sizeof text - 1, at);
        QN_TRY(qn_format_parse(&rows[*n_rows].format, text, err));
        qn_format_name(rows[*n_rows].name, rows[*n_rows].format);
        (*n_rows)++;
        at += n;
        if (*at == '\0') {
            return QN_OK;
        }
    }
}

static qn_status measure(row *r, const qn_tensor *x, const qn_fit_options *fit, const qn_codec_options *codec,
                         qn_error *err)
{
    qn_fit_options own = *fit;
    if (r->format.block > 0) {
        own.group = 0; /* blocks have their own size */
    }
    qn_quantizer *q;
    qn_tensor y;
    QN_TRY(qn_fit(&q, x, r->format, &own, err));
    qn_status status = qn_fake_quantize(&y, x, q, codec, err);
    if (status == QN_OK) {
        r->distance = cli_distance_of(x, &y);
        r->bits_per_value = cli_bits_per_value(q, qn_tensor_count(x));
        r->n_sets = q->n;
        qn_tensor_free(&y);
    }
    qn_quantizer_free(q);
    return status;
}

/* Better first; what is equally good, with fewer bits first. */
static int by_quality(const void *a, const void *b)
{
    const row *r = a, *s = b;
    if (r->distance.sqnr_db != s->distance.sqnr_db) {
        return r->distance.sqnr_db > s->distance.sqnr_db ? -1 : 1;
    }
    if (r->bits_per_value != s->bits_per_value) {
        return r->bits_per_value < s->bits_per_value ? -1 : 1;
    }
    return strcmp(r->name, s->name);
}

static qn_status compare(const cli_args *args, row *rows, int *n_rows, const qn_fit_options *fit,
                         const qn_codec_options *codec, qn_error *err)
{
    QN_TRY(parse_list(rows, n_rows, cli_value(args, "formats"), err));
    qn_tensor x;
    QN_TRY(cli_read_array(&x, args->positional[0], err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = QN_OK;
    for (int i = 0; i < *n_rows && status == QN_OK; i++) {
        status = measure(&rows[i], &x, fit, codec, &inner);
    }
    qn_tensor_free(&x);
    if (status != QN_OK) {
        qn_error_prefix(&inner, args->positional[0]);
        *err = inner;
        return status;
    }
    qsort(rows, (size_t)*n_rows, sizeof *rows, by_quality);
    return QN_OK;
}

static void print_json(const cli_args *args, const row *rows, int n_rows)
{
    json_t *list = json_array();
    for (int i = 0; i < n_rows; i++) {
        const row *r = &rows[i];
        json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o, s:f, s:I}", "format", r->name, "sqnr_db",
                                              cli_json_real(r->distance.sqnr_db), "max_error",
                                              cli_json_real(r->distance.max_error), "mean_error",
                                              cli_json_real(r->distance.mean_error), "bits_per_value",
                                              r->bits_per_value, "parameter_sets", (json_int_t)r->n_sets));
    }
    json_t *object = cli_json_start(args);
    json_object_set_new(object, "input", cli_json_string(args->positional[0]));
    json_object_set_new(object, "formats", list);
    cli_print_json(object);
}

static void print_text(const row *rows, int n_rows)
{
    char db[CLI_DB_MAX];
    printf("%-32s %12s %12s %12s %10s\n", "format", "SQNR", "max error", "mean error", "bits/value");
    for (int i = 0; i < n_rows; i++) {
        const row *r = &rows[i];
        printf("%-32s %12s %12.5g %12.5g %10.4g\n", r->name, cli_db(db, r->distance.sqnr_db), r->distance.max_error,
               r->distance.mean_error, r->bits_per_value);
    }
}

static cli_exit run(cli_args *args)
{
    if (cli_value(args, "formats") == NULL) {
        return cli_misuse("--formats LIST is missing; usage: quern compare %s", args->command->usage);
    }
    qn_fit_options fit;
    qn_codec_options codec;
    cli_exit code = cli_fit_options(args, "fit", &fit, &codec);
    if (code != CLI_OK) {
        return code;
    }
    qn_error err;
    qn_error_init(&err);
    row rows[FORMATS_MAX] = {0};
    int n_rows;
    if (compare(args, rows, &n_rows, &fit, &codec, &err) != QN_OK) {
        return cli_fail(&err);
    }
    if (args->json) {
        print_json(args, rows, n_rows);
    } else {
        print_text(rows, n_rows);
    }
    return CLI_OK;
}

const cli_command cli_compare = {
    .name = "compare",
    .summary = "compare what number formats make of an array",
    .usage = "X --formats LIST [--axis A] [--group N] [--fit RULE]",
    .description =
        "Fits each format to the array, encodes and decodes, and prints the ratio of signal to quantization noise, "
        "the\n"
        "greatest and the mean error, and the bits that an element takes with its share of the parameters; best first.",
    .example = "quern compare weights.npy --formats 'int8,fp8e4m3,adaptivfloat<8,3>,mx<fp8e4m3>,posit<8,1>'",
    .positional = {"X"},
    .options = options,
    .run = run,
};
