/*
 * append: a file to which bodies are appended exactly once.
 *
 * A file and a journal cannot commit together.  So the journal notes how long
 * the file is, and whether bytes beyond that may be there:
 *
 * state of eo_file	the file is		a crash leaves, and who mends
 * open = 0		length bytes		that
 * open = 1		length bytes and part	the next eo_append_open cuts the
 *			of the next batch	rest off, and keeps it in
 *						FILE.eo-aside
 * the commit point	is that of the batch, which writes the new length with
 *			the numbers; the bytes were synced before
 *
 *	eo_append_open(&a, j, path);		once
 *	eo_append_ready(a);			before a batch: its own commit
 *	eo_journal_begin(j);
 *	... eo_append_add(a, body);		for each
 *	eo_append_flush(a, more);		write, sync, new length
 *	eo_journal_end(j);
 *	eo_append_rest(a);			before waiting
 *
 * While we work the file is locked (an open-file-description lock), so that
 * several eo-recv may append to it.  Who appends without asking is noticed.
 */
#ifndef EO_APPEND_H
#define EO_APPEND_H

#include "journal.h"

struct eo_append {
	struct eo_journal *j;
	char *path;		/* resolved */
	int fd;			/* -1 while we rest */
	char *file;		/* identity of what is open */
	uint64_t length;	/* committed */
	bool noted;		/* eo_file says that a write is open */
	struct eo_buf bytes;	/* of this batch */
};

enum eo_status eo_append_open(struct eo_append *a, struct eo_journal *j,
    const char *path);
void eo_append_free(struct eo_append *a);

/* Locks and checks the file, mends it after a crash, and notes that a write
   is open. */
enum eo_status eo_append_ready(struct eo_append *a);

/* Body, and LF. */
void eo_append_add(struct eo_append *a, struct eo_slice escaped);

/* In the transaction that marks the numbers. more: stay open for the next. */
enum eo_status eo_append_flush(struct eo_append *a, bool more);

/* Says in the journal that no write is open, and lets the file go. */
enum eo_status eo_append_rest(struct eo_append *a);

#endif
