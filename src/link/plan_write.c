/* Plans as YAML, for people to read and change. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "link/plan.h"

typedef struct writer {
    char *text;
    size_t n, capacity;
    qn_status status;
    qn_error *err;
} writer;

static void QN_PRINTF(2, 3) put(writer *w, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (w->status == QN_OK) {
        w->status = qn_grow((void **)&w->text, &w->capacity, w->n + (size_t)n, 1, w->err);
    }
    if (w->status == QN_OK) {
        va_start(arguments, format);
        vsnprintf(w->text + w->n, (size_t)n + 1, format, arguments);
        va_end(arguments);
        w->n += (size_t)n;
    }
}

/* Needs a text no quotes, and is it none of the words and numbers that YAML takes for something else? */
static bool is_plain(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+<>";
    double number;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            return false;
        }
    }
    return text[0] != '\0' && strspn(text, safe) == strlen(text) && strchr("-+.<>", text[0]) == NULL &&
           !qn_number_parse(&number, text);
}

static void put_text(writer *w, const char *before, const char *text)
{
    for (const char *c = text; *c != '\0' && w->status == QN_OK; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            w->status = qn_fail(w->err, QN_EINVAL, NULL, "'%.60s' holds control characters, which plans cannot", text);
        }
    }
    if (is_plain(text)) {
        put(w, "%s%s\n", before, text);
        return;
    }
    put(w, "%s\"", before);
    for (const char *c = text; *c != '\0'; c++) {
        put(w, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
    }
    put(w, "\"\n");
}

static void put_stage(writer *w, const qn_plan_stage *stage)
{
    char text[QN_NUMBER_MAX];
    const char *before = "  - ";
    if (stage->until != NULL) {
        put(w, "%s", before);
        put_text(w, "until: ", stage->until);
        before = "    ";
    }
    if (stage->device != NULL) {
        put(w, "%s", before);
        put_text(w, "device: ", stage->device);
        before = "    ";
    }
    if (stage->memory > 0) {
        qn_memory_text(text, stage->memory);
        put(w, "%smemory: %s\n", before, text);
        before = "    ";
    }
    if (!isnan(stage->seconds_per_item)) {
        qn_number_text(text, stage->seconds_per_item);
        put(w, "%sseconds_per_item: %s\n", before, text);
        before = "    ";
    }
    if (before[2] == '-') {
        put(w, "  - {}\n");
    }
}

static void put_choice(writer *w, const qn_link_choice *choice, const char *before)
{
    char text[QN_LINK_CHOICE_MAX], number[QN_NUMBER_MAX];
    qn_link_choice_text(text, choice);
    const bool bare = isnan(choice->loss) && isnan(choice->sqnr_db);
    put(w, bare ? "%s\"%s\"" : "%s{format: \"%s\"", before, text);
    if (!isnan(choice->loss)) {
        qn_number_text(number, choice->loss);
        put(w, ", loss: %s", number);
    }
    if (!isnan(choice->sqnr_db)) {
        qn_number_text(number, choice->sqnr_db);
        put(w, ", sqnr_db: %s", isinf(choice->sqnr_db) ? ".inf" : number);
    }
    put(w, bare ? "\n" : "}\n");
}

static void put_link(writer *w, const qn_plan_link *link)
{
    char text[QN_NUMBER_MAX];
    if (link->n_choices == 1 && isnan(link->choices[0].loss) && isnan(link->choices[0].sqnr_db)) {
        char choice[QN_LINK_CHOICE_MAX];
        qn_link_choice_text(choice, &link->choices[0]);
        put_text(w, "  - format: ", choice);
    } else {
        put(w, "  - choices:\n");
        for (size_t i = 0; i < link->n_choices; i++) {
            put_choice(w, &link->choices[i], "      - ");
        }
    }
    if (!link->checksum) {
        put(w, "    checksum: false\n");
    }
    if (!isnan(link->bandwidth)) {
        qn_bandwidth_text(text, link->bandwidth);
        put(w, "    bandwidth: %s\n", text);
    }
    if (link->latency > 0) {
        qn_latency_text(text, link->latency);
        put(w, "    latency: %s\n", text);
    }
    if (link->medium != NULL) {
        put_text(w, "    medium: ", link->medium);
    }
}

static void put_policy(writer *w, const qn_plan *plan)
{
    char text[QN_NUMBER_MAX];
    put(w, "policy:\n");
    if (plan->policy[0] != '\0') {
        put_text(w, "  name: ", plan->policy);
    }
    if (plan->rate > 0) {
        qn_number_text(text, plan->rate);
        put(w, "  rate: %s\n", text);
    }
    if (plan->window > 0) {
        put(w, "  window: %lld\n", (long long)plan->window);
    }
    if (!isnan(plan->accuracy_budget)) {
        qn_number_text(text, plan->accuracy_budget);
        put(w, "  accuracy_budget: %s\n", text);
    }
}

static void put_plan(writer *w, const qn_plan *plan)
{
    put(w, "# A plan for quern pipeline: which stage of a network runs where, and how tensors travel in between.\n");
    put(w, "version: 1\n");
    if (plan->model[0] != '\0') {
        put_text(w, "model: ", plan->model);
    }
    if (plan->sha256[0] != '\0') {
        put(w, "sha256: \"%s\"\n", plan->sha256);
    }
    if (plan->engine_given) {
        put(w, "engine: %s\n", qn_engine_text(plan->engine));
    }
    put(w, "microbatch: %lld\nstages:\n", (long long)plan->microbatch);
    for (size_t i = 0; i < plan->n_stages; i++) {
        put_stage(w, &plan->stages[i]);
    }
    put(w, plan->n_stages > 1 ? "links:\n" : "%s", "");
    for (size_t i = 0; i + 1 < plan->n_stages; i++) {
        put_link(w, &plan->links[i]);
    }
    if (plan->policy[0] != '\0' || !isnan(plan->accuracy_budget)) {
        put_policy(w, plan);
    }
}

qn_status qn_plan_write(const qn_plan *plan, const char *path, bool overwrite, qn_error *err)
{
    writer w = {.err = err};
    put_plan(&w, plan);
    qn_status status = w.status == QN_OK ? qn_file_write_all(path, overwrite, w.text, w.n, err) : w.status;
    qn_free(w.text);
    return status;
}
