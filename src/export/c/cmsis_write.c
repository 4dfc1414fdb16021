/* What an export that calls CMSIS-NN says beside its C: how to build it, and which layers call what. */
#include <string.h>

#include "engine/integer/integer.h"
#include "export/c/cmsis.h"
#include "graph/node_list.h"

qn_status qn_c_cmsis_check(const qn_c_plan *plan, qn_error *err)
{
    static const char lead[] = "no layer can be computed by CMSIS-NN; make the network with quern quantize --profile "
                               "cmsis-nn --activations int8, or export it without --cmsis-nn";
    const qn_export_network *n = plan->network;
    const qn_integer_code *code = n->program->code;
    qn_node_list list = {0};
    qn_status status = QN_OK;
    bool any = !plan->cmsis_nn;
    for (int i = 0; !any && i < n->n_layers && status == QN_OK; i++) {
        const qn_export_layer *layer = &n->layers[i];
        const qn_node *node = layer->step >= 0 ? code->steps[layer->step].node : NULL;
        const char *why = qn_c_cmsis_why(n, i);
        any = why == NULL;
        if (!any && node != NULL) {
            status = qn_node_list_add(&list, node, why, err);
        }
    }
    if (status == QN_OK && !any) {
        return list.n > 0 ? qn_node_list_fail(&list, n->graph, QN_EUNSUPPORTED, lead, err)
                          : qn_fail(err, QN_EUNSUPPORTED, n->graph->file, "%s", lead);
    }
    qn_node_list_free(&list);
    return status;
}

static const char make_text[] =
    "# CMSIS-NN, of which layers in model.c are calls: make CMSIS_NN=DIR check. DIR has its folders Include and "
    "Source\n"
    "# (github.com/ARM-software/CMSIS-NN, release 6.0.0 or later). Another build: compile its files and these with\n"
    "# the flags of CMSIS_NN_FLAGS. Bare metal, Cortex-M4:\n"
    "#   arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -O3 -DMODEL_TEST_BARE --specs=nosys.specs $(CMSIS_NN_FLAGS)\n"
    "#     -IDIR/Include *.c $(find DIR/Source -name '*.c') -o test.elf\n"
    "CMSIS_NN_FLAGS =%s\n"
    "ifeq ($(filter clean,$(MAKECMDGOALS))$(CMSIS_NN),)\n"
    "$(error model.c calls CMSIS-NN; say where it is: make CMSIS_NN=DIR)\n"
    "endif\n"
    "CMSIS_NN_SOURCES = $(if $(CMSIS_NN),$(shell find $(CMSIS_NN)/Source -name '*.c'))\n"
    "CMSIS_NN_OBJECTS = $(CMSIS_NN_SOURCES:$(CMSIS_NN)/Source/%%.c=build/cmsis_nn/%%.o)\n"
    "override CPPFLAGS += -isystem $(CMSIS_NN)/Include $(CMSIS_NN_FLAGS)\n"
    "override LDLIBS += build/libcmsis_nn.a\n"
    "\n"
    "build/test_main: build/libcmsis_nn.a\n"
    "\n"
    "build/libcmsis_nn.a: $(CMSIS_NN_OBJECTS)\n"
    "\trm -f $@\n"
    "\t$(AR) rcs $@ $(CMSIS_NN_OBJECTS)\n"
    "\n"
    "build/cmsis_nn/%%.o: $(CMSIS_NN)/Source/%%.c\n"
    "\t@mkdir -p $(dir $@)\n"
    "\t$(CC) $(CFLAGS) $(CPPFLAGS) -c -o $@ $<\n";

/* "c: FUNCTION computes 'a', 'b'" for each function, in the order of their first layers; then the others and why. */
static void report(qn_export_text *text, const qn_c_plan *plan)
{
    const qn_export_network *n = plan->network;
    for (int i = 0; i < n->n_layers; i++) {
        const char *why = qn_c_cmsis_why(n, i), *what = why != NULL ? why : qn_c_cmsis_function(n, i);
        bool told = false;
        for (int j = 0; j < i && !told; j++) {
            const char *other = qn_c_cmsis_why(n, j);
            told = (other != NULL) == (why != NULL) &&
                   strcmp(other != NULL ? other : qn_c_cmsis_function(n, j), what) == 0;
        }
        const char *gap = "";
        for (int j = i; j < n->n_layers && !told; j++) {
            const char *other = qn_c_cmsis_why(n, j);
            if ((other != NULL) == (why != NULL) &&
                strcmp(other != NULL ? other : qn_c_cmsis_function(n, j), what) == 0) {
                if (gap[0] == '\0') {
                    qn_export_printf(text, why != NULL ? "c: quern's own code" : "c: %s", what);
                    qn_export_printf(text, " computes ");
                }
                qn_export_printf(text, "%s'%s'", gap, n->layers[j].name);
                gap = ", ";
            }
        }
        if (!told) {
            qn_export_printf(text, why != NULL ? ": %s\n" : "\n", what);
        }
    }
}

static json_t *layers_json(const qn_c_plan *plan)
{
    json_t *layers = json_object();
    for (int i = 0; layers != NULL && i < plan->network->n_layers; i++) {
        const char *why = qn_c_cmsis_why(plan->network, i);
        json_t *entry = why == NULL ? json_pack("{s:s}", "function", qn_c_cmsis_function(plan->network, i))
                                    : json_pack("{s:n, s:s}", "function", "reason", why);
        if (json_object_set_new(layers, plan->network->layers[i].id, entry) != 0) {
            json_decref(layers);
            layers = NULL;
        }
    }
    return layers;
}

static qn_status tell_manifest(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    static const char *const roundings[] = {"any", "twice", "nearest-up"};
    json_t *section = json_pack("{s:o, s:s, s:{s:I, s:I, s:I, s:I}}", "layers", layers_json(plan), "rounding",
                                roundings[qn_c_cmsis_rounding_of(plan)], "scratch_bytes", "any",
                                (json_int_t)qn_c_cmsis_most_bytes(plan, QN_C_CMSIS_ANY), "dsp",
                                (json_int_t)qn_c_cmsis_most_bytes(plan, QN_C_CMSIS_DSP), "dsp_armclang",
                                (json_int_t)qn_c_cmsis_most_bytes(plan, QN_C_CMSIS_DSP_ARMCLANG), "mve",
                                (json_int_t)qn_c_cmsis_most_bytes(plan, QN_C_CMSIS_MVE));
    return json_object_set_new(job->section, "cmsis_nn", section) == 0
               ? QN_OK
               : qn_fail_memory(err, plan->network->graph->file, 0);
}

qn_status qn_c_cmsis_write(qn_export_job *job, const qn_c_plan *plan, qn_error *err)
{
    if (!plan->cmsis_nn) {
        return QN_OK;
    }
    qn_export_text text = {0};
    qn_export_printf(&text, make_text,
                     qn_c_cmsis_rounding_of(plan) == QN_C_CMSIS_SINGLE ? " -DCMSIS_NN_USE_SINGLE_ROUNDING" : "");
    QN_TRY(qn_export_text_file(job, "c/cmsis_nn.mk", "rules to build with CMSIS-NN", &text, err));
    if (job->report != NULL) {
        report(job->report, plan);
    }
    return job->section != NULL ? tell_manifest(job, plan, err) : QN_OK;
}
