/*
 * operator: what a person decides about single messages.
 *
 *	eo_operator_do(&op, EO_VERB_DONE, "orders/17-42", NULL);
 *
 * A reference is SOURCE/CHANNEL/NUMBER; the source may be cut short or left
 * out where no other could be meant, the number may be a range.  Of a message
 * that this journal both sent and received, what the receiver knows of it is
 * meant, if it knows it.  Of a range, those are meant to which the verb applies.
 *
 * verb		at the receiver			at the sender
 * done		held or dead → completed	–
 * dead		held → dead			pending → withdrawing
 * again	held: due now; dead: due again	pending: due now; dead: becomes
 *						a new message with was=
 *
 * Each call is one transaction, and is recorded in eo_operator.
 */
#ifndef EO_OPERATOR_H
#define EO_OPERATOR_H

#include "inbox.h"
#include "outbox.h"

enum eo_verb { EO_VERB_DONE, EO_VERB_DEAD, EO_VERB_AGAIN };

struct eo_ref {
	char source[EO_SOURCE_LEN + 1];		/* a prefix, or "" */
	char channel[EO_CHANNEL_MAX + 1];
	uint64_t first, last;
};

/* False if the text is no reference. */
bool eo_ref_parse(const char *text, struct eo_ref *ref);

/* A refusal (an unknown or ambiguous reference: 65; a channel that is being
   worked on: 75) is reported and returned, with nothing changed; a failure is
   in j->err as always. */
enum eo_status eo_operator_do(struct eo_journal *j, enum eo_verb verb,
    const char *ref, const char *reason);

/* The channels have moved to another receiver. */
enum eo_status eo_operator_receiver(struct eo_journal *j,
    const struct eo_channels *filter, const char *receiver);

#endif
