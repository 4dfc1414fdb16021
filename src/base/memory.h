/* Allocation: one door (so that tests can count and fail allocations), checked sizes, arenas.
 *
 * Arenas own everything allocated from them and release it at once. An arena belongs to one thread at a time. */
#ifndef QN_BASE_MEMORY_H
#define QN_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { QN_CACHE_LINE = 64 };

/* Zeroed memory aligned to QN_CACHE_LINE, or NULL; size 0 gives a valid pointer. Release with qn_free. */
void *qn_alloc(size_t n_bytes);
/* The same without the zeros, for large results of which every byte is written: clearing them takes as long as making
 * them. */
void *qn_alloc_uncleared(size_t n_bytes);
void qn_free(void *memory);

/* Grow `*array` (elements of `elem_size` bytes) so that index `n` exists; doubles. `*capacity` counts elements. */
qn_status qn_grow(void **array, size_t *capacity, size_t n, size_t elem_size, qn_error *err);

/* For tests: calls to qn_alloc so far in this process; and let the call `countdown` from now fail (0 = the next
 * one; negative = none), then all after it. */
uint64_t qn_alloc_count(void);
void qn_alloc_fail_after(int64_t countdown);

/* Products and sums of sizes; false on overflow, and then *result is unspecified. */
static inline bool qn_mul_size(size_t a, size_t b, size_t *result)
{
    return !__builtin_mul_overflow(a, b, result);
}
static inline bool qn_add_size(size_t a, size_t b, size_t *result)
{
    return !__builtin_add_overflow(a, b, result);
}

typedef struct qn_arena_block qn_arena_block;
typedef struct qn_arena {
    qn_arena_block *blocks;
} qn_arena;

/* An arena starts zeroed: `qn_arena arena = {0}`. */
void *qn_arena_alloc(qn_arena *arena, size_t n_bytes); /* zeroed, 64-byte aligned; NULL when out of memory */
void *qn_arena_alloc_uncleared(qn_arena *arena, size_t n_bytes); /* the same, of any content */
void *qn_arena_array(qn_arena *arena, size_t n, size_t elem_size); /* the same for n elements, overflow checked */
char *qn_arena_string(qn_arena *arena, const char *text);
char *qn_arena_bytes(qn_arena *arena, const void *data, size_t n_bytes); /* copy, with a 0 byte after the end */
char *qn_arena_printf(qn_arena *arena, const char *format, ...) QN_PRINTF(2, 3);
void qn_arena_take(qn_arena *arena, qn_arena *from); /* all that `from` owns; which is empty then */
void qn_arena_free(qn_arena *arena);

/* The error every failed allocation reports; 0 bytes where the size is not known. */
qn_status qn_fail_memory(qn_error *err, const char *where, size_t n_bytes);

#endif
