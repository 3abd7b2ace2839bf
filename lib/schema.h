/*
 * schema: the tables of a journal, their version, and how they are made.
 *
 * eo-journal(5) says what each column means.  To change the format: raise
 * EO_SCHEMA_VERSION, change the statements in schema.c, add a
 * step to eo_schema_make() that turns the version before into this one in the
 * transaction that is open, and keep a journal of the old version in the
 * tests.
 */
#ifndef EO_SCHEMA_H
#define EO_SCHEMA_H

#include "db.h"

#define EO_SCHEMA_VERSION 1

enum eo_schema {
	EO_SCHEMA_NONE,		/* no table of eo's */
	EO_SCHEMA_GOOD,
	EO_SCHEMA_NEWER,
	EO_SCHEMA_ODD,		/* changed by another hand: see what */
};

/* Compares every table, index, view and trigger that concerns eo with what
   this version makes.  *what names what differs. */
enum eo_schema eo_schema_look(struct eo_db *db, struct eo_buf *what);

/* The version, as of the transaction that is open; 0 if there is none. */
int64_t eo_schema_version(struct eo_db *db);

/* Makes the tables, in the transaction that is open. */
enum eo_status eo_schema_make(struct eo_db *db);

#endif
