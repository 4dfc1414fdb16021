/* Histograms as JSON (calibrate.h has the schema). */
#ifndef QN_CALIB_HISTOGRAM_JSON_H
#define QN_CALIB_HISTOGRAM_JSON_H

#include <jansson.h>

#include "quern/calibrate.h"

/* NULL when out of memory. */
json_t *qn_histogram_to_json(const qn_histogram *histogram);
/* The histogram of a range, whose name, min and max are set. Errors: QN_EFORMAT, QN_ENOMEM. */
qn_status qn_histogram_from_json(qn_histogram **histogram, const json_t *object, const qn_range *range,
                                 const char *path, qn_error *err);

#endif
