/*
 * receive_run: the part of receive that deals with handlers.
 *
 *	not held → picked → running → ended
 *	           |        |         +- completed, dead, or due again: the
 *	           |        |            commit of the next eo_receive_pick
 *	           |        +- a crash leaves the try counted, due in 1 s or more
 *	           +- the try is noted: the commit of eo_receive_pick
 *
 * One commit does both: it notes how one run ended and that the next begins.
 */
#ifndef EO_RECEIVE_RUN_H
#define EO_RECEIVE_RUN_H

#include "receive.h"

/* Begins a transaction; with --emit, of the outbox as well. */
enum eo_status eo_receive_begin(struct eo_receive *rc);

/* Notes how the last run ended, and picks the next message. True: run what is
   picked, or call again. */
bool eo_receive_pick(struct eo_receive *rc);

/* What was picked is not run after all, or was run and not noted yet. */
void eo_receive_unpick(struct eo_receive *rc);

#endif
