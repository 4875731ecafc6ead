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

.PHONY: run build test bench lint web binaries clean

# The engine, ClickHouse as one shared library, 140 MB to fetch and 566 MB on disk.
$(CHDB_LIB):
	mkdir -p .tools/chdb
	npm install --no-audit --no-fund --prefix .tools/chdb $(CHDB_PACKAGE)@$(CHDB_VERSION)

bin/libchdb.so: $(CHDB_LIB)
	mkdir -p bin
	ln -f $(CHDB_LIB) $@ || cp $(CHDB_LIB) $@

binaries: bin/libchdb.so
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/panormus ./cmd/panormus
	go build -trimpath -o bin/chdbd ./cmd/chdbd
