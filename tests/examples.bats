#!/usr/bin/env bats
# The manuals and the README: what they show runs, and what they name exists.

load lib/helper

# blocks_of_manual FILE DIR: each literal block of EXAMPLES becomes DIR/NN.
blocks_of_manual() {
	awk -v dir="$2" '
	/^\.Sh /	{ examples = ($0 == ".Sh EXAMPLES") }
	/^\.Ed/		{ out = ""; next }
	examples && /^\.Bd -literal/ {
		out = sprintf("%s/%02d", dir, ++n)
		next
	}
	out != "" {
		sub(/^\\&/, "")
		gsub(/\\e/, "\\")
		print >out
	}' "$1"
}

# blocks_of_readme FILE DIR: each block fenced with ```sh becomes DIR/NN.
blocks_of_readme() {
	awk -v dir="$2" '
	/^```/ {
		out = $0 == "```sh" ? sprintf("%s/%02d", dir, ++n) : ""
		next
	}
	out != "" { print >out }' "$1"
}

# run_blocks DIR: each as a script of its own, in an empty folder, with an
# empty HOME.  There must be some.
run_blocks() {
	local block work status n=0

	for block in "$1"/*; do
		work=$BATS_TEST_TMPDIR/run/${block##*/}
		mkdir -p "$work/here" "$work/home"
		status=0
		(
			cd "$work/here" || exit
			unset EO_JOURNAL XDG_STATE_HOME XDG_CONFIG_HOME \
			    XDG_DATA_HOME XDG_CACHE_HOME
			HOME=$work/home timeout "${EO_EXAMPLE_TIMEOUT:-60}" \
			    sh -e "$block" </dev/null >"$work/out" 2>&1 3>&-
		) || status=$?
		if [ "$status" -ne 0 ]; then
			printf 'exit %s:\n' "$status"
			cat "$block"
			printf 'printed:\n'
			tail -c 3000 "$work/out"
			return 1
		fi
		n=$((n + 1))
	done
	echo "$n blocks"
	[ "$n" -gt 0 ]
}

manual_runs() {
	mkdir "$BATS_TEST_TMPDIR/blocks"
	blocks_of_manual "$REPO/man/$1" "$BATS_TEST_TMPDIR/blocks"
	run_blocks "$BATS_TEST_TMPDIR/blocks"
}

# flags: from the tokens after each Fl of mdoc on standard input, one flag a
# line, as a user types it; a line of mdoc may name several.
flags() {
	awk '{
		sub(/^\./, "")
		fl = 0
		for (i = 1; i <= NF; i++) {
			if ($i == "Fl")
				fl = 1
			else if ($i ~ /^[A-Z][a-z]$/ || $i == ",")
				fl = 0
			else if (fl && $i ~ /^-./)
				print "-" $i
			else if (fl && $i ~ /^[[:alnum:]]+$/)
				for (j = 1; j <= length($i); j++)
					print "-" substr($i, j, 1)
		}
	}' | sort -u
}

section() {
	awk -v want="$1" '/^\.Sh / { on = ($2 == want) } on' "$2"
}

flags_of_synopsis() {
	section SYNOPSIS "$1" | flags
}

flags_of_options() {
	section OPTIONS "$1" | grep '^\.It Fl' | flags
}

flags_of_help() {
	grep -oE '(^|[][ ,|(])--?[[:alnum:]][[:alnum:]-]*' |
	    sed 's/^[^-]*//' |
	    awk '/^--/ { print; next }
		{ for (i = 2; i <= length($0); i++)
			print "-" substr($0, i, 1) }' | sort -u
}

@test "each manual is clean for mandoc" {
	command -v mandoc >/dev/null || skip "no mandoc"
	for page in "$REPO"/man/*.[157]; do
		mandoc -T lint -W warning "$page" >"$BATS_TEST_TMPDIR/lint" || true
		cat "$BATS_TEST_TMPDIR/lint"
		[ ! -s "$BATS_TEST_TMPDIR/lint" ]
	done
}

@test "each manual fits 80 columns" {
	command -v mandoc >/dev/null || skip "no mandoc"
	for page in "$REPO"/man/*.[157]; do
		mandoc -T ascii -O width=78 "$page" | col -bx |
		    awk -v page="${page##*/}" 'length($0) > 80 {
			print page ": " $0 }' >"$BATS_TEST_TMPDIR/long"
		cat "$BATS_TEST_TMPDIR/long"
		[ ! -s "$BATS_TEST_TMPDIR/long" ]
	done
}

@test "each manual has the sections in their order" {
	for page in "$REPO"/man/*.[157]; do
		sed -n 's/^\.Sh //p' "$page" >"$BATS_TEST_TMPDIR/has"
		printf '%s\n' NAME DESCRIPTION FILES EXAMPLES 'SEE ALSO' \
		    CAVEATS >"$BATS_TEST_TMPDIR/wants"
		case $page in
		*.1)
			printf '%s\n' NAME SYNOPSIS DESCRIPTION OPTIONS \
			    ENVIRONMENT FILES 'EXIT STATUS' EXAMPLES \
			    'SEE ALSO' CAVEATS >"$BATS_TEST_TMPDIR/wants" ;;
		esac
		grep -Fxf "$BATS_TEST_TMPDIR/wants" "$BATS_TEST_TMPDIR/has" |
		    diff - "$BATS_TEST_TMPDIR/wants"
	done
}

@test "each program has a manual, and each manual of section 1 a program" {
	diff <(cd "$REPO/cmd" && printf '%s\n' *.c | sed 's/\.c$//') \
	    <(cd "$REPO/man" && printf '%s\n' *.1 | sed 's/\.1$//')
}

@test "--help and the manual name the same options" {
	for page in "$REPO"/man/*.1; do
		name=${page##*/}
		name=${name%.1}
		echo "$name: manual <> help"
		"$name" --help >"$BATS_TEST_TMPDIR/help"
		[ -s "$BATS_TEST_TMPDIR/help" ]
		diff <(flags_of_options "$page") \
		    <(flags_of_help <"$BATS_TEST_TMPDIR/help")
	done
}

@test "the SYNOPSIS of a manual names each option of its OPTIONS" {
	for page in "$REPO"/man/*.1; do
		echo "${page##*/}"
		flags_of_synopsis "$page" >"$BATS_TEST_TMPDIR/synopsis"
		flags_of_options "$page" >"$BATS_TEST_TMPDIR/options"
		comm -23 "$BATS_TEST_TMPDIR/synopsis" \
		    "$BATS_TEST_TMPDIR/options" >"$BATS_TEST_TMPDIR/more"
		cat "$BATS_TEST_TMPDIR/more"
		[ ! -s "$BATS_TEST_TMPDIR/more" ]
		section OPTIONS "$page" | grep '^\.It Fl' |
		while IFS= read -r item; do
			printf '%s\n' "$item" | flags |
			    grep -qFxf - "$BATS_TEST_TMPDIR/synopsis" || {
				echo "not in the SYNOPSIS: $item"
				exit 1
			}
		done
	done
}

@test "the examples of the README run" {
	mkdir "$BATS_TEST_TMPDIR/blocks"
	blocks_of_readme "$REPO/README.md" "$BATS_TEST_TMPDIR/blocks"
	run_blocks "$BATS_TEST_TMPDIR/blocks"
}

@test "the README links to files that exist" {
	grep -oE '\]\([^)#]+' "$REPO/README.md" | cut -c 3- |
	    grep -v '^https*:' >"$BATS_TEST_TMPDIR/links"
	[ -s "$BATS_TEST_TMPDIR/links" ]
	while IFS= read -r link; do
		echo "$link"
		[ -e "$REPO/$link" ]
	done <"$BATS_TEST_TMPDIR/links"
}

@test "eo-journal(5) names each table and its columns" {
	eo-send -q -j "$BATS_TEST_TMPDIR/journal" </dev/null
	sqlite3 "$BATS_TEST_TMPDIR/journal" "
		SELECT m.name || '(' || (SELECT group_concat(name, ', ')
		    FROM pragma_table_info(m.name)) || ')'
		FROM sqlite_master m WHERE m.type = 'table'
		AND m.name GLOB 'eo_*'" | sort >"$BATS_TEST_TMPDIR/has"
	[ -s "$BATS_TEST_TMPDIR/has" ]
	sed -n 's/^\.It Li \(eo_[a-z_]*\) Ns \((.*)\)$/\1\2/p' \
	    "$REPO/man/eo-journal.5" | sort |
	    diff "$BATS_TEST_TMPDIR/has" -
}

@test "the examples of eo(7) run" {
	manual_runs eo.7
}

@test "the examples of eo-journal(5) run" {
	manual_runs eo-journal.5
}

@test "the examples of eo-send(1) run" {
	manual_runs eo-send.1
}

@test "the examples of eo-recv(1) run" {
	manual_runs eo-recv.1
}

@test "the examples of eo-ack(1) run" {
	manual_runs eo-ack.1
}

@test "the examples of eo-replay(1) run" {
	manual_runs eo-replay.1
}

@test "the examples of eo-fsck(1) run" {
	manual_runs eo-fsck.1
}
