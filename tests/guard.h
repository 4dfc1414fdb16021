/* Buffers that end at a page nobody may touch, so that reading or writing past them kills the test. */
#ifndef QN_TESTS_GUARD_H
#define QN_TESTS_GUARD_H

#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"

typedef struct guarded {
    uint8_t *data; /* `size` bytes, then the guard page */
    size_t size;
    void *mapping;
    size_t mapped;
} guarded;

static inline guarded guarded_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t body = (size + page - 1) / page * page + page;
    guarded g = {.size = size, .mapped = body + page};
    g.mapping = mmap(NULL, g.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.mapping != MAP_FAILED);
    assert_int_equal(mprotect((uint8_t *)g.mapping + body, page, PROT_NONE), 0);
    g.data = (uint8_t *)g.mapping + body - size;
    return g;
}

static inline void guarded_free(guarded *g)
{
    munmap(g->mapping, g->mapped);
}

#endif
