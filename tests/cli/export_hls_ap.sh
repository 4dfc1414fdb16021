# quern_ap.h, the integers and fixed-point numbers of HLS exports, against AMD's headers' own results and by definition.
# With AP_TYPES=DIR in the environment the same test is compiled with the headers in DIR too.
if ! command -v g++ >/dev/null; then
    echo "skipped: C++ for HLS; there is no g++ (package g++)"
    exit 77
fi
vectors=""
if [ -n "$SHARED" ] && [ -d "$SHARED/vectors/apfixed" ]; then
    check 0 '' hls_vectors "$SHARED/vectors/apfixed" vectors
    vectors=vectors
else
    echo "skipped: vectors of AMD's headers; they are in the shared material"
fi
set -- -Wall -Wextra -Wpedantic -Werror -O0 "$SOURCE_DIR/tests/hls_ap.cpp" -o hls_ap
compared() {
    check 0 '' ./hls_ap "$vectors"
    number "$(awk 'END { print $4 }' out) > 200000"
    [ -z "$vectors" ] || number "$(awk 'END { print $1 }' out) > 180000"
    expect ' 0 wrong$'
}
check 0 '' g++ -std=c++11 "-I$SOURCE_DIR/src/export/hls" "$@"
silent
compared
if [ -n "${AP_TYPES-}" ]; then
    check 0 '' g++ -std=c++11 -DQUERN_AMD_AP_TYPES -isystem "$AP_TYPES" "$@"
    compared
fi

# A rounding that is another one is seen.
sed 's/^ *up = half && (rest || (floor & 1));/up = half;/' "$SOURCE_DIR/src/export/hls/quern_ap.h" >quern_ap.h
cmp -s quern_ap.h "$SOURCE_DIR/src/export/hls/quern_ap.h" && fail "nothing was changed"
check 0 '' g++ -std=c++11 -I. "$@"
! ./hls_ap "" >out || fail "a changed rounding was not seen"
expect '^WRONG: '
