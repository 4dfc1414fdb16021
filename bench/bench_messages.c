/* Messages between ranks, as a campaign sends them: small requests, and blocks of rows to rank 0.
 * usage: mpirun -n N bench_messages [ROWS_PER_BLOCK]
 * Prints the round trip of a small message, and how many blocks and rows a second rank 0 takes from all others together. */
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault/row.h"

enum { ROUND_TRIPS = 20000, BYTES_IN_ALL = 1 << 30 };

static double round_trip(int rank)
{
    char request[64] = {0};
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int i = 0; i < ROUND_TRIPS && rank < 2; i++) {
        if (rank == 1) {
            MPI_Send(request, sizeof request, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
            MPI_Recv(request, sizeof request, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        } else {
            MPI_Recv(request, sizeof request, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            MPI_Send(request, sizeof request, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        }
    }
    const double seconds = (MPI_Wtime() - start) / ROUND_TRIPS;
    MPI_Barrier(MPI_COMM_WORLD);
    return seconds;
}

/* Each worker sends a request and a block, and waits for the next request's answer. */
static double blocks(int rank, int size, size_t n_bytes, int per_worker)
{
    char *block = calloc(n_bytes, 1), answer[64] = {0};
    if (block == NULL) {
        MPI_Abort(MPI_COMM_WORLD, 1);
        return 0;
    }
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (int i = 0; rank > 0 && i < per_worker; i++) {
        MPI_Send(block, (int)n_bytes, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
        MPI_Recv(answer, sizeof answer, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    for (int i = 0; rank == 0 && i < per_worker * (size - 1); i++) {
        MPI_Status status;
        MPI_Recv(block, (int)n_bytes, MPI_BYTE, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &status);
        MPI_Send(answer, sizeof answer, MPI_BYTE, status.MPI_SOURCE, 0, MPI_COMM_WORLD);
    }
    const double seconds = MPI_Wtime() - start;
    free(block);
    return seconds;
}

int main(int argc, char **argv)
{
    int rank = 0, size = 1;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    const long rows = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    if (size < 2 || rows < 1 || rows > 1000000) {
        fprintf(stderr, "usage: mpirun -n N bench_messages [ROWS_PER_BLOCK], N at least 2\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    const size_t n_bytes = (size_t)rows * sizeof(qn_fault_row);
    int per_worker = (int)(BYTES_IN_ALL / n_bytes) / (size - 1);
    per_worker = per_worker < 1 ? 1 : per_worker > 20000 ? 20000 : per_worker;
    const double trip = round_trip(rank), seconds = blocks(rank, size, n_bytes, per_worker);
    if (rank == 0) {
        const double n = (double)per_worker * (size - 1);
        printf("%d ranks: round trip %.2f us; blocks of %ld rows (%zu bytes): %.0f blocks/s, %.0f rows/s, %.2f GB/s\n",
               size, 1e6 * trip, rows, n_bytes, n / seconds, n * (double)rows / seconds,
               n * (double)n_bytes / seconds / 1e9);
    }
    MPI_Finalize();
    return 0;
}
