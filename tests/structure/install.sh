#!/bin/sh
# What is installed can be used: a program is compiled against it through pkg-config and runs; man pages are there.
# usage: install.sh BUILD_DIR CC SANITIZERS
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cmake --install "$1" --prefix "$root/usr" >/dev/null
[ -n "$3" ] && sanitize="-fsanitize=$3" || sanitize=""
cat >"$root/use.c" <<'C'
#include <quern/quern.h>
#include <stdio.h>
int main(void)
{
    qn_model *model;
    qn_error err;
    qn_error_init(&err);
    qn_status status = qn_model_load(&model, "no such file", &err);
    printf("%s %d\n", qn_version(), status);
    return status == QN_EIO ? 0 : 1;
}
C
pc=$(dirname "$(find "$root/usr" -name quern.pc)")
libdir=$(dirname "$(find "$root/usr" -name libquern.so)")
# shellcheck disable=SC2046,SC2086 # lists of flags
"$2" -std=c17 $sanitize "$root/use.c" -o "$root/use" $(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs quern)
LD_LIBRARY_PATH=$libdir "$root/use"
for page in quern quern-inspect quern-calibrate quern-quantize quern-eval quern-demo; do
    [ -s "$root/usr/share/man/man1/$page.1" ] || { echo "no man page $page.1"; exit 1; }
done
"$root/usr/bin/quern" --version
