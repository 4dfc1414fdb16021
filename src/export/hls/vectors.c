/* tb_data/: inputs and outputs of the vectors, as the test bench reads them. */
#include <stdio.h>
#include <string.h>

#include "export/hls/hls.h"

typedef struct scene {
    const qn_export_network *n;
    qn_export_text *texts; /* inputs, then outputs */
    int16_t *codes;        /* as many as the largest has, and floats */
    float *reals;
} scene;

static const qn_export_io *io_at(const qn_export_network *n, int i)
{
    return i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
}

static qn_status see(void *ctx, int64_t item, const qn_export_run *run, qn_error *err)
{
    (void)item, (void)err;
    const scene *s = ctx;
    for (int i = 0; i < s->n->n_inputs + s->n->n_outputs; i++) {
        const qn_export_io *io = io_at(s->n, i);
        if (io->tensor < 0) {
            continue;
        }
        const int base = qn_export_base(s->n, io->tensor);
        const bool real = s->n->tensors[base].real;
        if (real) {
            qn_export_run_reals(run, base, s->reals);
        } else {
            qn_export_run_codes(run, base, s->codes);
        }
        for (int64_t j = 0; j < io->count; j++) {
            uint32_t bits = 0;
            if (real) {
                memcpy(&bits, &s->reals[j], sizeof bits);
                qn_export_printf(&s->texts[i], "%08x", (unsigned)bits);
            } else {
                qn_export_printf(&s->texts[i], "%d", s->codes[j]);
            }
            qn_export_append(&s->texts[i], j + 1 < io->count ? " " : "\n", 1);
        }
    }
    return QN_OK;
}

static qn_status write_texts(qn_hls *hls, scene *s, qn_error *err)
{
    QN_TRY(qn_export_each_vector(hls->job, see, s, err));
    for (int i = 0; i < s->n->n_inputs + s->n->n_outputs; i++) {
        char path[128];
        if (io_at(s->n, i)->tensor < 0) {
            continue;
        }
        snprintf(path, sizeof path, "hls/tb_data/%s.dat", io_at(s->n, i)->id);
        QN_TRY(qn_export_text_file(hls->job, path, i < s->n->n_inputs ? "inputs, a vector a line" : "outputs expected",
                                   &s->texts[i], err));
    }
    return QN_OK;
}

qn_status qn_hls_write_vectors(qn_hls *hls, qn_error *err)
{
    const qn_export_network *n = hls->network;
    if (hls->job->n_vectors == 0) {
        return QN_OK;
    }
    int64_t most = 1;
    for (int i = 0; i < n->n_tensors; i++) {
        most = most > n->tensors[i].count ? most : n->tensors[i].count;
    }
    const int n_texts = n->n_inputs + n->n_outputs;
    scene s = {.n = n,
               .texts = qn_arena_array(&hls->arena, (size_t)n_texts, sizeof *s.texts),
               .codes = qn_arena_array(&hls->arena, (size_t)most, sizeof *s.codes),
               .reals = qn_arena_array(&hls->arena, (size_t)most, sizeof *s.reals)};
    if (s.texts == NULL || s.codes == NULL || s.reals == NULL) {
        return qn_fail_memory(err, n->graph->file, (size_t)most);
    }
    const qn_status status = write_texts(hls, &s, err);
    for (int i = 0; i < n_texts; i++) {
        qn_export_text_free(&s.texts[i]);
    }
    return status;
}
