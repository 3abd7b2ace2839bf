/* frame: writing. */
#include "frame.h"

#include <string.h>

#include "crc32c.h"

/* eo1 TAB type TAB source TAB channel TAB */
static void
put_head(struct eo_buf *to, enum eo_frame_type type, const char *source,
    const char *channel)
{
	eo_buf_add(to, "eo1\t", 4);
	eo_buf_adds(to, eo_frame_type_name(type));
	eo_buf_addc(to, '\t');
	eo_buf_add(to, source, EO_SOURCE_LEN);
	eo_buf_addc(to, '\t');
	eo_buf_adds(to, channel);
	eo_buf_addc(to, '\t');
}

static void
put_num(struct eo_buf *to, uint64_t v)
{
	to->len += eo_num_put(eo_buf_room(to, 20), v);
	eo_buf_addc(to, '\t');
}

static void
put_hex(struct eo_buf *to, uint32_t v)
{
	to->len += eo_num_put_hex32(eo_buf_room(to, 8), v);
}

/* The check over what stands since start, and the LF. */
static void
put_check(struct eo_buf *to, size_t start)
{
	put_hex(to, eo_crc32c(0, to->p + start, to->len - start));
	eo_buf_addc(to, '\n');
}

uint32_t
eo_frame_put(struct eo_buf *to, enum eo_frame_type type, const char *source,
    const char *channel, uint64_t seq, uint32_t before, struct eo_slice attrs,
    struct eo_slice body)
{
	size_t start = to->len, linked;
	uint32_t link;

	put_head(to, type, source, channel);
	put_num(to, seq);
	linked = to->len;
	put_hex(to, before);
	eo_buf_addc(to, '\t');
	if (attrs.n == 0)
		eo_buf_addc(to, '-');
	else
		eo_buf_add(to, attrs.p, attrs.n);
	eo_buf_addc(to, '\t');
	eo_escape(to, body, false);
	link = eo_crc32c(0, to->p + linked, to->len - linked);
	eo_buf_addc(to, '\t');
	put_check(to, start);
	return link;
}

void
eo_frame_put_base(struct eo_buf *to, const char *source, const char *channel,
    uint64_t seq, uint32_t before, const char *receiver, uint64_t acked)
{
	size_t start = to->len;

	put_head(to, EO_BASE, source, channel);
	put_num(to, seq);
	put_hex(to, before);
	eo_buf_addc(to, '\t');
	eo_buf_adds(to, receiver[0] == '\0' ? "-" : receiver);
	eo_buf_addc(to, '\t');
	put_num(to, acked);
	put_check(to, start);
}

void
eo_frame_put_abort(struct eo_buf *to, const struct eo_frame *msg)
{
	size_t start = to->len;

	eo_buf_add(to, "eo1\tabort\t", 10);
	eo_buf_add(to, msg->source.p, msg->source.n);
	eo_buf_addc(to, '\t');
	eo_buf_add(to, msg->channel.p, msg->channel.n);
	eo_buf_addc(to, '\t');
	put_num(to, msg->seq);
	put_hex(to, msg->before);
	eo_buf_addc(to, '\t');
	put_hex(to, msg->link);
	eo_buf_addc(to, '\t');
	put_check(to, start);
}

void
eo_frame_put_ack(struct eo_buf *to, const char *source, const char *channel,
    const char *receiver, uint64_t upto, uint32_t link, struct eo_slice ranges,
    struct eo_slice except)
{
	size_t start = to->len;

	put_head(to, EO_ACK, source, channel);
	eo_buf_adds(to, receiver);
	eo_buf_addc(to, '\t');
	put_num(to, upto);
	put_hex(to, link);
	eo_buf_addc(to, '\t');
	if (ranges.n == 0)
		ranges = eo_slice_str("-");
	eo_buf_add(to, ranges.p, ranges.n);
	eo_buf_addc(to, '\t');
	if (except.n == 0)
		except = eo_slice_str("-");
	eo_buf_add(to, except.p, except.n);
	eo_buf_addc(to, '\t');
	put_check(to, start);
}

void
eo_frame_put_as(struct eo_buf *to, enum eo_frame_type type,
    const struct eo_frame *f)
{
	size_t start = to->len;
	const char *rest = f->source.p;		/* from the source on, the same */

	eo_buf_add(to, "eo1\t", 4);
	eo_buf_adds(to, eo_frame_type_name(type));
	eo_buf_addc(to, '\t');
	eo_buf_add(to, rest, (size_t)(f->line.p + f->line.n - 8 - rest));
	put_check(to, start);
}
