#include "cli/pipeline_simulate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/pipeline_monitor.h"
#include "cli/pipeline_report.h"
#include "cli/session.h"
#include "link/virtual_workers.h"

/* Sums over a stage's micro-batches, in seconds; waits: for a message, held_up: for a place to put one. */
typedef struct stage_sums {
    double busy, waits, held_up;
} stage_sums;
typedef struct link_sums {
    double bytes, busy, waits; /* waits: for the medium */
} link_sums;

/* Of a run that took no time, nothing. */
static double share(double seconds, double of)
{
    return of > 0 ? seconds / of : 0;
}

static stage_sums sum_stage(const qn_virtual *run, size_t stage)
{
    stage_sums sums = {0, 0, 0};
    double free_since = 0;
    for (int64_t m = 0; m < run->n_microbatches; m++) {
        const qn_virtual_step *step = qn_virtual_step_of(run, stage, m);
        sums.waits += step->begin - free_since;
        sums.held_up += step->give - step->computed;
        sums.busy += step->computed - step->begin + step->done - step->give;
        free_since = step->done;
    }
    sums.waits += run->end - free_since;
    return sums;
}

static link_sums sum_link(const qn_virtual *run, size_t link)
{
    link_sums sums = {0, 0, 0};
    for (int64_t m = 0; m < run->n_microbatches; m++) {
        const qn_virtual_send *send = qn_virtual_send_of(run, link, m);
        sums.bytes += (double)send->bytes;
        sums.busy += send->sent - send->start;
        sums.waits += send->start - send->ready;
    }
    return sums;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Seconds from begin to end of micro-batches; NaN without memory for sorting. */
static void latencies(const qn_virtual *run, double *median, double *most)
{
    const size_t n = (size_t)run->n_microbatches;
    double *all = qn_alloc(n * sizeof *all);
    *median = *most = NAN;
    if (all != NULL) {
        for (size_t m = 0; m < n; m++) {
            all[m] = qn_virtual_step_of(run, run->n_stages - 1, (int64_t)m)->done -
                     qn_virtual_step_of(run, 0, (int64_t)m)->begin;
        }
        qsort(all, n, sizeof *all, by_size);
        *median = all[(n - 1) / 2];
        *most = all[n - 1];
    }
    qn_free(all);
}

/* What is busiest: a stage, or the links of a medium together. */
static void bottleneck(char *text, size_t n_text, const qn_virtual *run)
{
    double most = -1;
    for (size_t k = 0; k < run->n_stages; k++) {
        const double busy = share(sum_stage(run, k).busy, run->end);
        if (busy > most) {
            most = busy;
            snprintf(text, n_text, "stage %zu, busy %.1f %% of the time", k, 100 * busy);
        }
    }
    for (size_t medium = 0; medium + 1 < run->n_stages; medium++) {
        double busy = 0;
        char links[128] = "";
        size_t n = 0;
        for (size_t k = 0; k + 1 < run->n_stages; k++) {
            if (run->links[k].medium == medium) {
                const size_t at = strlen(links);
                busy += share(sum_link(run, k).busy, run->end);
                snprintf(links + at, sizeof links - at, "%s%zu", n++ > 0 ? ", " : "", k);
            }
        }
        if (busy > most) {
            most = busy;
            snprintf(text, n_text, "link%s %s, busy %.1f %% of the time", n > 1 ? "s" : "", links, 100 * busy);
        }
    }
}

static void print_stages(const qn_virtual_workers *all)
{
    const qn_virtual *run = &all->run;
    printf("\nstage  until                     on                       ms/item    busy   waits held up  seconds\n");
    for (size_t k = 0; k < run->n_stages; k++) {
        const qn_plan_stage *stage = &all->plan->stages[k];
        const stage_sums sums = sum_stage(run, k);
        char until[CLI_NAME_MAX], device[CLI_NAME_MAX];
        printf("%5zu  %-24.24s  %-20.20s %11.4g %5.1f %% %5.1f %% %5.1f %%  %s\n", k,
               cli_name(until, stage->until != NULL ? stage->until : "the end"),
               cli_name(device, stage->device != NULL ? stage->device : "-"), 1000 * sums.busy / (double)all->n_items,
               100 * share(sums.busy, run->end), 100 * share(sums.waits, run->end), 100 * share(sums.held_up, run->end),
               qn_virtual_compute_text(all->spec->stages[k].compute));
    }
}

static void print_links(const qn_virtual_workers *all)
{
    const qn_virtual *run = &all->run;
    if (run->n_stages < 2) {
        return;
    }
    printf("\n link         bytes  bytes/item       bit/s    busy  travels as\n");
    for (size_t k = 0; k + 1 < run->n_stages; k++) {
        const link_sums sums = sum_link(run, k);
        char bandwidth[CLI_COUNT_MAX];
        printf("%5zu  %12.0f %11.1f %11s %5.1f %%  ", k, sums.bytes, sums.bytes / (double)all->n_items,
               cli_monitor_bandwidth(bandwidth, sums.bytes, sums.busy), 100 * share(sums.busy, run->end));
        const char *between = "";
        for (size_t c = 0; c < all->plan->links[k].n_choices; c++) {
            int64_t n = 0;
            for (int64_t m = 0; m < run->n_microbatches; m++) {
                n += all->given[k][m] == c;
            }
            char text[QN_LINK_CHOICE_MAX];
            qn_link_choice_text(text, &all->plan->links[k].choices[c]);
            if (n == run->n_microbatches) {
                printf("%s", text);
            } else if (n > 0) {
                printf("%s%lld x %s", between, (long long)n, text);
                between = ", ";
            }
        }
        printf("\n");
    }
}

static void print_report(const cli_pipeline_plan *p, const cli_pipeline_ends *ends, const qn_virtual_workers *all,
                         const cli_monitor_link *links)
{
    const qn_virtual *run = &all->run;
    double median, most;
    char busiest[256] = "";
    latencies(run, &median, &most);
    bottleneck(busiest, sizeof busiest, run);
    printf("plan          %s: %zu stage%s, micro-batches of %lld\n", p->name, run->n_stages,
           run->n_stages == 1 ? "" : "s", (long long)all->plan->microbatch);
    printf("items         %lld in %.3f s of virtual time: %.2f items/s\n", (long long)all->n_items, run->end,
           (double)all->n_items / run->end);
    printf("latency       %.2f ms in the median, %.2f ms at most, of a micro-batch\n", 1000 * median, 1000 * most);
    if (ends->labels != NULL) {
        printf("top-1         %.2f %% (%lld of %lld)\n", 100 * (double)ends->correct / (double)all->n_items,
               (long long)ends->correct, (long long)all->n_items);
    }
    const double loss = cli_monitor_loss(links, run->n_stages - 1, all->plan, all->n_items);
    if (run->n_stages > 1 && !isnan(loss)) {
        printf("by the plan   %.2f %% of top-1 lost on the links\n", 100 * loss);
    }
    printf("bottleneck    %s\n", busiest);
    print_stages(all);
    print_links(all);
}

static json_t *json_stages(const qn_virtual_workers *all)
{
    json_t *list = json_array();
    for (size_t k = 0; k < all->run.n_stages; k++) {
        const qn_plan_stage *stage = &all->plan->stages[k];
        const stage_sums sums = sum_stage(&all->run, k);
        json_t *object = json_object();
        json_object_set_new(object, "until", stage->until != NULL ? cli_json_string(stage->until) : json_null());
        json_object_set_new(object, "device", stage->device != NULL ? cli_json_string(stage->device) : json_null());
        json_object_set_new(object, "seconds", json_string(qn_virtual_compute_text(all->spec->stages[k].compute)));
        json_object_set_new(object, "busy_seconds", cli_json_real(sums.busy));
        json_object_set_new(object, "wait_seconds", cli_json_real(sums.waits));
        json_object_set_new(object, "held_up_seconds", cli_json_real(sums.held_up));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *json_links(const qn_virtual_workers *all)
{
    json_t *list = json_array();
    for (size_t k = 0; k + 1 < all->run.n_stages; k++) {
        const link_sums sums = sum_link(&all->run, k);
        json_t *object = json_object();
        json_object_set_new(object, "bytes", json_integer((json_int_t)sums.bytes));
        json_object_set_new(object, "busy_seconds", cli_json_real(sums.busy));
        json_object_set_new(object, "medium_wait_seconds", cli_json_real(sums.waits));
        json_object_set_new(object, "latency_seconds", cli_json_real(all->links[k].latency));
        json_array_append_new(list, object);
    }
    return list;
}

static void print_json(const cli_args *args, const cli_pipeline_plan *p, const cli_pipeline_ends *ends,
                       const qn_virtual_workers *all, const cli_monitor_link *links)
{
    const qn_virtual *run = &all->run;
    double median, most;
    char busiest[256] = "";
    latencies(run, &median, &most);
    bottleneck(busiest, sizeof busiest, run);
    json_t *object = cli_json_start(args);
    json_object_set_new(object, "plan", cli_json_string(p->name));
    json_object_set_new(object, "simulated", json_true());
    json_object_set_new(object, "engine", json_string(qn_engine_text(qn_cuts_engine(p->cuts))));
    json_object_set_new(object, "n", json_integer(all->n_items));
    json_object_set_new(object, "microbatch", json_integer(all->plan->microbatch));
    json_object_set_new(object, "seconds", cli_json_real(run->end));
    json_object_set_new(object, "items_per_second", cli_json_real((double)all->n_items / run->end));
    json_object_set_new(object, "latency_median_seconds", cli_json_real(median));
    json_object_set_new(object, "latency_most_seconds", cli_json_real(most));
    if (ends->labels != NULL) {
        json_object_set_new(object, "correct", json_integer(ends->correct));
        json_object_set_new(object, "top1", json_real((double)ends->correct / (double)all->n_items));
    }
    json_object_set_new(object, "expected_loss",
                        cli_json_real(cli_monitor_loss(links, run->n_stages - 1, all->plan, all->n_items)));
    json_object_set_new(object, "bottleneck", json_string(busiest));
    json_object_set_new(object, "stages", json_stages(all));
    json_object_set_new(object, "links", json_links(all));
    json_object_set_new(object, "windows", cli_monitor_json(links, run->n_stages - 1, all->plan, all->n_items));
    cli_print_json(object);
}

typedef struct through {
    cli_pipeline_ends *ends;
    cli_progress progress;
} through;

static qn_status read_items(void *context, int64_t first, int64_t n, const float *const **inputs, qn_error *err)
{
    const through *t = context;
    return cli_pipeline_read(t->ends, first, n, inputs, err);
}

static qn_status write_items(void *context, int64_t first, int64_t n, const qn_worker *last, qn_error *err)
{
    through *t = context;
    QN_TRY(cli_pipeline_write(t->ends, first, n, qn_worker_output(last, 0), err));
    return cli_progress_step(&t->progress, first + n, t->ends->n_items)
               ? QN_OK
               : qn_fail(err, QN_ECANCELED, NULL, "interrupted");
}

/* A bandwidth that is held beyond its file's end is no measurement any more. */
static void note_traces(const cli_args *args, const qn_virtual_workers *all)
{
    const char *said = NULL;
    for (size_t k = 0; k + 1 < all->run.n_stages; k++) {
        const qn_virtual_speed *speed = &all->spec->links[k];
        const double end = speed->file != NULL ? qn_trace_end(speed->trace, speed->trace_link) : INFINITY;
        if (end < all->run.end && (said == NULL || strcmp(said, speed->file) != 0)) {
            char bandwidth[CLI_COUNT_MAX];
            said = speed->file;
            cli_note(args, "%s: its last line is at %g s, and the run went on to %.3f s, at that line's %sbit/s", said,
                     end, all->run.end, cli_count(bandwidth, qn_trace_bandwidth(speed->trace, speed->trace_link, end)));
        }
    }
}

/* The micro-batches of all stages in the order in which they ended, as ranks tell of them. */
static qn_status write_monitor(const cli_args *args, const qn_virtual_workers *all, qn_error *err)
{
    const qn_virtual *run = &all->run;
    cli_pipeline_log log;
    int64_t *next = qn_alloc(run->n_stages * sizeof *next);
    if (next == NULL) {
        return qn_fail_memory(err, "monitor", run->n_stages * sizeof *next);
    }
    qn_status status = cli_pipeline_log_open(&log, cli_value(args, "monitor"), cli_has(args, "force"), all->plan, err);
    for (int64_t i = 0; i < (int64_t)run->n_stages * run->n_microbatches && status == QN_OK; i++) {
        size_t first = 0;
        double done = INFINITY;
        for (size_t k = 0; k < run->n_stages; k++) {
            if (next[k] < run->n_microbatches && qn_virtual_step_of(run, k, next[k])->done < done) {
                first = k;
                done = qn_virtual_step_of(run, k, next[k])->done;
            }
        }
        const int64_t m = next[first]++;
        const qn_virtual_step *step = qn_virtual_step_of(run, first, m);
        const bool gives = first + 1 < run->n_stages;
        const qn_pipeline_record record = {.stage = first,
                                           .sequence = (uint64_t)m,
                                           .items = qn_virtual_workers_items(all, m),
                                           .choice = gives ? all->given[first][m] : 0,
                                           .n_bytes = gives ? qn_virtual_send_of(run, first, m)->bytes : 0,
                                           .start = step->begin,
                                           .decode = step->taken - step->begin,
                                           .compute = step->computed - step->taken,
                                           .encode = step->done - step->give,
                                           .receive_wait =
                                               step->begin - (m > 0 ? qn_virtual_step_of(run, first, m - 1)->done : 0),
                                           .send_wait = step->give - step->computed};
        status = cli_pipeline_log_line(&log, &record, err);
    }
    qn_free(next);
    const qn_status closed = cli_pipeline_log_close(&log, err);
    return status == QN_OK ? closed : status;
}

static qn_status report(const cli_args *args, const cli_pipeline_plan *p, const cli_pipeline_ends *ends,
                        const qn_virtual_workers *all, qn_error *err)
{
    const size_t n_links = all->run.n_stages - 1;
    cli_monitor_link *links = qn_alloc((n_links + 1) * sizeof *links);
    if (links == NULL) {
        return qn_fail_memory(err, "report", (n_links + 1) * sizeof *links);
    }
    for (size_t k = 0; k < n_links; k++) {
        links[k] = (cli_monitor_link){all->plan->links[k].choices, qn_adapt_window_of(all->adapt, k, 0),
                                      qn_adapt_n_windows(all->adapt, k)};
    }
    qn_status status = write_monitor(args, all, err);
    if (status == QN_OK && cli_value(args, "policy-log") != NULL) {
        status = cli_monitor_write(cli_value(args, "policy-log"), cli_has(args, "force"), links, n_links, all->plan,
                                   all->n_items, err);
    }
    if (status == QN_OK && args->json) {
        print_json(args, p, ends, all, links);
    } else if (status == QN_OK) {
        print_report(p, ends, all, links);
        if (all->plan->policy[0] != '\0') {
            cli_monitor_print(links, n_links, all->plan, all->n_items);
        }
    }
    if (status == QN_OK) {
        fflush(stdout);
        note_traces(args, all);
        cli_monitor_notes(args, links, n_links, all->plan, all->n_items);
    }
    qn_free(links);
    return status;
}

qn_status cli_pipeline_simulate(const cli_args *args, const cli_pipeline_plan *p, cli_pipeline_ends *ends,
                                qn_error *err)
{
    qn_virtual_spec spec;
    QN_TRY(qn_virtual_spec_read(&spec, "--simulate", cli_value(args, "simulate"), &p->plan, err));
    through items = {.ends = ends};
    const qn_virtual_ends at_ends = {&items, read_items, write_items};
    qn_virtual_workers all;
    qn_status status =
        qn_virtual_workers_create(&all, p->cuts, &p->plan, p->positions, &spec, ends->n_items, &at_ends, err);
    if (status == QN_OK) {
        cli_progress_start(&items.progress, args, "simulating");
        status = qn_virtual_workers_run(&all, err);
        cli_progress_end(&items.progress);
        if (status == QN_OK) {
            status = report(args, p, ends, &all, err);
        }
        qn_virtual_workers_free(&all);
    }
    qn_virtual_spec_free(&spec);
    return status;
}
