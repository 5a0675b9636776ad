# Everything that a checkout can do. `make help` lists it; each target works on a fresh
# Debian 12, as root or with sudo.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MOUNTPOINT := buckets

# To build and to mount …
PACKAGES := python3-venv python3-dev fuse3 libfuse3-dev pkg-config gcc libc6-dev
# … and the real tools that the tests work with.
PACKAGES += git rsync attr acl vim make zip unzip postgresql systemd groff-base zsh fish
PACKAGES += radosgw ceph-mon ceph-osd s3cmd
PACKAGES += debootstrap emacs-nox libreoffice-writer-nogui imagemagick ffmpeg
# A desktop that nobody sees, and its file manager.
PACKAGES += xvfb openbox librsvg2-common dbus-daemon xdotool at-spi2-core gir1.2-atspi-2.0 python3-gi
PACKAGES += thunar gvfs libglib2.0-bin thunarx-python gir1.2-thunarx-3.0 gir1.2-gtk-3.0

# Tests mostly wait for services, mounts and disks: more of them at a time than there are CPUs.
SIDE_BY_SIDE := --numprocesses 4 --dist worksteal --durations 20 --durations-min 20

.PHONY: help setup mount unmount wheel install-units test test-faults test-full bench bench-limits bench-profile check clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## install missing apt packages, and make .venv

# Quick while nothing that it depends on has changed.
$(READY): pyproject.toml .constraints.txt Makefile
	@missing=
	for package in $(PACKAGES); do
	  dpkg-query -W -f='$${db:Status-Status}' "$$package" 2>/dev/null | grep -qx installed \
	    || missing="$$missing $$package"
	done
	if [ -n "$$missing" ]; then
	  echo "setup: installing$$missing"
	  root=; [ "$$(id -u)" = 0 ] || root=sudo
	  command -v apt-get >/dev/null || { echo "setup: no apt-get here; install by hand:$$missing" >&2; exit 1; }
	  [ -z "$$root" ] || command -v sudo >/dev/null || { echo "setup: neither root nor sudo; install as root:$$missing" >&2; exit 1; }
	  $$root apt-get update -qq
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null
	fi
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "setup: $(PYTHON) is older than 3.11; say: make PYTHON=/usr/bin/python3 setup" >&2; exit 1; }
	$(PYTHON) -c 'import ensurepip, os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
	  || { echo "setup: $(PYTHON) lacks ensurepip or its headers (Python.h); say: make PYTHON=/usr/bin/python3 setup" >&2; exit 1; }
	[ -x $(BIN)/python ] || { echo "setup: making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .constraints.txt -e . --group dev
	touch $@

mount: setup ## mount ./buckets, with the service that it needs
	@mkdir -p $(MOUNTPOINT)
	$(BIN)/rengafs mount $(MOUNTPOINT)
	cat <<'END'
	mkdir $(MOUNTPOINT)/data
	echo one > $(MOUNTPOINT)/data/note.txt
	echo two > $(MOUNTPOINT)/data/note.txt
	ls -l $(MOUNTPOINT)/data/.versions/note.txt
	cat $(MOUNTPOINT)/data/.versions/note.txt/*
	END

unmount: ## unmount ./buckets; the service ends with it
	@if [ ! -x $(BIN)/rengafs ]; then echo "unmount: nothing is set up here"; exit 0; fi
	$(BIN)/rengafs umount $(MOUNTPOINT)
	rmdir --ignore-fail-on-non-empty $(MOUNTPOINT)

wheel: setup ## build dist/rengafs-….whl, with manual pages and completion
	$(BIN)/python -m build --wheel --no-isolation --outdir dist . >/dev/null
	ls dist/*.whl

# Where the program is installed already, nothing else is.
install-units: $(if $(PROGRAM),,setup) ## install systemd units and mount.rengafs (as root: for the machine; else for you)
	@$(or $(PROGRAM),$(CURDIR)/$(BIN)/rengafs) units $(if $(SCOPE),--scope $(SCOPE)) $(if $(DESTDIR),--root "$(DESTDIR)")

test: setup ## run all tests, with real services and real mounts
	@scratch=$$(mktemp -d)
	trap 'rm -rf "$$scratch"' EXIT
	$(BIN)/pytest tests $(SIDE_BY_SIDE) --basetemp="$$scratch/tests"

# Deaths, power cuts, networks, disks and mounts that meet, of which `make test` does some.
FAULTS := tests/fs/test_write_back_deaths.py tests/fs/test_power_cut.py tests/fs/test_drafts.py
FAULTS += tests/fs/test_write_back.py tests/fs/test_write_back_network.py
FAULTS += tests/fs/test_network_faults.py tests/fs/test_two_mounts.py tests/fs/test_full_disks.py
FAULTS += tests/service/test_kills.py

test-faults: setup ## kill, cut, stall and fill up, hundreds of times (hours)
	@scratch=$$(mktemp -d)
	trap 'rm -rf "$$scratch"' EXIT
	RENGAFS_TEST_FULL=1 $(BIN)/pytest $(FAULTS) --basetemp="$$scratch/tests" --timeout=14400

test-full: setup ## the same, with the long tests at their full length (an hour and more)
	@scratch=$$(mktemp -d)
	trap 'rm -rf "$$scratch"' EXIT
	RENGAFS_TEST_FULL=1 $(BIN)/pytest tests --basetemp="$$scratch/tests" --timeout=7200

bench: setup ## measure beside rclone and s3fs over a real Swift (QUICK=1: five minutes; as root)
	@if [ -n "$(AREAS)" ]; then
	  cd tests && ../$(BIN)/python -m bench $(AREAS)
	else
	  cd tests && ../$(BIN)/python -m bench.peers $(BENCH)
	fi

bench-limits: setup ## measure against limits: ext4, pyfuse3, plain HTTP (AREAS="reads …" for some)
	@cd tests && ../$(BIN)/python -m bench $(AREAS)

bench-profile: setup ## tell where the time goes in WORK=big, small, tree, elsewhere or memory
	@cd tests && ../$(BIN)/python -m bench.peers.profiling $(or $(WORK),small)

check: setup ## check format, lint, types and who imports whom
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove .venv, caches and what was built; no data
	@if mountpoint -q $(MOUNTPOINT); then echo "clean: say make unmount first" >&2; exit 1; fi
	rm -rf $(VENV) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find rengafs tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One shell for a whole recipe, so that `set -e` and variables hold from line to line.
.ONESHELL:
