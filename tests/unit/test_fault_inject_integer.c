/* Faults in the integer engine: whatever is struck, alone or together, the outputs are those of a model with the changed
 * constants whose steps all run, with the other changes applied by plain loops; and what is said of masking is so. */
#include "random_networks.h"

#include "base/memory.h"
#include "engine/integer/integer.h"
#include "fault/injector.h"

enum { IMAGES = 3, MOST_CHANGES = 6 };

typedef struct scene {
    random_net net;
    qn_arithmetic arithmetic;
    qn_program *program;
    qn_fault_targets targets;
    qn_tensor x;
    qn_dataset *data;
    qn_injector *injector;
    float *golden;
    uint64_t seed;
} scene;

static int64_t below(scene *s, int64_t n)
{
    return (int64_t)(qn_test_random(&s->seed) % (uint64_t)n);
}

/* Of a program and its data. */
static void open_injector(scene *s, size_t memory_bytes)
{
    qn_error *err = &s->net.err;
    const int64_t n = s->x.dims[0];
    qn_assert_ok(qn_fault_targets_make(&s->targets, s->program, err), err);
    qn_assert_ok(qn_dataset_of_tensor(&s->data, &s->x, NULL, err), err);
    const qn_injector_options options = {.program = s->program,
                                         .model = &s->net.model,
                                         .data = s->data,
                                         .targets = &s->targets,
                                         .n_workers = 1,
                                         .memory_bytes = memory_bytes};
    qn_assert_ok(qn_injector_create_of(&s->injector, &options, &qn_injector_integer, err), err);
    s->golden = calloc((size_t)(n * s->injector->output_count), sizeof *s->golden);
    qn_assert_ok(s->injector->ops->golden(s->injector, 0, 0, n, s->golden, err), err);
}

static void open_scene(scene *s, uint64_t seed)
{
    memset(s, 0, sizeof *s);
    s->seed = seed + 99;
    net_of_any(&s->net, seed);
    qn_error *err = &s->net.err;
    s->arithmetic = net_arithmetic(seed);
    s->program = net_compile(&s->net, &s->arithmetic);
    int64_t dims[QN_MAX_RANK] = {IMAGES};
    const int rank = 1 + qn_program_input_shape(s->program, 0, dims + 1);
    qn_assert_ok(qn_tensor_alloc(&s->x, QN_DTYPE_F32, rank, dims, err), err);
    for (int64_t i = 0; i < qn_tensor_count(&s->x); i++) {
        ((float *)s->x.data)[i] = qn_test_uniform(&s->seed, -2, 2);
    }
    open_injector(s, seed % 2 == 0 ? (size_t)1 << 30 : 0);
}

static void close_scene(scene *s)
{
    free(s->golden);
    qn_injector_free(s->injector);
    qn_dataset_close(s->data);
    qn_tensor_free(&s->x);
    qn_fault_targets_free(&s->targets);
    qn_program_free(s->program);
    net_release(&s->net);
}

/* One run under the oracle's eyes. */
typedef struct oracle {
    scene *s;
    const qn_fault *fault;
    const qn_program *program;
    const qn_integer_code *code;
    qn_integer_run run;
} oracle;

static int64_t pattern_to_number(uint32_t pattern, int bits, bool is_signed)
{
    const uint64_t one = (uint64_t)1 << bits;
    const int64_t low = (int64_t)(pattern & (one - 1));
    return is_signed && (low & (int64_t)(one / 2)) != 0 ? low - (int64_t)one : low;
}

static uint32_t changed(const oracle *o, const qn_fault_change *c, uint32_t code)
{
    const int bits = o->s->targets.list[c->target].bits;
    const uint32_t mask = bits == 32 ? UINT32_MAX : ((uint32_t)1 << bits) - 1;
    return (((code & c->and_mask) | c->or_mask) ^ c->xor_mask) & mask;
}

/* Codes of constants. */
static void change_model(const oracle *o, qn_graph *graph)
{
    for (int64_t i = 0; i < o->fault->n_changes; i++) {
        const qn_fault_change *c = &o->fault->changes[i];
        const qn_fault_target *t = &o->s->targets.list[c->target];
        if (t->where != QN_FAULT_WEIGHTS && t->where != QN_FAULT_BIASES) {
            continue;
        }
        const qn_value *v = &graph->values[t->value];
        uint32_t bits;
        if (t->coding == QN_FAULT_F32) {
            memcpy(&bits, (float *)v->constant->data + c->element, sizeof bits);
            bits = changed(o, c, bits);
            memcpy((float *)v->constant->data + c->element, &bits, sizeof bits);
            continue;
        }
        int64_t number;
        if (v->codes->dtype == QN_DTYPE_S32) {
            int32_t *at = (int32_t *)v->codes->data + c->element;
            number = *at = (int32_t)changed(o, c, (uint32_t)*at);
        } else {
            uint8_t *at = (uint8_t *)v->codes->data + c->element;
            *at = (uint8_t)pattern_to_number(changed(o, c, *at), t->bits, v->codes->dtype == QN_DTYPE_S8);
            number = v->codes->dtype == QN_DTYPE_S8 ? (int8_t)*at : *at;
        }
        const int64_t set = v->quantizer->n == 1 ? 0 : c->element;
        if (t->where == QN_FAULT_BIASES) {
            ((float *)v->constant->data)[c->element] = (float)number * v->quantizer->scale[set];
        }
    }
}

static uint8_t *element_at(const oracle *o, const qn_integer_tensor *t, int64_t element)
{
    const int64_t plane = (int64_t)t->height * t->width;
    if (t->real) { /* C order, but for layers over tokens, whose channels are last as well */
        return o->run.memory + t->offset + element * (int64_t)sizeof(float);
    }
    if (t->plain) {
        return o->run.memory + t->offset + element;
    }
    return o->run.memory + (ptrdiff_t)t->offset + element % plane / t->width * t->row + element % t->width * t->pixel +
           element / plane;
}

static int64_t hold(const oracle *o, int64_t sum)
{
    const int bits = o->s->arithmetic.accumulator_bits == 0 ? 32 : o->s->arithmetic.accumulator_bits;
    const int64_t one = INT64_C(1) << bits;
    if (o->s->arithmetic.saturate) {
        return sum < -one / 2 ? -one / 2 : sum > one / 2 - 1 ? one / 2 - 1 : sum;
    }
    sum = ((sum % one) + one) % one;
    return sum >= one / 2 ? sum - one : sum;
}

static const qn_fault_change *find(const oracle *o, qn_fault_where where, int node, int64_t element, int64_t term)
{
    for (int64_t i = 0; i < o->fault->n_changes; i++) {
        const qn_fault_change *c = &o->fault->changes[i];
        const qn_fault_target *t = &o->s->targets.list[c->target];
        if (t->where == where && t->node == node && c->element == element && c->term == term) {
            return c;
        }
    }
    return NULL;
}

static int64_t constant_code(const qn_tensor *t, int64_t i)
{
    return t->dtype == QN_DTYPE_S32  ? ((const int32_t *)t->data)[i]
           : t->dtype == QN_DTYPE_S8 ? ((const int8_t *)t->data)[i]
                                     : ((const uint8_t *)t->data)[i];
}

/* The sum of one output with its changes, term by term, and what it becomes. */
static void sum_again(const oracle *o, const qn_integer_step *step, int64_t element)
{
    const qn_integer_conv *conv = &step->u.conv;
    const qn_integer_tensor *in = &o->code->tensors[step->input[0]], *out = &o->code->tensors[step->output];
    const int node = (int)(step->node - o->program->graph.nodes);
    const bool matrix = step->node->op != QN_OP_CONV;
    const int64_t plane = (int64_t)out->height * out->width;
    const int k = (int)(out->plain ? element % out->channels : element / plane);
    const int y = out->plain ? 0 : (int)(element % plane / out->width);
    const int x = out->plain ? (int)(element / out->channels) : (int)(element % out->width);
    const qn_value *w = &o->program->graph.values[conv->weights_value];
    const int pixels = conv->kernel[0] * conv->kernel[1], terms = pixels * conv->group_inputs;
    const bool bias =
        conv->bias_value != QN_NO_VALUE &&
        (conv->requantize == NULL || conv->requantize->decode == NULL || conv->requantize->decode->bias == NULL);
    int64_t sum = hold(o, bias ? constant_code(o->program->graph.values[conv->bias_value].codes, k) : 0);
    for (int term = 0; term < terms; term++) {
        const int c = matrix ? term / pixels : term % conv->group_inputs;
        const int tap = matrix ? term % pixels : term / conv->group_inputs;
        const int row = y * conv->stride[0] - conv->pad[0] + tap / conv->kernel[1] * conv->dilation[0];
        const int column = x * conv->stride[1] - conv->pad[1] + tap % conv->kernel[1] * conv->dilation[1];
        int64_t product = 0;
        if (row >= 0 && row < in->height && column >= 0 && column < in->width) {
            const int64_t code = o->run.memory[(ptrdiff_t)in->offset + row * in->row + column * in->pixel +
                                               k / conv->group_outputs * conv->group_inputs + c];
            const int64_t at =
                matrix ? (int64_t)term * out->channels + k : (int64_t)k * terms + (int64_t)c * pixels + tap;
            const int64_t zero = w->quantizer->zero_point[w->quantizer->n == 1 ? 0 : k];
            product = (code - in->zero_point) * (constant_code(w->codes, at) - zero);
        }
        const qn_fault_change *change = find(o, QN_FAULT_PRODUCTS, node, element, term);
        product = change != NULL ? pattern_to_number(changed(o, change, (uint32_t)product), 32, true) : product;
        sum = hold(o, sum + product);
        change = find(o, QN_FAULT_PARTIAL_SUMS, node, element, term);
        if (change != NULL) {
            const int bits = o->s->targets.list[change->target].bits;
            sum = pattern_to_number(changed(o, change, (uint32_t)sum), bits, true);
        }
    }
    const qn_fault_change *change = find(o, QN_FAULT_ACCUMULATORS, node, element, 0);
    if (change != NULL) {
        sum = pattern_to_number(changed(o, change, (uint32_t)sum), o->s->targets.list[change->target].bits, true);
    }
    uint8_t *to = element_at(o, out, element);
    const qn_integer_requantize *r = conv->requantize;
    if (r != NULL && r->decode != NULL) {
        float v = (float)qn_wrap_bits((int32_t)sum, r->params.bits) * r->decode->scale[k];
        v = r->decode->bias != NULL ? v + r->decode->bias[k] : v;
        v = v > r->decode->lo ? v : r->decode->lo;
        v = v < r->decode->hi ? v : r->decode->hi;
        memcpy(to, &v, sizeof v);
    } else if (r != NULL) {
        *to = qn_requantize_one((int32_t)sum, &r->params, (size_t)k);
    } else {
        const int per = step->kind == QN_STEP_DEPTHWISE ? conv->n_groups : conv->group_outputs;
        const float m = conv->multiplier[(size_t)(k / per) * conv->group_entries +
                                         (size_t)qn_layout_channel(&conv->layout, k % per)];
        const double v = rint((double)((float)(int32_t)sum * m)) + conv->zero_point;
        *to = (uint8_t)(v < conv->lo ? conv->lo : v > conv->hi ? conv->hi : v);
    }
}

/* The tensor in which the value's codes are made, or its floats; and the last step that writes it. */
static int tensor_of(const oracle *o, const qn_fault_target *t, int *last)
{
    int found = -1;
    for (int i = 0; i < o->code->n_tensors && found < 0; i++) {
        const qn_integer_tensor *at = &o->code->tensors[i];
        if (at->value == t->value && at->real == (t->coding == QN_FAULT_F32) && at->first_step >= 0 && at->base < 0 &&
            at->initial == NULL) {
            found = i;
        }
    }
    /* of a pool or a move with a quantizer of its own: behind its table */
    for (int i = 0; found >= 0 && i < o->code->n_steps; i++) {
        const qn_integer_step *step = &o->code->steps[i];
        if (step->kind == QN_STEP_LOOKUP && step->input[0] == found &&
            o->code->tensors[step->output].value == t->value) {
            found = step->output;
        }
    }
    for (int i = 0; i < o->code->n_steps; i++) {
        *last = o->code->steps[i].output == found ? i : *last;
    }
    return found;
}

static void after_step(const oracle *o, int index)
{
    const qn_integer_step *step = &o->code->steps[index];
    for (int64_t i = 0; i < o->fault->n_changes; i++) {
        const qn_fault_change *c = &o->fault->changes[i];
        const qn_fault_target *t = &o->s->targets.list[c->target];
        const bool sums =
            t->where == QN_FAULT_ACCUMULATORS || t->where == QN_FAULT_PRODUCTS || t->where == QN_FAULT_PARTIAL_SUMS;
        const bool layer = step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
        if (sums && layer && step->node == &o->program->graph.nodes[t->node]) {
            sum_again(o, step, c->element);
        }
    }
    for (int64_t i = 0; i < o->fault->n_changes; i++) {
        const qn_fault_change *c = &o->fault->changes[i];
        const qn_fault_target *t = &o->s->targets.list[c->target];
        int last = -1;
        if (t->where != QN_FAULT_ACTIVATIONS && t->where != QN_FAULT_INPUTS) {
            continue;
        }
        const int tensor = tensor_of(o, t, &last);
        assert_true(tensor >= 0);
        if (last != index) {
            continue;
        }
        uint8_t *at = element_at(o, &o->code->tensors[tensor], c->element);
        if (t->coding == QN_FAULT_F32) {
            uint32_t bits;
            memcpy(&bits, at, sizeof bits);
            bits = changed(o, c, bits);
            memcpy(at, &bits, sizeof bits);
        } else {
            const int raise = t->format.is_signed ? 128 : 0;
            *at = (uint8_t)(pattern_to_number(changed(o, c, (uint32_t)(*at - raise)), t->bits, t->format.is_signed) +
                            raise);
        }
    }
}

static void expect(scene *s, const qn_fault *fault, int64_t image, float *outputs)
{
    qn_error *err = &s->net.err;
    qn_model model = {0};
    oracle o = {.s = s, .fault = fault};
    qn_program *program = NULL;
    qn_workspace *workspace = NULL;
    qn_assert_ok(qn_graph_clone(&model.graph, &s->net.model.graph, err), err);
    change_model(&o, &model.graph);
    qn_assert_ok(qn_program_create(&program, &model, &s->program->options, err), err);
    qn_assert_ok(qn_workspace_create(&workspace, program, err), err);
    o.program = program;
    o.code = program->code;
    o.run = qn_integer_workspace_run(workspace);
    const float *input = (const float *)s->x.data + image * program->inputs[0].count;
    float *to[4];
    for (size_t i = 0, at = 0; i < program->n_outputs; i++) {
        to[i] = outputs + at;
        at += (size_t)program->outputs[i].count;
    }
    o.run.inputs = &input;
    o.run.outputs = to;
    for (int step = 0; step < o.code->n_steps; step++) {
        if (o.code->tiles) {
            qn_tiles_begin();
        }
        qn_integer_run_steps(&o.run, step, step + 1);
        if (o.code->tiles) {
            qn_tiles_end();
        }
        after_step(&o, step);
    }
    qn_workspace_free(workspace);
    qn_program_free(program);
    qn_graph_free(&model.graph);
}

typedef struct tally {
    scene *s;
    const qn_fault *faults;
    int64_t n;
    int ends[5];
} tally;

static void on_effect(void *ctx, int64_t index, int64_t image, const qn_fault_effect *effect)
{
    tally *seen = ctx;
    scene *s = seen->s;
    const int64_t n = s->injector->output_count;
    const float *golden = s->golden + image * n;
    float *outputs = calloc((size_t)n, sizeof *outputs);
    expect(s, &seen->faults[index], image, outputs);
    const bool differ = memcmp(outputs, golden, (size_t)n * sizeof *outputs) != 0;
    const qn_fault_change *c = &seen->faults[index].changes[0];
    const qn_fault_target *t = &s->targets.list[c->target];
    if (effect->end != QN_FAULT_REFUSED &&
        (differ != (effect->end == QN_FAULT_AT_OUTPUT) ||
         (differ && memcmp(outputs, effect->outputs, (size_t)n * sizeof *outputs) != 0))) {
        fail_msg("fault %lld (%s of %s, element %lld, term %lld, %lld changes), image %lld: ends at %d, outputs are %s",
                 (long long)index, qn_fault_where_text(t->where), t->value_name, (long long)c->element,
                 (long long)c->term, (long long)seen->faults[index].n_changes, (long long)image, effect->end,
                 differ ? "others" : "golden's");
    }
    assert_int_equal(effect->after, (((effect->before & c->and_mask) | c->or_mask) ^ c->xor_mask) &
                                        (t->bits == 32 ? UINT32_MAX : ((uint32_t)1 << t->bits) - 1));
    seen->ends[effect->end]++;
    seen->n++;
    free(outputs);
}

static int by_place(const void *a, const void *b)
{
    const qn_fault_change *x = a, *y = b;
    if (x->target != y->target) {
        return x->target < y->target ? -1 : 1;
    }
    if (x->element != y->element) {
        return x->element < y->element ? -1 : 1;
    }
    return (x->term > y->term) - (x->term < y->term);
}

static bool is_parameter(const qn_fault_target *t)
{
    return t->where >= QN_FAULT_SCALES;
}

/* n changes of random targets; a mask of 0 now and then. */
static void draw(scene *s, qn_fault *fault, qn_fault_change *changes, int n)
{
    int target = -1;
    for (int i = 0; i < n; i++) {
        do {
            target = i > 0 && below(s, 2) == 0 ? changes[i - 1].target : (int)below(s, s->targets.n);
        } while (is_parameter(&s->targets.list[target]));
        const qn_fault_target *t = &s->targets.list[target];
        changes[i] = (qn_fault_change){.target = target,
                                       .element = below(s, t->n_elems),
                                       .term = below(s, t->n_terms),
                                       .and_mask = UINT32_MAX,
                                       .xor_mask = (uint32_t)1 << below(s, t->bits)};
        if (below(s, 8) == 0) {
            changes[i].or_mask = changes[i].xor_mask;
            changes[i].xor_mask = 0;
        }
        for (int j = 0; j < i; j++) {
            if (by_place(&changes[i], &changes[j]) == 0) {
                i--;
                break;
            }
        }
    }
    qsort(changes, (size_t)n, sizeof *changes, by_place);
    *fault = (qn_fault){.n_images = IMAGES, .n_changes = n, .changes = changes};
}

static void faults_are_what_their_definition_says(void **unused)
{
    (void)unused;
    enum { FAULTS = 24 };
    int ends[5] = {0};
    for (uint64_t seed = 0; seed < 24; seed++) {
        scene s;
        open_scene(&s, seed);
        qn_fault faults[FAULTS];
        const qn_fault *list[FAULTS];
        qn_fault_change changes[FAULTS][MOST_CHANGES];
        for (int i = 0; i < FAULTS; i++) {
            draw(&s, &faults[i], changes[i], i % 3 == 0 ? 1 + (int)below(&s, MOST_CHANGES) : 1);
            list[i] = &faults[i];
        }
        tally seen = {.s = &s, .faults = faults};
        qn_assert_ok(s.injector->ops->run(s.injector, 0, 0, IMAGES, list, FAULTS, on_effect, &seen, &s.net.err),
                     &s.net.err);
        assert_int_equal(seen.n, FAULTS * IMAGES);
        for (int i = 0; i < 5; i++) {
            ends[i] += seen.ends[i];
        }
        float *again = calloc((size_t)(IMAGES * s.injector->output_count), sizeof *again);
        qn_assert_ok(s.injector->ops->golden(s.injector, 0, 0, IMAGES, again, &s.net.err), &s.net.err);
        assert_memory_equal(again, s.golden, (size_t)(IMAGES * s.injector->output_count) * sizeof *again);
        free(again);
        close_scene(&s);
    }
    for (int i = 0; i < QN_FAULT_REFUSED; i++) {
        assert_true(ends[i] > 20);
    }
}

static void on_nothing(void *ctx, int64_t index, int64_t image, const qn_fault_effect *effect)
{
    (void)index, (void)image, (void)effect;
    ++*(int64_t *)ctx;
}

/* Once images are known and room for a call is there. */
static void faults_allocate_nothing(void **unused)
{
    (void)unused;
    enum { FAULTS = 40 };
    scene s;
    open_scene(&s, 0);
    qn_fault faults[FAULTS];
    const qn_fault *list[FAULTS];
    qn_fault_change changes[FAULTS][MOST_CHANGES];
    for (int i = 0; i < FAULTS; i++) {
        draw(&s, &faults[i], changes[i], 1 + i % MOST_CHANGES);
        faults[i].first_image = i % IMAGES;
        faults[i].n_images = 1 + i % 2;
        list[i] = &faults[i];
    }
    for (int round = 0; round < 2; round++) {
        const uint64_t before = qn_alloc_count();
        int64_t pairs = 0;
        qn_assert_ok(s.injector->ops->run(s.injector, 0, 0, IMAGES, list, FAULTS, on_nothing, &pairs, &s.net.err),
                     &s.net.err);
        assert_int_equal(pairs, FAULTS + FAULTS / 2);
        assert_true(round == 0 || qn_alloc_count() == before);
    }
    close_scene(&s);
}

/* Presence counts modulo the data set, in any split of it. */
static void faults_are_present_when_they_say(void **unused)
{
    (void)unused;
    scene s;
    open_scene(&s, 1);
    qn_fault_change change;
    for (int64_t first = -4; first < 8; first++) {
        for (int64_t n_images = 1; n_images <= 5; n_images++) {
            qn_fault fault;
            draw(&s, &fault, &change, 1);
            fault.first_image = first;
            fault.n_images = n_images;
            const qn_fault *list[1] = {&fault};
            for (int64_t from = 0; from < IMAGES; from++) {
                for (int64_t n = 1; from + n <= IMAGES; n++) {
                    int64_t pairs = 0, expected = 0;
                    for (int64_t image = from; image < from + n; image++) {
                        expected += (image - first + 6 * IMAGES) % IMAGES < n_images;
                    }
                    qn_assert_ok(s.injector->ops->run(s.injector, 0, from, n, list, 1, on_nothing, &pairs, &s.net.err),
                                 &s.net.err);
                    assert_int_equal(pairs, expected);
                }
            }
        }
    }
    close_scene(&s);
}

static void expect_third_negated(void *ctx, int64_t index, int64_t image, const qn_fault_effect *effect)
{
    const scene *s = ctx;
    (void)index;
    assert_int_equal(effect->end, QN_FAULT_AT_OUTPUT);
    assert_int_equal(effect->before ^ effect->after, UINT32_C(1) << 31);
    for (int i = 0; i < 4; i++) {
        const float wanted = s->golden[image * 4 + i] * (i == 2 ? -1.0f : 1.0f);
        assert_memory_equal(&effect->outputs[i], &wanted, sizeof wanted);
    }
}

/* A factor of a node in float that is known before the run, though no initializer is it. */
static void constants_that_follow_from_others_can_be_struck(void **unused)
{
    (void)unused;
    scene s = {0};
    qn_graph *g = net_start(&s.net, 1);
    qn_test_input(g, "x", DIMS(-1, 4));
    net_code(&s.net, "x", NET_EXPONENT, 3, true);
    qn_test_floats(g, "flat", DIMS(4), (const float[]){0.5f, 3, -2, 1});
    qn_test_ints(g, "shape", 2, (int64_t[]){1, 4});
    NODE(g, "Reshape", "flat shape", "gain");
    NODE(g, "Mul", "x gain", "y");
    qn_test_output(g, "y");
    const qn_arithmetic arithmetic = {0};
    s.program = net_compile(&s.net, &arithmetic);
    const float x[4] = {1, -0.5f, 0.75f, 2};
    qn_assert_ok(qn_tensor_alloc(&s.x, QN_DTYPE_F32, DIMS(1, 4), &s.net.err), &s.net.err);
    memcpy(s.x.data, x, sizeof x);
    open_injector(&s, 0);
    int found = 0;
    for (int i = 0; i < s.targets.n; i++) {
        if (s.targets.list[i].where != QN_FAULT_WEIGHTS || strcmp(s.targets.list[i].value_name, "gain") != 0) {
            continue;
        }
        const qn_fault_change change = {
            .target = i, .element = 2, .and_mask = UINT32_MAX, .xor_mask = UINT32_C(1) << 31};
        const qn_fault fault = {.n_images = 1, .n_changes = 1, .changes = &change};
        const qn_fault *list[1] = {&fault};
        qn_assert_ok(s.injector->ops->run(s.injector, 0, 0, 1, list, 1, expect_third_negated, &s, &s.net.err),
                     &s.net.err);
        found++;
    }
    assert_int_equal(found, 1);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_are_what_their_definition_says),
        cmocka_unit_test(faults_allocate_nothing),
        cmocka_unit_test(faults_are_present_when_they_say),
        cmocka_unit_test(constants_that_follow_from_others_can_be_struck),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
