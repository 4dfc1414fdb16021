/* Specifications of faults: any bytes are read or refused. What is read has a text that reads as the same text again. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "fault/spec.h"

static void require(bool kept)
{
    if (!kept) {
        abort();
    }
}

static void check_text(qn_fault_spec *spec)
{
    const char *text, *again_text;
    qn_fault_spec again;
    require(qn_fault_spec_text(spec, &text, NULL) == QN_OK);
    require(qn_fault_spec_parse(&again, text, "again.yaml", NULL) == QN_OK && again.n_sets == spec->n_sets);
    require(qn_fault_spec_text(&again, &again_text, NULL) == QN_OK && strcmp(text, again_text) == 0);
    qn_fault_spec_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    qn_fault_spec spec;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_fault_spec_parse(&spec, text, "fuzz.yaml", &err);
    if (status == QN_OK) {
        check_text(&spec);
    } else {
        require(err.status == status && err.message[0] != '\0' && spec.n_sets == 0);
    }
    qn_fault_spec_free(&spec);
    free(text);
    return 0;
}
