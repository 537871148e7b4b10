#!/bin/sh
# From a network with choices to a front, with a supernet that says what is worth a training.
# Run where network.py is: sh supernet.sh
set -e
nastk search --space network.py:Net --supernet sandwich --data digits "$@"
