#include "status.h"

#include <stdarg.h>
#include <stdio.h>

enum eo_status
eo_fail(struct eo_err *err, enum eo_status status, const char *fmt, ...)
{
	va_list ap;

	if (err->status != EO_OK)
		return err->status;
	err->status = status;
	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return status;
}

void
eo_err_clear(struct eo_err *err)
{
	err->status = EO_OK;
	err->text[0] = '\0';
}

static int
rank(enum eo_status s)
{
	static const enum eo_status order[] = { EO_OK, EO_DIFFERS, EO_AGAIN,
	    EO_DATA, EO_NOINPUT, EO_NOPERM, EO_CONFUSED, EO_IO, EO_BUG };
	const int n = (int)(sizeof(order) / sizeof(order[0]));

	for (int i = 0; i < n; i++)
		if (order[i] == s)
			return i;
	return n;	/* usage and what keeps a program from starting */
}

enum eo_status
eo_status_worst(enum eo_status a, enum eo_status b)
{
	return rank(a) >= rank(b) ? a : b;
}

void
eo_say(const struct eo_report *r, enum eo_status status, const char *fmt, ...)
{
	char text[1000];
	va_list ap;

	if (r->say == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->say(r->ctx, status, text);
}
