#!/bin/sh
# Each public header compiles alone, as C17 and with C++ keywords avoided. usage: public_headers.sh SOURCE_DIR CC
set -eu
wrong=0
for header in "$1"/include/quern/*.h; do
    echo "#include <quern/$(basename "$header")>" |
        "$2" -std=c17 -pedantic -Wall -Wextra -Werror -I"$1/include" -fsyntax-only -x c - || wrong=1
done
exit $wrong
