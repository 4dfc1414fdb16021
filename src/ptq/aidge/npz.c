/* The numbers of a quantized network as .npz, named as in the library's own vectors. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "ptq/aidge/aidge.h"
#include "tensor/npz_write.h"

static qn_tensor view(double *data, int rank, const int64_t *dims)
{
    qn_tensor t = {.dtype = QN_DTYPE_F64, .rank = rank, .data = data};
    for (int d = 0; d < rank; d++) {
        t.dims[d] = dims[d];
    }
    return t;
}

static qn_status add_layers(qn_npz_out *out, const qn_aidge_net *net, qn_error *err)
{
    qn_arena names = {0};
    qn_status status = QN_OK;
    for (int k = 0; status == QN_OK && k < net->n_nodes; k++) {
        const qn_aidge_node *node = &net->nodes[k];
        if (!qn_aidge_is_affine(node)) {
            continue;
        }
        const char *weight = qn_arena_printf(&names, "weight/%s", node->name);
        const char *bias = qn_arena_printf(&names, "bias/%s", node->name);
        if (weight == NULL || bias == NULL) {
            status = qn_fail_memory(err, node->name, 0);
            break;
        }
        qn_tensor w = view(node->weight, node->weight_rank, node->weight_dims);
        status = qn_npz_add(out, weight, &w, err);
        if (status == QN_OK && node->bias != NULL) {
            qn_tensor b = view(node->bias, 1, node->weight_dims);
            status = qn_npz_add(out, bias, &b, err);
        }
    }
    qn_arena_free(&names);
    return status;
}

static qn_status add_quantizers(qn_npz_out *out, const qn_aidge *aidge, const int *indices, int n, double *scratch,
                                qn_error *err)
{
    const qn_aidge_node *nodes = aidge->net.nodes;
    int64_t dims[2] = {n, 2};
    double *scale = scratch, *coef = scratch + n, *clip = scratch + 2 * n;
    for (int i = 0; i < n; i++) {
        scale[i] = nodes[indices[i]].scale;
        coef[i] = nodes[indices[i]].coef;
        clip[2 * i] = nodes[indices[i]].lo;
        clip[2 * i + 1] = nodes[indices[i]].hi;
    }
    qn_tensor scales = view(scale, 1, dims), coefs = view(coef, 1, dims), clips = view(clip, 2, dims);
    QN_TRY(qn_npz_add(out, "scale", &scales, err));
    QN_TRY(qn_npz_add(out, "coef", &coefs, err));
    return aidge->options.round ? qn_npz_add(out, "clip", &clips, err) : QN_OK;
}

static qn_status add_scalar(qn_npz_out *out, const char *name, double value, qn_error *err)
{
    qn_tensor t = view(&value, 0, NULL);
    return qn_npz_add(out, name, &t, err);
}

static const char *clip_text(qn_aidge_clip clip)
{
    static const char *const texts[] = {
#define TEXT_ROW(name, value, text) [value] = text,
        QN_AIDGE_CLIP_LIST(TEXT_ROW)
#undef TEXT_ROW
    };
    return texts[clip];
}

/* Names of layers and quantizers, options, notes; where the numbers come from. */
static qn_status add_meta(qn_npz_out *out, const qn_aidge *aidge, const int *indices, int n, qn_error *err)
{
    const qn_aidge_options *options = &aidge->options;
    json_t *meta = json_object(), *scalings = json_array(), *layers = json_array(), *notes = json_array();
    for (int i = 0; i < n; i++) {
        json_array_append_new(scalings, json_string(aidge->net.nodes[indices[i]].name));
    }
    for (int k = 0; k < aidge->net.n_nodes; k++) {
        if (qn_aidge_is_affine(&aidge->net.nodes[k])) {
            json_array_append_new(layers, json_string(aidge->net.nodes[k].name));
        }
    }
    for (size_t i = 0; qn_aidge_note(aidge, i) != NULL; i++) {
        json_array_append_new(notes, json_string(qn_aidge_note(aidge, i)));
    }
    json_object_set_new(meta, "version", json_string(qn_version()));
    json_object_set_new(meta, "recipe", json_string("aidge"));
    json_object_set_new(meta, "bits", json_integer(options->bits));
    json_object_set_new(meta, "clip", json_string(clip_text(options->clip)));
    json_object_set_new(meta, "signs", json_boolean(options->signs));
    json_object_set_new(meta, "shift", json_boolean(options->shift));
    json_object_set_new(meta, "round", json_boolean(options->round));
    json_object_set_new(meta, "input", json_real(options->input));
    json_object_set_new(meta, "scaling_nodes", scalings);
    json_object_set_new(meta, "affine_nodes", layers);
    json_object_set_new(meta, "notes", notes);
    json_object_set_new(meta, "model_sha256", json_string(aidge->model_sha256));
    json_object_set_new(meta, "data_sha256", json_string(aidge->data_sha256));
    char *text = json_dumps(meta, JSON_ENSURE_ASCII);
    json_decref(meta);
    qn_status status = text != NULL ? qn_npz_add_text(out, "meta_json", text, err) : qn_fail_memory(err, NULL, 0);
    free(text);
    return status;
}

static qn_status add_all(qn_npz_out *out, const qn_aidge *aidge, qn_arena *scratch, qn_error *err)
{
    int n;
    const int *indices;
    QN_TRY(qn_aidge_sorted_scalings(&aidge->net, scratch, &indices, &n, err));
    double *numbers = qn_arena_array(scratch, 4 * (size_t)n, sizeof *numbers);
    if (numbers == NULL) {
        return qn_fail_memory(err, NULL, 4 * (size_t)n * sizeof *numbers);
    }
    QN_TRY(add_layers(out, &aidge->net, err));
    QN_TRY(add_quantizers(out, aidge, indices, n, numbers, err));
    QN_TRY(add_scalar(out, "input_scale", qn_aidge_input_scale(aidge), err));
    QN_TRY(add_scalar(out, "output_scale", qn_aidge_output_scale(aidge), err));
    return add_meta(out, aidge, indices, n, err);
}

qn_status qn_aidge_write_npz(const qn_aidge *aidge, const char *path, bool overwrite, qn_error *err)
{
    qn_npz_out *out;
    qn_arena scratch = {0};
    QN_TRY(qn_npz_begin(&out, err));
    qn_status status = add_all(out, aidge, &scratch, err);
    qn_arena_free(&scratch);
    if (status != QN_OK) {
        qn_npz_abandon(out);
        return status;
    }
    return qn_npz_write(out, path, overwrite, err);
}
