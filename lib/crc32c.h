/*
 * crc32c: the CRC-32C of RFC 3720, appendix B.4 (Castagnoli's polynomial).
 *
 *	crc = eo_crc32c(0, p, n);
 *	crc = eo_crc32c(crc, more, m);		the CRC of both, in order
 *
 * Uses the processor's instruction where there is one (x86-64 with SSE 4.2),
 * chosen at run time, and a table elsewhere.
 */
#ifndef EO_CRC32C_H
#define EO_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t eo_crc32c(uint32_t crc, const void *p, size_t n);

/* The portable one, by itself: what a test compares the other with. */
uint32_t eo_crc32c_table(uint32_t crc, const void *p, size_t n);

#endif
