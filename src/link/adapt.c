#include "link/adapt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* A link under way. */
typedef struct adapt_state {
    int64_t next; /* micro-batch to be asked for */
    size_t n_windows, capacity;
    qn_adapt_window *windows;
    bool closed;
} adapt_state;

struct qn_adapt {
    qn_arena arena;
    qn_policy *policy;
    qn_adapt_options options;
    size_t n_links;
    adapt_state *links;
};

/* What rounds and was not seen to lose is taken to lose this: where it gains nothing, codes and fp32 travel. */
#define LEAST_LOSS 1e-9

/* Bits of a choice's codes, by which PipeEdge's policies choose. */
static qn_status bits_of(double *bits, const qn_adapt_link *link, const qn_link_choice *choice, qn_error *err)
{
    if (strcmp(choice->format, "codes") == 0) {
        *bits = (double)link->code_bits / (double)link->values;
        return QN_OK;
    }
    if (strcmp(choice->format, "fp32") == 0) {
        *bits = 32;
        return QN_OK;
    }
    qn_format format;
    QN_TRY(qn_format_parse(&format, choice->format, err));
    *bits = format.bits;
    return QN_OK;
}

static qn_status describe(qn_policy_link *to, qn_policy_choice *choices, const qn_adapt_link *link, int64_t microbatch,
                          qn_error *err)
{
    for (size_t c = 0; c < link->n_choices; c++) {
        const qn_link_choice *from = &link->choices[c];
        const bool exact = strcmp(from->format, "codes") == 0 || strcmp(from->format, "fp32") == 0;
        const double least = exact ? 0 : LEAST_LOSS, loss = from->loss < least ? least : from->loss;
        choices[c] = (qn_policy_choice){from->format, 0, (int64_t)link->bytes[c], loss, from->sqnr_db};
        QN_TRY(bits_of(&choices[c].bits, link, from, err));
    }
    *to = (qn_policy_link){.name = link->name,
                           .medium = link->medium,
                           .choices = choices,
                           .n_choices = (int)link->n_choices,
                           .values = link->values * microbatch,
                           .bandwidth = link->known > 0 ? link->known / 8 : 0};
    return QN_OK;
}

static qn_status fill(qn_adapt *adapt, const qn_adapt_link *links, qn_error *err)
{
    const qn_adapt_options *o = &adapt->options;
    qn_policy_options options;
    qn_policy_options_init(&options);
    options.name = o->policy[0] != '\0' ? o->policy : qn_policy_kind_text(QN_POLICY_FIXED);
    options.target_rate = isnan(o->rate) ? 0 : o->rate;
    options.window = o->window;
    options.items = o->microbatch;
    options.accuracy_budget = o->accuracy_budget + (double)adapt->n_links * LEAST_LOSS; /* which is none of accuracy */
    options.accuracy_budget = options.accuracy_budget > 1 ? 1 : options.accuracy_budget;
    qn_policy_kind kind;
    QN_TRY(qn_policy_kind_parse(&kind, options.name, err));
    size_t most_choices = 1;
    for (size_t l = 0; l < adapt->n_links; l++) {
        most_choices = links[l].n_choices > most_choices ? links[l].n_choices : most_choices;
    }
    if (kind != QN_POLICY_FIXED && most_choices == 1) {
        return qn_fail(err, QN_ECONFLICT, "policy of links",
                       "policy %s has nothing to choose from: every link has one format; give links more in the plan",
                       options.name);
    }
    qn_policy_link *to = qn_arena_array(&adapt->arena, adapt->n_links, sizeof *to);
    adapt->links = qn_arena_array(&adapt->arena, adapt->n_links, sizeof *adapt->links);
    for (size_t l = 0; to != NULL && adapt->links != NULL && l < adapt->n_links; l++) {
        qn_policy_choice *choices = qn_arena_array(&adapt->arena, links[l].n_choices, sizeof *choices);
        if (choices == NULL) {
            to = NULL;
            break;
        }
        QN_TRY(describe(&to[l], choices, &links[l], o->microbatch, err));
    }
    if (to == NULL || adapt->links == NULL) {
        return qn_fail_memory(err, "policy of links", 0);
    }
    return qn_policy_create(&adapt->policy, &options, to, (int)adapt->n_links, err);
}

qn_status qn_adapt_create(qn_adapt **adapt, const qn_adapt_options *options, const qn_adapt_link *links, size_t n_links,
                          qn_error *err)
{
    *adapt = NULL;
    if (options->window < 1) {
        return qn_fail(err, QN_EINVAL, "policy of links", "a window of %lld micro-batches; it has 1 to %d",
                       (long long)options->window, QN_POLICY_MAX_WINDOW);
    }
    qn_adapt *a = qn_alloc(sizeof *a);
    if (a == NULL) {
        return qn_fail_memory(err, "policy of links", sizeof *a);
    }
    a->options = *options;
    a->n_links = n_links;
    const qn_status status = n_links > 0 ? fill(a, links, err) : QN_OK;
    if (status != QN_OK) {
        qn_adapt_free(a);
        return status;
    }
    *adapt = a;
    return QN_OK;
}

void qn_adapt_free(qn_adapt *adapt)
{
    if (adapt != NULL) {
        qn_policy_free(adapt->policy);
        for (size_t l = 0; adapt->links != NULL && l < adapt->n_links; l++) {
            qn_free(adapt->links[l].windows);
        }
        qn_arena_free(&adapt->arena);
        qn_free(adapt);
    }
}

qn_status qn_adapt_describe(qn_adapt_link *link, size_t *bytes, const qn_plan *plan, const qn_cuts *cuts,
                            const size_t *positions, size_t stage, qn_error *err)
{
    const qn_plan_link *planned = &plan->links[stage];
    const qn_cut *cut = qn_cuts_at(cuts, positions[stage + 1]);
    *link = (qn_adapt_link){.medium = planned->medium,
                            .choices = planned->choices,
                            .n_choices = planned->n_choices,
                            .bytes = bytes,
                            .known = planned->bandwidth};
    for (size_t t = 0; t < cut->n_tensors; t++) {
        link->values += cut->tensors[t].count;
        link->code_bits += cut->tensors[t].count * cut->tensors[t].code_bits;
    }
    for (size_t c = 0; c < planned->n_choices; c++) {
        int64_t n;
        QN_TRY(qn_plan_message_bytes(&n, cuts, positions[stage + 1], &planned->choices[c], plan->microbatch, err));
        bytes[c] = (size_t)n;
    }
    return QN_OK;
}

static qn_adapt_window *current(qn_adapt *adapt, size_t link)
{
    return &adapt->links[link].windows[adapt->links[link].n_windows - 1];
}

static void end(qn_adapt *adapt, size_t link, int64_t m, double now)
{
    qn_adapt_window *window = current(adapt, link);
    window->n = m - window->first;
    window->to = now;
    /* A message that began in the window before can have taken longer than this one lasted. */
    window->sent.elapsed = fmax(now - window->from, window->sent.seconds);
}

qn_status qn_adapt_choose(qn_adapt *adapt, size_t link, int64_t m, double now, size_t *choice, qn_error *err)
{
    adapt_state *state = &adapt->links[link];
    if (m != state->next) {
        return qn_fail(err, QN_EINTERNAL, "policy of links", "micro-batch %lld was asked for instead of %lld",
                       (long long)m, (long long)state->next);
    }
    if (m % adapt->options.window == 0) {
        if (m > 0) {
            end(adapt, link, m, now);
            QN_TRY(qn_policy_observe(adapt->policy, (int)link, &current(adapt, link)->sent, err));
        }
        qn_policy_plan plan;
        QN_TRY(qn_policy_plan_next(adapt->policy, (int)link, &plan, err));
        QN_TRY(qn_grow((void **)&state->windows, &state->capacity, state->n_windows, sizeof *state->windows, err));
        state->n_windows++;
        *current(adapt, link) = (qn_adapt_window){.first = m, .from = now, .to = now, .plan = plan};
    }
    state->next++;
    const qn_adapt_window *window = current(adapt, link);
    *choice = (size_t)qn_policy_choice_at(&window->plan, m - window->first);
    return QN_OK;
}

void qn_adapt_sent(qn_adapt *adapt, size_t link, int64_t items, size_t bytes, double seconds)
{
    if (adapt->links[link].n_windows > 0) {
        qn_policy_measure *sent = &current(adapt, link)->sent;
        sent->messages++;
        sent->items += items;
        sent->bytes += (double)bytes;
        sent->seconds += seconds;
    }
}

void qn_adapt_close(qn_adapt *adapt, size_t link, double now)
{
    adapt_state *state = &adapt->links[link];
    if (state->n_windows > 0 && !state->closed) {
        end(adapt, link, state->next, now);
        state->closed = true;
    }
}

size_t qn_adapt_n_windows(const qn_adapt *adapt, size_t link)
{
    return adapt->links[link].n_windows;
}

const qn_adapt_window *qn_adapt_window_of(const qn_adapt *adapt, size_t link, size_t window)
{
    return &adapt->links[link].windows[window];
}

const char *qn_adapt_text(char text[QN_ADAPT_TEXT], const qn_policy_plan *plan, const qn_link_choice *choices)
{
    char parts[2][QN_LINK_CHOICE_MAX] = {"", ""};
    for (int i = 0; i < plan->n_parts; i++) {
        qn_link_choice_text(parts[i], &choices[plan->parts[i].choice]);
    }
    if (plan->n_parts == 1) {
        snprintf(text, QN_ADAPT_TEXT, "%s", parts[0]);
    } else {
        snprintf(text, QN_ADAPT_TEXT, "%lld x %s, %lld x %s", (long long)plan->parts[0].n_microbatches, parts[0],
                 (long long)plan->parts[1].n_microbatches, parts[1]);
    }
    return text;
}
