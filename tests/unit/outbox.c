/* outbox: numbers without holes, ids, blocks, submissions. */
#include "outbox.h"

#include <sys/wait.h>

#include "sender.h"

/* A child that sends in many transactions, and gives up every fourth. */
static void
send_many(struct lab *lab, int child)
{
	struct eo_journal *j;
	struct eo_put_ref ref;
	struct eo_outbox ob;
	char body[30];
	int count = 0;

	lab->random += (uint64_t)child;
	j = lab_open(lab, "a.db");
	eo_outbox_init(&ob, j);
	for (int i = 0; i < 30; i++) {
		int was = count, n = (int)(rnd(&lab->random) % 20);

		eo_outbox_begin(&ob, true);
		while (n-- > 0) {
			snprintf(body, sizeof(body), "%d %d", child, count++);
			add(&ob, body, "", "", &ref);
		}
		if (rnd(&lab->random) % 4 > 0)
			eo_outbox_end(&ob, EO_OK);
		else {
			eo_outbox_end(&ob, EO_AGAIN);
			count = was;
		}
	}
	eo_outbox_free(&ob);
	eo_journal_close(j);
	_exit(count / 3);
}

static void
numbers(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "a.db");
	struct eo_buf text = { 0 }, frames = { 0 };
	struct eo_slice rest;
	int64_t life = eo_journal_current(j)->id;
	int next[4] = { 0 }, child, n, status;
	bool follow, holes = false, order = true, kept = true;
	pid_t pid[4];
	const char *cause;
	struct eo_frame f;

	eo_journal_close(j);
	fflush(stdout);
	for (int i = 0; i < 4; i++)
		if ((pid[i] = fork()) == 0)
			send_many(lab, i);
	for (int i = 0; i < 4; i++) {
		waitpid(pid[i], &status, 0);
		pid[i] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	j = lab_open(lab, "a.db");
	follow = sent(j, life, true, &text, &frames);
	rest = eo_slice_buf(&frames);
	for (uint64_t seq = 1; rest.n > 0; seq++) {
		eo_frame_parse(eo_slice_cut(&rest, '\n'), &f, &cause);
		holes |= f.seq != seq;
		order &= sscanf(f.body.p, "%d %d", &child, &n) == 2 &&
		    child < 4 && n == next[child]++;
	}
	for (int i = 0; i < 4; i++)
		kept &= next[i] > 50 && next[i] / 3 == pid[i];
	ok(!holes, "numbers have no holes, whoever gives up");
	ok(follow, "and each link follows the one before");
	ok(order && kept, "what was committed is there, once and in order");
	eo_buf_free(&text);
	eo_buf_free(&frames);
	eo_journal_close(j);
}

static void
ids(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "ids.db");
	struct eo_put_ref ref, first;
	struct eo_outbox ob;
	char *long_id = eo_grow(NULL, EO_ATTRS_MAX + 1, 1);

	memset(long_id, 'x', EO_ATTRS_MAX);
	long_id[EO_ATTRS_MAX] = '\0';
	eo_outbox_init(&ob, j);
	eo_outbox_begin(&ob, false);
	add(&ob, "body", "gone", "", &ref);
	eo_outbox_end(&ob, EO_AGAIN);
	eo_outbox_begin(&ob, false);
	ok(add(&ob, "other", "gone", "", &ref) == EO_PUT_NEW && ref.seq == 1,
	    "an id that was rolled back is free");
	ok(add(&ob, "body", "i", "k", &first) == EO_PUT_NEW &&
	    add(&ob, "body", "i", "k", &ref) == EO_PUT_REPEAT &&
	    ref.seq == first.seq, "the same again, in the same transaction");
	eo_outbox_end(&ob, EO_OK);
	lab->now += 1000;
	eo_outbox_begin(&ob, false);
	ok(add(&ob, "body", "i", "k", &ref) == EO_PUT_REPEAT &&
	    ref.seq == 2 && strcmp(ref.source, first.source) == 0,
	    "and later: it is named");
	ok(add(&ob, "bodY", "i", "k", &ref) == EO_PUT_CONFLICT, "another body");
	ok(add(&ob, "body", "i", "q", &ref) == EO_PUT_CONFLICT, "another key");
	ok(add(&ob, "bod", "i", "yk", &ref) == EO_PUT_CONFLICT,
	    "the same bytes, cut elsewhere");
	ok(add(&ob, "body", long_id, "", &ref) == EO_PUT_LARGE,
	    "attributes over the limit");
	ok(add(&ob, "body", "", "", &ref) == EO_PUT_NEW && ref.seq == 3,
	    "what was refused took no number");
	eo_db_run(j->db, "INSERT INTO eo_out_dead VALUES (?, 2, '', 0, 0, '')",
	    "i", ob.ch[0]->out.id);
	ok(add(&ob, "body", "i", "k", &ref) == EO_PUT_DEAD && ref.seq == 2,
	    "the id of a dead letter");
	eo_outbox_end(&ob, EO_OK);
	eo_outbox_free(&ob);
	eo_journal_close(j);
	free(long_id);
}

static void
blocks(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "blocks.db");
	char *body = eo_grow(NULL, 300001, 1);
	struct eo_put_ref ref;
	struct eo_outbox ob;
	struct eo_rows *st;
	uint64_t next = 1;
	bool split = true;
	int n = 0;

	memset(body, 'b', 300000);
	body[300000] = '\0';
	eo_outbox_init(&ob, j);
	eo_outbox_begin(&ob, true);
	for (int i = 0; i < 9; i++)
		add(&ob, body, "", "", &ref);
	eo_outbox_end(&ob, EO_OK);
	eo_journal_read(j);
	st = eo_db_query(j->db, "SELECT b.first, b.last, length(f.frames) FROM "
	    "eo_block b JOIN eo_frames f ON f.id = b.id ORDER BY b.first", "");
	for (; eo_db_row(st); n++) {
		int64_t size = eo_db_int(st, 2);
		int64_t count = eo_db_int(st, 1) - eo_db_int(st, 0) + 1;

		/* Without its last message it is below 1 MiB. */
		split &= (uint64_t)eo_db_int(st, 0) == next &&
		    size - size / count < (int64_t)EO_BLOCK_MAX;
		next = (uint64_t)eo_db_int(st, 1) + 1;
	}
	eo_journal_read_end(j);
	ok(split && n == 3 && next == 10, "a block ends at 1 MiB");
	eo_outbox_free(&ob);
	eo_journal_close(j);
	free(body);
}

/* Rows that an application has laid into eo_submit. */
static void
submissions(struct lab *lab)
{
	struct eo_journal *j = lab_open(lab, "submit.db");
	struct eo_buf text = { 0 }, frames = { 0 };
	unsigned said = lab->said[EO_DATA];

	eo_journal_begin(j);
	eo_db_run(j->db, "INSERT INTO eo_submit(channel, body, id) VALUES "
	    "('c', 'one', 'i'), ('c', 'two', NULL), ('c', 'x', 'i'), "
	    "('c', 'one', 'i'), ('c', CAST('three' AS BLOB), NULL)", "");
	eo_journal_end(j, EO_OK);
	ok(eo_outbox_submissions(j) == EO_OK &&
	    sent(j, 1, true, &text, &frames) &&
	    eo_slice_is(eo_slice_buf(&text), "1 2 3"), "rows are numbered");
	eo_buf_addc(&frames, '\0');
	ok(strstr(frames.p, "\tone\t") < strstr(frames.p, "\ttwo\t") &&
	    strstr(frames.p, "\ttwo\t") < strstr(frames.p, "\tthree\t"),
	    "in their order");
	ok(lab->said[EO_DATA] == said + 1 && eo_db_int_or(j->db, 0,
	    "SELECT n FROM eo_submit WHERE refused IS NOT NULL", "") == 3 &&
	    eo_db_int_or(j->db, 0, "SELECT count(*) FROM eo_submit", "") == 1,
	    "a conflict stays behind, and is reported");
	eo_buf_free(&text);
	eo_buf_free(&frames);
	eo_journal_close(j);
}

int
main(void)
{
	struct lab lab;

	lab_init(&lab, seed());
	numbers(&lab);
	ids(&lab);
	blocks(&lab);
	submissions(&lab);
	lab_free(&lab);
	return done();
}
