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
# The same of the program in doc/coming-from.md, with what it prints.
block() { awk -v start="^\`\`\`$1\$" '$0 ~ start { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir/doc/coming-from.md"; }
block c >"$root/integers.c"
block text >"$root/want"
# shellcheck disable=SC2046,SC2086 # lists of flags
"$2" -std=c17 -Wall -Wextra -Werror $sanitize "$root/integers.c" -o "$root/integers" $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs quern)
(cd "$root" && usr/bin/quern quantize "$source_dir/examples/digits/digits.onnx" --data "$source_dir/examples/digits/calib_x_u8.npy" \
    --weights 'qkeras-bits<8,0,alpha=auto>' --recipe minmax -q -o qkeras.onnx && LD_LIBRARY_PATH=$libdir ./integers >got && diff want got)
for page in quern quern-inspect quern-calibrate quern-quantize quern-eval quern-demo; do
    [ -s "$root/usr/share/man/man1/$page.1" ] || { echo "no man page $page.1"; exit 1; }
done
"$root/usr/bin/quern" --version
