#!/bin/sh
# on_phone.sh NETWORK.onnx THREADS: time a network on the phone; the last number printed is the median in microseconds.
set -e
here=$(dirname "$0")
adb() { python3 "$here/fake_adb.py" "$@"; } # with a phone: remove this line

there=/data/local/tmp/network-$$.onnx
adb push "$1" "$there" > /dev/null
adb shell /data/local/tmp/benchmark --model "$there" --threads "$2"
adb shell rm "$there"
