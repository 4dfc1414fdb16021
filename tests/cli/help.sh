# Help, man pages, version and misuse.
commands="inspect calibrate quantize recipe sensitivity sweep eval diff export verify plan inject show replay protect merge cuts formats encode decode compare pack unpack demo"

check 0 '' quern --help
silent
expect '^usage: quern COMMAND'
expect 'Exit codes: 0 ok, 1 failed, 2 misuse, 3 input or output refused, 4 results differ'
for command in $commands; do
    expect "^  $command +[a-z]"
done
cp out overview
check 0 '' quern help
same out overview
check 0 '' quern -h
same out overview

for command in $commands; do
    check 0 '' quern "$command" --help
    silent
    expect "^usage: quern $command"
    expect '^Example:$'
    expect "^  quern $command"
    expect '^Exit codes: 0 ok'
    for option in json quiet verbose jobs help; do
        expect "--$option"
    done
    cp out help
    check 0 '' quern "$command" -h
    same out help
    check 0 '' quern help "$command"
    same out help
    [ -z "$(awk 'length > 120' help)" ] || fail "lines over 120 columns in the help of $command"
done
check 0 '' quern eval --help
for option in data labels engine against logits scale mean std layout; do
    expect "--$option"
done

check 0 '' quern --version
expect '^quern [0-9]+\.[0-9]+\.[0-9]+$'

# Man pages. groff warns about requests it does not know; mandoc is stricter.
for command in '' $commands; do
    page=quern${command:+-$command}.1
    # shellcheck disable=SC2086 # no word for quern itself
    check 0 '' quern help --man $command
    silent
    mv out "$page"
    [ -s "$page" ] || fail "$page is empty"
    if command -v groff >/dev/null; then
        groff -man -Tascii -P-cbou -ww "$page" >page.txt 2>warnings || fail "groff refuses $page"
        [ ! -s warnings ] || fail "$page: $(head -n 3 warnings)"
        for section in NAME SYNOPSIS 'EXIT STATUS'; do
            grep -q "^$section" page.txt || fail "$page has no section $section"
        done
        [ -z "$command" ] || grep -q -- '--json' page.txt || fail "$page does not tell of --json"
    fi
    if command -v mandoc >/dev/null; then
        mandoc -T lint -W warning "$page" >warnings || fail "$page: $(head -n 3 warnings)"
    fi
done
command -v groff >/dev/null || echo "skipped: rendering of man pages; groff is not there"
command -v mandoc >/dev/null || echo "skipped: lint of man pages; mandoc is not there"

# Misuse: exit 2, one line, the nearest right spelling.
check 2 'no command given' quern
check 2 "unknown command 'inspct'; did you mean 'inspect'" quern inspct
check 2 "unknown command 'quantise'; did you mean 'quantize'" quern quantise model.onnx
check 2 "unknown command 'evla'; did you mean 'eval'" quern help evla
check 2 "unknown command 'xyzzyplugh'; see" quern xyzzyplugh
check 2 "unknown command 'demoo'; did you mean 'demo'" quern help --man demoo
check 2 'unexpected argument' quern help eval demo
check 2 'unexpected argument' quern --version 3
check 2 "unknown option '--dat'; did you mean '--data'" quern eval model.onnx --dat x.npy
check 2 "unknown option '--label=y.npy'; did you mean '--labels'" quern eval model.onnx --label=y.npy
check 2 "unknown option '--scael'; did you mean '--scale'" quern calibrate model.onnx --scael 2
check 2 "unknown option '--xyzzyplugh'; see 'quern demo --help'" quern demo --xyzzyplugh
check 2 "unknown option '-x'" quern inspect -x model.onnx
check 2 "unknown option '--scale'" quern formats --scale 2
check 2 "unexpected argument 'b.onnx'" quern inspect a.onnx b.onnx
check 2 "unexpected argument 'a.onnx'" quern demo a.onnx
check 2 "option '--json' takes no value" quern inspect a.onnx --json=yes
for command in inspect calibrate quantize eval; do
    check 2 "is missing; usage: quern $command" quern "$command"
done
check 2 '[-]-data X is missing' quern eval model.onnx
check 2 '[-]-data X is missing' quern calibrate model.onnx -o calib.json
check 2 '[-]o FILE is missing' quern calibrate model.onnx --data x.npy
check 2 '[-]o FILE is missing' quern quantize model.onnx --data x.npy
check 2 '[-]-data X .*is missing' quern quantize model.onnx -o q.onnx
check 2 "option '--data' needs a value" quern eval model.onnx --data
check 2 "option '-o' needs a value" quern calibrate model.onnx --data x.npy -o
check 2 "option '--data' is given twice" quern eval model.onnx --data a.npy --data b.npy
check 2 "option '--output' is given twice" quern quantize model.onnx --data a.npy -o q.onnx --output=r.onnx
check 2 "option '--jobs' is given twice" quern demo -j 1 -j 2
for jobs in 0 -1 1.5 two 2x 1025 99999999999999999999 ''; do
    check 2 "jobs '$jobs' is not a number of threads" quern demo -j "$jobs"
done
check 2 "engine 'simulated' is none of float, simulate and integer" \
    quern eval "$DIGITS/digits.onnx" --data "$DIGITS/test_x_u8.npy" --engine simulated
for batch in 0 -3 many 4097 ''; do
    check 2 "batch '$batch' is not a number" \
        quern eval "$DIGITS/digits.onnx" --data "$DIGITS/test_x_u8.npy" --batch "$batch"
done
check 2 "QUERN_CPU: unknown value 'bogus'; use reference, avx2, avx512, vnni or amx" \
    env QUERN_CPU=bogus quern inspect "$DIGITS/digits.onnx"

# "--" ends the options, "--name=value" is "--name value", switches may be joined.
cp "$DIGITS/digits.onnx" ./-j
check 0 '' quern inspect -- -j
check 0 '' quern inspect -qvj1 "$DIGITS/digits.onnx"
check 0 '' quern inspect --jobs=1 "$DIGITS/digits.onnx"

# Standard output that cannot be written is a failure, not a success nobody sees.
if [ -w /dev/full ]; then
    for command in '--help' '--version' "inspect $DIGITS/digits.onnx" "inspect --json $DIGITS/digits.onnx"; do
        check 1 'standard output' sh -c "quern $command >/dev/full"
    done
else
    echo "skipped: a full standard output; /dev/full is not there"
fi
