/* quern cuts: its tables and its JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cuts.h"

static json_t *start(const cli_args *args, const cli_cuts_state *s)
{
    json_t *object = cli_json_start(args);
    json_object_set_new(object, "model", cli_json_string(s->file));
    json_object_set_new(object, "sha256", json_string(s->sha256));
    json_object_set_new(object, "engine", json_string(qn_engine_text(qn_cuts_engine(s->cuts))));
    return object;
}

static json_t *text_or_null(const char *text)
{
    return text != NULL ? cli_json_string(text) : json_null();
}

static json_t *tensors_json(const qn_cut *cut)
{
    json_t *list = json_array();
    for (size_t t = 0; t < cut->n_tensors; t++) {
        const qn_cut_tensor *tensor = &cut->tensors[t];
        json_t *dims = json_array();
        for (int d = 0; d < tensor->rank; d++) {
            json_array_append_new(dims, json_integer(tensor->dims[d]));
        }
        json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:b, s:s}", "name", cli_json_string(tensor->name),
                                              "dims", dims, "count", (json_int_t)tensor->count, "coded", tensor->coded,
                                              "format", tensor->format));
    }
    return list;
}

/* Outputs that are equal have an infinite ratio, which JSON has no number for. */
static json_t *sqnr_json(double db)
{
    return isinf(db) ? json_string("inf") : cli_json_real(db);
}

static json_t *results_json(const cli_cuts_state *s, size_t p)
{
    json_t *list = json_array();
    const double m = (double)qn_cut_study_baseline(s->study)->message_items;
    for (size_t c = 0; c < s->n_choices; c++) {
        const qn_cut_result *r = qn_cut_study_at(s->study, p, c);
        char text[QN_LINK_CHOICE_MAX];
        if (r != NULL) {
            qn_link_choice_text(text, &s->choices[c]);
            json_t *object = json_object();
            json_object_set_new(object, "choice", json_string(text));
            json_object_set_new(object, "bytes_per_message", json_integer((json_int_t)r->message_bytes));
            json_object_set_new(object, "bytes_per_item", json_real((double)r->message_bytes / m));
            json_object_set_new(object, "sqnr_db", sqnr_json(r->sqnr_db));
            json_object_set_new(object, "top1", cli_json_real(r->top1));
            json_object_set_new(object, "loss", cli_json_real(r->loss));
            json_object_set_new(object, "agreement", cli_json_real(r->agreement));
            json_object_set_new(object, "error", text_or_null(r->error));
            json_array_append_new(list, object);
        }
    }
    return list;
}

static json_t *position_json(const cli_cuts_state *s, size_t p)
{
    const qn_cut *cut = qn_cuts_at(s->cuts, p);
    const qn_cut_span before = qn_cuts_span(s->cuts, 0, p);
    const size_t same = qn_cut_study_same_as(s->study, p);
    json_t *object = json_object();
    json_object_set_new(object, "position", json_integer((json_int_t)p));
    json_object_set_new(object, "name", cli_json_string(cut->name));
    json_object_set_new(object, "node", cli_json_string(cut->node));
    json_object_set_new(object, "op_type", cli_json_string(cut->op_type));
    json_object_set_new(object, "reason", text_or_null(cut->reason));
    json_object_set_new(object, "macs_before", json_integer(before.macs));
    json_object_set_new(object, "weight_bytes_before", json_integer(before.weight_bytes));
    json_object_set_new(object, "tensors", tensors_json(cut));
    json_object_set_new(object, "same_as", s->listed[p] && same != p ? json_integer((json_int_t)same) : json_null());
    json_object_set_new(object, "choices", results_json(s, p));
    return object;
}

json_t *cli_cuts_json(const cli_args *args, const cli_cuts_state *s)
{
    const qn_cut_baseline *base = qn_cut_study_baseline(s->study);
    json_t *object = start(args, s), *choices = json_array(), *positions = json_array();
    json_object_set_new(object, "batched", json_boolean(qn_cuts_batched(s->cuts)));
    json_object_set_new(object, "items", json_integer(base->n_items));
    json_object_set_new(object, "message_items", json_integer(base->message_items));
    json_object_set_new(object, "top1", cli_json_real(base->top1));
    for (size_t c = 0; c < s->n_choices; c++) {
        char text[QN_LINK_CHOICE_MAX];
        qn_link_choice_text(text, &s->choices[c]);
        json_array_append_new(choices, json_string(text));
    }
    for (size_t p = 0; p <= qn_cuts_last(s->cuts); p++) {
        json_array_append_new(positions, position_json(s, p));
    }
    json_object_set_new(object, "choices", choices);
    json_object_set_new(object, "positions", positions);
    return object;
}

json_t *cli_cuts_times_json(const cli_args *args, const cli_cuts_state *s)
{
    json_t *object = start(args, s), *positions = json_array();
    json_object_set_new(object, "kind", json_string("times"));
    json_object_set_new(object, "cpu", json_string(s->times.machine));
    json_object_set_new(object, "threads", json_integer(1));
    json_object_set_new(object, "batch", json_integer(s->times.batch));
    json_object_set_new(object, "rounds", json_integer(s->rounds));
    json_object_set_new(object, "seconds_per_item", json_real(s->times.seconds_before[s->times.n - 1]));
    for (size_t p = 0; p < s->times.n; p++) {
        json_array_append_new(positions, json_pack("{s:I, s:o, s:f}", "position", (json_int_t)p, "name",
                                                   cli_json_string(qn_cuts_at(s->cuts, p)->name), "seconds_before",
                                                   s->times.seconds_before[p]));
    }
    json_object_set_new(object, "positions", positions);
    return object;
}

static double share_before(const cli_cuts_state *s, size_t p)
{
    const int64_t all = qn_cuts_span(s->cuts, 0, qn_cuts_last(s->cuts)).macs;
    return all > 0 ? 100.0 * (double)qn_cuts_span(s->cuts, 0, p).macs / (double)all : 0;
}

/* "inf": equal outputs */
enum { DB_MAX = 24 };
static const char *db_text(char text[DB_MAX], double db)
{
    snprintf(text, DB_MAX, isinf(db) ? "inf" : "%.2f", db);
    return text;
}

static void print_result(const cli_cuts_state *s, size_t c, const qn_cut_result *r)
{
    char text[QN_LINK_CHOICE_MAX], db[DB_MAX];
    qn_link_choice_text(text, &s->choices[c]);
    if (r->message_bytes == 0) {
        printf("    %-26s %9s  %s\n", text, "-", r->error);
        return;
    }
    printf("    %-26s %9zu", text, r->message_bytes);
    if (r->error != NULL) {
        printf("  %s", r->error);
    } else if (!isnan(r->sqnr_db)) {
        printf(" %9s %8.2f", db_text(db, r->sqnr_db), 100 * r->agreement);
        if (!isnan(r->top1)) {
            printf(" %8.2f", 100 * r->top1);
        }
    }
    putchar('\n');
}

static void print_place(const cli_cuts_state *s, size_t p)
{
    char name[CLI_NAME_MAX], op[CLI_NAME_MAX], shape[CLI_SHAPE_MAX];
    const qn_cut *cut = qn_cuts_at(s->cuts, p);
    printf("%zu %s (%s), %.1f %% of MACs before:", p, cli_name(name, cut->name), cli_name(op, cut->op_type),
           share_before(s, p));
    for (size_t t = 0; t < cut->n_tensors; t++) {
        const qn_cut_tensor *tensor = &cut->tensors[t];
        printf("%s", t > 0 ? "," : "");
        if (strcmp(tensor->name, cut->name) != 0) {
            printf(" %s", cli_name(name, tensor->name));
        }
        printf(" %s %s", cli_shape(shape, tensor->rank, tensor->dims), tensor->format);
    }
    if (qn_cut_study_same_as(s->study, p) != p) {
        printf(" (numbers as at %zu)", qn_cut_study_same_as(s->study, p));
    }
    putchar('\n');
    for (size_t c = 0; c < s->n_choices; c++) {
        print_result(s, c, qn_cut_study_at(s->study, p, c));
    }
}

static void print_head(const cli_cuts_state *s)
{
    const qn_cut_baseline *base = qn_cut_study_baseline(s->study);
    const size_t last = qn_cuts_last(s->cuts);
    char name[CLI_NAME_MAX];
    size_t places = 0, listed = 0;
    for (size_t p = 1; p < last; p++) {
        places += qn_cuts_at(s->cuts, p)->reason == NULL;
        listed += s->listed[p];
    }
    printf("%s: %s engine, %zu nodes, %zu places to part stages", cli_name(name, s->file),
           qn_engine_text(qn_cuts_engine(s->cuts)), last, places);
    if (listed < places) {
        printf(", %zu of them here", listed);
    }
    printf("\n");
    if (base->message_items > 1) {
        printf("bytes are of messages of %lld items\n", (long long)base->message_items);
    }
    if (base->n_items > 0) {
        printf("uncut, on %lld items", (long long)base->n_items);
        if (!isnan(base->top1)) {
            printf(": top-1 %.2f %%", 100 * base->top1);
        }
        printf("\n");
    }
}

void cli_cuts_print(const cli_args *args, const cli_cuts_state *s)
{
    const qn_cut_baseline *base = qn_cut_study_baseline(s->study);
    const size_t last = qn_cuts_last(s->cuts);
    size_t parted = 0;
    print_head(s);
    printf("    %-26s %9s%s%s\n", "choice", "bytes", base->n_items > 0 ? "   SQNR dB  agree %" : "",
           isnan(base->top1) ? "" : "  top-1 %");
    for (size_t p = 1; p < last; p++) {
        const qn_cut *cut = qn_cuts_at(s->cuts, p);
        char name[CLI_NAME_MAX], op[CLI_NAME_MAX];
        if (s->listed[p]) {
            print_place(s, p);
        } else if (cut->reason != NULL && cli_has(args, "all")) {
            printf("%zu %s (%s): stages cannot part: %s\n", p, cli_name(name, cut->name), cli_name(op, cut->op_type),
                   cut->reason);
        }
        parted += cut->reason != NULL;
    }
    if (parted > 0 && !cli_has(args, "all")) {
        printf("at %zu other position%s stages cannot part; --all tells why\n", parted, parted == 1 ? "" : "s");
    }
}

/* Over the places with a result, those with the numbers of another left out. */
typedef struct {
    size_t n, n_failed, worst_at; /* position of least_db */
    double bytes, loss, most_loss, median_db, least_db;
} choice_sum;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* db: room for one number per position */
static choice_sum sum_choice(const cli_cuts_state *s, size_t c, double *db)
{
    choice_sum sum = {.least_db = (double)INFINITY, .most_loss = -(double)INFINITY};
    for (size_t p = 1; p < qn_cuts_last(s->cuts); p++) {
        const qn_cut_result *r = qn_cut_study_at(s->study, p, c);
        if (r == NULL || qn_cut_study_same_as(s->study, p) != p) {
            continue;
        }
        if (r->error != NULL) {
            sum.n_failed++;
            continue;
        }
        db[sum.n++] = r->sqnr_db;
        sum.bytes += (double)r->message_bytes;
        sum.loss += r->loss;
        sum.most_loss = r->loss > sum.most_loss ? r->loss : sum.most_loss;
        if (r->sqnr_db < sum.least_db) {
            sum.least_db = r->sqnr_db;
            sum.worst_at = p;
        }
    }
    if (sum.n > 0 && qn_cut_study_baseline(s->study)->n_items > 0) {
        qsort(db, sum.n, sizeof *db, by_value);
        const double lower = db[(sum.n - 1) / 2], upper = db[sum.n / 2];
        sum.median_db = isinf(upper) ? upper : (lower + upper) / 2;
    }
    return sum;
}

void cli_cuts_print_summary(const cli_cuts_state *s)
{
    const qn_cut_baseline *base = qn_cut_study_baseline(s->study);
    const bool measured = base->n_items > 0;
    double *db = malloc(qn_cuts_last(s->cuts) * sizeof *db);
    print_head(s);
    printf("%-26s %9s%s\n", "", "",
           !measured           ? ""
           : isnan(base->top1) ? "   SQNR in dB        other class, %"
                               : "   SQNR in dB         lost in %");
    printf("%-26s %9s%s\n", "over places", "bytes", measured ? "   median  least     mean   most  least SQNR at" : "");
    for (size_t c = 0; db != NULL && c < s->n_choices; c++) {
        char text[QN_LINK_CHOICE_MAX], name[CLI_NAME_MAX], median[DB_MAX], least[DB_MAX];
        const choice_sum sum = sum_choice(s, c, db);
        const double n = (double)sum.n;
        qn_link_choice_text(text, &s->choices[c]);
        printf("%-26s", text);
        if (sum.n > 0) {
            printf(" %9.0f", sum.bytes / n);
        }
        if (sum.n > 0 && measured) {
            printf(" %8s %6s %8.2f %6.2f  %s", db_text(median, sum.median_db), db_text(least, sum.least_db),
                   100 * sum.loss / n, 100 * sum.most_loss,
                   sum.worst_at > 0 ? cli_name(name, qn_cuts_at(s->cuts, sum.worst_at)->name) : "");
        }
        if (sum.n_failed > 0) {
            printf("  none at %zu place%s", sum.n_failed, sum.n_failed == 1 ? "" : "s");
        }
        printf("\n");
    }
    free(db);
}

void cli_cuts_print_times(const cli_cuts_state *s)
{
    const qn_cut_times *t = &s->times;
    const double all = t->seconds_before[t->n - 1];
    char name[CLI_NAME_MAX];
    printf("%s: %s engine, one thread, runs of %lld items, on %s\n", cli_name(name, s->file),
           qn_engine_text(qn_cuts_engine(s->cuts)), (long long)t->batch, t->machine);
    printf("%9s %7s  %s\n", "ms before", "%", "place");
    for (size_t p = 1; p < t->n; p++) {
        const qn_cut *cut = qn_cuts_at(s->cuts, p);
        if (cut->reason == NULL) {
            printf("%9.4f %7.2f  %s\n", 1e3 * t->seconds_before[p], all > 0 ? 100 * t->seconds_before[p] / all : 0,
                   cli_name(name, cut->name));
        }
    }
}
