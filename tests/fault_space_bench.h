/* A space over a small model, for tests: the specification is made field by field. */
#ifndef QN_TESTS_FAULT_SPACE_BENCH_H
#define QN_TESTS_FAULT_SPACE_BENCH_H

#include "fault_models.h"

#include <stdlib.h>

#include "fault/space.h"

/* One fault set over one program. */
typedef struct fault_bench {
    qn_model *model;
    qn_program *program;
    qn_fault_targets targets;
    qn_fault_set set;
    qn_fault_spec spec;
    qn_fault_space space;
    qn_arena arena;
    qn_error err;
    int64_t n_images;
} fault_bench;

/* A set that flips each bit of each code that is of this kind, exhaustively. */
static inline void bench_reset(fault_bench *b, unsigned where)
{
    b->set = (qn_fault_set){.name = "test",
                            .select = {.where = where},
                            .model = QN_FAULT_FLIP,
                            .n_bits = 1,
                            .lifetime = -1,
                            .sample = {.how = QN_FAULT_EXHAUSTIVE},
                            .line = 7};
    b->spec = (qn_fault_spec){.where = "faults.yaml", .sets = &b->set, .n_sets = 1};
}

static inline fault_bench *bench_open(qn_model *model, qn_engine engine)
{
    fault_bench *b = calloc(1, sizeof *b);
    qn_error_init(&b->err);
    b->model = model;
    b->program = qn_test_fault_program(model, engine, &b->targets);
    b->n_images = 1;
    bench_reset(b, 1u << QN_FAULT_WEIGHTS);
    return b;
}

static inline void bench_space_free(fault_bench *b)
{
    qn_fault_space_free(&b->space);
    qn_arena_free(&b->arena);
}

/* Make the space anew, with b->n_images images: one, with which only sites are numbered, unless a test wants more. */
static inline void bench_space(fault_bench *b, uint64_t seed)
{
    bench_space_free(b);
    qn_assert_ok(qn_fault_space_make(&b->space, &b->spec, &b->targets, b->program, seed, b->n_images, &b->err), &b->err);
}

static inline void bench_close(fault_bench *b)
{
    bench_space_free(b);
    qn_fault_targets_free(&b->targets);
    qn_program_free(b->program);
    qn_model_free(b->model);
    free(b);
}

static inline qn_fault bench_draw(fault_bench *b, int stratum, int64_t draw)
{
    qn_fault fault = {.id = -1};
    qn_assert_ok(qn_fault_space_draw(&b->space, stratum, draw, &b->arena, &fault, &b->err), &b->err);
    assert_int_equal(fault.stratum, stratum);
    assert_int_equal(fault.draw, draw);
    for (int64_t i = 0; i < fault.n_changes; i++) {
        const qn_fault_change *c = &fault.changes[i];
        const qn_fault_target *t = &b->targets.list[c->target];
        assert_true(c->element >= 0 && c->element < t->n_elems && c->term >= 0 && c->term < t->n_terms);
        if (i > 0) { /* sorted, no place twice */
            const qn_fault_change *last = c - 1;
            assert_true(last->target < c->target ||
                        (last->target == c->target &&
                         (last->element < c->element || (last->element == c->element && last->term < c->term))));
        }
    }
    return fault;
}

static inline int bench_target(const fault_bench *b, qn_fault_where where, const char *layer)
{
    for (int i = 0; i < b->targets.n; i++) {
        if (b->targets.list[i].where == where && strcmp(b->targets.list[i].layer, layer) == 0) {
            return i;
        }
    }
    fail_msg("no %s in %s", qn_fault_where_text(where), layer);
    return -1;
}

/* The whole population of all strata. */
static inline int64_t bench_population(const fault_bench *b)
{
    int64_t n = 0;
    for (int i = 0; i < b->space.n_strata; i++) {
        n += b->space.strata[i].population;
    }
    return n;
}

#endif
