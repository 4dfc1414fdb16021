/* Test vectors: the first few as C, all of them as bytes. */
#include <string.h>

#include "base/memory.h"
#include "export/c/parts.h"

/* Compiled in: at most so many, and so many bytes, but one. */
enum { MOST_VECTORS = 4, MOST_BYTES = 65536 };

/*  in, out    initializers of the vectors compiled in
 *  bytes_in, bytes_out  all vectors, member after member, sums little-endian */
typedef struct printer {
    const qn_c_plan *plan;
    int64_t n_compiled;
    qn_export_text in, out, bytes_in, bytes_out;
    int16_t *codes;
    int32_t *sums;
} printer;

static void print_numbers(qn_export_text *text, const printer *p, bool sums, int64_t count)
{
    qn_export_printf(text, "        {");
    for (int64_t i = 0; i < count; i++) {
        const char *gap = i == 0 ? "" : i % 20 == 0 ? ",\n         " : ", ";
        if (sums && p->sums[i] == INT32_MIN) {
            qn_export_printf(text, "%sINT32_MIN", gap);
        } else {
            qn_export_printf(text, "%s%d", gap, sums ? (int)p->sums[i] : p->codes[i]);
        }
    }
    qn_export_printf(text, "},\n");
}

static void append_numbers(qn_export_text *bytes, const printer *p, bool sums, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const uint32_t u = (uint32_t)(sums ? p->sums[i] : p->codes[i]);
        const char little[4] = {(char)u, (char)(u >> 8), (char)(u >> 16), (char)(u >> 24)};
        qn_export_append(bytes, little, sums ? 4 : 1);
    }
}

static void see_ios(printer *p, const qn_export_io *ios, int n, bool compiled, qn_export_text *text,
                    qn_export_text *bytes, const qn_export_run *run)
{
    const qn_export_network *network = p->plan->network;
    qn_export_printf(text, compiled ? "    {\n" : "");
    for (int i = 0; i < n; i++) {
        if (ios[i].tensor < 0) {
            continue;
        }
        const int base = qn_export_base(network, ios[i].tensor);
        const bool sums = qn_c_is_sums(network, base);
        if (sums) {
            qn_export_run_sums(run, network->tensors[base].maker, p->sums);
        } else {
            qn_export_run_codes(run, base, p->codes);
        }
        if (compiled) {
            print_numbers(text, p, sums, network->tensors[base].count);
        }
        append_numbers(bytes, p, sums, network->tensors[base].count);
    }
    qn_export_printf(text, compiled ? "    },\n" : "");
}

static qn_status see(void *ctx, int64_t i, const qn_export_run *run, qn_error *err)
{
    printer *p = ctx;
    const qn_export_network *n = p->plan->network;
    (void)err;
    see_ios(p, n->inputs, n->n_inputs, i < p->n_compiled, &p->in, &p->bytes_in, run);
    see_ios(p, n->outputs, n->n_outputs, i < p->n_compiled, &p->out, &p->bytes_out, run);
    return QN_OK;
}

/* Elements of the largest input or output, and bytes of all. */
static void measure(const qn_export_network *n, int64_t *most, int64_t *bytes)
{
    *most = *bytes = 0;
    for (int i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const int tensor = i < n->n_inputs ? n->inputs[i].tensor : n->outputs[i - n->n_inputs].tensor;
        if (tensor >= 0) {
            const int64_t count = n->tensors[tensor].count;
            *most = count > *most ? count : *most;
            *bytes += n->tensors[tensor].real ? 4 * count : count;
        }
    }
}

static qn_status write_files(qn_export_job *job, printer *p, qn_error *err)
{
    qn_export_text source = {0}, header = {0};
    qn_export_printf(&header,
                     "/* Test vectors that are compiled in: what the network takes, and what it gives. */\n"
                     "#ifndef VECTORS_H\n#define VECTORS_H\n\n#include \"model.h\"\n\n#define MODEL_VECTORS %lld\n"
                     "extern const model_in_t model_vectors_in[MODEL_VECTORS];\n"
                     "extern const model_out_t model_vectors_out[MODEL_VECTORS];\n\n#endif\n",
                     (long long)p->n_compiled);
    qn_export_printf(&source, "#include \"vectors.h\"\n\nconst model_in_t model_vectors_in[MODEL_VECTORS] = {\n");
    qn_export_append(&source, p->in.data, p->in.n);
    qn_export_printf(&source, "};\n\nconst model_out_t model_vectors_out[MODEL_VECTORS] = {\n");
    qn_export_append(&source, p->out.data, p->out.n);
    qn_export_printf(&source, "};\n");
    qn_status status = p->in.failed || p->out.failed ? qn_fail_memory(err, "c/vectors.c", p->in.n) : QN_OK;
    if (status == QN_OK) {
        status = qn_export_text_file(job, "c/vectors.h", "test vectors, declared", &header, err);
    }
    if (status == QN_OK) {
        status = qn_export_text_file(job, "c/vectors.c", "the first test vectors", &source, err);
    }
    if (status == QN_OK) {
        status = qn_export_text_file(job, "c/vectors_in.bin", "inputs of all test vectors, as model_in_t has them",
                                     &p->bytes_in, err);
    }
    if (status == QN_OK) {
        status = qn_export_text_file(job, "c/vectors_out.bin", "outputs of all test vectors, as model_out_t has them",
                                     &p->bytes_out, err);
    }
    qn_export_text_free(&header);
    qn_export_text_free(&source);
    return status;
}

qn_status qn_c_write_vectors(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    if (job->n_vectors == 0) {
        return QN_OK;
    }
    int64_t most, bytes;
    measure(plan->network, &most, &bytes);
    printer p = {.plan = plan, .n_compiled = MOST_BYTES / (bytes + 1)};
    p.n_compiled = p.n_compiled < 1 ? 1 : p.n_compiled > MOST_VECTORS ? MOST_VECTORS : p.n_compiled;
    p.n_compiled = p.n_compiled > job->n_vectors ? job->n_vectors : p.n_compiled;
    p.codes = qn_alloc(((size_t)most + 1) * sizeof *p.codes);
    p.sums = qn_alloc(((size_t)most + 1) * sizeof *p.sums);
    qn_status status = p.codes != NULL && p.sums != NULL
                           ? qn_export_each_vector(job, see, &p, err)
                           : qn_fail_memory(err, plan->network->graph->file, (size_t)most * sizeof *p.sums);
    if (status == QN_OK) {
        status = write_files(job, &p, err);
    }
    qn_free(p.codes);
    qn_free(p.sums);
    qn_export_text_free(&p.in);
    qn_export_text_free(&p.out);
    qn_export_text_free(&p.bytes_in);
    qn_export_text_free(&p.bytes_out);
    return status;
}
