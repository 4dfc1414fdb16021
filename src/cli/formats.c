/* quern formats: the table of formats; one format in detail, and what it makes of an array. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/arrays.h"

static const cli_option options[] = {
    {"fit", 0, "X", "an array: show the parameters FORMAT would choose for it, the error, and how its codes fall"},
    {"rule", 0, "RULE", "range the parameters are made for, as --fit of 'quern encode' takes it"},
    CLI_OPTION_AXIS,
    CLI_OPTION_GROUP,
    CLI_OPTION_NAN,
    CLI_OPTION_INF,
    {NULL, 0, NULL, NULL},
};

/* Code books are shown up to BOOK_BITS, told in JSON up to BOOK_JSON_BITS; codes are counted up to COUNT_BITS. */
enum { BOOK_BITS = 5, BOOK_JSON_BITS = 8, COUNT_BITS = 16, BINS = 16, BAR = 40, SETS_SHOWN = 8 };

typedef struct {
    uint32_t code;
    double value; /* with the parameters of the first set */
    int64_t count;
} entry;

typedef struct {
    qn_format format;
    char name[QN_FORMAT_NAME_MAX];
    qn_quantizer *q; /* NULL without an array */
    int64_t n;
    cli_distance distance;
    entry *book; /* every code in ascending order of value, NaN last; NULL beyond COUNT_BITS */
    size_t n_codes;
} detail;

/* The parameters a format has, as words. */
static const char *parameter_words(char text[CLI_PARAMS_MAX], qn_format format)
{
    static const struct {
        unsigned parameter;
        const char *word;
    } words[] = {{QN_PARAM_SCALE, "scale"},
                 {QN_PARAM_ZERO_POINT, "zero point"},
                 {QN_PARAM_EXP_BIAS, "exponent"},
                 {QN_PARAM_SHIFT, "shift"},
                 {QN_PARAM_MULTIPLIER, "multiplier"}};
    size_t used = 0;
    snprintf(text, CLI_PARAMS_MAX, "-");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((qn_format_parameters(format) & words[i].parameter) != 0) {
            int n = snprintf(text + used, CLI_PARAMS_MAX - used, "%s%s", used > 0 ? ", " : "", words[i].word);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return text;
}

static qn_params first_params(const qn_quantizer *q)
{
    return q != NULL && q->n > 0 ? qn_quantizer_get(q, 0) : (qn_params){.scale = 1.0f, .multiplier = 1.0f};
}

/* Call fn for each name among the blank-separated examples of a description. */
static qn_status each_example(const char *examples, void *ctx,
                              void (*fn)(void *ctx, const char *name, qn_format format), qn_error *err)
{
    while (*examples != '\0') {
        char name[QN_FORMAT_NAME_MAX];
        size_t n = strcspn(examples, " ");
        snprintf(name, sizeof name, "%.*s", (int)n, examples);
        qn_format format;
        QN_TRY(qn_format_parse(&format, name, err));
        fn(ctx, name, format);
        examples += n;
        examples += strspn(examples, " ");
    }
    return QN_OK;
}

static void print_example(void *ctx, const char *name, qn_format format)
{
    char words[CLI_PARAMS_MAX];
    qn_format_limits l;
    const qn_params p = first_params(NULL);
    (void)ctx;
    qn_format_limits_get(&l, format, &p);
    printf("  %-28s %-18s %4d %12.6g %12.6g %12.6g\n", name, parameter_words(words, format), format.bits, l.lowest,
           l.highest, l.smallest);
}

static void json_example(void *list, const char *name, qn_format format)
{
    char words[CLI_PARAMS_MAX];
    qn_format_limits l;
    const qn_params p = first_params(NULL);
    qn_format_limits_get(&l, format, &p);
    json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:o, s:o, s:o}", "name", name, "parameters",
                                          parameter_words(words, format), "bits", format.bits, "lowest",
                                          cli_json_real(l.lowest), "highest", cli_json_real(l.highest), "smallest",
                                          cli_json_real(l.smallest)));
}

static qn_status print_table(const cli_args *args, qn_error *err)
{
    json_t *list = args->json ? json_array() : NULL;
    qn_status status = QN_OK;
    if (list == NULL) {
        printf("Ranges are those of neutral parameters: scale 1, exponents 0.\n%-30s %-18s %4s %12s %12s %12s\n",
               "format", "parameters", "bits", "lowest", "highest", "smallest");
    }
    for (size_t i = 0; i < qn_format_count() && status == QN_OK; i++) {
        qn_format_description d = qn_format_describe(i);
        if (list == NULL) {
            printf("%s: %s [%s]\n", d.synopsis, d.summary, d.source);
            status = each_example(d.examples, NULL, print_example, err);
            continue;
        }
        json_t *examples = json_array();
        status = each_example(d.examples, examples, json_example, err);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "synopsis", d.synopsis, "summary", d.summary,
                                              "source", d.source, "examples", examples));
    }
    if (list != NULL && status == QN_OK) {
        json_t *object = cli_json_start(args);
        json_object_set(object, "formats", list);
        cli_print_json(object);
    }
    json_decref(list);
    return status;
}

static int by_value(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (isnan(x->value) || isnan(y->value)) {
        return isnan(x->value) != isnan(y->value) ? (isnan(x->value) ? 1 : -1) : (x->code < y->code ? -1 : 1);
    }
    return x->value != y->value ? (x->value < y->value ? -1 : 1) : (x->code < y->code ? -1 : 1);
}

static uint32_t code_at(const qn_tensor *codes, int64_t i)
{
    return codes->dtype == QN_DTYPE_U8 ? ((const uint8_t *)codes->data)[i] : ((const uint16_t *)codes->data)[i];
}

/* All codes with their values and counts. `codes` may be NULL. */
static qn_status make_book(detail *d, const qn_tensor *codes, qn_error *err)
{
    if (d->format.bits > COUNT_BITS) {
        return QN_OK;
    }
    d->n_codes = (size_t)1 << d->format.bits;
    d->book = calloc(d->n_codes, sizeof *d->book);
    if (d->book == NULL) {
        return qn_fail(err, QN_ENOMEM, NULL, "out of memory");
    }
    const qn_params p = first_params(d->q);
    for (uint32_t code = 0; code < d->n_codes; code++) {
        d->book[code] = (entry){.code = code, .value = qn_format_value(d->format, &p, code)};
    }
    for (int64_t i = 0; codes != NULL && i < qn_tensor_count(codes); i++) {
        d->book[code_at(codes, i)].count++;
    }
    qsort(d->book, d->n_codes, sizeof *d->book, by_value);
    return QN_OK;
}

static qn_status fit_array(const cli_args *args, detail *d, const qn_fit_options *fit, const qn_codec_options *codec,
                           qn_error *err)
{
    const char *path = cli_value(args, "fit");
    qn_tensor x, codes = {0}, y = {0};
    QN_TRY(cli_read_array(&x, path, err));
    qn_error inner;
    qn_error_init(&inner);
    qn_status status = qn_fit(&d->q, &x, d->format, fit, &inner);
    status = status == QN_OK ? qn_encode(&codes, &x, d->q, codec, &inner) : status;
    status = status == QN_OK ? qn_decode(&y, &codes, d->q, &inner) : status;
    if (status == QN_OK) {
        d->n = qn_tensor_count(&x);
        d->distance = cli_distance_of(&x, &y);
        status = make_book(d, &codes, &inner);
    } else {
        qn_error_prefix(&inner, path);
    }
    if (status != QN_OK) {
        *err = inner;
    }
    qn_tensor_free(&x);
    qn_tensor_free(&codes);
    qn_tensor_free(&y);
    return status;
}

/* The book in at most BINS parts of neighbouring codes. */
static size_t bins_of(const detail *d, size_t *per_bin)
{
    *per_bin = d->n_codes > BINS ? d->n_codes / BINS : 1;
    return d->n_codes / *per_bin;
}

static int64_t count_bin(const detail *d, size_t bin, size_t per_bin)
{
    int64_t count = 0;
    for (size_t i = bin * per_bin; i < (bin + 1) * per_bin; i++) {
        count += d->book[i].count;
    }
    return count;
}

static void print_bar(int64_t count, int64_t most)
{
    static const char full[] = "########################################";
    printf("%.*s\n", most > 0 ? (int)((count * BAR + most - 1) / most) : 0, full);
}

static void print_histogram(const detail *d)
{
    size_t per_bin, n_bins = bins_of(d, &per_bin);
    int64_t most = 0;
    for (size_t b = 0; b < n_bins; b++) {
        int64_t count = count_bin(d, b, per_bin);
        most = count > most ? count : most;
    }
    printf("\n%-25s %10s\n", per_bin > 1 ? "codes with values" : "code with value", "count");
    for (size_t b = 0; b < n_bins; b++) {
        const entry *first = &d->book[b * per_bin], *last = &d->book[(b + 1) * per_bin - 1];
        int64_t count = count_bin(d, b, per_bin);
        printf("%11.5g %s %-11.5g %10lld  ", first->value, per_bin > 1 ? "to" : "  ", last->value, (long long)count);
        print_bar(count, most);
    }
}

static void print_book(const detail *d)
{
    printf("\n%5s %-*s %14s%s\n", "code", d->format.bits < 4 ? 4 : d->format.bits, "bits", "value",
           d->q != NULL ? "      count" : "");
    for (size_t i = 0; i < d->n_codes; i++) {
        const entry *e = &d->book[i];
        char bits[BOOK_BITS + 1] = "";
        for (int b = 0; b < d->format.bits; b++) {
            bits[b] = (e->code >> (d->format.bits - 1 - b) & 1) != 0 ? '1' : '0';
        }
        printf("%5lu %-*s %14.8g", (unsigned long)e->code, d->format.bits < 4 ? 4 : d->format.bits, bits, e->value);
        if (d->q != NULL) {
            printf(" %10lld", (long long)e->count);
        }
        printf("\n");
    }
}

static void print_detail(const detail *d)
{
    char words[CLI_PARAMS_MAX], db[CLI_DB_MAX];
    const qn_params p = first_params(d->q);
    qn_format_limits l;
    qn_format_limits_get(&l, d->format, &p);
    printf("format      %s\nbits        %d\n", d->name, d->format.bits);
    qn_field fields[QN_FIELDS_MAX];
    int n_fields = qn_format_fields(fields, d->format, 0);
    printf("fields     ");
    for (int i = 0; i < n_fields; i++) {
        printf(" %s %d", fields[i].name, fields[i].n_bits);
    }
    printf("%s\nparameters  %s\n", d->format.kind == QN_FORMAT_POSIT ? " (of code 0; they move)" : "",
           parameter_words(words, d->format));
    if (d->q != NULL) {
        for (int64_t set = 0; set < d->q->n && set < SETS_SHOWN; set++) {
            printf("set %-7lld %s\n", (long long)set, cli_params(words, d->q, set));
        }
        if (d->q->n > SETS_SHOWN) {
            printf("...         %lld sets in all\n", (long long)d->q->n);
        }
    }
    printf("range       %.9g to %.9g, smallest step from 0 %.9g%s\n", l.lowest, l.highest, l.smallest,
           d->q != NULL && d->q->n > 1 ? " (set 0)" : "");
    if (d->q != NULL) {
        printf("SQNR        %s\nmax error   %.9g at element %lld\nmean error  %.9g\nbits/value  %.6g\n",
               cli_db(db, d->distance.sqnr_db), d->distance.max_error, (long long)d->distance.max_error_at,
               d->distance.mean_error, cli_bits_per_value(d->q, d->n));
    }
    if (d->book != NULL && d->format.bits <= BOOK_BITS) {
        print_book(d);
    }
    if (d->book != NULL && d->q != NULL) {
        print_histogram(d);
    }
}

static void json_counts(json_t *object, const detail *d)
{
    size_t per_bin, n_bins = bins_of(d, &per_bin);
    json_t *bins = json_array(), *book = json_array();
    for (size_t b = 0; b < n_bins && d->q != NULL; b++) {
        json_array_append_new(bins, json_pack("{s:o, s:o, s:I}", "first", cli_json_real(d->book[b * per_bin].value),
                                              "last", cli_json_real(d->book[(b + 1) * per_bin - 1].value), "count",
                                              (json_int_t)count_bin(d, b, per_bin)));
    }
    for (size_t i = 0; i < d->n_codes && d->format.bits <= BOOK_JSON_BITS; i++) {
        json_array_append_new(book, json_pack("{s:I, s:o, s:I}", "code", (json_int_t)d->book[i].code, "value",
                                              cli_json_real(d->book[i].value), "count", (json_int_t)d->book[i].count));
    }
    json_object_set_new(object, "histogram", bins);
    json_object_set_new(object, "code_book", book);
}

static void json_detail(const cli_args *args, const detail *d)
{
    const qn_params p = first_params(d->q);
    qn_format_limits l;
    qn_format_limits_get(&l, d->format, &p);
    json_t *object = cli_json_start(args);
    json_object_update_new(object, json_pack("{s:s, s:i, s:o, s:o, s:o}", "format", d->name, "bits", d->format.bits,
                                             "lowest", cli_json_real(l.lowest), "highest", cli_json_real(l.highest),
                                             "smallest", cli_json_real(l.smallest)));
    if (d->q != NULL) {
        json_t *sets = json_array();
        for (int64_t set = 0; set < d->q->n; set++) {
            json_array_append_new(sets, cli_json_params(d->q, set));
        }
        json_object_update_new(object, json_pack("{s:o, s:o, s:o, s:o, s:f}", "parameters", sets, "sqnr_db",
                                                 cli_json_real(d->distance.sqnr_db), "max_error",
                                                 cli_json_real(d->distance.max_error), "mean_error",
                                                 cli_json_real(d->distance.mean_error), "bits_per_value",
                                                 cli_bits_per_value(d->q, d->n)));
    }
    if (d->book != NULL) {
        json_counts(object, d);
    }
    cli_print_json(object);
}

static qn_status show(const cli_args *args, detail *d, const qn_fit_options *fit, const qn_codec_options *codec,
                      qn_error *err)
{
    QN_TRY(qn_format_parse(&d->format, args->positional[0], err));
    qn_format_name(d->name, d->format);
    return cli_value(args, "fit") != NULL ? fit_array(args, d, fit, codec, err) : make_book(d, NULL, err);
}

static cli_exit run(cli_args *args)
{
    qn_error err;
    qn_error_init(&err);
    if (args->positional[0] == NULL && args->n_given > 0) {
        return cli_misuse("--%s needs a FORMAT; usage: quern formats %s", args->given[0]->name, args->command->usage);
    }
    if (args->positional[0] == NULL) {
        return print_table(args, &err) == QN_OK ? CLI_OK : cli_fail(&err);
    }
    if (cli_value(args, "fit") == NULL && args->n_given > 0) {
        return cli_misuse("--%s needs an array: --fit X; usage: quern formats %s", args->given[0]->name,
                          args->command->usage);
    }
    qn_fit_options fit;
    qn_codec_options codec;
    cli_exit code = cli_fit_options(args, "rule", &fit, &codec);
    if (code != CLI_OK) {
        return code;
    }
    detail d = {0};
    if (show(args, &d, &fit, &codec, &err) != QN_OK) {
        code = cli_fail(&err);
    } else if (args->json) {
        json_detail(args, &d);
    } else {
        print_detail(&d);
    }
    free(d.book);
    qn_quantizer_free(d.q);
    return code;
}

const cli_command cli_formats = {
    .name = "formats",
    .summary = "list number formats, or show what one makes of an array",
    .usage = "[FORMAT [--fit X [--rule RULE] [--axis A] [--group N]]]",
    .description =
        "Without a FORMAT, prints every family with examples. With one, prints its fields, its range and, up to 5 "
        "bits, its\ncode book; with --fit X also the parameters it would choose for the array X, the error, "
        "and how often\neach code occurs.",
    .example = "quern formats\nquern formats 'adaptivfloat<8,3>' --fit weights.npy",
    .positional = {"[FORMAT]"},
    .options = options,
    .run = run,
};
