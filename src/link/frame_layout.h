/* Where things lie in a frame (doc/spec/link.md): for what reads and writes headers, and what names their parts. Inside
 * the link room. */
#ifndef QN_LINK_FRAME_LAYOUT_H
#define QN_LINK_FRAME_LAYOUT_H

#include "link/link.h"

/* The header: where its fixed fields lie; then dims, the name filled up with zeros to a multiple of 4, the CRC. */
enum {
    VERSION = 1,
    AT_VERSION = 4,
    AT_FLAGS = 6,
    AT_PER = 8,
    AT_RANK = 9,
    AT_NAME_BYTES = 10,
    AT_RESERVED = 11,
    AT_BODY_CRC = 12,
    AT_GROUP = 16,
    AT_BODY_BYTES = 24,
    AT_DIMS = 32,
    CRC_BYTES = 4,
    HEADER_LEAST = AT_DIMS + 4 + CRC_BYTES
};

#endif
