/* Regions: whatever codes or sums are altered, what spreads is what a run of all steps with the same alteration gives, to the
 * byte, in every tensor; and nothing stays. */
#include "random_networks.h"

#include "base/memory.h"
#include "engine/integer/region.h"

/* One thing altered: codes of a tensor after the step that finishes it, or sums of a convolution. */
typedef struct alteration {
    int step;
    bool sums;
    int n;
    qn_region_place at[4];
    int32_t change[4];
} alteration;

typedef struct scene {
    random_net net;
    qn_program *program;
    const qn_integer_code *code;
    qn_region_plan *plan;
    qn_region region;
    qn_workspace *workspace;
    uint8_t *golden;
    float *inputs[4], *outputs[4];
    uint64_t seed;
} scene;

static int choose(scene *s, int low, int high)
{
    return low + (int)(qn_test_random(&s->seed) % (uint64_t)(high - low + 1));
}

static void open_scene(scene *s, uint64_t seed)
{
    *s = (scene){.seed = seed + 77};
    net_of_any(&s->net, seed);
    qn_error *err = &s->net.err;
    const qn_arithmetic arithmetic = net_arithmetic(seed);
    s->program = net_compile(&s->net, &arithmetic);
    s->code = s->program->code;
    qn_assert_ok(qn_region_plan_make(&s->plan, s->program, err), err);
    qn_assert_ok(qn_region_make(&s->region, s->plan, err), err);
    qn_assert_ok(qn_workspace_create(&s->workspace, s->program, err), err);
    s->golden = qn_alloc(s->plan->golden_bytes);
    for (size_t i = 0; i < s->program->n_inputs; i++) {
        const int64_t n = s->program->inputs[i].count;
        s->inputs[i] = malloc((size_t)n * sizeof(float));
        for (int64_t j = 0; j < n; j++) {
            s->inputs[i][j] = qn_test_uniform(&s->seed, -2, 2);
        }
    }
    for (size_t i = 0; i < s->program->n_outputs; i++) {
        s->outputs[i] = calloc((size_t)s->program->outputs[i].count, sizeof(float));
    }
    if (s->code->tiles) {
        qn_tiles_begin();
    }
    qn_region_compute(&s->region, (const float *const *)s->inputs, s->golden);
    qn_region_load(&s->region, s->golden);
}

static void close_scene(scene *s)
{
    if (s->code->tiles) {
        qn_tiles_end();
    }
    for (int i = 0; i < 4; i++) {
        free(s->inputs[i]);
        free(s->outputs[i]);
    }
    qn_free(s->golden);
    qn_region_free(&s->region);
    qn_region_plan_free(s->plan);
    qn_workspace_free(s->workspace);
    qn_program_free(s->program);
    net_release(&s->net);
}

static void alter_bytes(const qn_integer_code *code, uint8_t *memory, const alteration *a)
{
    const qn_integer_tensor *t = &code->tensors[code->steps[a->step].output];
    for (int i = 0; i < a->n; i++) {
        memory[qn_region_offset(t, a->at[i])] ^= (uint8_t)a->change[i];
    }
}

static void on_codes(void *ctx, qn_region *region, qn_box *box)
{
    const alteration *a = ctx;
    alter_bytes(region->plan->code, region->run.memory, a);
    for (int i = 0; i < a->n; i++) {
        const qn_box one = qn_region_box_at(a->at[i]);
        *box = qn_box_join(box, &one);
    }
}

static void on_sums(void *ctx, const qn_region *region, const qn_box *box, int32_t *sums)
{
    const alteration *a = ctx;
    (void)region;
    for (int i = 0; i < a->n; i++) {
        const qn_region_place p = a->at[i];
        int32_t *sum = sums + ((ptrdiff_t)(p.y - box->y0) * (box->x1 - box->x0) + p.x - box->x0) * (box->k1 - box->k0) +
                       p.k - box->k0;
        *sum = (int32_t)((uint32_t)*sum + (uint32_t)a->change[i]);
    }
}

/* The definition of a result. */
static void finish_one(const qn_integer_code *code, uint8_t *memory, int step, qn_region_place p, int32_t sum)
{
    const qn_integer_conv *conv = &code->steps[step].u.conv;
    const qn_integer_tensor *y = &code->tensors[code->steps[step].output];
    uint8_t *to = memory + qn_region_offset(y, p);
    const qn_integer_requantize *r = conv->requantize;
    if (r != NULL && r->decode != NULL) {
        float v = (float)qn_wrap_bits(sum, r->params.bits) * r->decode->scale[p.k];
        v = r->decode->bias != NULL ? v + r->decode->bias[p.k] : v;
        v = v > r->decode->lo ? v : r->decode->lo;
        v = v < r->decode->hi ? v : r->decode->hi;
        memcpy(to, &v, sizeof v);
        return;
    }
    if (r != NULL) {
        *to = qn_requantize_one(sum, &r->params, (size_t)p.k);
        return;
    }
    const int per = code->steps[step].kind == QN_STEP_DEPTHWISE ? conv->n_groups : conv->group_outputs;
    const float m = conv->multiplier[(size_t)(p.k / per) * conv->group_entries +
                                     (size_t)qn_layout_channel(&conv->layout, p.k % per)];
    double code_y = rint((double)((float)sum * m)) + conv->zero_point;
    code_y = code_y < conv->lo ? conv->lo : code_y > conv->hi ? conv->hi : code_y;
    *to = (uint8_t)code_y;
}

/* All steps, in a workspace of its own. */
static qn_integer_run dense_run(scene *s, const alteration *list, int n)
{
    qn_integer_run run = qn_integer_workspace_run(s->workspace);
    memcpy(run.inputs == NULL ? NULL : (void *)(uintptr_t)run.inputs, s->inputs,
           s->program->n_inputs * sizeof(float *));
    memcpy((void *)(uintptr_t)run.outputs, s->outputs, s->program->n_outputs * sizeof(float *));
    for (int step = 0; step < s->code->n_steps; step++) {
        qn_integer_run_steps(&run, step, step + 1);
        for (int i = 0; i < n; i++) {
            if (list[i].step != step) {
                continue;
            }
            if (!list[i].sums) {
                alter_bytes(s->code, run.memory, &list[i]);
                continue;
            }
            for (int j = 0; j < list[i].n; j++) {
                const qn_box one = qn_region_box_at(list[i].at[j]);
                int32_t sum;
                assert_true(qn_integer_accumulators(&run, step, &one, &sum));
                sum = (int32_t)((uint32_t)sum + (uint32_t)list[i].change[j]);
                finish_one(s->code, run.memory, step, list[i].at[j], sum);
            }
        }
    }
    return run;
}

static void expect_equal(const scene *s, const uint8_t *memory, const char *what, uint64_t seed, int trial)
{
    for (int i = 0; i < s->code->n_tensors; i++) {
        const qn_integer_tensor *t = &s->code->tensors[i];
        const size_t size = t->real ? sizeof(float) : 1;
        for (int64_t j = 0; t->first_step >= 0 && j < (int64_t)t->height * t->width * t->channels; j++) {
            const size_t at = qn_region_offset(t, qn_region_place_of(t, j));
            if (memcmp(memory + at, s->region.run.memory + at, size) != 0) {
                fail_msg("network %llu, trial %d: element %lld of tensor %d (step %d) is not what %s gives",
                         (unsigned long long)seed, trial, (long long)j, i, t->first_step, what);
            }
        }
    }
}

static void draw(scene *s, alteration *a, int n)
{
    for (;;) {
        *a = (alteration){.step = choose(s, 0, s->code->n_steps - 1), .n = n};
        const qn_integer_step *step = &s->code->steps[a->step];
        const bool conv = step->kind == QN_STEP_CONV || step->kind == QN_STEP_DEPTHWISE;
        if (step->output < 0 || s->plan->last_writer[step->output] != a->step) {
            continue;
        }
        a->sums = conv && choose(s, 0, 1) == 0;
        const qn_integer_tensor *t = &s->code->tensors[step->output];
        for (int i = 0; i < n; i++) {
            const int64_t at = (int64_t)(qn_test_random(&s->seed) % (uint64_t)(t->height * t->width * t->channels));
            a->at[i] = qn_region_place_of(t, at);
            a->change[i] = a->sums ? choose(s, -900, 900) * (1 << choose(s, 0, 6)) : 1 << choose(s, 0, 7);
            for (int j = 0; j < i; j++) { /* no place twice */
                i -= memcmp(&a->at[i], &a->at[j], sizeof a->at[i]) == 0;
            }
        }
        return;
    }
}

static void check(scene *s, uint64_t seed, int trial, int n)
{
    alteration list[3];
    qn_region_alteration given[3] = {0};
    for (int i = 0; i < n; i++) {
        draw(s, &list[i], choose(s, 1, n == 1 ? 1 : 4));
        for (int j = 0; j < i; j++) { /* sorted, no step twice */
            if (list[j].step >= list[i].step) {
                i = -1;
                break;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        given[i] = (qn_region_alteration){.step = list[i].step, .ctx = &list[i]};
        if (list[i].sums) {
            given[i].sums = on_sums;
            for (int j = 0; j < list[i].n; j++) {
                const qn_box one = qn_region_box_at(list[i].at[j]);
                given[i].box = qn_box_join(&given[i].box, &one);
            }
        } else {
            given[i].codes = on_codes;
        }
    }
    const uint64_t before = qn_alloc_count();
    qn_region_spread(&s->region, given, n);
    const qn_integer_run run = dense_run(s, list, n);
    expect_equal(s, run.memory, "a whole run", seed, trial);
    bool differ = false;
    for (size_t i = 0; i < s->program->n_outputs; i++) {
        const size_t bytes = (size_t)s->program->outputs[i].count * sizeof(float);
        assert_memory_equal(s->region.outputs[i], s->outputs[i], bytes);
        differ |= memcmp(s->golden + s->plan->outputs_offset + s->plan->output_first[i] * sizeof(float), s->outputs[i],
                         bytes) != 0;
    }
    assert_int_equal(differ, s->region.outputs_differ);
    qn_region_restore(&s->region);
    assert_int_equal(before, qn_alloc_count());
    expect_equal(s, s->golden, "the undisturbed run", seed, trial);
    assert_memory_equal(s->region.all_outputs, s->golden + s->plan->outputs_offset,
                        s->plan->output_first[s->program->n_outputs] * sizeof(float));
}

static void alterations_spread_as_in_a_whole_run(void **unused)
{
    (void)unused;
    for (uint64_t seed = 0; seed < 48; seed++) {
        scene s;
        open_scene(&s, seed);
        for (int trial = 0; trial < 30; trial++) {
            check(&s, seed, trial, 1 + trial % 3);
        }
        close_scene(&s);
    }
}

static void failing_allocations_are_errors(void **unused)
{
    (void)unused;
    random_net net;
    net_of_maps(&net, 3);
    const qn_arithmetic arithmetic = {0};
    qn_program *program = net_compile(&net, &arithmetic);
    qn_status status = QN_ENOMEM;
    for (int64_t countdown = 0; status != QN_OK; countdown++) {
        qn_region_plan *plan = NULL;
        qn_region region = {0};
        qn_error_init(&net.err);
        qn_alloc_fail_after(countdown);
        status = qn_region_plan_make(&plan, program, &net.err);
        status = status == QN_OK ? qn_region_make(&region, plan, &net.err) : status;
        qn_alloc_fail_after(-1);
        qn_region_free(&region);
        qn_region_plan_free(plan);
        assert_true(status == QN_OK ? countdown > 5 : status == QN_ENOMEM);
    }
    qn_program_free(program);
    net_release(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alterations_spread_as_in_a_whole_run),
        cmocka_unit_test(failing_allocations_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
