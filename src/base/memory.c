#include "base/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t alloc_count;
static _Atomic int64_t fail_countdown = -1;

static bool injected_failure(void)
{
    int64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);
    if (left < 0) {
        return false;
    }
    if (left == 0) {
        return true;
    }
    atomic_store_explicit(&fail_countdown, left - 1, memory_order_relaxed);
    return false;
}

uint64_t qn_alloc_count(void)
{
    return atomic_load(&alloc_count);
}

void qn_alloc_fail_after(int64_t countdown)
{
    atomic_store(&fail_countdown, countdown);
}

/* The size in `padded` is a multiple of a cache line, as aligned_alloc wants, and never 0. */
static void *allocate(size_t n_bytes, size_t *padded)
{
    atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
    if (injected_failure() || !qn_add_size(n_bytes, QN_CACHE_LINE, padded)) {
        return NULL;
    }
    *padded = *padded / QN_CACHE_LINE * QN_CACHE_LINE;
    return aligned_alloc(QN_CACHE_LINE, *padded);
}

void *qn_alloc(size_t n_bytes)
{
    size_t padded;
    void *memory = allocate(n_bytes, &padded);
    if (memory != NULL) {
        memset(memory, 0, padded);
    }
    return memory;
}

void *qn_alloc_uncleared(size_t n_bytes)
{
    size_t padded;
    return allocate(n_bytes, &padded);
}

void qn_free(void *memory)
{
    free(memory);
}

qn_status qn_fail_memory(qn_error *err, const char *where, size_t n_bytes)
{
    return n_bytes > 0 ? qn_fail(err, QN_ENOMEM, where, "cannot allocate %zu bytes", n_bytes)
                       : qn_fail(err, QN_ENOMEM, where, "cannot allocate memory");
}

qn_status qn_grow(void **array, size_t *capacity, size_t n, size_t elem_size, qn_error *err)
{
    if (n < *capacity) {
        return QN_OK;
    }
    size_t wanted = *capacity < 8 ? 16 : *capacity * 2;
    if (wanted <= n) {
        wanted = n + 1;
    }
    size_t n_bytes;
    if (!qn_mul_size(wanted, elem_size, &n_bytes)) {
        return qn_fail(err, QN_ELIMIT, NULL, "array of %zu elements is too large", wanted);
    }
    void *grown = qn_alloc(n_bytes);
    if (grown == NULL) {
        return qn_fail_memory(err, NULL, n_bytes);
    }
    if (*array != NULL) {
        memcpy(grown, *array, *capacity * elem_size);
        qn_free(*array);
    }
    *array = grown;
    *capacity = wanted;
    return QN_OK;
}

/* Blocks are chained, newest first; small requests share a block. */
struct qn_arena_block {
    qn_arena_block *next;
    size_t used, size;
    _Alignas(QN_CACHE_LINE) unsigned char data[];
};

enum { ARENA_BLOCK_BYTES = 64 * 1024 };

/* A block of its own goes behind the newest, which keeps its room for small requests. */
static qn_arena_block *add_block(qn_arena *arena, size_t size, bool cleared)
{
    size_t total;
    if (!qn_add_size(size, sizeof(qn_arena_block), &total)) {
        return NULL;
    }
    qn_arena_block *block = cleared ? qn_alloc(total) : qn_alloc_uncleared(total);
    if (block == NULL) {
        return NULL;
    }
    const bool alone = size > ARENA_BLOCK_BYTES && arena->blocks != NULL;
    qn_arena_block **link = alone ? &arena->blocks->next : &arena->blocks;
    *block = (qn_arena_block){.next = *link, .size = size};
    *link = block;
    return block;
}

static void *arena_alloc(qn_arena *arena, size_t n_bytes, bool cleared)
{
    size_t rounded;
    if (!qn_add_size(n_bytes, QN_CACHE_LINE - 1, &rounded)) {
        return NULL;
    }
    rounded = rounded / QN_CACHE_LINE * QN_CACHE_LINE;
    qn_arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < rounded) {
        const bool large = rounded > ARENA_BLOCK_BYTES;
        block = add_block(arena, large ? rounded : ARENA_BLOCK_BYTES, cleared || !large);
        if (block == NULL) {
            return NULL;
        }
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    return memory;
}

void *qn_arena_alloc(qn_arena *arena, size_t n_bytes)
{
    return arena_alloc(arena, n_bytes, true);
}

void *qn_arena_alloc_uncleared(qn_arena *arena, size_t n_bytes)
{
    return arena_alloc(arena, n_bytes, false);
}

void qn_arena_take(qn_arena *arena, qn_arena *from)
{
    qn_arena_block **link = &arena->blocks;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = from->blocks;
    from->blocks = NULL;
}

void *qn_arena_array(qn_arena *arena, size_t n, size_t elem_size)
{
    size_t n_bytes;
    return qn_mul_size(n, elem_size, &n_bytes) ? qn_arena_alloc(arena, n_bytes) : NULL;
}

char *qn_arena_bytes(qn_arena *arena, const void *data, size_t n_bytes)
{
    size_t padded;
    if (!qn_add_size(n_bytes, 1, &padded)) {
        return NULL;
    }
    char *copy = qn_arena_alloc(arena, padded);
    if (copy != NULL && n_bytes > 0) {
        memcpy(copy, data, n_bytes);
    }
    return copy;
}

char *qn_arena_string(qn_arena *arena, const char *text)
{
    return qn_arena_bytes(arena, text, strlen(text));
}

char *qn_arena_printf(qn_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : qn_arena_alloc(arena, (size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    return text;
}

void qn_arena_free(qn_arena *arena)
{
    qn_arena_block *block = arena->blocks;
    while (block != NULL) {
        qn_arena_block *next = block->next;
        qn_free(block);
        block = next;
    }
    arena->blocks = NULL;
}
