#!/bin/sh
# The shared library exports qn_ and nothing else, and something. usage: exported_symbols.sh LIBRARY
set -eu
exported=$(nm -D --defined-only "$1" | awk '{print $3}' | grep -vE '^(_init|_fini|__bss_start|_edata|_end|__asan_.*|__odr_asan.*|__ubsan.*)$' || true)
[ "$(echo "$exported" | grep -c '^qn_')" -gt 20 ] || { echo "too few qn_ symbols exported"; exit 1; }
foreign=$(echo "$exported" | grep -v '^qn_' || true)
[ -z "$foreign" ] || { echo "exported without the prefix qn_:"; echo "$foreign"; exit 1; }
