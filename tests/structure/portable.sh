#!/bin/sh
# The library compiles for processors other than x86-64: with QN_PORTABLE (src/base/arch.h) no source takes a header, a
# target or an instruction of x86. Checked with the compiler given, and with one for 64-bit ARM where it is installed.
# usage: portable.sh SOURCE_DIR BINARY_DIR CC
set -eu
source=$1 generated=$2/generated cc=$3
poison=$(mktemp -d)
trap 'rm -rf "$poison"' EXIT
for header in immintrin x86intrin emmintrin cpuid; do
    echo "#error \"$header.h belongs between #if QN_X86_64 and #endif\"" >"$poison/$header.h"
done
set -- -std=c17 -D_POSIX_C_SOURCE=200809L -DQN_PORTABLE -Wall -Wextra -Wundef -Werror -fopenmp \
    -I"$poison" -I"$source/include" -I"$source/src" -I"$generated"
wrong=0
for room in base tensor format graph onnx calib engine ptq fault; do
    for file in "$source/src/$room"/*.c "$source/src/$room"/*/*.c; do
        [ -e "$file" ] || continue
        "$cc" "$@" -fsyntax-only "$file" || wrong=1
        x86=$("$cc" "$@" -E -P "$file" | grep -nE 'target *\( *"|__asm__ *(volatile)? *\( *"(xgetbv|v?p)' || true)
        [ -z "$x86" ] || {
            echo "$file: $x86"
            wrong=1
        }
        if command -v aarch64-linux-gnu-gcc >/dev/null; then
            aarch64-linux-gnu-gcc "$@" -idirafter /usr/include -fsyntax-only "$file" || wrong=1
        fi
    done
done
exit $wrong
