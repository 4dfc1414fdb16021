#define _POSIX_C_SOURCE 200809L
#include "cli/pipeline_report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static const char *until_of(char text[CLI_NAME_MAX], const qn_plan_stage *stage)
{
    return cli_name(text, stage->until != NULL ? stage->until : "the end");
}

/* "codes", or "12 x int8, 5 x int4". */
static void travels_as(char *text, size_t room, const qn_plan_link *link, const qn_pipeline_totals *t)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < link->n_choices && used + 1 < room; i++) {
        char choice[QN_LINK_CHOICE_MAX];
        qn_link_choice_text(choice, &link->choices[i]);
        if (t->choices[i] > 0) {
            const bool all = t->choices[i] == t->messages;
            const int n = all ? snprintf(text + used, room - used, "%s", choice)
                              : snprintf(text + used, room - used, "%s%lld x %s", used > 0 ? ", " : "",
                                         (long long)t->choices[i], choice);
            used += n > 0 ? (size_t)n : 0;
        }
    }
}

static void print_stages(const cli_pipeline_plan *p, const qn_pipeline *pipeline)
{
    printf(
        "\nstage  until                      items/s   decode  compute   encode  send-wait  receive-wait (seconds)\n");
    for (size_t k = 0; k < p->plan.n_stages; k++) {
        const qn_pipeline_totals *t = qn_pipeline_totals_of(pipeline, k);
        char until[CLI_NAME_MAX];
        printf("%5zu  %-24.24s %9.1f %8.3f %8.3f %8.3f %10.3f %13.3f\n", k, until_of(until, &p->plan.stages[k]),
               rate((double)t->items, t->finish), t->decode, t->compute, t->encode, t->send_wait, t->receive_wait);
    }
}

static void print_links(const cli_pipeline_plan *p, const qn_pipeline *pipeline)
{
    for (size_t k = 0; k < p->plan.n_stages && p->plan.n_stages > 1; k++) {
        const qn_pipeline_totals *t = qn_pipeline_totals_of(pipeline, k);
        char name[48], travels[256] = "fp32: the results";
        snprintf(name, sizeof name, "%zu->%zu", k, k + 1 < p->plan.n_stages ? k + 1 : 0);
        if (k == 0) {
            printf("\nlink    messages         bytes  bytes/item   items/s  travels as\n");
        }
        if (k + 1 < p->plan.n_stages) {
            travels_as(travels, sizeof travels, &p->plan.links[k], t);
        }
        printf("%-7s %8lld %13llu %11.1f %9.1f  %s\n", name, (long long)t->messages, (unsigned long long)t->n_bytes,
               rate((double)t->n_bytes, (double)t->items), rate((double)t->items, t->finish), travels);
    }
}

static json_t *json_stages(const cli_pipeline_plan *p, const qn_pipeline *pipeline)
{
    json_t *list = json_array();
    for (size_t k = 0; k < p->plan.n_stages; k++) {
        const qn_pipeline_totals *t = qn_pipeline_totals_of(pipeline, k);
        const qn_plan_stage *stage = &p->plan.stages[k];
        json_t *object = json_object();
        json_object_set_new(object, "until", stage->until != NULL ? cli_json_string(stage->until) : json_null());
        json_object_set_new(object, "device", stage->device != NULL ? cli_json_string(stage->device) : json_null());
        json_object_set_new(object, "rank", json_integer((json_int_t)k));
        json_object_set_new(object, "n", json_integer(t->items));
        json_object_set_new(object, "items_per_second", cli_json_real(rate((double)t->items, t->finish)));
        json_object_set_new(object, "decode_seconds", cli_json_real(t->decode));
        json_object_set_new(object, "compute_seconds", cli_json_real(t->compute));
        json_object_set_new(object, "encode_seconds", cli_json_real(t->encode));
        json_object_set_new(object, "send_wait_seconds", cli_json_real(t->send_wait));
        json_object_set_new(object, "receive_wait_seconds", cli_json_real(t->receive_wait));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *json_links(const cli_pipeline_plan *p, const qn_pipeline *pipeline)
{
    json_t *list = json_array();
    for (size_t k = 0; k < p->plan.n_stages && p->plan.n_stages > 1; k++) {
        const qn_pipeline_totals *t = qn_pipeline_totals_of(pipeline, k);
        const bool last = k + 1 == p->plan.n_stages;
        char travels[256] = "fp32";
        if (!last) {
            travels_as(travels, sizeof travels, &p->plan.links[k], t);
        }
        json_t *object = json_object();
        json_object_set_new(object, "from", json_integer((json_int_t)k));
        json_object_set_new(object, "to", json_integer(last ? 0 : (json_int_t)k + 1));
        json_object_set_new(object, "results", json_boolean(last));
        json_object_set_new(object, "travels_as", cli_json_string(travels));
        json_object_set_new(object, "messages", json_integer(t->messages));
        json_object_set_new(object, "bytes", json_integer((json_int_t)t->n_bytes));
        json_array_append_new(list, object);
    }
    return list;
}

static void print_json(const cli_args *args, const cli_pipeline_plan *p, const qn_pipeline *pipeline,
                       const cli_pipeline_ends *ends, double seconds)
{
    json_t *object = cli_json_start(args);
    json_object_set_new(object, "plan", cli_json_string(p->name));
    json_object_set_new(object, "simulated", json_false());
    json_object_set_new(object, "engine", json_string(qn_engine_text(qn_cuts_engine(p->cuts))));
    json_object_set_new(object, "n", json_integer(ends->n_items));
    json_object_set_new(object, "microbatch", json_integer(p->plan.microbatch));
    json_object_set_new(object, "seconds", cli_json_real(seconds));
    json_object_set_new(object, "items_per_second", cli_json_real(rate((double)ends->n_items, seconds)));
    if (ends->labels != NULL) {
        json_object_set_new(object, "correct", json_integer(ends->correct));
        json_object_set_new(object, "top1", json_real((double)ends->correct / (double)ends->n_items));
    }
    json_object_set_new(object, "stages", json_stages(p, pipeline));
    json_object_set_new(object, "links", json_links(p, pipeline));
    cli_print_json(object);
}

void cli_pipeline_report(const cli_args *args, const cli_pipeline_plan *p, const qn_pipeline *pipeline,
                         const cli_pipeline_ends *ends, double seconds)
{
    if (args->json) {
        print_json(args, p, pipeline, ends, seconds);
        return;
    }
    char name[CLI_NAME_MAX];
    printf("plan          %s: %zu stage%s, micro-batches of %lld, %s engine\n", cli_name(name, p->name),
           p->plan.n_stages, p->plan.n_stages == 1 ? "" : "s", (long long)p->plan.microbatch,
           qn_engine_text(qn_cuts_engine(p->cuts)));
    printf("items         %lld in %.3f s: %.1f items/s\n", (long long)ends->n_items, seconds,
           rate((double)ends->n_items, seconds));
    if (ends->labels != NULL) {
        printf("top-1         %.2f %% (%lld of %lld)\n", 100 * (double)ends->correct / (double)ends->n_items,
               (long long)ends->correct, (long long)ends->n_items);
    }
    print_stages(p, pipeline);
    print_links(p, pipeline);
}

static qn_status fail_write(const cli_pipeline_log *log, qn_error *err)
{
    return qn_fail_errno(err, QN_EIO, errno, log->path, "cannot be written");
}

qn_status cli_pipeline_log_open(cli_pipeline_log *log, const char *path, bool overwrite, const qn_plan *plan,
                                qn_error *err)
{
    *log = (cli_pipeline_log){.path = path, .plan = plan};
    if (path == NULL) {
        return QN_OK;
    }
    QN_TRY(qn_file_check_output(path, overwrite, err));
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (overwrite ? O_TRUNC : O_EXCL), 0666);
    log->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (log->file == NULL) {
        const int reason = errno;
        if (fd >= 0) {
            close(fd);
        }
        return qn_fail_errno(err, QN_EIO, reason, path, "cannot be written");
    }
    fputs("stage,sequence,items,t_start,decode,compute,encode,send_wait,receive_wait,bytes,choice\n", log->file);
    return fflush(log->file) == 0 ? QN_OK : fail_write(log, err);
}

qn_status cli_pipeline_log_line(cli_pipeline_log *log, const qn_pipeline_record *r, qn_error *err)
{
    if (log->file == NULL) {
        return QN_OK;
    }
    char choice[QN_LINK_CHOICE_MAX] = "";
    if (r->stage + 1 < log->plan->n_stages && r->choice < log->plan->links[r->stage].n_choices) {
        qn_link_choice_text(choice, &log->plan->links[r->stage].choices[r->choice]);
    }
    const char *quote = strchr(choice, ',') != NULL ? "\"" : "";
    fprintf(log->file, "%zu,%llu,%lld,%.9f,%.9f,%.9f,%.9f,%.9f,%.9f,%zu,%s%s%s\n", r->stage,
            (unsigned long long)r->sequence, (long long)r->items, r->start, r->decode, r->compute, r->encode,
            r->send_wait, r->receive_wait, r->n_bytes, quote, choice, quote);
    return fflush(log->file) == 0 ? QN_OK : fail_write(log, err); /* whoever reads it meanwhile sees whole lines */
}

qn_status cli_pipeline_log_close(cli_pipeline_log *log, qn_error *err)
{
    FILE *file = log->file;
    log->file = NULL;
    return file == NULL || fclose(file) == 0 ? QN_OK : fail_write(log, err);
}
