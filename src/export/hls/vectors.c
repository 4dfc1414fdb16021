/* tb_data/: inputs and outputs of the vectors, as the test bench reads them. */
#include <stdio.h>
#include <string.h>

#include "export/hls/hls.h"

typedef struct scene {
    const qn_export_network *n;
    qn_export_text *texts; /* inputs, then outputs, then the layers' checksums */
    int16_t *codes;        /* as many as the largest has, and floats */
    float *reals;
} scene;

static const qn_export_io *io_at(const qn_export_network *n, int i)
{
    return i < n->n_inputs ? &n->inputs[i] : &n->outputs[i - n->n_inputs];
}

/* Codes or floats of a tensor that is its own base; the other is NULL. */
static void read_tensor(const scene *s, const qn_export_run *run, int base, const int16_t **codes, const float **reals)
{
    *codes = NULL, *reals = NULL;
    if (s->n->tensors[base].real) {
        qn_export_run_reals(run, base, s->reals);
        *reals = s->reals;
    } else {
        qn_export_run_codes(run, base, s->codes);
        *codes = s->codes;
    }
}

static uint32_t bits_at(const int16_t *codes, const float *reals, int64_t i)
{
    uint32_t bits;
    if (codes != NULL) {
        return (uint32_t)(int32_t)codes[i];
    }
    memcpy(&bits, &reals[i], sizeof bits);
    return bits;
}

/* As quern_hls.h sums up a layer. */
static void see_layers(const scene *s, const qn_export_run *run)
{
    qn_export_text *text = &s->texts[s->n->n_inputs + s->n->n_outputs];
    const char *lead = "";
    for (int i = 0; i < s->n->n_layers; i++) {
        const int output = qn_export_base(s->n, s->n->layers[i].output);
        const int16_t *codes;
        const float *reals;
        if (!qn_hls_completes(s->n, i)) {
            continue;
        }
        uint32_t checksum = 2166136261u;
        read_tensor(s, run, output, &codes, &reals);
        for (int64_t j = 0; j < s->n->tensors[output].count; j++) {
            checksum = (checksum ^ bits_at(codes, reals, j)) * 16777619u;
        }
        qn_export_printf(text, "%s%08x", lead, (unsigned)checksum);
        lead = " ";
    }
    qn_export_append(text, "\n", 1);
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
        const int16_t *codes;
        const float *reals;
        read_tensor(s, run, qn_export_base(s->n, io->tensor), &codes, &reals);
        for (int64_t j = 0; j < io->count; j++) {
            if (codes != NULL) {
                qn_export_printf(&s->texts[i], "%d", codes[j]);
            } else {
                qn_export_printf(&s->texts[i], "%08x", (unsigned)bits_at(NULL, reals, j));
            }
            qn_export_append(&s->texts[i], j + 1 < io->count ? " " : "\n", 1);
        }
    }
    see_layers(s, run);
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
    return qn_export_text_file(hls->job, "hls/tb_data/layers.dat", "checksums of the layers' results",
                               &s->texts[s->n->n_inputs + s->n->n_outputs], err);
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
    const int n_texts = n->n_inputs + n->n_outputs + 1;
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
