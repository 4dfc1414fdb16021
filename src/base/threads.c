#define _GNU_SOURCE /* sched_getaffinity */
#include "base/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

#include "base/memory.h"

typedef struct {
    pthread_mutex_t mutex;
    int64_t next_item, n_items;
    bool stopped;
    int64_t failed_item; /* lowest so far, valid when first_error holds one */
    qn_status status;
    qn_error *err;
    qn_work_fn fn;
    void *ctx;
} work_queue;

typedef struct {
    work_queue *queue;
    int worker;
} worker_args;

static bool take_item(work_queue *queue, int64_t *item)
{
    pthread_mutex_lock(&queue->mutex);
    bool have = !queue->stopped && queue->next_item < queue->n_items;
    if (have) {
        *item = queue->next_item++;
    }
    pthread_mutex_unlock(&queue->mutex);
    return have;
}

static void report_failure(work_queue *queue, int64_t item, qn_status status, const qn_error *err)
{
    pthread_mutex_lock(&queue->mutex);
    if (queue->status == QN_OK || item < queue->failed_item) {
        queue->failed_item = item;
        queue->status = status;
        if (queue->err != NULL) {
            *queue->err = *err;
        }
    }
    queue->stopped = true;
    pthread_mutex_unlock(&queue->mutex);
}

static void *work(void *arg)
{
    worker_args *args = arg;
    work_queue *queue = args->queue;
    int previous_omp_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    int64_t item;
    while (take_item(queue, &item)) {
        qn_error err;
        qn_error_init(&err);
        qn_status status = queue->fn(queue->ctx, args->worker, item, &err);
        if (status != QN_OK) {
            report_failure(queue, item, status, &err);
        }
    }
    omp_set_num_threads(previous_omp_threads);
    return NULL;
}

qn_status qn_parallel_for(int n_threads, int64_t n_items, qn_work_fn fn, void *ctx, qn_error *err)
{
    if (err != NULL && err->status != QN_OK) {
        return err->status;
    }
    if (n_threads < 1) {
        return qn_fail(err, QN_EINVAL, NULL, "number of threads is %d, must be at least 1", n_threads);
    }
    if (n_threads > n_items) {
        n_threads = n_items > 0 ? (int)n_items : 1;
    }
    work_queue queue = {.n_items = n_items, .err = err, .fn = fn, .ctx = ctx};
    pthread_mutex_init(&queue.mutex, NULL);
    worker_args *args = qn_alloc((size_t)n_threads * sizeof *args);
    pthread_t *threads = qn_alloc((size_t)n_threads * sizeof *threads);
    if (args == NULL || threads == NULL) {
        qn_free(args);
        qn_free(threads);
        pthread_mutex_destroy(&queue.mutex);
        return qn_fail_memory(err, NULL, (size_t)n_threads * (sizeof *args + sizeof *threads));
    }
    int started = 1; /* the caller is worker 0; fewer threads than asked only cost time */
    for (int t = 0; t < n_threads; t++) {
        args[t] = (worker_args){.queue = &queue, .worker = t};
    }
    while (started < n_threads && pthread_create(&threads[started], NULL, work, &args[started]) == 0) {
        started++;
    }
    work(&args[0]);
    for (int t = 1; t < started; t++) {
        pthread_join(threads[t], NULL);
    }
    pthread_mutex_destroy(&queue.mutex);
    qn_free(args);
    qn_free(threads);
    return queue.status;
}

int qn_processor_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    int count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}
