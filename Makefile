# sconce: one hand-written Makefile (GNU make 4.3).  `make help` lists what it can do.
#
# It works in a fresh clone with nothing configured.  ./configure is a refinement: it writes config.mk,
# which is read below, and never touches this file.  All that is generated goes to $(O), which is build/.

srcdir ?= .
-include config.mk

# --- what may be set, on the command line or by config.mk -------------------------------------------

O		?= build
CFLAGS		?= -g -O2
prefix		?= /usr/local
exec_prefix	?= $(prefix)
bindir		?= $(exec_prefix)/bin
libdir		?= $(exec_prefix)/lib
includedir	?= $(prefix)/include
datarootdir	?= $(prefix)/share
mandir		?= $(datarootdir)/man
pkgconfigdir	?= $(libdir)/pkgconfig
INSTALL		?= install
GCOV		?= gcov
TIMEOUT		?= 60
CHECK_JOBS	?= 2

# Two jobs on two cores unless -j says otherwise (a -j on the command line wins).
ifeq ($(MAKELEVEL),0)
MAKEFLAGS	+= -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS	+= --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL	:= all

Q		:= $(if $(V),,@)
say		= $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$(2)')
comma		:= ,

# --- the variant: plain, with sanitizers, or with coverage counters; each has its own directory ------

ifneq ($(SAN),)
B		:= $(O)/san-$(subst $(comma),-,$(SAN))
VARIANT_CFLAGS	:= -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
else ifneq ($(COVER),)
B		:= $(O)/cover
VARIANT_CFLAGS	:= -O0 --coverage -fprofile-update=atomic
else
B		:= $(O)
endif

# --- sources: a directory is a layer ----------------------------------------------------------------

LAYERS		:= core fleet http mux server stream
LIB_SRC		:= $(sort $(wildcard $(LAYERS:%=$(srcdir)/src/%/*.c)))
PROXY_SRC	:= $(sort $(wildcard $(srcdir)/src/proxy/*.c))
EXAMPLE_SRC	:= $(sort $(wildcard $(srcdir)/src/examples/*.c))
# A file is a program, a directory is one of several files.
BENCH_ONE	:= $(sort $(wildcard $(srcdir)/bench/*.c))
BENCH_MANY	:= $(sort $(wildcard $(srcdir)/bench/*/*.c))
BENCH_SRC	:= $(BENCH_ONE) $(BENCH_MANY)
TEST_SRC	:= $(sort $(wildcard $(srcdir)/t/test_*.c))
# What tests share; t/harness.c has the main() of those that bring none.
SUPPORT_SRC	:= $(filter-out $(TEST_SRC),$(sort $(wildcard $(srcdir)/t/*.c)))
# Programs that the scripts beside them use, each one file.
HELPER_SRC	:= $(sort $(wildcard $(srcdir)/t/*/*.c))
HEADERS		:= $(sort $(wildcard $(srcdir)/include/sconce/*.h))
PAGES		:= $(sort $(wildcard $(srcdir)/src/man/*.[1-9]))
# What only a plain run asks: the build itself does not change with a sanitizer.
SCRIPTS		:= $(sort $(wildcard $(srcdir)/t/proxy/*.sh $(srcdir)/t/examples/*.sh \
			$(if $(SAN)$(COVER),,$(srcdir)/t/build/*.sh)))

VERSION		:= $(shell sed -n 's/.define SCONCE_VERSION "\(.*\)"/\1/p' $(srcdir)/include/sconce/version.h)
SONAME		:= libsconce.so.$(firstword $(subst ., ,$(VERSION)))
SHARED		:= libsconce.so.$(VERSION)

# --- what is made of them ---------------------------------------------------------------------------

# Two sets of objects: position independent code costs the static library a few percent.
static		= $(patsubst $(srcdir)/%.c,$(B)/static/%.o,$(1))
pic		= $(patsubst $(srcdir)/%.c,$(B)/pic/%.o,$(1))
program		= $(patsubst $(srcdir)/$(1)/%.c,$(B)/$(2)/%,$(3))

LIB_A		:= $(B)/libsconce.a
LIB_SO		:= $(if $(LIB_SRC),$(B)/$(SHARED) $(B)/$(SONAME) $(B)/libsconce.so)
LIBS_ALL	:= $(LIB_A) $(LIB_SO) $(B)/sconce.pc
SCONCED		:= $(if $(PROXY_SRC),$(B)/sconced)
EXAMPLES	:= $(call program,src/examples,examples,$(EXAMPLE_SRC))
BENCH_DIRS	:= $(patsubst $(srcdir)/bench/%/,%,$(sort $(dir $(BENCH_MANY))))
BENCHES		:= $(call program,bench,bench,$(BENCH_ONE)) $(BENCH_DIRS:%=$(B)/bench/%)
BENCH_PEERS	:= libevent libuv
TESTS		:= $(call program,t,t,$(TEST_SRC))
HELPERS		:= $(call program,t,t,$(HELPER_SRC))
HARNESS_A	:= $(B)/t/libharness.a
# For tests of the proxy's own files.  Its main() stays behind: harness's, or the test's, comes first.
PROXY_A		:= $(if $(PROXY_SRC),$(B)/libproxy.a)

# --- flags ------------------------------------------------------------------------------------------

WARNINGS	:= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes $(if $(WERROR),-Werror)
OUR_CPPFLAGS	:= -D_GNU_SOURCE $(if $(CONFIG_H),-include $(CONFIG_H)) -I$(srcdir)/include
OUR_CFLAGS	:= -std=c11 $(WARNINGS) -fvisibility=hidden -fno-plt -pthread
OUR_LIBS	:= -lev -lm -pthread $(LIBS)
COMPILE		= $(CC) $(OUR_CPPFLAGS) $(INCLUDES) $(CPPFLAGS) $(OUR_CFLAGS) $(CFLAGS) $(VARIANT_CFLAGS)
LINK		= $(CC) $(OUR_CFLAGS) $(CFLAGS) $(VARIANT_CFLAGS) $(LDFLAGS)

# A layer sees the public headers and its own files.  Only tests see the private headers of all.
INCLUDES	= -I$(<D)
$(B)/static/src/examples/%.o:	INCLUDES =
$(B)/static/t/%.o:		INCLUDES = -I$(<D) -I$(srcdir)/t $(patsubst %,-I$(srcdir)/src/%,$(LAYERS) proxy)

# --- what the machine must have ---------------------------------------------------------------------

# Asked once and kept in probed.mk; what is missing is said in one line, with its package.  What is optional need not be there; HAVE_ZLIB=0
# on the command line does without, and configure has asked already.
GOALS		:= $(or $(MAKECMDGOALS),all)
OPTIONAL	:= $(if $(HAVE_CARES),,?cares) $(if $(HAVE_PCRE2),,?pcre2) $(if $(HAVE_ZLIB),,?zlib)
NEEDS		:= $(if $(filter-out help clean uninstall,$(GOALS)),libev $(OPTIONAL))
NEEDS		+= $(if $(filter check cover tests,$(GOALS)),check curl $(if $(VALGRIND),valgrind))
NEEDS		+= $(if $(filter bench,$(GOALS)),$(BENCH_PEERS:%=?%))
-include $(B)/probed.mk
ifneq ($(filter-out $(PROBED),$(NEEDS)),)
PROBLEM		:= $(shell $(srcdir)/src/build/probe $(B)/probed.mk '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS)' $(NEEDS))
$(if $(PROBLEM),$(error $(PROBLEM)))
include $(B)/probed.mk
endif
# Written above, never by a rule.
$(B)/probed.mk: ;

HAVE_CARES	?= $(if $(filter cares,$(PRESENT)),1,0)
HAVE_PCRE2	?= $(if $(filter pcre2,$(PRESENT)),1,0)
HAVE_ZLIB	?= $(if $(filter zlib,$(PRESENT)),1,0)
OPTIONAL_LIBS	:= $(if $(filter 1,$(HAVE_CARES)),-lcares) $(if $(filter 1,$(HAVE_PCRE2)),-lpcre2-8) $(if $(filter 1,$(HAVE_ZLIB)),-lz)
OUR_CPPFLAGS	+= -DHAVE_CARES=$(HAVE_CARES) -DHAVE_PCRE2=$(HAVE_PCRE2) -DHAVE_ZLIB=$(HAVE_ZLIB)
OUR_LIBS	:= $(strip $(OPTIONAL_LIBS) $(OUR_LIBS))

# --- targets that people type -----------------------------------------------------------------------

.PHONY: all bench check clean cover help install lib programs run tests uninstall FORCE

all: lib programs

lib: $(LIBS_ALL)

programs: $(SCONCED) $(EXAMPLES)

run: $(B)/sconced
	@exec $(B)/sconced $(or $(ARGS),--demo)

tests: programs $(TESTS) $(HELPERS) $(if $(filter $(srcdir)/t/build/%,$(SCRIPTS)),lib)

check: tests
	@SAN='$(SAN)' VALGRIND='$(VALGRIND)' TIMEOUT='$(TIMEOUT)' JOBS='$(CHECK_JOBS)' ONLY='$(T)' CC='$(CC)' \
		$(srcdir)/src/build/run-tests $(srcdir) $(B) $(SCRIPTS) $(TESTS)

cover:
	@find $(O)/cover -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) COVER=1 check
	@$(srcdir)/src/build/coverage $(GCOV) $(srcdir) $(O)/cover core http

.PHONY: mutants
mutants:
	@ONLY='$(T) $(ARGS)' CC='$(CC)' CPPFLAGS='$(CPPFLAGS)' CFLAGS='$(CFLAGS)' LDFLAGS='$(LDFLAGS)' \
		$(srcdir)/src/build/mutants $(srcdir) $(O)/mutants

# bench/run finds the programs in $BUILD/bench.  A peer whose library is not here is left out (PRESENT: the libraries that are).
bench: $(filter-out $(patsubst %,$(B)/bench/%,$(filter-out $(PRESENT),$(BENCH_PEERS))),$(BENCHES)) $(SCONCED)
	@BUILD=$(B) exec $(srcdir)/bench/run $(if $(FULL),--full) $(ARGS)

clean:
	rm -rf $(O)

help:
	@sed 's/@O@/$(subst /,\/,$(O))/' $(srcdir)/src/build/help

# --- install ----------------------------------------------------------------------------------------

# PREFIXED lists what install makes and uninstall removes, one path each.
MANLINKS	= $(shell $(srcdir)/src/build/man-links $(PAGES))
man_path	= $(mandir)/man$(patsubst .%,%,$(suffix $(1)))/$(1)
PREFIXED	= $(patsubst %,$(includedir)/sconce/%,$(notdir $(HEADERS))) \
		  $(patsubst %,$(libdir)/%,$(notdir $(LIB_A) $(LIB_SO))) $(pkgconfigdir)/sconce.pc \
		  $(if $(SCONCED),$(bindir)/sconced) \
		  $(foreach page,$(notdir $(PAGES)),$(call man_path,$(page))) \
		  $(foreach link,$(MANLINKS),$(call man_path,$(firstword $(subst :, ,$(link)))))

install: lib $(SCONCED)
	$(Q)$(INSTALL) -d $(sort $(dir $(PREFIXED:%=$(DESTDIR)%)))
	$(Q)$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(includedir)/sconce
	$(Q)$(INSTALL) -m 644 $(LIB_A) $(if $(LIB_SO),$(B)/$(SHARED)) $(DESTDIR)$(libdir)
	$(Q)$(if $(LIB_SO),cp -P $(B)/$(SONAME) $(B)/libsconce.so $(DESTDIR)$(libdir))
	$(Q)$(INSTALL) -m 644 $(B)/sconce.pc $(DESTDIR)$(pkgconfigdir)
	$(Q)$(if $(SCONCED),$(INSTALL) -m 755 $(SCONCED) $(DESTDIR)$(bindir))
	$(Q)for page in $(PAGES); do \
		$(INSTALL) -m 644 $$page $(DESTDIR)$(mandir)/man$${page##*.} || exit 1; done
	$(Q)for link in $(MANLINKS); do \
		page=$${link#*:}; \
		ln -sf $$page $(DESTDIR)$(mandir)/man$${page##*.}/$${link%:*} || exit 1; done

uninstall:
	$(Q)rm -f $(PREFIXED:%=$(DESTDIR)%)
	$(Q)rmdir $(DESTDIR)$(includedir)/sconce 2>/dev/null || true

# --- rules ------------------------------------------------------------------------------------------

# Files that hold a command or a list, rewritten only when it changes: what depends on them is made anew
# when flags change or a source file goes away.
keep		= @mkdir -p $(@D); printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' >$@

$(B)/flags: FORCE
	$(call keep,$(COMPILE) $(LDFLAGS) $(OUR_LIBS))

$(B)/lib.list: FORCE
	$(call keep,$(LIB_SRC))

$(B)/proxy.list: FORCE
	$(call keep,$(PROXY_SRC))

$(B)/support.list: FORCE
	$(call keep,$(SUPPORT_SRC))

$(B)/static/%.o: $(srcdir)/%.c $(B)/flags
	$(call say,CC,$*.c)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

$(B)/pic/%.o: $(srcdir)/%.c $(B)/flags
	$(call say,CC,$*.c (shared))
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -fPIC -MMD -MP -c -o $@ $<

archive		= $(Q)rm -f $@ && $(or $(AR),ar) rcs $@ $(filter %.o,$^)

$(LIB_A): $(call static,$(LIB_SRC)) $(B)/lib.list
	$(call say,AR,$@)
	$(archive)

$(PROXY_A): $(call static,$(PROXY_SRC)) $(B)/proxy.list
	$(archive)

$(HARNESS_A): $(call static,$(SUPPORT_SRC)) $(B)/support.list
	$(Q)mkdir -p $(@D)
	$(archive)

$(B)/$(SHARED): $(call pic,$(LIB_SRC)) $(B)/lib.list
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl,--no-undefined) -o $@ $(filter %.o,$^) $(OUR_LIBS)

$(B)/$(SONAME) $(B)/libsconce.so: $(B)/$(SHARED)
	$(Q)ln -sf $(SHARED) $@

# Always made: it holds the directories, which may differ from one `make install` to the next.
$(B)/sconce.pc: $(srcdir)/src/build/sconce.pc.in FORCE
	@mkdir -p $(@D)
	@sed -e 's|@VERSION@|$(VERSION)|' -e 's|@prefix@|$(prefix)|' -e 's|@exec_prefix@|$(exec_prefix)|' \
		-e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' -e 's|@LIBS@|$(OUR_LIBS)|' $< >$@

link		= $(Q)mkdir -p $(@D) && $(LINK) -o $@ $(filter %.o %.a,$^)

$(B)/sconced: $(call static,$(PROXY_SRC)) $(LIB_A) $(B)/proxy.list
	$(if $(PROXY_SRC),,$(error src/proxy has no sources: there is no sconced to build))
	$(call say,LINK,$@)
	$(link) $(OUR_LIBS)

$(EXAMPLES): $(B)/examples/%: $(B)/static/src/examples/%.o $(LIB_A)
	$(call say,LINK,$@)
	$(link) $(OUR_LIBS)

$(call program,bench,bench,$(BENCH_ONE)): $(B)/bench/%: $(B)/static/bench/%.o $(LIB_A)
$(foreach d,$(BENCH_DIRS),$(eval $(B)/bench/$d: $(call static,$(filter $(srcdir)/bench/$d/%,$(BENCH_MANY))) $(LIB_A)))
$(B)/bench/libevent:	BENCH_LIBS := -levent_core
$(B)/bench/libuv:	BENCH_LIBS := -luv
$(BENCHES):
	$(call say,LINK,$@)
	$(link) $(BENCH_LIBS) $(OUR_LIBS)

$(TESTS): $(B)/t/%: $(B)/static/t/%.o $(HARNESS_A) $(PROXY_A) $(LIB_A)
	$(call say,LINK,$@)
	$(link) $(CHECK_LIBS) $(OUR_LIBS)

$(HELPERS): $(B)/t/%: $(B)/static/t/%.o $(LIB_A)
	$(call say,LINK,$@)
	$(link) $(OUR_LIBS)

ALL_SRC		:= $(LIB_SRC) $(PROXY_SRC) $(EXAMPLE_SRC) $(BENCH_SRC) $(TEST_SRC) $(SUPPORT_SRC) $(HELPER_SRC)
.SECONDARY: $(call static,$(ALL_SRC))
-include $(patsubst %.o,%.d,$(call static,$(ALL_SRC)) $(call pic,$(LIB_SRC)))
