#!/bin/sh
# From a network with choices to the file that ships, within a limit of latency. About two minutes on two cores.
# Run where network.py is: sh ship.sh 0.05    (the limit in ms; another processor needs another one)
set -e
nastk search --space network.py:Net --data digits --epochs 3 --budget 15 \
    --runtime onnx --precision int8 --constraint "latency<=${1:-0.05}"
nastk train nastk-out --top 3 --data digits --epochs 10 --seeds 1 --export onnx,python
