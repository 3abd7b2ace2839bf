#include "channels.h"

#include <fnmatch.h>
#include <string.h>

#include "frame.h"

bool
eo_channels_match(const struct eo_channels *c, struct eo_slice channel)
{
	char name[EO_CHANNEL_MAX + 1];

	if (c->n == 0)
		return eo_slice_is(channel, EO_CHANNEL_DEFAULT);
	if (channel.n > EO_CHANNEL_MAX)
		return false;
	memcpy(name, channel.p, channel.n);
	name[channel.n] = '\0';
	for (size_t i = 0; i < c->n; i++)
		if (fnmatch(c->pattern[i], name, 0) == 0)
			return true;
	return false;
}
