# eo: exactly-once messaging for the shell.  `make help` lists the targets.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
VERSION = 0.1.0

BUILD ?= build
CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
INSTALL ?= install

WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wwrite-strings
HARDEN = -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
EO_CPPFLAGS = -Ilib -D_GNU_SOURCE -DEO_VERSION='"$(VERSION)"' \
	$(shell $(PKG_CONFIG) --cflags sqlite3)
EO_CFLAGS = -std=c11 $(WARN) $(if $(WERROR),-Werror) $(HARDEN) $(SAN)
EO_LDFLAGS = -pie -Wl,-z,relro,-z,now $(SAN)
EO_LIBS = $(shell $(PKG_CONFIG) --libs sqlite3) -largtable2

CMDS = $(patsubst cmd/%.c,$(BUILD)/%,$(wildcard cmd/*.c))
LIBO = $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(wildcard lib/*.c))
TOOLS = $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(wildcard tests/tools/*.c)) \
	$(patsubst tests/bench/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))
UNITS = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit-%,$(wildcard tests/unit/*.c))
MAN = $(wildcard man/*.[1-8])

all: $(CMDS)

tools: $(TOOLS) $(UNITS)

$(CMDS): $(BUILD)/%: $(BUILD)/cmd/%.o $(BUILD)/libeo.a
	$(CC) $(CFLAGS) $(EO_LDFLAGS) $(LDFLAGS) -o $@ $^ $(EO_LIBS)

$(BUILD)/libeo.a: $(LIBO)
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(EO_CPPFLAGS) $(CPPFLAGS) $(EO_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/unit-%: $(BUILD)/tests/unit/%.o $(BUILD)/libeo.a
	$(CC) $(CFLAGS) $(EO_LDFLAGS) $(LDFLAGS) -o $@ $^ $(EO_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/tools/%.o
	$(CC) $(CFLAGS) $(EO_LDFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/tests/%: $(BUILD)/tests/bench/%.o
	$(CC) $(CFLAGS) $(EO_LDFLAGS) $(LDFLAGS) -o $@ $^

check: all tools
	EO_BUILD=$(BUILD) tests/run

sanitize:
	$(MAKE) BUILD=build-san CFLAGS='-O1 -g -fno-omit-frame-pointer' HARDEN= \
	    SAN='-fsanitize=address,undefined -fno-sanitize-recover=all' \
	    all tools
	EO_BUILD=build-san tests/run $(TESTS)

lint:
	shellcheck scripts/* tests/run .ci/run
	mandoc -T lint -W warning $(MAN)

bench: all tools
	EO_BUILD=$(BUILD) scripts/bench

demo: all tools
	scripts/demo

install: all
	$(INSTALL) -d $(DESTDIR)$(BINDIR)
	$(INSTALL) $(CMDS) $(DESTDIR)$(BINDIR)
	for m in $(MAN); do \
	    d=$(DESTDIR)$(MANDIR)/man$${m##*.}; \
	    $(INSTALL) -d "$$d" && $(INSTALL) -m 644 "$$m" "$$d" || exit; \
	done

uninstall:
	for c in $(notdir $(CMDS)); do rm -f $(DESTDIR)$(BINDIR)/$$c; done
	for m in $(notdir $(MAN)); do \
	    rm -f $(DESTDIR)$(MANDIR)/man$${m##*.}/$$m; \
	done

clean:
	rm -rf build build-san

help:
	@echo 'all check sanitize lint bench demo install uninstall clean'

.PHONY: all tools check sanitize lint bench demo install uninstall clean help
.SECONDARY:
-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/*/*.d)
