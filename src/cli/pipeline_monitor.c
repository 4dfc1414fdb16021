#include "cli/pipeline_monitor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int64_t cli_monitor_items(const qn_adapt_window *window, int64_t microbatch, int64_t n_items)
{
    const int64_t first = window->first * microbatch, end = (window->first + window->n) * microbatch;
    return (end < n_items ? end : n_items) - first;
}

const char *cli_monitor_bandwidth(char text[CLI_COUNT_MAX], double bytes, double seconds)
{
    if (!(seconds > 0)) {
        return "-";
    }
    char rounded[32]; /* so that 9.9999 M is not printed with a digit more than 10 M */
    snprintf(rounded, sizeof rounded, "%.2e", 8 * bytes / seconds);
    return cli_count(text, strtod(rounded, NULL));
}

double cli_monitor_loss(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items)
{
    double loss = 0;
    for (size_t l = 0; l < n_links; l++) {
        for (size_t w = 0; w < links[l].n_windows; w++) {
            const qn_adapt_window *window = &links[l].windows[w];
            loss += window->plan.loss * (double)cli_monitor_items(window, plan->microbatch, n_items);
        }
    }
    return loss / (double)n_items;
}

/* Consecutive windows of a link with one plan, and much the same rate. */
typedef struct run_of_windows {
    const qn_adapt_window *first;
    size_t n;
    int64_t items;
    double from, to, bytes, seconds;
} run_of_windows;

static double rate_of(double items, double from, double to)
{
    return to > from ? items / (to - from) : INFINITY;
}

static bool same_parts(const qn_policy_plan *a, const qn_policy_plan *b)
{
    bool same = a->n_parts == b->n_parts;
    for (int i = 0; same && i < a->n_parts; i++) {
        same = a->parts[i].choice == b->parts[i].choice && a->parts[i].n_microbatches == b->parts[i].n_microbatches;
    }
    return same;
}

/* The run that begins at a window. */
static run_of_windows run_at(const cli_monitor_link *link, size_t w, const qn_plan *plan, int64_t n_items)
{
    const qn_adapt_window *first = &link->windows[w];
    run_of_windows run = {.first = first, .from = first->from};
    const double rate = rate_of((double)cli_monitor_items(first, plan->microbatch, n_items), first->from, first->to);
    for (; w < link->n_windows; w++) {
        const qn_adapt_window *next = &link->windows[w];
        const int64_t items = cli_monitor_items(next, plan->microbatch, n_items);
        const double own = rate_of((double)items, next->from, next->to);
        if (!same_parts(&next->plan, &first->plan) || !(fabs(own - rate) <= 0.1 * rate || own == rate)) {
            break;
        }
        run.n++;
        run.items += items;
        run.to = next->to;
        run.bytes += next->sent.bytes;
        run.seconds += next->sent.seconds;
    }
    return run;
}

static const char *percent(char text[16], double fraction)
{
    if (isnan(fraction)) {
        return "-";
    }
    snprintf(text, 16, "%.2f %%", 100 * fraction);
    return text;
}

void cli_monitor_print(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items)
{
    for (size_t l = 0; l < n_links; l++) {
        printf("\nlink %-3zu     windows      from s      items/s        bit/s   loss     travels as\n", l);
        for (size_t w = 0; w < links[l].n_windows;) {
            const run_of_windows run = run_at(&links[l], w, plan, n_items);
            char windows[48], bandwidth[CLI_COUNT_MAX], loss[16], text[QN_ADAPT_TEXT];
            snprintf(windows, sizeof windows, run.n > 1 ? "%zu-%zu" : "%zu", w, w + run.n - 1);
            printf("%19s %11.3f %12.2f %12s %8s   %s\n", windows, run.from,
                   rate_of((double)run.items, run.from, run.to),
                   cli_monitor_bandwidth(bandwidth, run.bytes, run.seconds), percent(loss, run.first->plan.loss),
                   qn_adapt_text(text, &run.first->plan, links[l].choices));
            w += run.n;
        }
    }
}

static void write_csv(FILE *out, const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items)
{
    fputs("link,window,first_microbatch,microbatches,from_seconds,to_seconds,items_per_second,messages_sent,bytes_sent,"
          "wire_seconds,bits_per_second,travels_as,expected_loss,remarks\n",
          out);
    for (size_t l = 0; l < n_links; l++) {
        for (size_t w = 0; w < links[l].n_windows; w++) {
            const qn_adapt_window *window = &links[l].windows[w];
            char text[QN_ADAPT_TEXT];
            fprintf(out, "%zu,%zu,%lld,%lld,%.9g,%.9g,", l, w, (long long)window->first, (long long)window->n,
                    window->from, window->to);
            fprintf(out, "%.9g,%lld,%.0f,%.9g,",
                    rate_of((double)cli_monitor_items(window, plan->microbatch, n_items), window->from, window->to),
                    (long long)window->sent.messages, window->sent.bytes, window->sent.seconds);
            if (window->sent.seconds > 0) {
                fprintf(out, "%.9g", 8 * window->sent.bytes / window->sent.seconds);
            }
            fprintf(out, ",\"%s\",", qn_adapt_text(text, &window->plan, links[l].choices));
            if (!isnan(window->plan.loss)) {
                fprintf(out, "%.9g", window->plan.loss);
            }
            fputs(",\"", out);
            const char *between = "";
            for (unsigned bit = 1; bit != 0 && bit <= window->plan.flags; bit <<= 1) {
                if ((window->plan.flags & bit) != 0) {
                    fprintf(out, "%s%s", between, qn_plan_flag_text(bit));
                    between = "; ";
                }
            }
            fputs("\"\n", out);
        }
    }
}

qn_status cli_monitor_write(const char *path, bool overwrite, const cli_monitor_link *links, size_t n_links,
                            const qn_plan *plan, int64_t n_items, qn_error *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        return qn_fail(err, QN_ENOMEM, path, "out of memory");
    }
    write_csv(out, links, n_links, plan, n_items);
    const bool is_whole = ferror(out) == 0;
    qn_status status = fclose(out) == 0 && is_whole ? QN_OK : qn_fail(err, QN_ENOMEM, path, "out of memory");
    if (status == QN_OK) {
        status = qn_file_write_all(path, overwrite, text, size, err);
    }
    free(text);
    return status;
}

json_t *cli_monitor_json(const cli_monitor_link *links, size_t n_links, const qn_plan *plan, int64_t n_items)
{
    json_t *all = json_array();
    for (size_t l = 0; l < n_links; l++) {
        json_t *windows = json_array();
        for (size_t w = 0; w < links[l].n_windows; w++) {
            const qn_adapt_window *window = &links[l].windows[w];
            json_t *object = json_object(), *parts = json_array();
            const int64_t items = cli_monitor_items(window, plan->microbatch, n_items);
            json_object_set_new(object, "first_microbatch", json_integer(window->first));
            json_object_set_new(object, "microbatches", json_integer(window->n));
            json_object_set_new(object, "from_seconds", cli_json_real(window->from));
            json_object_set_new(object, "to_seconds", cli_json_real(window->to));
            json_object_set_new(object, "items_per_second",
                                cli_json_real(rate_of((double)items, window->from, window->to)));
            json_object_set_new(object, "bytes_sent", cli_json_real(window->sent.bytes));
            json_object_set_new(object, "bits_per_second",
                                cli_json_real(8 * window->sent.bytes / window->sent.seconds));
            for (int i = 0; i < window->plan.n_parts; i++) {
                char text[QN_LINK_CHOICE_MAX];
                qn_link_choice_text(text, &links[l].choices[window->plan.parts[i].choice]);
                json_t *part = json_object();
                json_object_set_new(part, "travels_as", json_string(text));
                json_object_set_new(part, "microbatches", json_integer(window->plan.parts[i].n_microbatches));
                json_array_append_new(parts, part);
            }
            json_object_set_new(object, "plan", parts);
            json_object_set_new(object, "expected_loss", cli_json_real(window->plan.loss));
            json_array_append_new(windows, object);
        }
        json_array_append_new(all, windows);
    }
    return all;
}

void cli_monitor_notes(const cli_args *args, const cli_monitor_link *links, size_t n_links, const qn_plan *plan,
                       int64_t n_items)
{
    for (size_t l = 0; l < n_links && plan->rate > 0; l++) {
        size_t n_missed = 0, n_hopeless = 0;
        double least = INFINITY;
        for (size_t w = 0; w < links[l].n_windows; w++) {
            const qn_adapt_window *window = &links[l].windows[w];
            const double rate =
                rate_of((double)cli_monitor_items(window, plan->microbatch, n_items), window->from, window->to);
            const bool missed = rate < plan->rate * (1 - 1e-9);
            n_missed += missed;
            n_hopeless +=
                missed && (window->plan.flags & QN_PLAN_RATE_MISSED) != 0 && strcmp(plan->policy, "fixed") != 0;
            least = fmin(least, rate);
        }
        if (n_missed > 0) {
            char hopeless[128] = "";
            if (n_hopeless > 0) {
                snprintf(hopeless, sizeof hopeless, "; in %zu of them what the policy chose promised no more", n_hopeless);
            }
            cli_note(args,
                     "link %zu: %zu of %zu windows below the rate of %g items/s, the slowest %.3g (%.0f %% below)%s", l,
                     n_missed, links[l].n_windows, plan->rate, least, 100 * (1 - least / plan->rate), hopeless);
        }
    }
}
