/*
 * check: is a journal sound, and do two of them agree?
 *
 *	eo_check_journal(j, &findings);		one, by itself
 *	eo_check_pair(a, b, &findings);		what a sent and b received
 *
 * The numbers in brackets in check.c are those of the invariants in
 * eo-journal(5).  Reads only, in one snapshot of each journal.  Each finding
 * is reported as it is found; the counts say what it comes to.
 */
#ifndef EO_CHECK_H
#define EO_CHECK_H

#include "journal.h"

struct eo_findings {
	void (*say)(void *ctx, const char *text);
	void *ctx;
	uint64_t unsound;	/* something that no crash can leave */
	uint64_t pending;	/* not settled, or not processed: yet */
	uint64_t dead;		/* dead letters at either end */
	uint64_t lost, twice;	/* of a pair */
	uint64_t channels;	/* of a pair: that both know */
};

enum eo_status eo_check_journal(struct eo_journal *j,
    struct eo_findings *found);
enum eo_status eo_check_pair(struct eo_journal *sender,
    struct eo_journal *receiver, struct eo_findings *found);

/*
 * Writes a journal anew after an I/O error.
 * states: FILE and marker | FILE-repair, being written | FILE-repaired,
 * whole (the commit point is its rename) | FILE renamed over, marker gone.
 * A crash leaves one of them; called again, it goes on from there.
 */
enum eo_status eo_check_repair(struct eo_journal *j);

#endif
