#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "cli/transport.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "cli/ranks.h"

#ifdef QN_MPI

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

enum { FIRST_TAG = 72 /* 71 is campaigns' */, SAME_MAX = 80 };

static struct {
    qn_transport transport;
    MPI_Request *requests;
    size_t n_slots;
} post;

static qn_status fail(qn_error *err, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    (void)MPI_Error_string(code, text, &length);
    return qn_fail(err, QN_EINTERNAL, "MPI", "%s: %.*s", what, length, text);
}

static qn_status begin_send(void *ctx, size_t slot, int to, qn_channel channel, const void *data, size_t n_bytes,
                            qn_error *err)
{
    (void)ctx;
    /* MPI would take in small tensors at once, and hoard them for a slow stage; synchronous sends leave when they have
     * a buffer there, which holds up the stages before. */
    const bool tensors = channel == QN_CHANNEL_DATA || channel == QN_CHANNEL_RESULT;
    const int code = (tensors ? MPI_Issend : MPI_Isend)(data, (int)n_bytes, MPI_BYTE, to, FIRST_TAG + (int)channel,
                                                        MPI_COMM_WORLD, &post.requests[slot]);
    return code == MPI_SUCCESS ? QN_OK : fail(err, code, "a message was not sent");
}

static qn_status begin_receive(void *ctx, size_t slot, int from, qn_channel channel, void *data, size_t room,
                               qn_error *err)
{
    (void)ctx;
    const int code = MPI_Irecv(data, (int)room, MPI_BYTE, from < 0 ? MPI_ANY_SOURCE : from, FIRST_TAG + (int)channel,
                               MPI_COMM_WORLD, &post.requests[slot]);
    return code == MPI_SUCCESS ? QN_OK : fail(err, code, "a message was not received");
}

static qn_status test(void *ctx, size_t slot, bool *over, size_t *n_bytes, int *from, qn_error *err)
{
    (void)ctx;
    MPI_Status status;
    int done = 0, got = 0, code = MPI_Test(&post.requests[slot], &done, &status);
    *over = code == MPI_SUCCESS && done != 0;
    if (*over) {
        code = MPI_Get_count(&status, MPI_BYTE, &got);
        *n_bytes = got > 0 ? (size_t)got : 0;
        *from = status.MPI_SOURCE;
    }
    return code == MPI_SUCCESS ? QN_OK : fail(err, code, "a message got lost");
}

/* Messages come within microseconds, or take long: then others may have the processor. */
static void rest(void *ctx, double seconds)
{
    (void)ctx;
    const struct timespec moment = {.tv_nsec = seconds < 0.02 ? 20000 : 200000};
    if (seconds > 0.001) {
        nanosleep(&moment, NULL);
    } else if (seconds > 0.0001) {
        sched_yield();
    }
}

qn_status cli_transport_open(const qn_transport **transport, qn_error *err)
{
    const qn_campaign_ranks *ranks = cli_ranks();
    *transport = NULL;
    if (ranks == NULL) {
        return QN_OK;
    }
    post.n_slots = qn_pipeline_slots(ranks->size);
    post.requests = qn_alloc(post.n_slots * sizeof *post.requests);
    if (post.requests == NULL) {
        return qn_fail_memory(err, "MPI", post.n_slots * sizeof *post.requests);
    }
    for (size_t i = 0; i < post.n_slots; i++) {
        post.requests[i] = MPI_REQUEST_NULL;
    }
    post.transport = (qn_transport){.rank = ranks->rank,
                                    .size = ranks->size,
                                    .send = begin_send,
                                    .receive = begin_receive,
                                    .test = test,
                                    .rest = rest};
    *transport = &post.transport;
    return QN_OK;
}

void cli_transport_close(void)
{
    for (size_t i = 0; i < post.n_slots; i++) {
        if (post.requests[i] != MPI_REQUEST_NULL && MPI_Cancel(&post.requests[i]) == MPI_SUCCESS) {
            (void)MPI_Request_free(&post.requests[i]);
        }
    }
    qn_free(post.requests);
    post.requests = NULL;
    post.n_slots = 0;
}

qn_status cli_transport_same(const char *what, const char *value, qn_error *err)
{
    const qn_campaign_ranks *ranks = cli_ranks();
    if (ranks == NULL) {
        return QN_OK;
    }
    char own[SAME_MAX] = "";
    char *all = qn_alloc((size_t)ranks->size * SAME_MAX);
    if (all == NULL) {
        return qn_fail_memory(err, "MPI", (size_t)ranks->size * SAME_MAX);
    }
    strncat(own, value, sizeof own - 1);
    const int code = MPI_Allgather(own, SAME_MAX, MPI_BYTE, all, SAME_MAX, MPI_BYTE, MPI_COMM_WORLD);
    qn_status status = code == MPI_SUCCESS ? QN_OK : fail(err, code, "the ranks could not compare what they have");
    const char *first = NULL;
    for (int r = 0; r < ranks->size && status == QN_OK; r++) {
        const char *theirs = all + (size_t)r * SAME_MAX;
        first = first == NULL && theirs[0] != '\0' ? theirs : first;
        if (theirs[0] != '\0' && strcmp(first, theirs) != 0) {
            status = qn_fail(err, QN_EINVAL, "ranks", "rank %d has the %s %s, rank %d %s: all need the same one",
                             (int)((first - all) / SAME_MAX), what, first, r, theirs);
        }
    }
    qn_free(all);
    return status;
}

#else

qn_status cli_transport_open(const qn_transport **transport, qn_error *err)
{
    (void)err;
    *transport = NULL;
    return QN_OK;
}

void cli_transport_close(void)
{
}

qn_status cli_transport_same(const char *what, const char *value, qn_error *err)
{
    (void)what;
    (void)value;
    (void)err;
    return QN_OK;
}

#endif
