/* quern replay: one fault of a campaign again. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/session.h"
#include "fault/replay.h"

static const cli_option options[] = {
    {"trace", 0, NULL, "tell of every value that differs: how the fault spread, or where it died"},
    {"image", 0, "I", "this image alone (--trace takes the first of the worst outcome otherwise)"},
    {"model", 0, "MODEL", "the campaign's model, where it is not in the place that the store names"},
    {"data", 0, "X", "its images, likewise"},
    {"labels", 0, "Y", "its labels, likewise"},
    {NULL, 0, NULL, NULL},
};

static const char *const end_names[] = {
    [QN_FAULT_INACTIVE] = "inactive",        [QN_FAULT_IN_LAYER] = "in layer",    [QN_FAULT_ON_THE_WAY] = "on the way",
    [QN_FAULT_AT_OUTPUT] = "at output",      [QN_FAULT_REFUSED] = "refused",      [QN_FAULT_BOUNDED] = "bounded",
    [QN_FAULT_BY_HEADER_CRC] = "header CRC", [QN_FAULT_BY_BODY_CRC] = "body CRC", [QN_FAULT_UNREADABLE] = "unreadable",
};

/* What is printed as it comes. */
typedef struct printing {
    const cli_args *args;
    const qn_replay *replay;
    json_t *images, *trace; /* NULL: as text */
    bool started;
    int64_t n, n_differ, n_detected;
    int64_t worst_image; /* the first of the worst outcome */
    int worst;
    unsigned worst_flags;
} printing;

static const qn_fault_target *target_of(const qn_replay *r, int32_t index)
{
    return &r->site.targets.list[index];
}

/* "1,2,0,5" */
static const char *place_text(char text[CLI_SHAPE_MAX], const qn_fault_target *t, int64_t element)
{
    int64_t index[QN_MAX_RANK];
    for (int i = t->rank - 1; i >= 0; i--) {
        index[i] = element % t->dims[i];
        element /= t->dims[i];
    }
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < t->rank; i++) {
        used += (size_t)snprintf(text + used, CLI_SHAPE_MAX - used, i > 0 ? ",%" PRId64 : "%" PRId64, index[i]);
    }
    return text;
}

static void flags_text(char text[160], unsigned flags)
{
#define QN_OUTCOME_NAME(name, bit, string, column) string,
    static const char *const names[] = {QN_OUTCOME_LIST(QN_OUTCOME_NAME)};
#undef QN_OUTCOME_NAME
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((flags >> i & 1) != 0) {
            used += (size_t)snprintf(text + used, 160 - used, "%s%s", used > 0 ? ", " : "", names[i]);
        }
    }
}

static const char *node_name(const qn_replay *r, int32_t node, char text[CLI_NAME_MAX])
{
    const qn_graph *graph = &r->site.program->graph;
    if (node < 0) {
        return "inputs";
    }
    const qn_node *n = &graph->nodes[node];
    if (n->name[0] != '\0') {
        return cli_name(text, n->name);
    }
    snprintf(text, CLI_NAME_MAX, "%.60s#%d", n->op_type, (int)node);
    return text;
}

static int hex_digits(const qn_fault_target *t)
{
    return (t->bits + 3) / 4;
}

/* ", bit 7 flipped", ", flipped 0xc0" */
static void print_flipped(uint32_t bits, int digits)
{
    if (__builtin_popcount(bits) == 1) {
        printf(", bit %d flipped", __builtin_ctz(bits));
    } else if (bits != 0) {
        printf(", flipped 0x%0*" PRIx32, digits, bits);
    }
}

static void print_forced(uint32_t bits, uint32_t to, int digits)
{
    if (__builtin_popcount(bits) == 1) {
        printf(", bit %d forced to %d", __builtin_ctz(bits), to != 0);
    } else if (bits != 0) {
        printf(", forced bits 0x%0*" PRIx32 " to 0x%0*" PRIx32, digits, bits, digits, to);
    }
}

static void print_change(const qn_replay *r, int64_t index)
{
    const qn_fault_change *c = &r->fault.changes[index];
    const qn_fault_target *t = target_of(r, c->target);
    char layer[CLI_NAME_MAX], value[CLI_NAME_MAX], place[CLI_SHAPE_MAX];
    if (t->frame >= 0) {
        printf("  %s behind %s, '%s', %s[%s], byte %" PRId64 " of the frame", qn_fault_where_text(t->where),
               cli_name(layer, t->layer), cli_name(value, t->value_name), t->field, place_text(place, t, c->element),
               (t->first_bit + c->element * t->bits) / 8);
    } else {
        printf("  %s of %s, '%s'[%s]", qn_fault_where_text(t->where), cli_name(layer, t->layer),
               cli_name(value, t->value_name), place_text(place, t, c->element));
    }
    if (t->where == QN_FAULT_PRODUCTS || t->where == QN_FAULT_PARTIAL_SUMS) {
        printf(" term %" PRId64, c->term);
    }
    const uint32_t mask = t->bits >= 32 ? UINT32_MAX : (UINT32_C(1) << t->bits) - 1;
    const uint32_t cleared = ~c->and_mask & mask, set = c->or_mask & mask, flipped = c->xor_mask & mask;
    if (c->add != 0) {
        printf(", %+g", c->add);
    }
    print_forced(cleared | set, set, hex_digits(t));
    print_flipped(flipped, hex_digits(t));
    if (__builtin_popcount(cleared | set | flipped) > 1) {
        printf(" of %d bits", t->bits);
    }
    printf("%s\n", c->suppress ? ", NaN and infinities to 0" : "");
}

enum { MOST_CHANGES = 8 };

static void print_fault(const qn_replay *r)
{
    const qn_fault *f = &r->fault;
    char format[QN_FORMAT_NAME_MAX];
    printf("fault %" PRId64 ": stratum %d, draw %" PRId64 ", seed %" PRIu64 ", %s engine\n", f->id, (int)f->stratum,
           f->draw, r->about->seed, r->about->engine);
    for (int64_t i = 0; i < f->n_changes && i < MOST_CHANGES; i++) {
        print_change(r, i);
    }
    if (f->n_changes > MOST_CHANGES) {
        printf("  and %" PRId64 " changes more\n", f->n_changes - MOST_CHANGES);
    }
    if (f->n_changes == 0) {
        printf("  no change\n");
        return;
    }
    const qn_fault_target *t = target_of(r, f->changes[0].target);
    if (t->coding == QN_FAULT_CODED) {
        qn_format_name(format, t->format);
        printf("  codes are %s\n", format);
    }
}

static const char *end_text(const qn_fault_effect *effect, const qn_replay *r, char text[CLI_NAME_MAX + 32])
{
    char name[CLI_NAME_MAX];
    if (effect->end == QN_FAULT_ON_THE_WAY && effect->died_at >= 0) {
        snprintf(text, CLI_NAME_MAX + 32, "died at %s", node_name(r, effect->died_at, name));
        return text;
    }
    return end_names[effect->end];
}

static void add_codes(json_t *object, const qn_replay *r, int32_t target, int64_t element, uint32_t before,
                      uint32_t after)
{
    const qn_fault_target *t = target_of(r, target);
    json_object_set_new(object, "before", json_integer(before));
    json_object_set_new(object, "after", json_integer(after));
    json_object_set_new(object, "value_before", cli_json_real(qn_fault_value(t, r->site.program, element, before)));
    json_object_set_new(object, "value_after", cli_json_real(qn_fault_value(t, r->site.program, element, after)));
}

static json_t *flags_json(unsigned flags)
{
#define QN_OUTCOME_COLUMN(name, bit, string, column) column,
    static const char *const columns[] = {QN_OUTCOME_LIST(QN_OUTCOME_COLUMN)};
#undef QN_OUTCOME_COLUMN
    json_t *list = json_array();
    for (int i = 0; i < QN_OUTCOME_COUNT; i++) {
        if ((flags >> i & 1) != 0) {
            json_array_append_new(list, json_string(columns[i]));
        }
    }
    return list;
}

/* Silent corruption before outputs that a user can see to be none, then tolerated, then masked. */
static int severity(unsigned flags)
{
    const unsigned silent = QN_OUTCOME_SDC1 | QN_OUTCOME_SDC5 | QN_OUTCOME_CRITICAL;
    if ((flags & QN_OUTCOME_NONFINITE) != 0) {
        return 3;
    }
    if ((flags & silent) != 0) {
        return 5;
    }
    if ((flags & (QN_OUTCOME_SDC10 | QN_OUTCOME_SDC20)) != 0) {
        return 4;
    }
    return (flags & QN_OUTCOME_MASKED) != 0 ? 1 : 2;
}

static void add_image(void *ctx, const qn_replay_result *result)
{
    printing *p = ctx;
    const qn_replay *r = p->replay;
    const qn_fault_effect *effect = result->effect;
    p->n++;
    p->n_differ += effect->end == QN_FAULT_AT_OUTPUT || effect->end == QN_FAULT_REFUSED;
    p->n_detected += qn_fault_is_detected(effect->end);
    const int worse = severity(result->outcome.flags);
    if (worse > p->worst) {
        p->worst = worse;
        p->worst_image = result->image;
        p->worst_flags = result->outcome.flags;
    }
    if (p->images != NULL) {
        json_t *o = json_object();
        json_object_set_new(o, "image", json_integer(result->image));
        json_object_set_new(o, "end", json_string(end_names[effect->end]));
        if (effect->died_at >= 0) {
            char name[CLI_NAME_MAX];
            json_object_set_new(o, "died_at", cli_json_string(node_name(r, effect->died_at, name)));
        }
        if (r->fault.n_changes > 0) {
            add_codes(o, r, r->fault.changes[0].target, r->fault.changes[0].element, effect->before, effect->after);
        }
        json_object_set_new(o, "outcome", flags_json(result->outcome.flags));
        json_object_set_new(o, "golden_top1", json_integer(result->golden->top1));
        json_object_set_new(o, "top1", result->top1 < 0 ? json_null() : json_integer(result->top1));
        if (result->golden->label >= 0) {
            json_object_set_new(o, "label", json_integer(result->golden->label));
        }
        json_object_set_new(o, "rmse", cli_json_real(result->outcome.rmse));
        json_array_append_new(p->images, o);
        return;
    }
    if (!p->started) {
        p->started = true;
        printf("%6s  %10s %10s  %13s %13s  %-22s %5s %5s %12s  %s\n", "image", "before", "after", "value", "value",
               "end", "top-1", "now", "rmse", "outcome");
    }
    char end[CLI_NAME_MAX + 32], flags[160], now[16] = "-", code_before[16], code_after[16];
    int digits = 8;
    double before = (double)NAN, after = (double)NAN;
    if (r->fault.n_changes > 0) {
        const qn_fault_change *first = &r->fault.changes[0];
        digits = hex_digits(target_of(r, first->target));
        before = qn_fault_value(target_of(r, first->target), r->site.program, first->element, effect->before);
        after = qn_fault_value(target_of(r, first->target), r->site.program, first->element, effect->after);
    }
    if (result->top1 >= 0) {
        snprintf(now, sizeof now, "%d", result->top1);
    }
    flags_text(flags, result->outcome.flags);
    snprintf(code_before, sizeof code_before, "0x%0*" PRIx32, digits, effect->before);
    snprintf(code_after, sizeof code_after, "0x%0*" PRIx32, digits, effect->after);
    printf("%6" PRId64 "  %10s %10s  %13.7g %13.7g  %-22s %5d %5s %12.6g  %s\n", result->image, code_before, code_after,
           before, after, end_text(effect, r, end), result->golden->top1, now, result->outcome.rmse, flags);
}

static void add_value(void *ctx, const qn_fault_trace *trace)
{
    printing *p = ctx;
    const qn_replay *r = p->replay;
    const qn_fault_target *t = target_of(r, trace->target);
    if (p->trace != NULL) {
        json_t *o = json_object();
        json_object_set_new(o, "layer", cli_json_string(t->layer));
        json_object_set_new(o, "value", cli_json_string(t->value_name));
        json_object_set_new(o, "elements", json_integer(trace->n_elems));
        json_object_set_new(o, "differ", json_integer(trace->n_differ));
        json_object_set_new(o, "first", json_integer(trace->first));
        json_object_set_new(o, "before", json_integer(trace->before));
        json_object_set_new(o, "after", json_integer(trace->after));
        json_object_set_new(o, "value_before", cli_json_real(trace->value_before));
        json_object_set_new(o, "value_after", cli_json_real(trace->value_after));
        json_object_set_new(o, "max_abs", cli_json_real(trace->max_abs));
        json_array_append_new(p->trace, o);
        return;
    }
    if (!p->started) {
        p->started = true;
        printf("  %-24s %-24s %9s %9s  %-14s %13s %13s %13s\n", "layer", "value", "differ", "of", "first", "before",
               "after", "most");
    }
    char layer[CLI_NAME_MAX], value[CLI_NAME_MAX], place[CLI_SHAPE_MAX];
    printf("  %-24s %-24s %9" PRId64 " %9" PRId64 "  %-14s %13.7g %13.7g %13.7g\n", cli_name(layer, t->layer),
           cli_name(value, t->value_name), trace->n_differ, trace->n_elems, place_text(place, t, trace->first),
           trace->value_before, trace->value_after, trace->max_abs);
}

static qn_status trace(printing *p, qn_replay *r, int64_t image, qn_error *err)
{
    qn_fault_effect effect;
    char text[CLI_NAME_MAX + 32], flags[160];
    const bool picked = image < 0 && p->n > 1;
    image = image < 0 ? p->worst_image : image;
    p->started = false;
    if (p->trace == NULL && picked) {
        flags_text(flags, p->worst_flags);
        printf("trace of image %" PRId64 ", the first of the worst outcome: %s\n", image, flags);
    } else if (p->trace == NULL) {
        printf("trace of image %" PRId64 "\n", image);
    }
    QN_TRY(qn_replay_trace(r, image, add_value, p, &effect, err));
    if (p->trace == NULL) {
        printf("  %s%s\n", effect.end == QN_FAULT_AT_OUTPUT ? "outputs differ" : end_text(&effect, r, text),
               effect.end == QN_FAULT_INACTIVE ? ": no code changed" : "");
    }
    return QN_OK;
}

/* A frame as text; or an entry of the list `ctx`. */
static void print_frame(void *ctx, const qn_replay_frame *frame)
{
    (void)ctx;
    char link[CLI_NAME_MAX], tensor[CLI_NAME_MAX];
    printf("  behind %s, '%s': %zu bytes, of which %zu changed\n", cli_name(link, frame->link),
           cli_name(tensor, frame->tensor), frame->n_bytes, frame->n_changed);
    for (size_t i = 0; i < frame->n_changed && i < QN_REPLAY_BYTES; i++) {
        const qn_replay_byte *b = &frame->bytes[i];
        printf("    byte %zu (%s): 0x%02x -> 0x%02x\n", b->offset, b->field, b->before, b->after);
    }
    if (frame->n_changed > QN_REPLAY_BYTES) {
        printf("    and %zu bytes more\n", frame->n_changed - QN_REPLAY_BYTES);
    }
    if (frame->verdict.end != QN_LINK_TAKEN) {
        printf("    refused at byte %zu: %s\n", frame->verdict.offset, frame->verdict.text);
    } else if (frame->n_differ == 0) {
        printf("    taken: the same %" PRId64 " numbers\n", frame->n_values);
    } else {
        printf("    taken: %" PRId64 " of %" PRId64 " numbers differ, by %.7g at most; the first, %" PRId64
               ": %.7g -> %.7g\n",
               frame->n_differ, frame->n_values, frame->max_abs, frame->first_differ, frame->value_before,
               frame->value_after);
    }
}

static void add_frame(void *ctx, const qn_replay_frame *frame)
{
    json_t *o = json_object(), *bytes = json_array();
    json_object_set_new(o, "link", cli_json_string(frame->link));
    json_object_set_new(o, "tensor", cli_json_string(frame->tensor));
    json_object_set_new(o, "n_bytes", json_integer((json_int_t)frame->n_bytes));
    json_object_set_new(o, "n_changed", json_integer((json_int_t)frame->n_changed));
    for (size_t i = 0; i < frame->n_changed && i < QN_REPLAY_BYTES; i++) {
        const qn_replay_byte *b = &frame->bytes[i];
        json_array_append_new(bytes, json_pack("{s:I, s:s, s:i, s:i}", "offset", (json_int_t)b->offset, "field",
                                               b->field, "before", b->before, "after", b->after));
    }
    json_object_set_new(o, "bytes", bytes);
    json_object_set_new(o, "taken", json_boolean(frame->verdict.end == QN_LINK_TAKEN));
    if (frame->verdict.end != QN_LINK_TAKEN) {
        json_object_set_new(o, "refused_at", json_integer((json_int_t)frame->verdict.offset));
        json_object_set_new(o, "reason", cli_json_string(frame->verdict.text));
    }
    json_object_set_new(o, "values", json_integer(frame->n_values));
    json_object_set_new(o, "differ", json_integer(frame->n_differ));
    if (frame->n_differ > 0) {
        json_object_set_new(o, "first", json_integer(frame->first_differ));
        json_object_set_new(o, "value_before", cli_json_real(frame->value_before));
        json_object_set_new(o, "value_after", cli_json_real(frame->value_after));
        json_object_set_new(o, "max_abs", cli_json_real(frame->max_abs));
    }
    json_array_append_new(ctx, o);
}

/* What travelled, of the image asked for or the first of the worst outcome. */
static qn_status frames(printing *p, qn_replay *r, int64_t image, json_t *object, qn_error *err)
{
    if (r->site.links == NULL || r->fault.n_changes == 0) {
        return QN_OK;
    }
    bool others;
    image = image < 0 ? p->worst_image : image;
    json_t *list = object != NULL ? json_array() : NULL;
    if (object != NULL) {
        json_object_set_new(object, "frames_image", json_integer(image));
        json_object_set_new(object, "frames", list);
        return qn_replay_frames(r, image, add_frame, list, &others, err);
    }
    printf("what travelled for image %" PRId64 "\n", image);
    QN_TRY(qn_replay_frames(r, image, print_frame, NULL, &others, err));
    if (others) {
        printf("  and frames of links behind that one\n");
    }
    return QN_OK;
}

static json_t *fault_json(const qn_replay *r)
{
    json_t *o = json_object(), *changes = json_array();
    json_object_set_new(o, "id", json_integer(r->fault.id));
    json_object_set_new(o, "stratum", json_integer(r->fault.stratum));
    json_object_set_new(o, "draw", json_integer(r->fault.draw));
    json_object_set_new(o, "first_image", json_integer(r->fault.first_image));
    json_object_set_new(o, "n_images", json_integer(r->fault.n_images));
    for (int64_t i = 0; i < r->fault.n_changes; i++) {
        const qn_fault_change *c = &r->fault.changes[i];
        const qn_fault_target *t = target_of(r, c->target);
        json_t *change = json_object();
        json_object_set_new(change, "where", json_string(qn_fault_where_text(t->where)));
        json_object_set_new(change, "layer", cli_json_string(t->layer));
        json_object_set_new(change, "value", cli_json_string(t->value_name));
        if (t->frame >= 0) {
            json_object_set_new(change, "field", json_string(t->field));
            json_object_set_new(change, "frame_bit", json_integer(t->first_bit + c->element * t->bits));
        }
        json_object_set_new(change, "element", json_integer(c->element));
        json_object_set_new(change, "term", json_integer(c->term));
        json_object_set_new(change, "bits", json_integer(t->bits));
        json_object_set_new(change, "and", json_integer(c->and_mask));
        json_object_set_new(change, "or", json_integer(c->or_mask));
        json_object_set_new(change, "xor", json_integer(c->xor_mask));
        json_object_set_new(change, "add", cli_json_real(c->add));
        json_object_set_new(change, "suppress", json_boolean(c->suppress));
        json_array_append_new(changes, change);
    }
    json_object_set_new(o, "changes", changes);
    return o;
}

static qn_status replay(const cli_args *args, qn_replay *r, int64_t image, qn_error *err)
{
    QN_TRY(qn_replay_check(r, image, err));
    if (cli_has(args, "trace") && r->site.links != NULL) { /* says so, before anything is printed */
        return qn_replay_trace(r, r->fault.first_image, NULL, NULL, NULL, err);
    }
    printing p = {.args = args, .replay = r, .worst_image = r->fault.first_image};
    json_t *object = NULL;
    if (args->json) {
        object = cli_json_start(args);
        json_object_set_new(object, "fault", fault_json(r));
        p.images = json_array();
        json_object_set_new(object, "images", p.images);
        if (cli_has(args, "trace")) {
            p.trace = json_array();
            json_object_set_new(object, "trace", p.trace);
        }
    } else {
        print_fault(r);
    }
    qn_status status = qn_replay_run(r, image, add_image, &p, err);
    status = status == QN_OK ? frames(&p, r, image, object, err) : status;
    if (status == QN_OK && cli_has(args, "trace")) {
        if (object != NULL) {
            json_object_set_new(object, "trace_image", json_integer(image < 0 ? p.worst_image : image));
        }
        status = trace(&p, r, image, err);
    }
    if (status != QN_OK) {
        json_decref(object);
        return status;
    }
    if (object != NULL) {
        cli_print_json(object);
    } else {
        printf("%" PRId64 " of %" PRId64 " images with other outputs", p.n_differ, p.n);
        if (r->site.links != NULL) {
            printf(", %" PRId64 " refused by the receiver", p.n_detected);
        }
        printf("; from scratch they are the same bytes\n");
    }
    return QN_OK;
}

static bool parse_whole(int64_t *n, const char *text)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') {
        return false;
    }
    const long long value = strtoll(text, &end, 10);
    *n = value;
    return *end == '\0' && value < INT64_MAX;
}

static cli_exit run(cli_args *args)
{
    int64_t id, image = -1;
    const char *given = cli_value(args, "image");
    if (!parse_whole(&id, args->positional[1])) {
        return cli_misuse("'%s' is not the number of a fault; 'quern show' lists some", args->positional[1]);
    }
    if (given != NULL && !parse_whole(&image, given)) {
        return cli_misuse("--image '%s' is not the number of an image", given);
    }
    const qn_replay_files files = {.model = cli_value(args, "model"),
                                   .data = cli_value(args, "data"),
                                   .labels = cli_value(args, "labels"),
                                   .cpu = args->cpu};
    qn_error err;
    qn_error_init(&err);
    qn_replay r;
    qn_status status = qn_replay_open(&r, args->positional[0], id, &files, &err);
    if (status == QN_OK) {
        status = replay(args, &r, image, &err);
    }
    qn_replay_close(&r);
    return status == QN_OK ? CLI_OK : cli_fail(&err);
}

const cli_command cli_replay = {
    .name = "replay",
    .summary = "run one fault of a campaign again, and follow it through the network",
    .usage = "STORE ID [--trace] [--image I] [--json]",
    .description = "The fault is drawn anew from the specification and the seed that the store has, and must\n"
                   "come out as the one that it keeps. It runs on every image that it is present in, twice: as\n"
                   "campaigns do, and the whole network from scratch; outputs that differ between the two are\n"
                   "an error of quern (exit code 1).\n"
                   "\n"
                   "For each image: the code of the first change before and after and what they stand for,\n"
                   "where the difference ended, the class before and after, and the outcome. With --trace:\n"
                   "every value that differs, in the order of the network, with the number of elements that\n"
                   "differ, the first of them, and the greatest difference; unless --image names one, of the\n"
                   "first image whose outcome is worst: SDC before non-finite, tolerated and masked.\n"
                   "\n"
                   "Model and data are opened where the store says, and must be those of the campaign.",
    .example = "quern replay campaign.db 17\n"
               "quern replay campaign.db 17 --image 3 --trace",
    .positional = {"STORE", "ID"},
    .options = options,
    .run = run,
};
