/* CRC-32C (Castagnoli; RFC 3720, appendix B.4): polynomial 0x1EDC6F41, bits reflected, start and end inverted. */
#ifndef QN_LINK_CRC32C_H
#define QN_LINK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#include "quern/cpu.h"

/* The CRC of bytes whose CRC is `crc`, followed by `n` more; that of none is 0. The same at every level. */
uint32_t qn_crc32c_at(qn_cpu cpu, uint32_t crc, const void *data, size_t n);
/* At the level of the environment, or the best one where that is unusable. */
uint32_t qn_crc32c(uint32_t crc, const void *data, size_t n);

#endif
