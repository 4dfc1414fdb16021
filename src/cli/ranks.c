#define _GNU_SOURCE /* sched_getaffinity */
#include "cli/ranks.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"

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

/* A message that rank 0 has sent, and that has perhaps not been fetched. */
typedef struct outgoing {
    struct outgoing *next;
    MPI_Request request;
    char data[];
} outgoing;

static struct {
    qn_campaign_ranks ranks;
    bool joined, agreed, failed; /* failed: all know, and end by themselves */
    int n_threads;
    outgoing *sent;
    FILE *held; /* what other ranks than 0 say before all have agreed */
    char *held_text;
    size_t held_bytes;
} job;

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

static qn_status forget_fetched(bool wait, qn_error *err)
{
    for (outgoing **at = &job.sent; *at != NULL;) {
        outgoing *message = *at;
        int done = 1;
        const int code = wait ? MPI_Wait(&message->request, MPI_STATUS_IGNORE)
                              : MPI_Test(&message->request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            return fail(err, code, "a message was not sent");
        }
        if (done != 0) {
            *at = message->next;
            qn_free(message);
        } else {
            at = &message->next;
        }
    }
    return QN_OK;
}

/* Rank 0 never waits for one to fetch its message: that one may wait for rank 0 to fetch its own. */
static qn_status post(int to, const void *data, int n, qn_error *err)
{
    QN_TRY(forget_fetched(false, err));
    outgoing *message = qn_alloc(sizeof *message + (size_t)n);
    if (message == NULL) {
        return qn_fail_memory(err, "MPI", sizeof *message + (size_t)n);
    }
    memcpy(message->data, data, (size_t)n);
    const int code = MPI_Isend(message->data, n, MPI_BYTE, to, TAG, MPI_COMM_WORLD, &message->request);
    if (code != MPI_SUCCESS) {
        qn_free(message);
        return fail(err, code, "a message was not sent");
    }
    message->next = job.sent;
    job.sent = message;
    return QN_OK;
}

static qn_status send_bytes(void *ctx, int to, const void *data, size_t n_bytes, qn_error *err)
{
    (void)ctx;
    const char *from = data;
    do {
        const int n = piece(n_bytes);
        if (job.ranks.rank == 0) {
            QN_TRY(post(to, from, n, err));
        } else {
            const int code = MPI_Send(from, n, MPI_BYTE, to, TAG, MPI_COMM_WORLD);
            if (code != MPI_SUCCESS) {
                return fail(err, code, "a message was not sent");
            }
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

/* Launchers give each rank processors of its own, or let all use all. */
static qn_status share_processors(qn_error *err)
{
    cpu_set_t own, all;
    CPU_ZERO(&own);
    job.n_threads = 1;
    if (sched_getaffinity(0, sizeof own, &own) != 0) {
        CPU_ZERO(&own); /* more processors than the set has room for */
    }
    MPI_Comm machine;
    int n = 1,
        code = MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, job.ranks.rank, MPI_INFO_NULL, &machine);
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_size(machine, &n);
        code = code == MPI_SUCCESS ? MPI_Allreduce(&own, &all, (int)sizeof own, MPI_BYTE, MPI_BOR, machine) : code;
        (void)MPI_Comm_free(&machine);
    }
    if (code != MPI_SUCCESS) {
        return fail(err, code, "the ranks could not share the processors");
    }
    const int share = CPU_COUNT(&all) / n, mine = CPU_COUNT(&own);
    const int n_threads = share < mine ? share : mine;
    job.n_threads = n_threads > 1 ? n_threads : 1;
    return QN_OK;
}

/* Other ranks than 0 print nothing, and say nothing yet. */
static qn_status fall_silent(qn_error *err)
{
    char name[24];
    snprintf(name, sizeof name, "rank %d: ", job.ranks.rank);
    job.held = open_memstream(&job.held_text, &job.held_bytes);
    if (job.held == NULL || freopen("/dev/null", "w", stdout) == NULL) {
        return qn_fail(err, QN_EIO, name, "no memory, or no /dev/null");
    }
    cli_speak_as(name, job.held);
    return QN_OK;
}

static void release_held(bool say)
{
    if (job.held == NULL) {
        return;
    }
    char name[24];
    snprintf(name, sizeof name, "rank %d: ", job.ranks.rank);
    cli_speak_as(name, NULL);
    if (fclose(job.held) == 0 && say) {
        fwrite(job.held_text, 1, job.held_bytes, stderr);
    }
    free(job.held_text);
    job.held = NULL;
}

qn_status cli_ranks_begin(qn_error *err)
{
    if (started_among() <= 1) {
        return QN_OK;
    }
    int provided, code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    if (code != MPI_SUCCESS) {
        return fail(err, code, "the job could not be joined");
    }
    job.joined = true;
    (void)MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    code = MPI_Comm_rank(MPI_COMM_WORLD, &job.ranks.rank);
    code = code == MPI_SUCCESS ? MPI_Comm_size(MPI_COMM_WORLD, &job.ranks.size) : code;
    if (code != MPI_SUCCESS) {
        return fail(err, code, "the job does not say who is in it");
    }
    job.ranks.send = send_bytes;
    job.ranks.receive = receive_bytes;
    job.ranks.probe = probe;
    QN_TRY(share_processors(err));
    return job.ranks.rank > 0 ? fall_silent(err) : QN_OK;
}

const qn_campaign_ranks *cli_ranks(void)
{
    return job.ranks.size > 1 ? &job.ranks : NULL;
}

bool cli_ranks_talks(void)
{
    return job.ranks.rank == 0;
}

int cli_ranks_threads(void)
{
    return job.joined ? job.n_threads : qn_processor_count();
}

cli_exit cli_ranks_agree(cli_exit code)
{
    if (!job.joined || job.agreed) {
        return code;
    }
    int failed = code != CLI_OK ? job.ranks.rank : INT_MAX, lowest = INT_MAX, theirs = (int)code;
    job.agreed = true;
    if (MPI_Allreduce(&failed, &lowest, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD) != MPI_SUCCESS) {
        release_held(true);
        return code != CLI_OK ? code : CLI_FAILED;
    }
    release_held(lowest == job.ranks.rank);
    if (lowest == INT_MAX) {
        return CLI_OK;
    }
    (void)MPI_Bcast(&theirs, 1, MPI_INT, lowest, MPI_COMM_WORLD);
    job.failed = true;
    return (cli_exit)theirs;
}

void cli_ranks_stopped(void)
{
    job.failed = true;
}

cli_exit cli_ranks_end(cli_exit code)
{
    code = cli_ranks_agree(code);
    if (job.joined && ((code != CLI_OK && !job.failed) || forget_fetched(true, NULL) != QN_OK)) {
        (void)fflush(NULL);
        (void)MPI_Abort(MPI_COMM_WORLD, code != CLI_OK ? (int)code : (int)CLI_FAILED);
    } else if (job.joined) {
        (void)MPI_Finalize();
    }
    job.joined = false;
    return code;
}

#else

qn_status cli_ranks_begin(qn_error *err)
{
    const int n = started_among();
    return n <= 1
               ? QN_OK
               : qn_fail(err, QN_EUNSUPPORTED, NULL,
                         "started as one of %d ranks, but built without MPI: install libopenmpi-dev and build again, "
                         "or start %d tasks with --shard i/%d and merge their stores",
                         n, n, n);
}

const qn_campaign_ranks *cli_ranks(void)
{
    return NULL;
}

bool cli_ranks_talks(void)
{
    return true;
}

int cli_ranks_threads(void)
{
    return qn_processor_count();
}

cli_exit cli_ranks_agree(cli_exit code)
{
    return code;
}

void cli_ranks_stopped(void)
{
}

cli_exit cli_ranks_end(cli_exit code)
{
    return code;
}

#endif
