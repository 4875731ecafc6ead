# Panormus: everything is installed inside the checkout (.tools, node_modules, bin), but for
# what `make test` asks of apt-get: mosquitto and chromium.
SHELL := /bin/bash
.DEFAULT_GOAL := build
CHDB_VERSION := 26.7.3-stable.1
CHDB_ARCH := $(shell uname -m | sed -e 's/x86_64/x64/' -e 's/aarch64/arm64/')
CHDB_OS := $(shell uname -s | tr A-Z a-z)
ifeq ($(CHDB_OS),linux)
CHDB_PACKAGE := @chdb/lib-linux-$(CHDB_ARCH)-gnu
else
CHDB_PACKAGE := @chdb/lib-$(CHDB_OS)-$(CHDB_ARCH)
endif
CHDB_LIB := .tools/chdb/node_modules/$(CHDB_PACKAGE)/libchdb.so
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
WEB := controlroom/web
# One set of flags for all, so that what is built for the binaries is not built again to be checked.
export GOFLAGS += -trimpath
# How often a failed test may be tried again (docs/decisions/tests-rerun.md).
RERUNS ?= 0

.PHONY: run build test bench lint web binaries clean

# The engine, ClickHouse as one shared library, 140 MB to fetch and 566 MB on disk.
$(CHDB_LIB):
	mkdir -p .tools/chdb
	npm install --no-audit --no-fund --prefix .tools/chdb $(CHDB_PACKAGE)@$(CHDB_VERSION)

bin/libchdb.so: $(CHDB_LIB)
	mkdir -p bin
	ln -f $(CHDB_LIB) $@ || cp $(CHDB_LIB) $@

binaries: bin/libchdb.so
	go build -ldflags "-X main.version=$(VERSION)" -o bin/panormus ./cmd/panormus
	go build -o bin/chdbd ./cmd/chdbd

# The page. The stamp makes a second build quick.
$(WEB)/node_modules/.stamp: $(WEB)/package.json $(WEB)/package-lock.json
	cd $(WEB) && npm ci --no-audit --no-fund
	touch $@

WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public $(WEB)/build -type f 2>/dev/null) $(WEB)/index.html $(wildcard $(WEB)/*.ts $(WEB)/*.js)
$(WEB)/dist/index.html: $(WEB)/node_modules/.stamp $(WEB_SOURCES)
	cd $(WEB) && npm run build

web: $(WEB)/dist/index.html

build: web binaries

run: build
	bin/panormus run --simulate palermo

lint: web
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-ed:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go tool staticcheck ./...
	cd $(WEB) && npm run check

# What the tests need beyond the build: a real broker and a real browser, from Debian's packages.
.PHONY: test-tools
test-tools:
	@missing=""; \
	command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	command -v mosquitto_pub >/dev/null || missing="$$missing mosquitto-clients"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	if [ -n "$$missing" ]; then \
	  echo "installing$$missing with apt-get"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; \
	fi

test: test-tools build lint
	cd $(WEB) && npm test
	@$(MAKE) --no-print-directory -j2 looks go-tests

# Both wait more than they work: beside one another they take little more than the longer one.
.PHONY: looks go-tests
looks:
	cd $(WEB) && npm run --silent looks

go-tests:
	go tool gotestsum --format standard-quiet --rerun-fails=$(RERUNS) --rerun-fails-max-failures=3 \
	  --rerun-fails-run-root-test --rerun-fails-abort-on-data-race --packages=./... -- -race -vet=off -timeout 15m

bench: build
	go run ./bench

clean:
	rm -rf bin $(WEB)/dist/assets $(WEB)/dist/index.html
