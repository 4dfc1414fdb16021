/* quern partition: plans as tables and as JSON. */
#include <math.h>
#include <string.h>

#include "cli/partition.h"

static const char *const bottleneck_texts[] = {
#define TEXT(name, value, text) [value] = text,
    QN_BOTTLENECK_LIST(TEXT)
#undef TEXT
};

enum { TIME_MAX = 32 };
static const char *time_text(char text[TIME_MAX], double seconds)
{
    const bool s = seconds >= 1, ms = seconds >= 1e-3;
    snprintf(text, TIME_MAX, "%.4g %s", s ? seconds : ms ? 1e3 * seconds : 1e6 * seconds, s ? "s" : ms ? "ms" : "us");
    return text;
}

/* In which a link is occupied, and the latency behind it. */
enum { SPAN_MAX = 2 * TIME_MAX + 16 };
static const char *span_text(char text[SPAN_MAX], const qn_partition_link *link)
{
    char time[TIME_MAX], latency[TIME_MAX];
    const bool late = link->latency > 0;
    snprintf(text, SPAN_MAX, "%s%s%s%s", time_text(time, link->seconds), late ? " + " : "",
             late ? time_text(latency, link->latency) : "", late ? " latency" : "");
    return text;
}

static const char *loss_text(char text[TIME_MAX], double loss)
{
    if (isnan(loss)) {
        snprintf(text, TIME_MAX, "unknown");
    } else {
        snprintf(text, TIME_MAX, "%.3g %%", 100 * loss);
    }
    return text;
}

static double rate_of(const qn_partition *p)
{
    return (double)p->microbatch / p->period;
}

static void print_stage(const cli_partition_state *s, size_t k)
{
    const qn_partition_stage *stage = &s->partition.stages[k];
    char time[TIME_MAX], macs[CLI_COUNT_MAX], limit[TIME_MAX] = "no limit", name[CLI_NAME_MAX];
    if (stage->memory > 0) {
        snprintf(limit, sizeof limit, "%lld", (long long)stage->memory);
    }
    printf("stage %-3zu %-14s %6zu-%-6zu %10s %12lld / %-12s %s\n", k,
           cli_name(name, s->devices.types[stage->type].name), stage->from, stage->to,
           cli_count(macs, (double)stage->span.macs), (long long)stage->needed, limit, time_text(time, stage->seconds));
}

static void print_link(const cli_partition_state *s, size_t k)
{
    const qn_partition_link *link = &s->partition.links[k];
    char time[SPAN_MAX], loss[TIME_MAX], choice[QN_LINK_CHOICE_MAX], name[CLI_NAME_MAX];
    qn_link_choice_text(choice, &s->losses.choices[link->choice]);
    printf("  link    %s behind '%s': %lld bytes, %s, loss %s%s%s\n", choice,
           cli_name(name, qn_cuts_at(s->cuts, link->position)->name), (long long)link->bytes, span_text(time, link),
           loss_text(loss, link->loss), link->medium != NULL ? ", on " : "", link->medium != NULL ? link->medium : "");
}

static void print_end(const char *what, const qn_partition_link *end)
{
    char time[SPAN_MAX];
    if (end->bytes > 0) {
        printf("  %s: %lld bytes, %s\n", what, (long long)end->bytes, span_text(time, end));
    }
}

static void print_advice(const cli_partition_state *s)
{
    const qn_partition *p = &s->partition;
    const double now = s->options.latency ? p->latency : p->period;
    for (size_t i = 0; i < p->n_advice; i++) {
        const qn_partition_advice *a = &p->advice[i];
        char choice[QN_LINK_CHOICE_MAX], loss[TIME_MAX], name[CLI_NAME_MAX];
        if (a->link >= 0) {
            qn_link_choice_text(choice, &s->losses.choices[a->choice]);
            printf("%s on link %d would give %.2fx", choice, a->link, now / a->seconds);
            printf(isnan(a->loss) ? "\n" : "; links would lose %s in sum\n", loss_text(loss, a->loss));
        } else {
            printf("one more '%s' would give %.2fx\n", cli_name(name, s->devices.types[a->type].name),
                   now / a->seconds);
        }
    }
}

static void print_measured(const cli_partition_state *s)
{
    char loss[TIME_MAX];
    if (isnan(s->agreement)) {
        return;
    }
    printf("the whole plan on %lld items: ", (long long)s->items);
    if (!isnan(s->top1)) {
        printf("top-1 %.2f %%, uncut %.2f %%: lost %.3g %%", 100 * s->top1, 100 * s->uncut_top1,
               100 * (s->uncut_top1 - s->top1));
    } else {
        printf("argmax of %.2f %% as uncut", 100 * s->agreement);
    }
    printf("; the sum of links is %s\n", loss_text(loss, s->partition.loss));
}

/* The link, or the transfer at an end, that is the bottleneck; NULL: it is none of these. */
static const qn_partition_link *slowest_link(const qn_partition *p)
{
    return p->bottleneck == QN_BOTTLENECK_LINK    ? &p->links[p->index]
           : p->bottleneck == QN_BOTTLENECK_FIRST ? &p->first
           : p->bottleneck == QN_BOTTLENECK_LAST  ? &p->last
                                                  : NULL;
}

static void print_bottleneck(const qn_partition *p)
{
    char time[TIME_MAX], both[TIME_MAX];
    const bool numbered = p->bottleneck == QN_BOTTLENECK_STAGE || p->bottleneck == QN_BOTTLENECK_LINK;
    const qn_partition_link *link = slowest_link(p);
    printf("bottleneck: %s", bottleneck_texts[p->bottleneck]);
    printf(numbered ? " %zu" : "", p->index);
    printf(", %s of every %s", time_text(time, p->period), "micro-batch");
    if (link != NULL && link->period > link->seconds) {
        printf(": two are on their way at most, each for %s", time_text(both, 2 * link->period));
    }
    printf("\n");
}

void cli_partition_print(const cli_args *args, const cli_partition_state *s)
{
    (void)args;
    const qn_partition *p = &s->partition;
    char name[CLI_NAME_MAX], latency[TIME_MAX], loss[TIME_MAX];
    printf("%s: %s engine, %zu stage%s, messages of %lld item%s\n", cli_name(name, s->file),
           qn_engine_text(qn_cuts_engine(s->cuts)), p->n_stages, p->n_stages == 1 ? "" : "s", (long long)p->microbatch,
           p->microbatch == 1 ? "" : "s");
    printf("%-9s %-14s %13s %10s %12s / %-12s %s\n", "", "device", "positions", "MACs", "bytes needed", "of", "time");
    print_end("first   data to stage 0", &p->first);
    for (size_t k = 0; k < p->n_stages; k++) {
        print_stage(s, k);
        if (k + 1 < p->n_stages) {
            print_link(s, k);
        }
    }
    print_end("last    results", &p->last);
    printf(rate_of(p) < 9999.5 ? "rate %.4g items/s" : "rate %.0f items/s", rate_of(p));
    printf(", latency %s of one micro-batch through an idle pipeline; ", time_text(latency, p->latency));
    printf(isnan(p->loss) ? "what links lose is %s\n" : "links lose %s in sum\n", loss_text(loss, p->loss));
    print_bottleneck(p);
    print_advice(s);
    print_measured(s);
}

static json_t *link_json(const cli_partition_state *s, const qn_partition_link *link)
{
    char choice[QN_LINK_CHOICE_MAX];
    if (link->choice >= 0) {
        qn_link_choice_text(choice, &s->losses.choices[link->choice]);
    } else { /* data, results */
        snprintf(choice, sizeof choice, "%s", link->position == 0 ? "codes" : "fp32");
    }
    json_t *object = json_object();
    json_object_set_new(object, "position", json_integer((json_int_t)link->position));
    json_object_set_new(object, "name", cli_json_string(qn_cuts_at(s->cuts, link->position)->name));
    json_object_set_new(object, "choice", json_string(choice));
    json_object_set_new(object, "bytes", json_integer(link->bytes));
    json_object_set_new(object, "seconds", cli_json_real(link->seconds));
    json_object_set_new(object, "period", cli_json_real(link->period));
    json_object_set_new(object, "loss", cli_json_real(link->loss));
    json_object_set_new(object, "bandwidth", cli_json_real(link->bandwidth));
    json_object_set_new(object, "latency", cli_json_real(link->latency));
    json_object_set_new(object, "medium", link->medium != NULL ? cli_json_string(link->medium) : json_null());
    return object;
}

static json_t *stage_json(const cli_partition_state *s, const qn_partition_stage *stage)
{
    json_t *object = json_object();
    json_object_set_new(object, "device", cli_json_string(s->devices.types[stage->type].name));
    json_object_set_new(object, "from", json_integer((json_int_t)stage->from));
    json_object_set_new(object, "to", json_integer((json_int_t)stage->to));
    json_object_set_new(object, "until", cli_json_string(qn_cuts_at(s->cuts, stage->to)->name));
    json_object_set_new(object, "nodes", json_integer(stage->span.n_nodes));
    json_object_set_new(object, "macs", json_integer(stage->span.macs));
    json_object_set_new(object, "bytes_needed", json_integer(stage->needed));
    json_object_set_new(object, "memory", stage->memory > 0 ? json_integer(stage->memory) : json_null());
    json_object_set_new(object, "seconds", cli_json_real(stage->seconds));
    return object;
}

static json_t *advice_json(const cli_partition_state *s, const qn_partition_advice *a)
{
    char choice[QN_LINK_CHOICE_MAX];
    json_t *object = json_object();
    if (a->link >= 0) {
        qn_link_choice_text(choice, &s->losses.choices[a->choice]);
        json_object_set_new(object, "link", json_integer(a->link));
        json_object_set_new(object, "choice", json_string(choice));
    } else {
        json_object_set_new(object, "device", cli_json_string(s->devices.types[a->type].name));
    }
    json_object_set_new(object, "seconds", cli_json_real(a->seconds));
    json_object_set_new(object, "loss", cli_json_real(a->loss));
    return object;
}

json_t *cli_partition_json(const cli_args *args, const cli_partition_state *s)
{
    const qn_partition *p = &s->partition;
    json_t *object = cli_json_start(args), *stages = json_array(), *links = json_array(), *advice = json_array();
    for (size_t k = 0; k < p->n_stages; k++) {
        json_array_append_new(stages, stage_json(s, &p->stages[k]));
        if (k + 1 < p->n_stages) {
            json_array_append_new(links, link_json(s, &p->links[k]));
        }
    }
    for (size_t i = 0; i < p->n_advice; i++) {
        json_array_append_new(advice, advice_json(s, &p->advice[i]));
    }
    json_object_set_new(object, "model", cli_json_string(s->file));
    json_object_set_new(object, "engine", json_string(qn_engine_text(qn_cuts_engine(s->cuts))));
    json_object_set_new(object, "objective", json_string(s->options.latency ? "latency" : "throughput"));
    json_object_set_new(object, "microbatch", json_integer(p->microbatch));
    json_object_set_new(object, "stages", stages);
    json_object_set_new(object, "links", links);
    json_object_set_new(object, "first", p->first.bytes > 0 ? link_json(s, &p->first) : json_null());
    json_object_set_new(object, "last", p->last.bytes > 0 ? link_json(s, &p->last) : json_null());
    json_object_set_new(object, "period", cli_json_real(p->period));
    json_object_set_new(object, "items_per_second", cli_json_real(rate_of(p)));
    json_object_set_new(object, "latency", cli_json_real(p->latency));
    json_object_set_new(object, "accuracy_drop", cli_json_real(s->options.accuracy_drop));
    json_object_set_new(object, "loss", cli_json_real(p->loss));
    json_object_set_new(object, "bottleneck", json_string(bottleneck_texts[p->bottleneck]));
    json_object_set_new(object, "bottleneck_index",
                        p->bottleneck <= QN_BOTTLENECK_LINK ? json_integer((json_int_t)p->index) : json_null());
    json_object_set_new(object, "advice", advice);
    json_object_set_new(object, "items", json_integer(s->items));
    json_object_set_new(object, "top1", cli_json_real(s->top1));
    json_object_set_new(object, "uncut_top1", cli_json_real(s->uncut_top1));
    json_object_set_new(object, "agreement", cli_json_real(s->agreement));
    return object;
}
