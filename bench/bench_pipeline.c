/* Messages between two ranks through the transport of pipelines, beside MPI's own calls that wait: ping-pong of the same
 * bytes, a frame packed beforehand, in alternation.
 * usage: mpirun -n 2 bench_pipeline [ROUNDS]
 * Prints, for each size, MB/s of the best round of both, and the median of their ratios. */
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ranks.h"
#include "cli/transport.h"

enum { LEAST = 4 << 10, MOST = 16 << 20, BYTES_PER_ROUND = 4 << 20, ROUNDS_MAX = 101, OUT = 0, IN = 1 };

static const qn_transport *transport;
static int rank;

static void require(bool kept)
{
    if (!kept) {
        fprintf(stderr, "bench_pipeline: a message failed\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
}

static void wait_for(size_t slot)
{
    bool over = false;
    size_t n_bytes;
    int from;
    const double began = MPI_Wtime();
    while (!over) {
        require(transport->test(transport->ctx, slot, &over, &n_bytes, &from, NULL) == QN_OK);
        if (!over) {
            transport->rest(transport->ctx, MPI_Wtime() - began);
        }
    }
}

/* Seconds of a round trip. */
static double ours(const void *sent, void *got, size_t n, int trips)
{
    MPI_Barrier(MPI_COMM_WORLD);
    const double began = MPI_Wtime();
    for (int i = 0; i < trips; i++) {
        require(transport->receive(transport->ctx, IN, 1 - rank, QN_CHANNEL_DATA, got, n, NULL) == QN_OK);
        if (rank == 1) {
            wait_for(IN);
        }
        require(transport->send(transport->ctx, OUT, 1 - rank, QN_CHANNEL_DATA, sent, n, NULL) == QN_OK);
        wait_for(OUT);
        if (rank == 0) {
            wait_for(IN);
        }
    }
    return (MPI_Wtime() - began) / trips;
}

static double plain(const void *sent, void *got, size_t n, int trips)
{
    MPI_Barrier(MPI_COMM_WORLD);
    const double began = MPI_Wtime();
    for (int i = 0; i < trips; i++) {
        if (rank == 1) {
            MPI_Recv(got, (int)n, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        MPI_Send(sent, (int)n, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD);
        if (rank == 0) {
            MPI_Recv(got, (int)n, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
    }
    return (MPI_Wtime() - began) / trips;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* A frame of int8 of about n bytes. */
static void *pack(size_t *n)
{
    const int64_t dims[1] = {(int64_t)*n};
    qn_link_options o;
    qn_frame frame;
    qn_tensor x;
    qn_link_options_init(&o);
    o.format = "int8";
    require(qn_frame_plan(&frame, &o, 1, dims, NULL) == QN_OK &&
            qn_tensor_alloc(&x, QN_DTYPE_F32, 1, dims, NULL) == QN_OK);
    for (int64_t i = 0; i < dims[0]; i++) {
        ((float *)x.data)[i] = (float)(i % 201) - 100;
    }
    void *data = malloc(frame.n_bytes);
    require(data != NULL && qn_frame_encode(data, &frame, &x, &o, NULL) == QN_OK);
    qn_tensor_free(&x);
    *n = frame.n_bytes;
    return data;
}

static void compare(size_t n, int rounds)
{
    void *sent = pack(&n), *got = malloc(n);
    require(got != NULL);
    double best[2] = {1e9, 1e9}, ratios[ROUNDS_MAX];
    const int trips = (int)(BYTES_PER_ROUND / n) + 1;
    for (int i = 0; i < rounds; i++) {
        double t[2];
        for (int k = 0; k < 2; k++) { /* first one, then the other goes first */
            const int which = (i + k) % 2;
            t[which] = which == 0 ? ours(sent, got, n, trips) : plain(sent, got, n, trips);
            best[which] = t[which] < best[which] ? t[which] : best[which];
        }
        ratios[i] = t[1] / t[0];
    }
    require(memcmp(sent, got, n) == 0);
    qsort(ratios, (size_t)rounds, sizeof *ratios, by_size);
    if (rank == 0) {
        printf("%10zu bytes  %9.0f MB/s through the transport  %9.0f MB/s plain  best %5.1f %%  median %5.1f %%\n", n,
               2e-6 * (double)n / best[0], 2e-6 * (double)n / best[1], 100 * best[1] / best[0],
               100 * ratios[rounds / 2]);
        fflush(stdout);
    }
    free(sent);
    free(got);
}

int main(int argc, char **argv)
{
    const int asked = argc > 1 ? atoi(argv[1]) : 11;
    const int rounds = asked < 1 ? 1 : asked > ROUNDS_MAX ? ROUNDS_MAX : asked;
    if (cli_ranks_begin(NULL) != QN_OK || cli_ranks() == NULL || cli_ranks()->size != 2 ||
        cli_transport_open(&transport, NULL) != QN_OK) {
        fprintf(stderr, "usage: mpirun -n 2 bench_pipeline [ROUNDS]\n");
        return cli_ranks_end(CLI_USAGE);
    }
    rank = transport->rank;
    for (size_t n = LEAST; n <= MOST; n *= 4) {
        compare(n, rounds);
    }
    cli_transport_close();
    return cli_ranks_end(CLI_OK);
}
