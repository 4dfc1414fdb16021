/* Random faults through a fast injector and from scratch: the same bytes. */
#ifndef QN_TESTS_FAULT_AGREE_H
#define QN_TESTS_FAULT_AGREE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/injector.h"
#include "quern/quern.h"
#include "support.h"

enum { AGREE_CHANGES = 6, AGREE_CHUNK = 32, AGREE_ANY = -1 };

/*  lifetime  images a fault is present in: 1, the first of which is drawn, or 0: all
 *  counts   of pairs, per end as the fast injector tells it;  disagree: of them, pairs that differ, the first few told on stdout */
typedef struct agree {
    const char *name;
    const qn_program *program;
    const qn_fault_targets *targets;
    qn_injector *fast, *whole;
    int64_t n_images, lifetime, counts[5], pairs, disagree;
    uint64_t random;
    /* the chunk under way */
    qn_fault_change changes[AGREE_CHUNK][AGREE_CHANGES];
    qn_fault faults[AGREE_CHUNK];
    int64_t first, n, n_faults;
    qn_fault_effect *effects; /* per fault and image of the group */
    bool *told;
    float *outputs;
} agree;

/* The first images of what a shared model was calibrated on. Data and tensor are the caller's. */
static inline qn_dataset *agree_images(const char *model, int64_t n, qn_tensor *x)
{
    qn_error err;
    qn_error_init(&err);
    const bool kws = strncmp(model, "kws", 3) == 0;
    const char *file = qn_shared(kws ? "data/inputs/kws_calib100_x_f32.npy" : "data/inputs/cifar10_calib500_x_u8.npy");
    assert_non_null(file);
    qn_assert_ok(qn_tensor_read(x, file, &err), &err);
    x->dims[0] = n;
    qn_preprocess pre;
    qn_preprocess_init(&pre);
    pre.scale = kws ? 1.0 : 1.0 / 255;
    qn_dataset *data;
    qn_assert_ok(qn_dataset_of_tensor(&data, x, &pre, &err), &err);
    return data;
}

static inline void agree_open(agree *a, const char *name, const qn_program *program, const qn_model *model,
                              const qn_dataset *data, const qn_fault_targets *targets, const qn_injector_ops *fast,
                              uint64_t seed)
{
    qn_error err;
    qn_error_init(&err);
    *a = (agree){.name = name,
                 .program = program,
                 .targets = targets,
                 .n_images = qn_dataset_count(data),
                 .random = seed * 2 + 1};
    const qn_injector_options options = {
        .program = program, .model = model, .data = data, .targets = targets, .n_workers = 1, .memory_bytes = 64 << 20};
    qn_assert_ok(qn_injector_create_of(&a->fast, &options, fast, &err), &err);
    qn_assert_ok(qn_injector_create_of(&a->whole, &options, &qn_injector_whole, &err), &err);
    const size_t n = (size_t)a->fast->ops->group(a->fast) * AGREE_CHUNK;
    assert_int_equal(a->fast->ops->group(a->fast) % a->whole->ops->group(a->whole), 0);
    a->effects = calloc(n, sizeof *a->effects);
    a->told = calloc(n, sizeof *a->told);
    a->outputs = calloc(n * (size_t)a->fast->output_count, sizeof *a->outputs);
    assert_true(a->effects != NULL && a->told != NULL && a->outputs != NULL);
}

static inline void agree_close(agree *a)
{
    qn_injector_free(a->fast);
    qn_injector_free(a->whole);
    free(a->effects);
    free(a->told);
    free(a->outputs);
}

static inline int64_t agree_below(agree *a, int64_t n)
{
    return (int64_t)(qn_test_random(&a->random) % (uint64_t)n);
}

static inline int agree_compare(const void *x, const void *y)
{
    const qn_fault_change *a = x, *b = y;
    if (a->target != b->target) {
        return a->target < b->target ? -1 : 1;
    }
    if (a->element != b->element) {
        return a->element < b->element ? -1 : 1;
    }
    return a->term < b->term ? -1 : a->term > b->term;
}

/* A target of a kind, each as likely as the others. -1: there is none. */
static inline int32_t agree_target(agree *a, int where)
{
    int n = 0;
    for (int i = 0; i < a->targets->n; i++) {
        n += where == AGREE_ANY || (int)a->targets->list[i].where == where;
    }
    int64_t skip = n > 0 ? agree_below(a, n) : 0;
    for (int i = 0; n > 0 && i < a->targets->n; i++) {
        if ((where == AGREE_ANY || (int)a->targets->list[i].where == where) && skip-- == 0) {
            return i;
        }
    }
    return -1;
}

static inline qn_fault_change agree_change(agree *a, int32_t target)
{
    const qn_fault_target *t = &a->targets->list[target];
    const uint32_t mask = t->bits >= 32 ? UINT32_MAX : (UINT32_C(1) << t->bits) - 1;
    const uint32_t bit = UINT32_C(1) << agree_below(a, t->bits), any = (uint32_t)qn_test_random(&a->random);
    qn_fault_change change = {.target = target,
                              .element = agree_below(a, t->n_elems),
                              .term = agree_below(a, t->n_terms),
                              .and_mask = UINT32_MAX};
    if (t->where == QN_FAULT_SCALES && agree_below(a, 4) == 0) { /* legal ones at the ends of what is legal */
        change.and_mask = 0;
        change.or_mask = (agree_below(a, 2) == 0 ? UINT32_C(1) + (uint32_t)agree_below(a, 4)
                                                 : UINT32_C(254) - (uint32_t)agree_below(a, 8))
                         << 23;
        return change;
    }
    switch (agree_below(a, 10)) {
    case 0: /* stuck at 0, 1 */
        change.and_mask = ~bit;
        break;
    case 1:
        change.or_mask = bit;
        break;
    case 2: /* random code */
        change.and_mask = 0;
        change.or_mask = any & mask;
        break;
    case 3: /* set zero */
        change.and_mask = 0;
        break;
    case 4: /* several bits */
        change.xor_mask = any & mask;
        break;
    default:
        change.xor_mask = bit;
        break;
    }
    return change;
}

/* One change mostly, else a few neighbours, or a few anywhere; `where` AGREE_ANY: of any kind. */
static inline void agree_fault(agree *a, int index, int where)
{
    const int64_t how = agree_below(a, 8);
    const int64_t n = how < 6 ? 1 : 2 + agree_below(a, AGREE_CHANGES - 1);
    const int32_t target = agree_target(a, where);
    qn_fault_change *list = a->changes[index];
    for (int64_t i = 0; i < n; i++) {
        list[i] = agree_change(a, how == 7 && i > 0 ? agree_target(a, where) : target);
        if (how == 6 && i > 0) {
            list[i].element = (list[0].element + i) % a->targets->list[target].n_elems;
        }
    }
    qsort(list, (size_t)n, sizeof *list, agree_compare);
    int64_t kept = 1;
    for (int64_t i = 1; i < n; i++) {
        if (agree_compare(&list[i], &list[kept - 1]) != 0) {
            list[kept++] = list[i];
        }
    }
    a->faults[index] = (qn_fault){.id = index,
                                  .first_image = a->lifetime > 0 ? a->first + agree_below(a, a->n) : 0,
                                  .n_images = a->lifetime > 0 ? a->lifetime : a->n_images,
                                  .n_changes = kept,
                                  .changes = list};
}

static inline void agree_keep(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *effect)
{
    agree *a = ctx;
    const int64_t at = fault * a->n + image - a->first, count = a->fast->output_count;
    assert_true(fault < a->n_faults && image >= a->first && image < a->first + a->n && !a->told[at]);
    a->told[at] = true;
    a->effects[at] = *effect;
    a->counts[effect->end]++;
    assert_int_equal(effect->outputs != NULL, effect->end == QN_FAULT_AT_OUTPUT);
    if (effect->outputs != NULL) {
        a->effects[at].outputs = a->outputs + at * count;
        memcpy(a->outputs + at * count, effect->outputs, (size_t)count * sizeof(float));
    }
}

static inline void agree_tell(agree *a, int64_t fault, int64_t image, const qn_fault_effect *fast,
                              const qn_fault_effect *whole)
{
    if (a->disagree++ >= 5) {
        return;
    }
    printf("%s: image %d, end %d for %d, codes %08x>%08x for %08x>%08x, outputs", a->name, (int)image, fast->end,
           whole->end, fast->before, fast->after, whole->before, whole->after);
    for (int64_t i = 0; fast->outputs != NULL && whole->outputs != NULL && i < a->fast->output_count; i++) {
        if (memcmp(&fast->outputs[i], &whole->outputs[i], sizeof(float)) != 0) {
            printf(" [%d] %.9g for %.9g", (int)i, (double)fast->outputs[i], (double)whole->outputs[i]);
            break;
        }
    }
    printf("\n");
    for (int64_t i = 0; i < a->faults[fault].n_changes; i++) {
        const qn_fault_change *c = &a->faults[fault].changes[i];
        const qn_fault_target *t = &a->targets->list[c->target];
        printf("    %s of %s '%s' (target %d) element %d term %d and %08x or %08x xor %08x add %g\n",
               qn_fault_where_text(t->where), t->layer, t->value_name, c->target, (int)c->element, (int)c->term,
               c->and_mask, c->or_mask, c->xor_mask, c->add);
    }
}

static inline void agree_check(void *ctx, int64_t fault, int64_t image, const qn_fault_effect *whole)
{
    agree *a = ctx;
    const int64_t at = fault * a->n + image - a->first;
    const qn_fault_effect *fast = &a->effects[at];
    const bool both = fast->outputs != NULL && whole->outputs != NULL;
    const bool refused = whole->end == QN_FAULT_REFUSED; /* other codes may not have been looked at */
    a->pairs++;
    if (!a->told[at] || (fast->end == QN_FAULT_REFUSED) != (whole->end == QN_FAULT_REFUSED) ||
        (fast->outputs == NULL) != (whole->outputs == NULL) ||
        (!refused && (fast->before != whole->before || fast->after != whole->after)) ||
        (whole->end == QN_FAULT_INACTIVE && fast->end != QN_FAULT_INACTIVE) ||
        (both && memcmp(fast->outputs, whole->outputs, (size_t)a->fast->output_count * sizeof(float)) != 0)) {
        agree_tell(a, fault, image, fast, whole);
    }
}

/* Some faults of a kind, each on a group of images; false where there is no target of it. */
static inline bool agree_run(agree *a, int where, int64_t n_faults)
{
    qn_error err;
    qn_error_init(&err);
    const int64_t group = a->fast->ops->group(a->fast), n_groups = (a->n_images - 1) / group + 1;
    if (agree_target(a, where) < 0) {
        return false;
    }
    float *golden = calloc((size_t)(group * a->fast->output_count) * 2, sizeof *golden);
    assert_non_null(golden);
    while (n_faults > 0) {
        const qn_fault *faults[AGREE_CHUNK];
        a->n_faults = n_faults < AGREE_CHUNK ? n_faults : AGREE_CHUNK;
        a->first = agree_below(a, n_groups) * group;
        a->n = a->n_images - a->first < group ? a->n_images - a->first : group;
        for (int i = 0; i < a->n_faults; i++) {
            agree_fault(a, i, where);
            faults[i] = &a->faults[i];
        }
        memset(a->told, 0, (size_t)(a->n_faults * a->n) * sizeof *a->told);
        qn_assert_ok(a->fast->ops->run(a->fast, 0, a->first, a->n, faults, a->n_faults, agree_keep, a, &err), &err);
        float *other = golden + a->n * a->fast->output_count;
        qn_assert_ok(a->fast->ops->golden(a->fast, 0, a->first, a->n, golden, &err), &err);
        for (int64_t i = 0, some; i < a->n; i += some) {
            some = a->whole->ops->group(a->whole) < a->n - i ? a->whole->ops->group(a->whole) : a->n - i;
            qn_assert_ok(a->whole->ops->run(a->whole, 0, a->first + i, some, faults, a->n_faults, agree_check, a, &err),
                         &err);
            qn_assert_ok(
                a->whole->ops->golden(a->whole, 0, a->first + i, some, other + i * a->fast->output_count, &err), &err);
        }
        assert_memory_equal(golden, other, (size_t)(a->n * a->fast->output_count) * sizeof(float));
        n_faults -= a->n_faults;
    }
    free(golden);
    return true;
}

#endif
