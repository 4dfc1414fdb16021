/* A campaign over ranks: rank 0 hands out blocks, two ahead to each so that nobody waits for it, takes results in between the
 * items of its own blocks, which are small for that, and writes. All messages are sent and received by the calling threads. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fault/campaign_run.h"

enum { AHEAD = 2 };

typedef enum { HELLO, BLOCK, RESULT, FAILED, END, BYE } message_kind;

/* Every message begins with this. Ranks run the same program on the same kind of machine: structs go as they are.
 *  HELLO   sha256 of the fault-free outputs
 *  BLOCK   number, first_id, n, n_pairs;  n_parts parts follow
 *  RESULT  number, first_id, n, n_pairs, verified, seconds; rows, n_changes changes and n_kept pairs follow
 *  FAILED  a qn_error follows
 *  END     to others, which answer BYE: after that nothing is on its way */
typedef struct {
    int32_t kind;
    char sha256[68];
    int64_t number, first_id, n, n_pairs, n_parts, n_changes, n_kept, verified;
    double seconds;
} message;

struct qn_campaign_desk {
    const qn_campaign_ranks *ranks;
    int *pending; /* blocks each rank has; -1: it has not greeted */
    int64_t outstanding;
    size_t next;  /* block to hand out next */
    void *buffer; /* of a result */
    size_t capacity;
};

qn_status qn_campaign_desk_create(qn_campaign_runner *runner, const qn_campaign_ranks *ranks, qn_error *err)
{
    struct qn_campaign_desk *desk = qn_alloc(sizeof *desk);
    int *pending = qn_alloc((size_t)ranks->size * sizeof *pending);
    if (desk == NULL || pending == NULL) {
        qn_free(desk);
        qn_free(pending);
        return qn_fail_memory(err, NULL, (size_t)ranks->size * sizeof *pending);
    }
    *desk = (struct qn_campaign_desk){.ranks = ranks, .pending = pending};
    for (int r = 0; r < ranks->size; r++) {
        pending[r] = -1;
    }
    runner->desk = desk;
    return QN_OK;
}

static qn_status make_room(struct qn_campaign_desk *desk, size_t n_bytes, qn_error *err)
{
    if (n_bytes > desk->capacity) {
        qn_free(desk->buffer);
        desk->buffer = qn_alloc_uncleared(n_bytes);
        desk->capacity = desk->buffer != NULL ? n_bytes : 0;
    }
    return n_bytes <= desk->capacity ? QN_OK : qn_fail_memory(err, NULL, n_bytes);
}

static qn_status receive_array(struct qn_campaign_desk *desk, int rank, size_t offset, size_t n_bytes, qn_error *err)
{
    return n_bytes == 0 ? QN_OK
                        : desk->ranks->receive(desk->ranks->ctx, rank, (char *)desk->buffer + offset, n_bytes, err);
}

/* Whatever the others were still sending is let go, until each has said BYE. */
static qn_status let_go(struct qn_campaign_desk *desk)
{
    const qn_campaign_ranks *ranks = desk->ranks;
    for (int left = ranks->size - 1; left > 0;) {
        int from;
        message m;
        QN_TRY(ranks->probe(ranks->ctx, true, &from, NULL));
        QN_TRY(ranks->receive(ranks->ctx, from, &m, sizeof m, NULL));
        left -= m.kind == BYE;
        const size_t arrays[] = {m.kind == FAILED ? sizeof(qn_error) : 0,
                                 m.kind == RESULT ? (size_t)m.n * sizeof(qn_fault_row) : 0,
                                 m.kind == RESULT ? (size_t)m.n_changes * sizeof(qn_store_change) : 0,
                                 m.kind == RESULT ? (size_t)m.n_kept * sizeof(qn_fault_pair) : 0};
        for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
            QN_TRY(make_room(desk, arrays[i], NULL));
            QN_TRY(receive_array(desk, from, 0, arrays[i], NULL));
        }
    }
    return QN_OK;
}

void qn_campaign_desk_close(qn_campaign_runner *runner, bool wait)
{
    struct qn_campaign_desk *desk = runner->desk;
    if (desk == NULL) {
        return;
    }
    const message end = {.kind = END};
    qn_status status = QN_OK;
    for (int r = 1; r < desk->ranks->size; r++) {
        const qn_status sent = desk->ranks->send(desk->ranks->ctx, r, &end, sizeof end, NULL);
        status = status == QN_OK ? sent : status;
    }
    if (wait && status == QN_OK) {
        (void)let_go(desk); /* what delivers messages ends the job when it cannot */
    }
    qn_free(desk->pending);
    qn_free(desk->buffer);
    qn_free(desk);
    runner->desk = NULL;
}

static qn_status send_block(qn_campaign_runner *runner, int rank, const qn_campaign_block *block, qn_error *err)
{
    const qn_campaign_ranks *ranks = runner->desk->ranks;
    const qn_store_part *parts = runner->rounds.parts + block->first_part;
    size_t n = 0;
    while (block->first_part + n < runner->rounds.n_parts && parts[n].first_id < block->first_id + block->n) {
        n++;
    }
    const message m = {.kind = BLOCK,
                       .number = block->number,
                       .first_id = block->first_id,
                       .n = block->n,
                       .n_pairs = block->n_pairs,
                       .n_parts = (int64_t)n};
    QN_TRY(ranks->send(ranks->ctx, rank, &m, sizeof m, err));
    return ranks->send(ranks->ctx, rank, parts, n * sizeof *parts, err);
}

/* The next block that is to be done; *found false when this round has no more. */
static qn_status take(qn_campaign_runner *runner, size_t *index, bool *found, qn_error *err)
{
    struct qn_campaign_desk *desk = runner->desk;
    *index = desk->next;
    for (*found = false; !*found && desk->next < runner->rounds.n_blocks; desk->next++) {
        *index = desk->next;
        QN_TRY(qn_campaign_wanted(runner, *index, found, err));
    }
    return QN_OK;
}

static bool is_stopped(const qn_campaign_runner *runner)
{
    const qn_campaign_options *o = runner->site.options;
    return o->stop != NULL && *o->stop;
}

/* Towards the end of a round one at a time, so that nobody has two left when the others have none. */
static int blocks_ahead(const qn_campaign_runner *runner)
{
    const size_t left = runner->rounds.n_blocks - runner->desk->next;
    return left > AHEAD * (size_t)runner->desk->ranks->size ? AHEAD : 1;
}

static qn_status feed(qn_campaign_runner *runner, int rank, qn_error *err)
{
    struct qn_campaign_desk *desk = runner->desk;
    bool found = true;
    while (desk->pending[rank] >= 0 && desk->pending[rank] < blocks_ahead(runner) && found && !is_stopped(runner)) {
        size_t index = 0;
        QN_TRY(take(runner, &index, &found, err));
        if (found) {
            QN_TRY(send_block(runner, rank, &runner->rounds.blocks[index], err));
            desk->pending[rank]++;
            desk->outstanding++;
        }
    }
    return QN_OK;
}

static qn_status take_hello(qn_campaign_runner *runner, int rank, const message *m, qn_error *err)
{
    if (strncmp(m->sha256, runner->site.golden_sha256, sizeof m->sha256) != 0) {
        return qn_fail(err, QN_ECONFLICT, NULL,
                       "rank %d computes other fault-free outputs than rank 0: floats depend on the processor and on "
                       "oneDNN; use machines of one kind, or --cpu",
                       rank);
    }
    runner->desk->pending[rank] = 0;
    return feed(runner, rank, err);
}

static qn_status take_result(qn_campaign_runner *runner, int rank, const message *m, qn_error *err)
{
    struct qn_campaign_desk *desk = runner->desk;
    const size_t rows = (size_t)m->n * sizeof(qn_fault_row), changes = (size_t)m->n_changes * sizeof(qn_store_change),
                 pairs = (size_t)m->n_kept * sizeof(qn_fault_pair);
    QN_TRY(make_room(desk, rows + changes + pairs, err));
    QN_TRY(receive_array(desk, rank, 0, rows, err));
    QN_TRY(receive_array(desk, rank, rows, changes, err));
    QN_TRY(receive_array(desk, rank, rows + changes, pairs, err));
    const char *buffer = desk->buffer;
    const qn_store_block block = {
        .number = m->number,
        .first_id = m->first_id,
        .n = m->n,
        .n_pairs = m->n_pairs,
        .verified = m->verified,
        .seconds = m->seconds,
        .rows = (const qn_fault_row *)(const void *)buffer,
        .changes = (const qn_store_change *)(const void *)(buffer + rows),
        .n_changes = (size_t)m->n_changes,
        .pairs = (const qn_fault_pair *)(const void *)(buffer + rows + changes),
        .n_kept_pairs = (size_t)m->n_kept,
    };
    desk->pending[rank]--;
    desk->outstanding--;
    QN_TRY(feed(runner, rank, err)); /* before the writing, which takes time */
    return qn_campaign_keep(runner, &block, err);
}

static qn_status take_failure(const struct qn_campaign_desk *desk, int rank, qn_error *err)
{
    qn_error theirs;
    QN_TRY(desk->ranks->receive(desk->ranks->ctx, rank, &theirs, sizeof theirs, err));
    char where[QN_ERROR_WHERE_MAX];
    snprintf(where, sizeof where, "rank %d%s%.480s", rank, theirs.where[0] != '\0' ? ", " : "", theirs.where);
    return qn_fail(err, theirs.status != QN_OK ? theirs.status : QN_EINTERNAL, where, "%s", theirs.message);
}

/* One message, if there is one or `wait`. */
static qn_status receive_one(qn_campaign_runner *runner, bool wait, bool *received, qn_error *err)
{
    struct qn_campaign_desk *desk = runner->desk;
    const qn_campaign_ranks *ranks = desk->ranks;
    int from;
    message m;
    QN_TRY(ranks->probe(ranks->ctx, wait, &from, err));
    *received = from >= 0;
    if (!*received) {
        return QN_OK;
    }
    QN_TRY(ranks->receive(ranks->ctx, from, &m, sizeof m, err));
    switch (m.kind) {
    case HELLO:
        return take_hello(runner, from, &m, err);
    case RESULT:
        return take_result(runner, from, &m, err);
    case FAILED:
        return take_failure(desk, from, err);
    default:
        return qn_fail(err, QN_EINTERNAL, NULL, "rank %d sent a message of kind %d", from, (int)m.kind);
    }
}

static qn_status receive_waiting(qn_campaign_runner *runner, qn_error *err)
{
    bool received = true;
    while (received) {
        QN_TRY(receive_one(runner, false, &received, err));
    }
    return QN_OK;
}

qn_status qn_campaign_desk_tick(void *ctx, int64_t pairs_done, qn_error *err)
{
    qn_campaign_runner *runner = ctx;
    runner->block_pairs_done = pairs_done;
    qn_campaign_tell(runner, false);
    QN_TRY(receive_waiting(runner, err));
    return qn_store_flush(runner->store, false, err);
}

qn_status qn_campaign_desk_round(qn_campaign_runner *runner, size_t first, qn_error *err)
{
    struct qn_campaign_desk *desk = runner->desk;
    desk->next = first;
    for (int r = 1; r < desk->ranks->size; r++) {
        QN_TRY(feed(runner, r, err));
    }
    while (true) {
        size_t index = 0;
        bool found, received;
        QN_TRY(receive_waiting(runner, err));
        QN_TRY(take(runner, &index, &found, err));
        if (found) {
            qn_store_block result;
            QN_TRY(qn_campaign_block_run(runner->work, &runner->rounds, &runner->rounds.blocks[index], &result, err));
            QN_TRY(qn_campaign_keep(runner, &result, err));
            runner->block_pairs_done = 0;
        } else if (desk->outstanding > 0) {
            QN_TRY(receive_one(runner, true, &received, err));
        } else {
            return QN_OK;
        }
        qn_campaign_tell(runner, false);
    }
}

/* -- other ranks ------------------------------------------------------------------------------------------------------ */

static qn_status send_failure(const qn_campaign_ranks *ranks, const qn_error *theirs, qn_error *err)
{
    const message m = {.kind = FAILED};
    QN_TRY(ranks->send(ranks->ctx, 0, &m, sizeof m, err));
    return ranks->send(ranks->ctx, 0, theirs, sizeof *theirs, err);
}

static qn_status send_array(const qn_campaign_ranks *ranks, const void *data, size_t n_bytes, qn_error *err)
{
    return n_bytes == 0 ? QN_OK : ranks->send(ranks->ctx, 0, data, n_bytes, err);
}

static qn_status send_result(const qn_campaign_ranks *ranks, const qn_store_block *block, qn_error *err)
{
    const message m = {.kind = RESULT,
                       .number = block->number,
                       .first_id = block->first_id,
                       .n = block->n,
                       .n_pairs = block->n_pairs,
                       .n_changes = (int64_t)block->n_changes,
                       .n_kept = (int64_t)block->n_kept_pairs,
                       .verified = block->verified,
                       .seconds = block->seconds};
    QN_TRY(ranks->send(ranks->ctx, 0, &m, sizeof m, err));
    QN_TRY(send_array(ranks, block->rows, (size_t)block->n * sizeof *block->rows, err));
    QN_TRY(send_array(ranks, block->changes, block->n_changes * sizeof *block->changes, err));
    return send_array(ranks, block->pairs, block->n_kept_pairs * sizeof *block->pairs, err);
}

static qn_status receive_parts(qn_campaign_rounds *rounds, const qn_campaign_ranks *ranks, int64_t n, qn_error *err)
{
    QN_TRY(qn_grow((void **)&rounds->parts, &rounds->parts_capacity, (size_t)n, sizeof *rounds->parts, err));
    rounds->n_parts = (size_t)n;
    return ranks->receive(ranks->ctx, 0, rounds->parts, (size_t)n * sizeof *rounds->parts, err);
}

static qn_status serve_block(qn_campaign_runner *runner, const qn_campaign_ranks *ranks, const message *m,
                             qn_error *err)
{
    const qn_campaign_block block = {
        .number = m->number, .first_id = m->first_id, .n = m->n, .n_pairs = m->n_pairs, .first_part = 0};
    qn_store_block result;
    QN_TRY(qn_campaign_block_run(runner->work, &runner->rounds, &block, &result, err));
    QN_TRY(send_result(ranks, &result, err));
    runner->stats.new_faults += result.n;
    runner->stats.new_pairs += result.n_pairs;
    runner->stats.n_verified += result.verified;
    return QN_OK;
}

/* `own` says what failed here, if anything: rank 0 tells it. */
qn_status qn_campaign_serve(qn_campaign_runner *runner, const qn_campaign_ranks *ranks, qn_status status, qn_error *own,
                            qn_error *err)
{
    message m = {.kind = HELLO};
    if (status == QN_OK) {
        memcpy(m.sha256, runner->site.golden_sha256, sizeof runner->site.golden_sha256);
        QN_TRY(ranks->send(ranks->ctx, 0, &m, sizeof m, err));
    } else {
        QN_TRY(send_failure(ranks, own, err));
    }
    while (true) {
        QN_TRY(ranks->receive(ranks->ctx, 0, &m, sizeof m, err));
        if (m.kind == END) {
            m = (message){.kind = BYE};
            return ranks->send(ranks->ctx, 0, &m, sizeof m, err);
        }
        if (m.kind != BLOCK) {
            return qn_fail(err, QN_EINTERNAL, NULL, "rank 0 sent a message of kind %d", (int)m.kind);
        }
        QN_TRY(receive_parts(&runner->rounds, ranks, m.n_parts, err));
        if (status == QN_OK) { /* otherwise rank 0 had sent it before it heard of the failure */
            status = serve_block(runner, ranks, &m, own);
            if (status != QN_OK) {
                QN_TRY(send_failure(ranks, own, err));
            }
        }
    }
}
