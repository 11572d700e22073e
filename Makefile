# Every command of the project. `make` alone lists them.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Debian packages, the only place that names them. `make run` installs what the
# build needs, `make test`, `make lint` and `make bench` what they need as well.
BUILD_PACKAGES = gcc make libc6-dev libuv1-dev libluajit2-5.1-dev node-llhttp \
                 libssl-dev
TEST_PACKAGES = lua-busted libcmocka-dev curl openssl
SANITIZE_PACKAGES = libasan8 libubsan1
LINT_PACKAGES = lua-check clang-format
FUZZ_PACKAGES = clang libclang-rt-14-dev
BENCH_PACKAGES = wrk curl procps nginx libnginx-mod-http-lua

CC ?= gcc
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
BUILD ?= build
APP ?= middleware/examples/hello
ARGS ?=

# `make test SANITIZE=1`: the same commands, on a build of its own.
ifdef SANITIZE
OUT := $(BUILD)/sanitize
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all \
              -fno-omit-frame-pointer
else
OUT := $(BUILD)
# Link-time optimisation: 5 % less CPU for each request. Not with clang, which
# would need a linker that understands its objects.
LTO ?= $(if $(findstring clang,$(CC)),,-flto=auto)
endif

# LuaJIT is linked statically: the shared build hashes strings in a way that a
# client can flood (runtime/vm/generation.c says more).
LLHTTP := /usr/share/llhttp
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
C_FLAGS = -std=c11 -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1 -Iruntime \
          -isystem /usr/share/include/llhttp -isystem /usr/include/luajit-2.1 \
          $(WARNINGS) $(CFLAGS) $(LTO) $(SANITIZERS) -MMD -MP
LD_LIBS = -l:libluajit-5.1.a -luv -lssl -lcrypto -lm -ldl -lpthread

SOURCES := $(wildcard runtime/*/*.c)
MAIN := runtime/main.c
LLHTTP_OBJECTS := $(addprefix $(OUT)/llhttp/,api.o http.o llhttp.o)
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o) $(LLHTTP_OBJECTS)
# What needs neither sockets nor Lua, for the unit tests and the fuzzers.
PURE_OBJECTS := $(patsubst %.c,$(OUT)/%.o,\
                  $(wildcard runtime/base/*.c runtime/http/*.c \
                  runtime/vm/handles.c)) $(LLHTTP_OBJECTS)
# The Lua library, embedded in the binary as text.
LUA_FILES := $(shell find lua/weft middleware -maxdepth 1 -name '*.lua' 2>/dev/null | sort)
UNITS := $(patsubst tests/runtime/%.c,$(OUT)/unit/%,$(wildcard tests/runtime/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/*.c))

Q := $(if $(V),,@)

.PHONY: help run build test unit lint format check bench fuzz install clean packages
help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build and serve an app: make run [APP=path] [ARGS="--dev"]
	$(Q)$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES)"
	$(Q)$(MAKE) --no-print-directory build
	$(Q)exec $(BUILD)/weft run $(APP) $(ARGS)

build: $(OUT)/weft ## build the binary, build/weft

test: ## build, then run every test (SANITIZE=1: under ASan and UBSan)
	$(Q)$(MAKE) --no-print-directory packages WANTED="$(BUILD_PACKAGES) \
	  $(TEST_PACKAGES) $(if $(SANITIZE),$(SANITIZE_PACKAGES))"
	$(Q)$(MAKE) --no-print-directory build $(UNITS)
	$(Q)tests/run $(OUT)

unit: $(UNITS) ## build and run the C unit tests alone
	$(Q)for unit in $(UNITS); do $$unit || exit 1; done

lint: ## check formatting, unused names and who includes whom
	$(Q)$(MAKE) --no-print-directory packages WANTED="$(LINT_PACKAGES)"
	$(Q)tests/lint

format: ## format the C sources
	$(Q)clang-format -i $$(find runtime tests -name '*.[ch]')

check: lint test ## all that must pass before a change goes in

bench: ## CPU for each request, beside nginx + Lua and bare C
	$(Q)$(MAKE) --no-print-directory packages \
	  WANTED="$(BUILD_PACKAGES) $(BENCH_PACKAGES)"
	$(Q)$(MAKE) --no-print-directory build
	$(Q)tests/bench/run

fuzz: ## fuzz each parser for SECONDS=60
	$(Q)$(MAKE) --no-print-directory packages \
	  WANTED="$(BUILD_PACKAGES) $(FUZZ_PACKAGES)"
	$(Q)$(MAKE) --no-print-directory $(FUZZERS)
	$(Q)tests/fuzz/run $(or $(SECONDS),60) $(FUZZERS)

install: build ## copy the binary to PREFIX/bin
	install -D -m 755 $(OUT)/weft $(DESTDIR)$(PREFIX)/bin/weft

clean: ## remove build/
	rm -rf $(BUILD)

# Installs those of WANTED that are missing; as root, or with sudo.
packages:
	$(Q)missing=$$(for p in $(WANTED); do \
	    dpkg-query -W -f='$${Status}' $$p 2>/dev/null | \
	      grep -q 'ok installed' || echo $$p; done); \
	  [ -z "$$missing" ] && exit 0; \
	  as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
	  echo "installing:" $$missing; \
	  { $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    $$as_root apt-get install -y -qq --no-install-recommends $$missing \
	    >/dev/null; } || { echo "could not install:" $$missing >&2; exit 1; }

$(OUT)/weft: $(OUT)/runtime/main.o $(OBJECTS) $(OUT)/embedded.o
	@echo "  LD $@"
	$(Q)$(CC) $(CFLAGS) $(LTO) $(SANITIZERS) -rdynamic -o $@ $^ $(LD_LIBS)

$(OUT)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(C_FLAGS) -c -o $@ $<

$(OUT)/llhttp/%.o: $(LLHTTP)/%.c Makefile
	@mkdir -p $(@D)
	@echo "  CC llhttp/$(<F)"
	$(Q)$(CC) $(C_FLAGS) -w -c -o $@ $<

# name, text, length for each Lua file: see runtime/vm/embedded.h
$(OUT)/embedded.c: $(LUA_FILES) Makefile runtime/vm/embed
	@mkdir -p $(@D)
	$(Q)sh runtime/vm/embed $(LUA_FILES) > $@.new && mv $@.new $@

$(OUT)/embedded.o: $(OUT)/embedded.c
	$(Q)$(CC) $(C_FLAGS) -c -o $@ $<

$(OUT)/unit/%: tests/runtime/%.c $(PURE_OBJECTS)
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)$(CC) $(C_FLAGS) -o $@ $< $(PURE_OBJECTS) -lcmocka

# The fuzzers compile the sources themselves, instrumented.
FUZZ_SOURCES := $(wildcard runtime/base/*.c runtime/http/*.c runtime/vm/json*.c)
$(BUILD)/fuzz/%: tests/fuzz/%.c $(FUZZ_SOURCES)
	@mkdir -p $(@D)
	@echo "  CC $<"
	$(Q)clang -std=c11 -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1 -Iruntime -w -g -O1 \
	  -isystem /usr/share/include/llhttp -isystem /usr/include/luajit-2.1 \
	  -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o $@ $^ \
	  $(addprefix $(LLHTTP)/,api.c http.c llhttp.c) \
	  -l:libluajit-5.1.a -lm -ldl

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)
