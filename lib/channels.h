/*
 * channels: which channels a program was told to work on.
 *
 * Shell patterns (fnmatch(3)), as given by -c; none given means the channel
 * `default` and no other.
 */
#ifndef EO_CHANNELS_H
#define EO_CHANNELS_H

#include "buf.h"

#define EO_CHANNEL_DEFAULT "default"

struct eo_channels {
	const char **pattern;
	size_t n;
};

bool eo_channels_match(const struct eo_channels *c, struct eo_slice channel);

#endif
