/* All of quern's public interface. */
#ifndef QUERN_H
#define QUERN_H

#include "quern/aidge.h"
#include "quern/arithmetic.h"
#include "quern/calibrate.h"
#include "quern/codes.h"
#include "quern/cpu.h"
#include "quern/cut.h"
#include "quern/cut_study.h"
#include "quern/dataset.h"
#include "quern/diff.h"
#include "quern/engine.h"
#include "quern/evaluate.h"
#include "quern/export.h"
#include "quern/fault.h"
#include "quern/fit.h"
#include "quern/format.h"
#include "quern/inspect.h"
#include "quern/link.h"
#include "quern/model.h"
#include "quern/pipeline.h"
#include "quern/partition.h"
#include "quern/plan.h"
#include "quern/policy.h"
#include "quern/protect.h"
#include "quern/quantize.h"
#include "quern/status.h"
#include "quern/study.h"
#include "quern/tensor.h"

#endif
