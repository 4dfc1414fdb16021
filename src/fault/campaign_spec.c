/* Specifications as users of the library hold them. */
#include "fault/spec.h"
#include "quern/fault.h"

static qn_status make(qn_fault_spec **spec, const char *path, const char *text, const char *name, qn_error *err)
{
    *spec = NULL;
    qn_fault_spec *made = qn_alloc(sizeof *made);
    if (made == NULL) {
        return qn_fail_memory(err, name, sizeof *made);
    }
    const qn_status status =
        path != NULL ? qn_fault_spec_read(made, path, err) : qn_fault_spec_parse(made, text, name, err);
    if (status != QN_OK) {
        qn_fault_spec_close(made);
        return status;
    }
    *spec = made;
    return QN_OK;
}

qn_status qn_fault_spec_open(qn_fault_spec **spec, const char *path, qn_error *err)
{
    return make(spec, path, NULL, path, err);
}

qn_status qn_fault_spec_of_text(qn_fault_spec **spec, const char *text, const char *name, qn_error *err)
{
    return make(spec, NULL, text, name, err);
}

void qn_fault_spec_close(qn_fault_spec *spec)
{
    if (spec != NULL) {
        qn_fault_spec_free(spec);
        qn_free(spec);
    }
}
