/* Plans read from YAML (doc/links.md). */
#include <math.h>
#include <string.h>

#include "link/document.h"
#include "link/plan.h"
#include "quern/policy.h"

/* What is read before the plan's parts are known to fit each other. */
typedef struct draft {
    qn_plan *plan;
    qn_arena *arena;
    size_t n_links;
    int links_line;
} draft;

/* Keys of a link, until they are choices. */
typedef struct link_draft {
    qn_plan_link *link;
    qn_arena *arena;
    const char *format, *per, *clamp;
    int format_line;
} link_draft;

typedef struct choice_draft {
    const char *text;
    double loss, sqnr_db;
} choice_draft;

static qn_status read_engine_name(qn_engine *engine, qn_entry *value, qn_error *err)
{
    const char *text;
    QN_TRY(qn_entry_text(&text, value, err));
    for (int i = 0; qn_engine_text((qn_engine)i) != NULL; i++) {
        if (strcmp(qn_engine_text((qn_engine)i), text) == 0) {
            *engine = (qn_engine)i;
            return QN_OK;
        }
    }
    return qn_entry_fail(err, value, "'%.60s' is no engine; there are float, integer and simulate", text);
}

static qn_status read_engine(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    d->plan->engine_given = true;
    return read_engine_name(&d->plan->engine, value, err);
}

QN_KEY_READER(read_until, qn_plan_stage, qn_entry_text(&t->until, value, err))
QN_KEY_READER(read_device, qn_plan_stage, qn_entry_text(&t->device, value, err))
QN_KEY_READER(read_memory, qn_plan_stage, qn_entry_memory(&t->memory, value, err))
QN_KEY_READER(read_seconds, qn_plan_stage, qn_entry_real(&t->seconds_per_item, value, true, err))
static const qn_key stage_keys[] = {
    {"until", read_until, false},
    {"device", read_device, false},
    {"memory", read_memory, false},
    {"seconds_per_item", read_seconds, false},
};

static qn_status read_stages(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    qn_plan *plan = d->plan;
    QN_TRY(qn_entry_list(&plan->n_stages, value, "stages", QN_PLAN_MAX_STAGES, err));
    plan->stages = qn_arena_array(d->arena, plan->n_stages, sizeof *plan->stages);
    if (plan->stages == NULL) {
        return qn_fail_memory(err, value->document->where, plan->n_stages * sizeof *plan->stages);
    }
    for (size_t i = 0; i < plan->n_stages; i++) {
        qn_entry item;
        qn_plan_stage *stage = &plan->stages[i];
        stage->seconds_per_item = (double)NAN;
        QN_TRY(qn_entry_item(&item, value, i, err));
        QN_TRY(qn_entry_mapping(stage, &item, "a stage", stage_keys, sizeof stage_keys / sizeof stage_keys[0], err));
        const bool last = i + 1 == plan->n_stages;
        if (last != (stage->until == NULL)) {
            return qn_entry_fail(err, &item,
                                 last ? "the last stage goes to the end; it has no 'until'"
                                      : "a stage without 'until', the output of the last node that it runs; only the "
                                        "last stage has none");
        }
    }
    return QN_OK;
}

static qn_status parse_choice(qn_link_choice *choice, qn_arena *arena, const char *text, const qn_entry *at,
                              qn_error *err)
{
    qn_error reason;
    qn_error_init(&reason);
    char *format = qn_arena_alloc(arena, QN_FORMAT_NAME_MAX);
    if (format == NULL) {
        return qn_fail_memory(err, at->document->where, QN_FORMAT_NAME_MAX);
    }
    return qn_entry_pass(err, at, qn_link_choice_parse(choice, format, text, NULL, &reason), &reason);
}

static qn_status read_choice_loss(void *target, qn_entry *value, qn_error *err)
{
    return qn_entry_share(&((choice_draft *)target)->loss, value, -1, err);
}

static qn_status read_choice_sqnr(void *target, qn_entry *value, qn_error *err)
{
    choice_draft *d = target;
    const char *text;
    QN_TRY(qn_entry_text(&text, value, err));
    if (strcmp(text, "inf") == 0 || strcmp(text, ".inf") == 0) {
        d->sqnr_db = (double)INFINITY;
        return QN_OK;
    }
    return qn_number_parse(&d->sqnr_db, text) && isfinite(d->sqnr_db)
               ? QN_OK
               : qn_entry_fail(err, value, "'%.60s' is no number of dB", text);
}

QN_KEY_READER(read_choice_format, choice_draft, qn_entry_text(&t->text, value, err))
static const qn_key choice_keys[] = {
    {"format", read_choice_format, true},
    {"loss", read_choice_loss, false},
    {"sqnr_db", read_choice_sqnr, false},
};

static qn_status read_choice(qn_link_choice *choice, qn_arena *arena, qn_entry *item, qn_error *err)
{
    choice_draft d = {NULL, (double)NAN, (double)NAN};
    if (qn_entry_is_mapping(item)) {
        QN_TRY(qn_entry_mapping(&d, item, "a choice", choice_keys, sizeof choice_keys / sizeof choice_keys[0], err));
    } else {
        QN_TRY(qn_entry_text(&d.text, item, err));
    }
    QN_TRY(parse_choice(choice, arena, d.text, item, err));
    choice->loss = d.loss;
    choice->sqnr_db = d.sqnr_db;
    return QN_OK;
}

static qn_status read_choices(void *target, qn_entry *value, qn_error *err)
{
    link_draft *d = target;
    qn_plan_link *link = d->link;
    QN_TRY(qn_entry_list(&link->n_choices, value, "choices", QN_PLAN_MAX_CHOICES, err));
    link->choices = qn_arena_array(d->arena, link->n_choices, sizeof *link->choices);
    if (link->choices == NULL) {
        return qn_fail_memory(err, value->document->where, link->n_choices * sizeof *link->choices);
    }
    for (size_t i = 0; i < link->n_choices; i++) {
        qn_entry item;
        QN_TRY(qn_entry_item(&item, value, i, err));
        QN_TRY(read_choice(&link->choices[i], d->arena, &item, err));
        char text[QN_LINK_CHOICE_MAX], other[QN_LINK_CHOICE_MAX];
        qn_link_choice_text(text, &link->choices[i]);
        for (size_t k = 0; k < i; k++) {
            qn_link_choice_text(other, &link->choices[k]);
            if (strcmp(text, other) == 0) {
                return qn_entry_fail(err, &item, "'%s' stands there twice", text);
            }
        }
    }
    return QN_OK;
}

QN_KEY_READER(read_format, link_draft, (t->format_line = value->line, qn_entry_text(&t->format, value, err)))
QN_KEY_READER(read_per, link_draft, qn_entry_text(&t->per, value, err))
QN_KEY_READER(read_clamp, link_draft, qn_entry_text(&t->clamp, value, err))
QN_KEY_READER(read_checksum, link_draft, qn_entry_bool(&t->link->checksum, value, err))
QN_KEY_READER(read_bandwidth, link_draft, qn_entry_bandwidth(&t->link->bandwidth, value, err))
QN_KEY_READER(read_latency, link_draft, qn_entry_latency(&t->link->latency, value, err))
QN_KEY_READER(read_medium, link_draft, qn_entry_text(&t->link->medium, value, err))
static const qn_key link_keys[] = {
    {"format", read_format, false},   {"per", read_per, false},           {"clamp", read_clamp, false},
    {"choices", read_choices, false}, {"checksum", read_checksum, false}, {"bandwidth", read_bandwidth, false},
    {"latency", read_latency, false}, {"medium", read_medium, false},
};

static qn_status settle_link(link_draft *d, qn_entry *item, qn_error *err)
{
    if (d->link->n_choices > 0) {
        return d->format == NULL && d->per == NULL && d->clamp == NULL
                   ? QN_OK
                   : qn_entry_fail(err, item, "a link has either 'format' (with 'per' and 'clamp') or 'choices'");
    }
    if (d->format == NULL && (d->per != NULL || d->clamp != NULL)) {
        return qn_entry_fail(err, item, "a link with '%s' and without 'format'", d->per != NULL ? "per" : "clamp");
    }
    const char *text =
        qn_arena_printf(d->arena, "%s%s%s%s%s", d->format != NULL ? d->format : "codes", d->per != NULL ? "/" : "",
                        d->per != NULL ? d->per : "", d->clamp != NULL ? "/" : "", d->clamp != NULL ? d->clamp : "");
    d->link->n_choices = 1;
    d->link->choices = qn_arena_alloc(d->arena, sizeof *d->link->choices);
    if (d->link->choices == NULL || text == NULL) {
        return qn_fail_memory(err, item->document->where, sizeof *d->link->choices);
    }
    qn_entry at = *item;
    at.line = d->format != NULL ? d->format_line : item->line;
    return parse_choice(d->link->choices, d->arena, text, &at, err);
}

static qn_plan_link *new_links(qn_arena *arena, size_t n)
{
    qn_plan_link *links = qn_arena_array(arena, n + 1, sizeof *links);
    for (size_t i = 0; links != NULL && i < n; i++) {
        links[i] = (qn_plan_link){.checksum = true, .bandwidth = (double)NAN};
    }
    return links;
}

static qn_status read_links(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    QN_TRY(qn_entry_list(&d->n_links, value, "links", QN_PLAN_MAX_STAGES, err));
    d->links_line = value->line;
    d->plan->links = new_links(d->arena, d->n_links);
    if (d->plan->links == NULL) {
        return qn_fail_memory(err, value->document->where, d->n_links * sizeof *d->plan->links);
    }
    for (size_t i = 0; i < d->n_links; i++) {
        qn_entry item;
        link_draft link = {.link = &d->plan->links[i], .arena = d->arena};
        QN_TRY(qn_entry_item(&item, value, i, err));
        QN_TRY(qn_entry_mapping(&link, &item, "a link", link_keys, sizeof link_keys / sizeof link_keys[0], err));
        QN_TRY(settle_link(&link, &item, err));
    }
    return QN_OK;
}

static qn_status read_policy_name(void *target, qn_entry *value, qn_error *err)
{
    qn_plan *plan = target;
    qn_policy_kind kind;
    qn_error reason;
    qn_error_init(&reason);
    QN_TRY(qn_entry_text(&plan->policy, value, err));
    return qn_entry_pass(err, value, qn_policy_kind_parse(&kind, plan->policy, &reason), &reason);
}

QN_KEY_READER(read_rate, qn_plan, qn_entry_real(&t->rate, value, false, err))
QN_KEY_READER(read_window, qn_plan, qn_entry_integer(&t->window, value, 1, QN_POLICY_MAX_WINDOW, err))
QN_KEY_READER(read_budget, qn_plan, qn_entry_share(&t->accuracy_budget, value, 0, err))
static const qn_key policy_keys[] = {
    {"name", read_policy_name, false},
    {"rate", read_rate, false},
    {"window", read_window, false},
    {"accuracy_budget", read_budget, false},
};

static qn_status read_policy(void *target, qn_entry *value, qn_error *err)
{
    draft *d = target;
    return qn_entry_mapping(d->plan, value, "a policy", policy_keys, sizeof policy_keys / sizeof policy_keys[0], err);
}

QN_KEY_READER(read_model, draft, qn_entry_text(&t->plan->model, value, err))
QN_KEY_READER(read_sha256, draft, qn_entry_sha256(&t->plan->sha256, value, err))
QN_KEY_READER(read_microbatch, draft, qn_entry_integer(&t->plan->microbatch, value, 1, QN_PLAN_MAX_MICROBATCH, err))
static const qn_key plan_keys[] = {
    {"version", qn_read_version, true}, {"model", read_model, false},           {"sha256", read_sha256, false},
    {"engine", read_engine, false},     {"microbatch", read_microbatch, false}, {"stages", read_stages, true},
    {"links", read_links, false},       {"policy", read_policy, false},
};

static qn_status settle(draft *d, qn_entry *root, qn_error *err)
{
    qn_plan *plan = d->plan;
    if (d->n_links > 0 && d->n_links + 1 != plan->n_stages) {
        root->line = d->links_line;
        return qn_entry_fail(err, root,
                             "%zu links between %zu stages; there are %zu, one behind each stage but the last",
                             d->n_links, plan->n_stages, plan->n_stages - 1);
    }
    if (d->n_links == 0) {
        plan->links = new_links(d->arena, plan->n_stages - 1);
        if (plan->links == NULL) {
            return qn_fail_memory(err, root->document->where, plan->n_stages * sizeof *plan->links);
        }
        for (size_t i = 0; i + 1 < plan->n_stages; i++) {
            link_draft link = {.link = &plan->links[i], .arena = d->arena};
            QN_TRY(settle_link(&link, root, err));
        }
    }
    return QN_OK;
}

qn_status qn_plan_new(qn_plan *plan, qn_arena **arena, qn_error *err)
{
    *plan = (qn_plan){.model = "",
                      .sha256 = "",
                      .engine = QN_ENGINE_FLOAT,
                      .microbatch = 1,
                      .policy = "",
                      .accuracy_budget = (double)NAN,
                      .memory = qn_alloc(sizeof(qn_arena))};
    *arena = plan->memory;
    return plan->memory != NULL ? QN_OK : qn_fail_memory(err, NULL, sizeof(qn_arena));
}

void qn_plan_free(qn_plan *plan)
{
    if (plan->memory != NULL) {
        qn_arena_free(plan->memory);
        qn_free(plan->memory);
    }
    *plan = (qn_plan){0};
}

qn_status qn_plan_read(qn_plan *plan, const char *path, qn_error *err)
{
    qn_document document;
    draft d = {.plan = plan};
    QN_TRY(qn_plan_new(plan, &d.arena, err));
    qn_status status = qn_document_open(&document, d.arena, path, err);
    if (status == QN_OK) {
        qn_entry root;
        status = qn_document_root(&root, &document, err);
        status = status == QN_OK
                     ? qn_entry_mapping(&d, &root, "a plan", plan_keys, sizeof plan_keys / sizeof plan_keys[0], err)
                     : status;
        status = status == QN_OK ? settle(&d, &root, err) : status;
        qn_document_close(&document);
    }
    if (status != QN_OK) {
        qn_plan_free(plan);
    }
    return status;
}
