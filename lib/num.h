/*
 * num: numbers as text, strictly.
 *
 * Decimal digits and nothing else: no sign, no blank, no 0x, no leading
 * zero but "0" itself, so that every number has one spelling.  Each returns
 * false, with *out untouched, for anything else and for what is out of range.
 */
#ifndef EO_NUM_H
#define EO_NUM_H

#include <stdint.h>

#include "buf.h"

#define EO_SEQ_MAX ((UINT64_C(1) << 53) - 1)

bool eo_num_u64(struct eo_slice s, uint64_t max, uint64_t *out);

/* A size in bytes: digits, then nothing or K, M, G (powers of 1,024). */
bool eo_num_size(struct eo_slice s, uint64_t max, uint64_t *out);

/* A duration in milliseconds: digits, then ms, s, m, h, d; nothing is s. */
bool eo_num_duration(struct eo_slice s, int64_t *ms);

/* Exactly 8 lower-case hex digits. */
bool eo_num_hex32(const char *p, uint32_t *out);

/* Write v; return the length (20 and 8 at most). No NUL. */
size_t eo_num_put(char *to, uint64_t v);
size_t eo_num_put_hex32(char *to, uint32_t v);

#endif
