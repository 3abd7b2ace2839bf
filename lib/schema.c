#include "schema.h"

#include <string.h>

#include "num.h"

/* Nothing newer than SQLite 3.24.  Times are ms since the epoch; links are
   CRC-32Cs; `out` and `ch` are ids of eo_out and eo_in. */
static const char *const tables[] = {
	"CREATE TABLE eo_schema(version INTEGER NOT NULL)",
	/* Every life of this journal; the last one is the present. */
	"CREATE TABLE eo_source(id INTEGER PRIMARY KEY, "
	    "source TEXT NOT NULL UNIQUE, since INTEGER NOT NULL, "
	    "reason TEXT NOT NULL)",
	"CREATE TABLE eo_identity(file TEXT NOT NULL)",

	/* The outbox. */
	"CREATE TABLE eo_out(id INTEGER PRIMARY KEY, source INTEGER NOT NULL, "
	    "channel TEXT NOT NULL, receiver TEXT NOT NULL, "
	    "last INTEGER NOT NULL, link INTEGER NOT NULL, "
	    "base INTEGER NOT NULL, before INTEGER NOT NULL, "
	    "acked INTEGER NOT NULL, verified INTEGER NOT NULL, "
	    "forked INTEGER NOT NULL, UNIQUE(source, channel))",
	"CREATE TABLE eo_out_range(out INTEGER NOT NULL, "
	    "first INTEGER NOT NULL, last INTEGER NOT NULL, "
	    "link INTEGER NOT NULL, PRIMARY KEY(out, first)) WITHOUT ROWID",
	"CREATE TABLE eo_block(id INTEGER PRIMARY KEY, out INTEGER NOT NULL, "
	    "first INTEGER NOT NULL, last INTEGER NOT NULL, "
	    "tries INTEGER NOT NULL, due INTEGER NOT NULL, "
	    "since INTEGER NOT NULL, UNIQUE(out, first))",
	"CREATE INDEX eo_block_due ON eo_block(out, due, first)",
	"CREATE TABLE eo_frames(id INTEGER PRIMARY KEY, frames BLOB NOT NULL)",
	"CREATE TABLE eo_out_id(channel TEXT NOT NULL, id TEXT NOT NULL, "
	    "out INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "crc INTEGER NOT NULL, length INTEGER NOT NULL, "
	    "PRIMARY KEY(channel, id)) WITHOUT ROWID",
	"CREATE TABLE eo_withdraw(out INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "reason TEXT NOT NULL, since INTEGER NOT NULL, "
	    "PRIMARY KEY(out, seq)) WITHOUT ROWID",
	"CREATE TABLE eo_out_dead(out INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "reason TEXT NOT NULL, unsure INTEGER NOT NULL, "
	    "since INTEGER NOT NULL, frame BLOB NOT NULL, "
	    "PRIMARY KEY(out, seq))",

	/* The inbox, which is the dedup store as well. */
	"CREATE TABLE eo_in(id INTEGER PRIMARY KEY, source TEXT NOT NULL, "
	    "channel TEXT NOT NULL, low INTEGER NOT NULL, "
	    "link INTEGER NOT NULL, life INTEGER NOT NULL, "
	    "base INTEGER NOT NULL, before INTEGER NOT NULL, "
	    "named TEXT NOT NULL, acked INTEGER NOT NULL, "
	    "takeover INTEGER NOT NULL, "
	    "completed INTEGER NOT NULL, duplicates INTEGER NOT NULL, "
	    "UNIQUE(source, channel))",
	"CREATE TABLE eo_in_range(ch INTEGER NOT NULL, "
	    "first INTEGER NOT NULL, last INTEGER NOT NULL, "
	    "before INTEGER NOT NULL, link INTEGER NOT NULL, "
	    "PRIMARY KEY(ch, first)) WITHOUT ROWID",
	"CREATE TABLE eo_in_except(ch INTEGER NOT NULL, "
	    "seq INTEGER NOT NULL, link INTEGER NOT NULL, "
	    "kind TEXT NOT NULL, PRIMARY KEY(ch, seq)) WITHOUT ROWID",
	"CREATE TABLE eo_held(id INTEGER PRIMARY KEY, ch INTEGER NOT NULL, "
	    "first INTEGER NOT NULL, last INTEGER NOT NULL, "
	    "before INTEGER NOT NULL, link INTEGER NOT NULL, "
	    "lease INTEGER NOT NULL, since INTEGER NOT NULL, "
	    "UNIQUE(ch, first))",
	"CREATE TABLE eo_held_frames(id INTEGER PRIMARY KEY, "
	    "frames BLOB NOT NULL)",
	"CREATE TABLE eo_try(ch INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "tries INTEGER NOT NULL, due INTEGER NOT NULL, "
	    "reason TEXT NOT NULL, PRIMARY KEY(ch, seq)) WITHOUT ROWID",
	/* Of what is held: its key, while it may keep another one waiting;
	   its id, and whether it is being processed. */
	"CREATE TABLE eo_key(ch INTEGER NOT NULL, key TEXT NOT NULL, "
	    "seq INTEGER NOT NULL, PRIMARY KEY(ch, key, seq)) WITHOUT ROWID",
	"CREATE TABLE eo_twin(channel TEXT NOT NULL, id TEXT NOT NULL, "
	    "ch INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "begun INTEGER NOT NULL, "
	    "PRIMARY KEY(channel, id, ch, seq)) WITHOUT ROWID",
	"CREATE TABLE eo_in_dead(ch INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "reason TEXT NOT NULL, tries INTEGER NOT NULL, "
	    "again INTEGER NOT NULL, since INTEGER NOT NULL, "
	    "frame BLOB NOT NULL, PRIMARY KEY(ch, seq))",
	"CREATE TABLE eo_in_id(channel TEXT NOT NULL, id TEXT NOT NULL, "
	    "ch INTEGER NOT NULL, seq INTEGER NOT NULL, "
	    "PRIMARY KEY(channel, id)) WITHOUT ROWID",
	"CREATE TABLE eo_pass(ch INTEGER NOT NULL, first INTEGER NOT NULL, "
	    "last INTEGER NOT NULL, since INTEGER NOT NULL, "
	    "PRIMARY KEY(ch, first)) WITHOUT ROWID",
	"CREATE TABLE eo_file(path TEXT PRIMARY KEY, file TEXT NOT NULL, "
	    "length INTEGER NOT NULL, open INTEGER NOT NULL) WITHOUT ROWID",

	/* Both. */
	"CREATE TABLE eo_submit(n INTEGER PRIMARY KEY, "
	    "channel TEXT NOT NULL DEFAULT 'default' "
	    "CHECK(length(channel) BETWEEN 1 AND 128 "
	    "AND channel NOT GLOB '*[^A-Za-z0-9._:@-]*' "
	    "AND channel NOT GLOB '[.-]*'), "
	    "body NOT NULL CHECK(typeof(body) IN ('text', 'blob') "
	    "AND length(CAST(body AS BLOB)) <= 16777216), "
	    "id TEXT CHECK(length(CAST(id AS BLOB)) BETWEEN 1 AND 1024), "
	    "key TEXT CHECK(length(CAST(key AS BLOB)) BETWEEN 1 AND 1024), "
	    "refused TEXT)",
	"CREATE TABLE eo_operator(n INTEGER PRIMARY KEY, at INTEGER NOT NULL, "
	    "verb TEXT NOT NULL, ref TEXT NOT NULL, text TEXT NOT NULL)",
};

#define TABLES (sizeof(tables) / sizeof(*tables))

static bool
ours(struct eo_slice sql)
{
	for (size_t i = 0; i < TABLES; i++)
		if (eo_slice_is(sql, tables[i]))
			return true;
	return false;
}

enum eo_schema
eo_schema_look(struct eo_db *db, struct eo_buf *what)
{
	size_t good = 0;
	bool odd = false, any = false;
	/* An application's own triggers may well insert into eo_submit; one
	   *on* a table of eo's would act inside our transactions. */
	struct eo_rows *st = eo_db_query(db, "SELECT type, name, sql FROM "
	    "sqlite_master WHERE (tbl_name LIKE 'eo\\_%' ESCAPE '\\' OR "
	    "name LIKE 'eo\\_%' ESCAPE '\\') AND sql IS NOT NULL", "");

	while (eo_db_row(st)) {
		struct eo_slice type = eo_db_bytes(st, 0);
		struct eo_slice name = eo_db_bytes(st, 1);

		any |= eo_slice_is(name, "eo_schema");
		if (ours(eo_db_bytes(st, 2))) {
			good++;
			continue;
		}
		if (!odd) {
			eo_buf_add(what, type.p, type.n);
			eo_buf_addc(what, ' ');
			eo_buf_add(what, name.p, name.n);
		}
		odd = true;
	}
	if (!any && !odd)
		return EO_SCHEMA_NONE;
	if (any && eo_schema_version(db) > EO_SCHEMA_VERSION)
		return EO_SCHEMA_NEWER;
	if (!odd && good != TABLES)
		eo_buf_adds(what, "a table is missing");
	return odd || good != TABLES ? EO_SCHEMA_ODD : EO_SCHEMA_GOOD;
}

int64_t
eo_schema_version(struct eo_db *db)
{
	return eo_db_int_or(db, 0, "SELECT version FROM eo_schema", "");
}

enum eo_status
eo_schema_make(struct eo_db *db)
{
	for (size_t i = 0; i < TABLES; i++)
		eo_db_run(db, tables[i], "");
	return eo_db_run(db, "INSERT INTO eo_schema VALUES (?)", "i",
	    (int64_t)EO_SCHEMA_VERSION);
}
