/* Names, numbers and places as C text. */
#include <string.h>

#include "export/c/parts.h"

void qn_c_print_name(qn_export_text *text, const char *name)
{
    qn_export_append(text, "'", 1);
    for (const char *p = name; *p != '\0'; p++) {
        const unsigned char c = (unsigned char)*p;
        /* no end of a comment, no trigraph, no line that goes on */
        if (c < ' ' || c > '~' || c == '*' || c == '?' || c == '\\') {
            qn_export_printf(text, "<%02x>", c);
        } else {
            qn_export_append(text, p, 1);
        }
    }
    qn_export_append(text, "'", 1);
}

void qn_c_print_float(qn_export_text *text, float x)
{
    char number[QN_EXPORT_FLOAT_MAX];
    qn_export_float(number, x);
    qn_export_printf(text, "%s%sf", number, strpbrk(number, ".e") != NULL ? "" : ".0");
}

void qn_c_print_tensor(qn_export_text *text, const qn_export_network *network, int tensor)
{
    const qn_export_tensor *t = &network->tensors[tensor];
    char number[QN_EXPORT_FLOAT_MAX];
    qn_c_print_name(text, t->name);
    qn_export_printf(text, " [%d x %d x %d] ", t->height, t->width, t->channels);
    if (t->real) {
        qn_export_printf(text, "int32 sums");
        return;
    }
    qn_export_printf(text, "%sint%d, x = (code - %d) * %s", t->is_signed ? "" : "u", t->bits, (int)t->zero_point,
                     qn_export_float(number, t->scale));
}

void qn_c_print_place(qn_export_text *text, const qn_c_plan *plan, int tensor, int64_t more)
{
    const qn_export_network *n = plan->network;
    const qn_c_place *place = qn_c_place_of(plan, tensor);
    switch (place->where) {
    case QN_C_INPUT:
        qn_export_printf(text, "(const uint8_t *)in->%s", n->inputs[place->io].id);
        break;
    case QN_C_OUTPUT:
        qn_export_printf(text, "(uint8_t *)out->%s", n->outputs[place->io].id);
        break;
    case QN_C_CONSTANT:
        qn_export_printf(text, "(const uint8_t *)%s__codes", n->tensors[qn_export_base(n, tensor)].id);
        break;
    default:
        qn_export_printf(text, "activations + %lld", (long long)(place->offset + more));
        return;
    }
    if (more != 0) {
        qn_export_printf(text, " + %lld", (long long)more);
    }
}
