#!/bin/sh
# Includes go one way: a room may include itself and the rooms it stands on. usage: include_direction.sh SOURCE_DIR
set -eu
cd "$1/src"
rooms="base tensor format graph onnx calib engine ptq fault export link cli"
allowed() {
    case $1 in
    base) echo "base" ;;
    tensor) echo "base tensor" ;;
    format) echo "base tensor format" ;;
    graph) echo "base tensor format graph" ;;
    onnx) echo "base tensor format graph onnx" ;;
    engine) echo "base tensor format graph engine" ;;
    calib) echo "base tensor format graph engine calib" ;;
    ptq) echo "base tensor format graph engine calib ptq" ;;
    fault) echo "base tensor format graph engine link fault" ;;
    export) echo "base tensor format graph onnx engine link fault export" ;;
    link) echo "base tensor format graph engine link" ;;
    cli) echo "$rooms" ;;
    *) echo "" ;;
    esac
}
wrong=0
for room in *; do
    [ -n "$(allowed "$room")" ] || {
        echo "room '$room' has no row in $0"
        wrong=1
    }
    # "room/file.h", as it stands in an #include
    for used in $(grep -rhoE '^ *# *include "[a-z_]+/' "$room" | sed 's/.*"//; s,/,,' | sort -u); do
        case " $(allowed "$room") quern generated proto " in
        *" $used "*) ;;
        *)
            echo "src/$room includes from '$used':"
            grep -rnE "^ *# *include \"$used/" "$room"
            wrong=1
            ;;
        esac
    done
done
exit $wrong
