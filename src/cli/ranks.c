#include "cli/ranks.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* What launchers tell the processes they start: OpenMPI, MPICH and Intel, PMIx. Being one of one is being alone. */
static int started_among(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *text = getenv(names[i]);
        const long n = text != NULL ? strtol(text, NULL, 10) : 0;
        if (n > 1) {
            return n < INT_MAX ? (int)n : INT_MAX;
        }
    }
    /* srun says how many tasks a step has to batch scripts, too; only with a PMI can they talk. */
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    const bool talks = getenv("PMIX_RANK") != NULL || getenv("PMI_RANK") != NULL || getenv("PMI_FD") != NULL;
    return tasks != NULL && talks ? (int)strtol(tasks, NULL, 10) : 1;
}

#ifdef QN_MPI

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

enum { TAG = 71 };

static qn_campaign_ranks job;
static bool in_job;

static qn_status fail(qn_error *err, int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    (void)MPI_Error_string(code, text, &length);
    return qn_fail(err, QN_EINTERNAL, "MPI", "%s: %.*s", what, length, text);
}

/* MPI counts in int: longer messages go in pieces, which stay in order. */
static int piece(size_t left)
{
    return left < INT_MAX / 2 ? (int)left : INT_MAX / 2;
}

static qn_status send_bytes(void *ctx, int to, const void *data, size_t n_bytes, qn_error *err)
{
    (void)ctx;
    const char *from = data;
    do {
        const int n = piece(n_bytes);
        const int code = MPI_Send(from, n, MPI_BYTE, to, TAG, MPI_COMM_WORLD);
        if (code != MPI_SUCCESS) {
            return fail(err, code, "a message was not sent");
        }
        from += n;
        n_bytes -= (size_t)n;
    } while (n_bytes > 0);
    return QN_OK;
}

static qn_status receive_bytes(void *ctx, int from, void *data, size_t n_bytes, qn_error *err)
{
    (void)ctx;
    char *to = data;
    do {
        const int n = piece(n_bytes);
        MPI_Status status;
        int got = -1, code = MPI_Recv(to, n, MPI_BYTE, from, TAG, MPI_COMM_WORLD, &status);
        code = code == MPI_SUCCESS ? MPI_Get_count(&status, MPI_BYTE, &got) : code;
        if (code != MPI_SUCCESS) {
            return fail(err, code, "a message was not received");
        }
        if (got != n) {
            return qn_fail(err, QN_EINTERNAL, "MPI", "rank %d sent %d bytes where %d were expected", from, got, n);
        }
        to += n;
        n_bytes -= (size_t)n;
    } while (n_bytes > 0);
    return QN_OK;
}

static qn_status probe(void *ctx, bool wait, int *from, qn_error *err)
{
    (void)ctx;
    MPI_Status status;
    int there = 1;
    const int code = wait ? MPI_Probe(MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &status)
                          : MPI_Iprobe(MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &there, &status);
    if (code != MPI_SUCCESS) {
        return fail(err, code, "waiting for messages failed");
    }
    *from = there ? status.MPI_SOURCE : -1;
    return QN_OK;
}

qn_status cli_ranks_begin(const qn_campaign_ranks **ranks, qn_error *err)
{
    *ranks = NULL;
    if (started_among() <= 1) {
        return QN_OK;
    }
    int code = MPI_Init(NULL, NULL);
    if (code != MPI_SUCCESS) {
        return fail(err, code, "the job could not be joined");
    }
    in_job = true;
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    code = MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    code = code == MPI_SUCCESS ? MPI_Comm_size(MPI_COMM_WORLD, &job.size) : code;
    if (code != MPI_SUCCESS) {
        return fail(err, code, "the job does not say who is in it");
    }
    job.send = send_bytes;
    job.receive = receive_bytes;
    job.probe = probe;
    *ranks = job.size > 1 ? &job : NULL;
    return QN_OK;
}

void cli_ranks_end(cli_exit code)
{
    if (in_job && code != CLI_OK) {
        (void)MPI_Abort(MPI_COMM_WORLD, (int)code);
    } else if (in_job) {
        (void)MPI_Finalize();
    }
    in_job = false;
}

bool cli_ranks_talks(void)
{
    return !in_job || job.rank == 0;
}

#else

qn_status cli_ranks_begin(const qn_campaign_ranks **ranks, qn_error *err)
{
    *ranks = NULL;
    const int n = started_among();
    return n <= 1 ? QN_OK
                  : qn_fail(err, QN_EUNSUPPORTED, "quern",
                            "it was started as one of %d ranks, but built without MPI; install libopenmpi-dev and "
                            "build again, or use "
                            "--shard i/%d in every task",
                            n, n);
}

void cli_ranks_end(cli_exit code)
{
    (void)code;
}

bool cli_ranks_talks(void)
{
    return true;
}

#endif
