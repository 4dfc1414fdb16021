/* Which injector serves which engine. */
#include "fault/injector.h"

static const qn_injector_ops *ops_of(const qn_injector_options *options, bool whole)
{
    const qn_program *program = options->program;
    if (options->links != NULL) {
        return whole ? &qn_injector_link_whole : &qn_injector_link;
    }
    if (whole) {
        return &qn_injector_whole;
    }
    return program->engine == &qn_engine_integer_ops ? &qn_injector_integer : &qn_injector_float;
}

qn_status qn_injector_create_of(qn_injector **injector, const qn_injector_options *options, const qn_injector_ops *ops,
                                qn_error *err)
{
    *injector = NULL;
    qn_injector *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, NULL, sizeof *made);
    }
    *made = (qn_injector){.ops = ops, .options = *options};
    for (size_t i = 0; i < qn_program_n_outputs(options->program); i++) {
        made->output_count += qn_program_output_count(options->program, i);
    }
    qn_status status = ops->create(made, err);
    if (status != QN_OK) {
        qn_injector_free(made);
        return status;
    }
    *injector = made;
    return QN_OK;
}

qn_status qn_injector_create(qn_injector **injector, const qn_injector_options *options, bool whole, qn_error *err)
{
    return qn_injector_create_of(injector, options, ops_of(options, whole), err);
}

void qn_injector_free(qn_injector *injector)
{
    if (injector != NULL) {
        injector->ops->release(injector);
        qn_free(injector);
    }
}
