/*
 * sender: a journal's outbox, for the tests of outbox, resend and settle.
 *
 *	fill(j, 10);				numbers 1 to 10 of channel c
 *	sent(j, life, true, &text, NULL)	"1 2 3 ..."
 */
#ifndef EO_SENDER_H
#define EO_SENDER_H

#include "lab.h"
#include "outbox.h"
#include "resend.h"

/* One message in an open transaction. */
static inline enum eo_put
add(struct eo_outbox *ob, const char *body, const char *id, const char *key,
    struct eo_put_ref *ref)
{
	struct eo_message m = { .channel = "c", .body = eo_slice_str(body),
	    .id = eo_slice_str(id), .key = eo_slice_str(key) };
	enum eo_put put = EO_PUT_LARGE;

	eo_outbox_add(ob, &m, &put, ref);
	return put;
}

/* n messages, as a transaction. */
static inline void
fill(struct eo_journal *j, int n)
{
	struct eo_put_ref ref;
	struct eo_outbox ob;
	char body[20];

	eo_outbox_init(&ob, j);
	eo_outbox_begin(&ob, true);
	for (int i = 1; i <= n; i++) {
		snprintf(body, sizeof(body), "body %d", i);
		add(&ob, body, "", "", &ref);
	}
	eo_outbox_end(&ob, EO_OK);
	eo_outbox_free(&ob);
}

static inline struct eo_out
out_of(struct eo_journal *j, int64_t life)
{
	struct eo_out out;

	memset(&out, 0, sizeof(out));
	eo_journal_read(j);
	eo_out_find(j, life, eo_slice_str("c"), &out);
	eo_journal_read_end(j);
	return out;
}

/* What would be sent, as "1 2 a3 5" (a: an abort), and as frames if they are
   asked for; not all: what is due, which is then marked as sent.  False if
   links do not follow. */
static inline bool
sent(struct eo_journal *j, int64_t life, bool all, struct eo_buf *text,
    struct eo_buf *frames)
{
	struct eo_out out = out_of(j, life);
	struct eo_resend_cursor cursor = { 0 };
	struct eo_resend_batch batch = { 0 };
	uint64_t seq = 0;
	uint32_t link = 0;
	bool follow = true;
	const char *cause;
	struct eo_frame f;

	text->len = 0;
	while (eo_resend_fetch(j, &out, all, &cursor, &batch) == EO_OK &&
	    batch.nblock > 0) {
		struct eo_slice rest = eo_slice_buf(&batch.frames);

		if (frames != NULL)
			eo_buf_add(frames, rest.p, rest.n);
		while (rest.n > 0) {
			follow &= eo_frame_parse(eo_slice_cut(&rest, '\n'), &f,
			    &cause) == EO_FRAME_GOOD;
			follow &= f.seq != seq + 1 || f.before == link;
			seq = f.seq;
			link = f.link;
			eo_buf_addf(text, "%s%s%d", text->len > 0 ? " " : "",
			    f.type == EO_ABORT ? "a" : "", (int)seq);
		}
		if (!all)
			eo_resend_mark(j, &batch);
	}
	eo_resend_free(&batch);
	return follow;
}

#endif
