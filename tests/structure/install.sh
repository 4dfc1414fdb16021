#!/bin/sh
# What is installed can be used: the README's C program is compiled against it through pkg-config and runs on what
# the installed program makes; man pages are there.
# usage: install.sh BUILD_DIR CC SANITIZERS
set -eu
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cmake --install "$1" --prefix "$root/usr" >/dev/null
[ -n "$3" ] && sanitize="-fsanitize=$3" || sanitize=""
awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir/README.md" >"$root/use.c"
pc=$(dirname "$(find "$root/usr" -name quern.pc)")
libdir=$(dirname "$(find "$root/usr" -name libquern.so)")
# shellcheck disable=SC2046,SC2086 # lists of flags
"$2" -std=c17 -Wall -Wextra -Werror $sanitize "$root/use.c" -o "$root/use" $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs quern)
"$root/usr/bin/quern" demo -q -o "$root/q.onnx"
(cd "$root" && LD_LIBRARY_PATH=$libdir ./use)
for page in quern quern-inspect quern-calibrate quern-quantize quern-eval quern-demo; do
    [ -s "$root/usr/share/man/man1/$page.1" ] || { echo "no man page $page.1"; exit 1; }
done
"$root/usr/bin/quern" --version
