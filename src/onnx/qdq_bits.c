/* Integers of 2 to 7 bits in int8 initializers, of networks whose key "quern.store" says so: key "quern.bits.NAME"
 * says how many bits the codes of constant NAME have. Who does not know the key computes the same. */
#include <stdio.h>
#include <string.h>

#include "onnx/qdq.h"

static const char prefix[] = "quern.bits.";
enum { PREFIX = sizeof prefix - 1 };

bool qn_qdq_is_bits_key(const char *key)
{
    return strncmp(key, prefix, PREFIX) == 0;
}

qn_status qn_qdq_write_bits(qn_graph *graph, const char *constant, int bits, qn_error *err)
{
    char number[16];
    snprintf(number, sizeof number, "%d", bits);
    const char *key = qn_arena_printf(&graph->arena, "%s%s", prefix, constant);
    return key != NULL ? qn_graph_set_metadata(graph, key, number, err) : qn_fail_memory(err, NULL, strlen(constant));
}

/* The least bits that hold all codes. */
static int bits_of(const qn_tensor *codes)
{
    const int8_t *z = codes->data;
    const int64_t n = qn_tensor_count(codes);
    int bits = 2;
    for (int64_t i = 0; i < n; i++) {
        while ((z[i] < 0 ? -1 - z[i] : z[i]) >> (bits - 1) != 0) {
            bits++;
        }
    }
    return bits;
}

static qn_status take_bits(qn_graph *graph, const char *key, const char *text, qn_error *err)
{
    const qn_value_id id = qn_graph_find(graph, key + PREFIX);
    const qn_value *value = id != QN_NO_VALUE ? &graph->values[id] : NULL;
    if (text[0] < '2' || text[0] > '7' || text[1] != '\0') {
        return qn_fail(err, QN_EFORMAT, "metadata_props", "'%s' is '%.20s', not a number of bits from 2 to 7", key,
                       text);
    }
    if (value == NULL || value->codes == NULL || value->quantizer == NULL || value->codes->dtype != QN_DTYPE_S8 ||
        !qn_format_equal(value->quantizer->format, (qn_format){.bits = 8, .is_signed = true})) {
        return QN_OK; /* another tool has taken the constant away, or its codes */
    }
    qn_quantizer few = *value->quantizer;
    few.format.bits = text[0] - '0';
    const int needed = bits_of(value->codes);
    if (needed > few.format.bits) {
        return qn_fail(err, QN_EFORMAT, "metadata_props", "'%s' says %d bits, but its codes have %d", key,
                       few.format.bits, needed);
    }
    for (int64_t i = 0; i < few.n; i++) {
        const int32_t zero = qn_quantizer_get(&few, i).zero_point, half = 1 << (few.format.bits - 1);
        if (zero < -half || zero >= half) {
            return qn_fail(err, QN_EFORMAT, "metadata_props", "'%s' says %d bits, but a zero point is %d", key,
                           few.format.bits, zero);
        }
    }
    return qn_graph_set_quantizer(graph, id, &few, err);
}

qn_status qn_qdq_read_bits(qn_graph *graph, qn_error *err)
{
    const char *store = qn_graph_get_metadata(graph, "quern.store");
    if (store != NULL && strcmp(store, "int8") != 0) {
        return qn_fail(err, QN_EFORMAT, "metadata_props", "quern.store is '%.20s', which is not int8", store);
    }
    for (size_t i = 0; i < graph->n_metadata; i++) {
        if (qn_qdq_is_bits_key(graph->metadata[i].key)) {
            QN_TRY(take_bits(graph, graph->metadata[i].key, graph->metadata[i].value, err));
        }
    }
    return QN_OK;
}
