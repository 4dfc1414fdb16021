/* Faults on links by brute force, through the public interface alone: stages as models, frames encoded, bits flipped where
 * doc/spec/link.md says that a field lies, what comes out decoded, everything behind it run. Held against campaigns. */
#ifndef QN_TESTS_FAULT_LINK_H
#define QN_TESTS_FAULT_LINK_H

#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "fault/outcome.h"
#include "fault/store.h"
#include "graph/model.h"
#include "quern/quern.h"

enum { BRUTE_LINKS = 3, BRUTE_TENSORS = 8, BRUTE_CLASSES = 16 };

typedef struct brute_link {
    const char *after, *choice; /* as in specifications */
    bool unchecked;
} brute_link;

/*  golden   frames of the image, its outputs */
typedef struct brute {
    const qn_model *model;
    qn_engine engine;
    qn_dataset *data;
    const qn_tensor *labels; /* u8; NULL: none */
    int n_links;
    brute_link links[BRUTE_LINKS];
    qn_cuts *cuts;
    size_t positions[BRUTE_LINKS + 2];
    qn_stage stages[BRUTE_LINKS + 1];
    qn_program *programs[BRUTE_LINKS + 1];
    qn_workspace *workspaces[BRUTE_LINKS + 1];
    qn_link_options options[BRUTE_LINKS];
    bool codes[BRUTE_LINKS];
    int64_t n_classes;
    float golden[BRUTE_CLASSES];
    qn_error err;
} brute;

/* What became of a message. */
typedef enum brute_end { BRUTE_RAN, BRUTE_REFUSED, BRUTE_HEADER_CRC, BRUTE_BODY_CRC, BRUTE_UNREADABLE } brute_end;

/* A fault: bits of frames flipped, of link `link`, tensor `tensor`. */
typedef struct brute_flip {
    int link, tensor;
    int64_t bit;
} brute_flip;

static void brute_open(brute *b)
{
    qn_error_init(&b->err);
    qn_assert_ok(qn_cuts_create(&b->cuts, b->model, b->engine, &b->err), &b->err);
    b->positions[b->n_links + 1] = qn_cuts_last(b->cuts);
    for (int l = 0; l < b->n_links; l++) {
        qn_link_choice choice;
        static char formats[BRUTE_LINKS][QN_FORMAT_NAME_MAX];
        qn_assert_ok(qn_cuts_find(&b->positions[l + 1], b->cuts, b->links[l].after, &b->err), &b->err);
        qn_assert_ok(qn_link_choice_parse(&choice, formats[l], b->links[l].choice, NULL, &b->err), &b->err);
        qn_link_choice_options(&b->options[l], &choice);
        b->codes[l] = strcmp(choice.format, "codes") == 0;
        b->options[l].checksum = b->links[l].unchecked ? QN_LINK_CHECKSUM_OFF : QN_LINK_CHECKSUM_ON;
        assert_true(qn_cuts_at(b->cuts, b->positions[l + 1])->n_tensors <= BRUTE_TENSORS);
    }
    for (int s = 0; s <= b->n_links; s++) {
        qn_program_options options;
        qn_assert_ok(qn_program_options_init(&options, b->engine, &b->err), &b->err);
        options.batch = 1;
        qn_assert_ok(qn_stage_create(&b->stages[s], b->cuts, b->positions[s], b->positions[s + 1], &b->err), &b->err);
        qn_assert_ok(qn_program_create(&b->programs[s], b->stages[s].model, &options, &b->err), &b->err);
        qn_assert_ok(qn_workspace_create(&b->workspaces[s], b->programs[s], &b->err), &b->err);
    }
    b->n_classes = qn_cuts_at(b->cuts, qn_cuts_last(b->cuts))->tensors[0].count;
    assert_true(b->n_classes <= BRUTE_CLASSES);
}

static void brute_close(brute *b)
{
    for (int s = 0; s <= b->n_links; s++) {
        qn_workspace_free(b->workspaces[s]);
        qn_program_free(b->programs[s]);
        qn_stage_free(&b->stages[s]);
    }
    qn_cuts_free(b->cuts);
}

/* The frame of a tensor of a link as it would be planned; *q: parameters that it has beforehand. */
static qn_frame brute_frame(brute *b, int link, int tensor, qn_tensor *x, const qn_quantizer **q)
{
    const qn_cut_tensor *t = &qn_cuts_at(b->cuts, b->positions[link + 1])->tensors[tensor];
    const int more = qn_cuts_batched(b->cuts) ? 1 : 0;
    qn_frame frame;
    *x = (qn_tensor){.dtype = QN_DTYPE_F32, .rank = t->rank + more, .dims = {1}};
    memcpy(x->dims + more, t->dims, (size_t)t->rank * sizeof *t->dims);
    *q = b->codes[link] && t->coded ? b->model->graph.values[t->value].quantizer : NULL;
    qn_assert_ok(*q != NULL ? qn_frame_plan_for(&frame, *q, &b->options[link], x->rank, x->dims, &b->err)
                            : qn_frame_plan(&frame, &b->options[link], x->rank, x->dims, &b->err),
                 &b->err);
    return frame;
}

/* Offset of a field in bits, as doc/spec/link.md has it. `which`: the first or second field of that name. */
static int64_t brute_offset(const qn_frame *f, const char *field, int which)
{
    static const struct {
        const char *name;
        int byte;
    } fixed[] = {{"signature", 0}, {"version", 4},      {"flags", 6},     {"granularity", 8},
                 {"rank", 9},      {"name-length", 10}, {"reserved", 11}, {"body-crc", 12},
                 {"group", 16},    {"length", 24},      {"dims", 32}};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (strcmp(fixed[i].name, field) == 0) {
            return 8 * (int64_t)fixed[i].byte;
        }
    }
    if (strcmp(field, "format") == 0) {
        return 8 * (32 + 8 * (int64_t)f->rank);
    }
    if (strcmp(field, "header-crc") == 0 || strcmp(field, "zeros") == 0) {
        return strcmp(field, "zeros") == 0 && which == 0 ? 8 * 12 : 8 * ((int64_t)f->header_bytes - 4);
    }
    const unsigned has = f->raw ? 0 : qn_format_parameters(f->format);
    const int exponent = !f->raw && f->format.kind == QN_FORMAT_MX ? 1 : 2;
    const struct {
        const char *name;
        unsigned parameter;
        int bytes;
    } arrays[] = {{"scale", QN_PARAM_SCALE, 4},
                  {"zero-point", QN_PARAM_ZERO_POINT, 4},
                  {"exponent-bias", QN_PARAM_EXP_BIAS, exponent},
                  {"shift", QN_PARAM_SHIFT, 4},
                  {"multiplier", QN_PARAM_MULTIPLIER, 4}};
    int64_t at = (int64_t)f->header_bytes;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        if (strcmp(arrays[i].name, field) == 0) {
            return 8 * at;
        }
        at += (has & arrays[i].parameter) != 0 ? arrays[i].bytes * f->n_sets : 0;
    }
    const int64_t bits = f->raw ? 32 : f->format.bits;
    return 8 * at + (strcmp(field, "padding") == 0 ? f->n_elems * bits : 0);
}

/* A frame that has arrived: its bytes, and what they were read as. */
typedef struct brute_message {
    unsigned char *bytes;
    qn_frame planned, is;
    bool fixed;
} brute_message;

static bool brute_same(const qn_frame *a, const qn_frame *b)
{
    return strcmp(a->name, b->name) == 0 && a->per == b->per && a->group == b->group && a->rank == b->rank &&
           memcmp(a->dims, b->dims, sizeof a->dims) == 0;
}

/* A tensor across a link, with the flips that are of it. before: the frame it came in, where it passed through the stage,
 * which hands on what it would code the same. */
static brute_end brute_cross(brute *b, int link, int tensor, const brute_flip *flips, int n_flips,
                             const brute_message *before, brute_message *m, float *values)
{
    qn_tensor x;
    const qn_quantizer *q;
    qn_frame frame = brute_frame(b, link, tensor, &x, &q);
    qn_frame_verdict verdict;
    qn_error reason;
    qn_error_init(&reason);
    *m = (brute_message){.bytes = qn_alloc(frame.n_bytes), .planned = frame, .fixed = q != NULL};
    x.data = values;
    const unsigned flags = b->links[link].unchecked ? QN_FRAME_UNCHECKED : 0;
    if (before != NULL && (before->planned.raw || (before->fixed && m->fixed)) &&
        brute_same(&before->planned, &frame) && before->is.flags == flags) {
        memcpy(m->bytes, before->bytes, frame.n_bytes);
    } else {
        const qn_status sent = qn_frame_encode_with(m->bytes, &frame, &x, q, &b->options[link], NULL, &reason);
        if (sent == QN_ERANGE) {
            return BRUTE_REFUSED;
        }
        qn_assert_ok(sent, &reason);
    }
    for (int i = 0; i < n_flips; i++) {
        if (flips[i].link == link && flips[i].tensor == tensor) {
            assert_true(flips[i].bit < 8 * (int64_t)frame.n_bytes);
            m->bytes[flips[i].bit / 8] ^= (unsigned char)(1 << flips[i].bit % 8);
        }
    }
    const size_t limit = frame.n_bytes > frame.decoded_bytes ? frame.n_bytes : frame.decoded_bytes;
    const qn_frame_state state = qn_frame_parse(&m->is, &verdict, m->bytes, frame.n_bytes, limit);
    if (state != QN_FRAME_COMPLETE) {
        return state == QN_FRAME_BAD && verdict.fault == QN_FRAME_HEADER_CRC ? BRUTE_HEADER_CRC
               : state == QN_FRAME_BAD && verdict.fault == QN_FRAME_BODY_CRC ? BRUTE_BODY_CRC
                                                                             : BRUTE_UNREADABLE;
    }
    return brute_same(&m->is, &m->planned) && m->is.n_bytes == m->planned.n_bytes &&
                   qn_frame_decode(values, &m->is, &reason) == QN_OK
               ? BRUTE_RAN
               : BRUTE_UNREADABLE;
}

static brute_end brute_run(brute *b, int64_t image, const brute_flip *flips, int n_flips, float *outputs)
{
    float *tensors[BRUTE_TENSORS] = {NULL}, *next[BRUTE_TENSORS], *made[BRUTE_TENSORS];
    brute_message messages[BRUTE_LINKS][BRUTE_TENSORS] = {{{0}}};
    brute_end end = BRUTE_RAN;
    tensors[0] = qn_alloc((size_t)qn_program_input_count(b->programs[0], 0) * sizeof(float));
    qn_assert_ok(qn_dataset_read(b->data, image, 1, tensors[0], &b->err), &b->err);
    size_t n = 1;
    for (int s = 0; s <= b->n_links && end == BRUTE_RAN; s++) {
        const qn_stage *stage = &b->stages[s];
        const qn_cut *behind = qn_cuts_at(b->cuts, b->positions[s + 1]);
        const float *in[BRUTE_TENSORS];
        for (size_t i = 0; i < stage->n_inputs; i++) {
            in[i] = tensors[stage->inputs[i]];
            for (int64_t k = 0; k < qn_program_input_count(b->programs[s], i) && b->engine == QN_ENGINE_INTEGER; k++) {
                end = isfinite(in[i][k]) ? end : BRUTE_REFUSED;
            }
        }
        for (size_t i = 0; i < qn_program_n_outputs(b->programs[s]); i++) {
            made[i] = qn_alloc((size_t)qn_program_output_count(b->programs[s], i) * sizeof(float));
        }
        if (end == BRUTE_RAN) {
            qn_assert_ok(qn_program_run(b->programs[s], b->workspaces[s], in, 1, made, &b->err), &b->err);
        }
        for (size_t i = 0; i < behind->n_tensors; i++) {
            const size_t n_bytes = (size_t)behind->tensors[i].count * sizeof(float);
            next[i] = qn_alloc(n_bytes);
            memcpy(next[i], stage->sources[i].passes ? tensors[stage->sources[i].index] : made[stage->sources[i].index],
                   n_bytes);
        }
        for (size_t i = 0; i < n; i++) {
            qn_free(tensors[i]);
        }
        for (size_t i = 0; i < qn_program_n_outputs(b->programs[s]); i++) {
            qn_free(made[i]);
        }
        n = behind->n_tensors;
        memcpy(tensors, next, n * sizeof *next);
        for (size_t i = 0; i < n && s < b->n_links && end == BRUTE_RAN; i++) {
            const qn_stage_source source = stage->sources[i];
            end = brute_cross(b, s, (int)i, flips, n_flips,
                              s > 0 && source.passes ? &messages[s - 1][source.index] : NULL, &messages[s][i],
                              tensors[i]);
        }
    }
    memcpy(outputs, tensors[0], end == BRUTE_RAN ? (size_t)b->n_classes * sizeof *outputs : 0);
    for (size_t i = 0; i < n; i++) {
        qn_free(tensors[i]);
    }
    for (int l = 0; l < b->n_links; l++) {
        for (int i = 0; i < BRUTE_TENSORS; i++) {
            qn_free(messages[l][i].bytes);
        }
    }
    return end;
}

static int brute_top1(const float *outputs, int64_t n)
{
    int top = 0;
    for (int i = 1; i < n; i++) {
        top = outputs[i] > outputs[top] || (isnan(outputs[top]) && !isnan(outputs[i])) ? i : top;
    }
    return top;
}

static double brute_softmax(const float *outputs, int64_t n, int at)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += exp((double)outputs[i] - (double)outputs[at]);
    }
    return 1 / sum;
}

/* Flags as a campaign counts them; the bits of *unsure are too near a threshold to tell. */
static unsigned brute_outcome(const brute *b, int64_t image, brute_end end, const float *outputs, unsigned *unsure)
{
    *unsure = 0;
    if (end >= BRUTE_HEADER_CRC) {
        return QN_OUTCOME_DETECTED;
    }
    if (end == BRUTE_REFUSED) {
        return QN_OUTCOME_NONFINITE;
    }
    const int n = (int)b->n_classes;
    if (memcmp(outputs, b->golden, (size_t)n * sizeof *outputs) == 0) {
        return QN_OUTCOME_MASKED;
    }
    const int was = brute_top1(b->golden, n), is = brute_top1(outputs, n);
    const int label = b->labels != NULL ? ((const uint8_t *)b->labels->data)[image] : -1;
    unsigned flags = was == label && (is != label || isnan(outputs[is])) ? QN_OUTCOME_CRITICAL : 0;
    for (int i = 0; i < n; i++) {
        if (!isfinite(outputs[i])) {
            return flags | QN_OUTCOME_NONFINITE;
        }
    }
    flags |= is == was ? QN_OUTCOME_TOLERATED : QN_OUTCOME_SDC1;
    int better = 0;
    for (int i = 0; i < n; i++) {
        better += b->golden[i] > b->golden[is] || (b->golden[i] == b->golden[is] && i < is);
    }
    flags |= better >= 5 ? QN_OUTCOME_SDC5 : 0;
    const double p = brute_softmax(b->golden, n, was), change = fabs(brute_softmax(outputs, n, was) - p) / p;
    flags |= change > 0.1 ? QN_OUTCOME_SDC10 : 0;
    flags |= change > 0.2 ? QN_OUTCOME_SDC20 : 0;
    *unsure = fabs(change - 0.1) < 1e-9 ? QN_OUTCOME_SDC10 : fabs(change - 0.2) < 1e-9 ? QN_OUTCOME_SDC20 : 0;
    return flags;
}

/* Flips of a stored fault, all of whose changes flip bits. Target t is field t->field of tensor t->value behind t->layer. */
static int brute_flips(brute *b, const qn_store_target *targets, const qn_fault_change *changes, int64_t n,
                       brute_flip *flips, int most)
{
    int n_flips = 0;
    for (int64_t i = 0; i < n; i++) {
        const qn_store_target *t = &targets[changes[i].target];
        int link = 0, tensor = 0, which = 0;
        while (strcmp(b->links[link].after, t->layer) != 0) {
            link++;
        }
        const qn_cut *cut = qn_cuts_at(b->cuts, b->positions[link + 1]);
        while (strcmp(cut->tensors[tensor].name, t->value) != 0) {
            tensor++;
        }
        for (const qn_store_target *k = t; k-- > targets && strcmp(k->value, t->value) == 0;) {
            which += strcmp(k->field, t->field) == 0 && strcmp(k->layer, t->layer) == 0;
        }
        qn_tensor x;
        const qn_quantizer *q;
        const qn_frame frame = brute_frame(b, link, tensor, &x, &q);
        for (uint32_t left = changes[i].xor_mask; left != 0; left &= left - 1) {
            assert_true(n_flips < most);
            flips[n_flips++] = (brute_flip){link, tensor,
                                            brute_offset(&frame, t->field, which) + changes[i].element * t->bits +
                                                __builtin_ctz(left)};
        }
    }
    return n_flips;
}

/* A campaign of flips, and each of its faults by hand; counts[]: outcomes. Returns faults. */
static int64_t brute_agree(brute *b, const char *fault_sets, int64_t n_images, int n_threads,
                           int64_t counts[QN_OUTCOME_COUNT])
{
    char text[4096], path[64];
    static int stores;
    int used = snprintf(text, sizeof text, "seed: 5\nverify: 2%%\nlinks:\n");
    for (int l = b->n_links - 1; l >= 0; l--) { /* in any order */
        used += snprintf(text + used, sizeof text - (size_t)used, "  - {after: '%s', choice: '%s', checksum: %s}\n",
                         b->links[l].after, b->links[l].choice, b->links[l].unchecked ? "off" : "on");
    }
    snprintf(text + used, sizeof text - (size_t)used, "faults:\n%s", fault_sets);
    snprintf(path, sizeof path, "brute%d.db", stores++);
    const char *file = qn_scratch_file(path);
    qn_fault_spec *spec;
    qn_assert_ok(qn_fault_spec_of_text(&spec, text, "spec", &b->err), &b->err);
    qn_campaign_options options;
    qn_assert_ok(qn_campaign_options_init(&options, b->model, &b->err), &b->err);
    options.data = b->data;
    options.labels = b->labels;
    options.spec = spec;
    options.store = file;
    options.engine = b->engine;
    options.n_images = n_images;
    options.n_threads = n_threads;
    qn_campaign_stats stats;
    qn_assert_ok(qn_campaign_run(&options, &stats, &b->err), &b->err);
    qn_fault_spec_close(spec);
    assert_true(stats.n_verified > 0);
    qn_store *store;
    const qn_store_target *targets;
    int n_targets;
    qn_assert_ok(qn_store_open(&store, file, &b->err), &b->err);
    qn_assert_ok(qn_store_targets(store, &targets, &n_targets, &b->err), &b->err);
    int64_t image = -1;
    memset(counts, 0, QN_OUTCOME_COUNT * sizeof *counts);
    for (int64_t id = 0; id < stats.faults; id++) {
        enum { MOST = 4096 };
        static brute_flip flips[MOST];
        qn_fault_row row;
        bool found;
        qn_arena arena = {0};
        qn_assert_ok(qn_store_row(store, id, &row, &found, &b->err), &b->err);
        assert_true(found && row.pairs == 1);
        const qn_fault_change one = {.target = row.target, .element = row.element, .xor_mask = row.mask};
        const qn_fault_change *changes = &one;
        int64_t n = row.n_changes;
        if (n > 1) {
            qn_assert_ok(qn_store_changes(store, id, &arena, &changes, &n, &b->err), &b->err);
            assert_int_equal(n, row.n_changes);
        }
        const int n_flips = brute_flips(b, targets, changes, n, flips, MOST);
        if (row.first_image != image) {
            image = row.first_image;
            assert_int_equal(brute_run(b, image, NULL, 0, b->golden), BRUTE_RAN);
        }
        float outputs[BRUTE_CLASSES];
        unsigned unsure, is = 0;
        const brute_end end = brute_run(b, image, flips, n_flips, outputs);
        const unsigned expected = brute_outcome(b, image, end, outputs, &unsure);
        for (int k = 0; k < QN_OUTCOME_COUNT; k++) {
            is |= (unsigned)(row.counts[k] != 0) << k;
            counts[k] += row.counts[k];
        }
        const bool ends = row.ends[QN_FAULT_BY_HEADER_CRC] == (end == BRUTE_HEADER_CRC) &&
                          row.ends[QN_FAULT_BY_BODY_CRC] == (end == BRUTE_BODY_CRC) &&
                          row.ends[QN_FAULT_UNREADABLE] == (end == BRUTE_UNREADABLE) &&
                          row.ends[QN_FAULT_REFUSED] == (end == BRUTE_REFUSED);
        if (((is ^ expected) & ~unsure) != 0 || !ends) {
            fail_msg("fault %lld (%s of '%s' behind '%s', element %lld, mask %#x) on image %lld: outcome %#x, by hand "
                     "%#x (end %d)",
                     (long long)id, targets[row.target].field, targets[row.target].value, targets[row.target].layer,
                     (long long)row.element, (unsigned)row.mask, (long long)image, is, expected, (int)end);
        }
        qn_arena_free(&arena);
    }
    qn_store_close(store);
    return stats.faults;
}

#endif
