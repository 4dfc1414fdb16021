/* Reading a program into a network, in parts: network.c walks it, network_steps.c reads steps. */
#ifndef QN_EXPORT_NETWORK_PARTS_H
#define QN_EXPORT_NETWORK_PARTS_H

#include "engine/integer/region.h"
#include "export/network.h"

qn_status qn_export_no_memory(const qn_export_network *n, qn_error *err);

/* Kind and numbers of a layer on codes; tensors are there already. `region`: the step as regions see it. */
qn_status qn_export_read_step(qn_export_network *n, const qn_integer_step *step, const qn_region_step *region,
                              qn_export_layer *layer, qn_error *err);

#endif
