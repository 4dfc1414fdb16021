#ifndef QUERN_PARTITION_H
#define QUERN_PARTITION_H
#include "quern/plan.h"
#endif
