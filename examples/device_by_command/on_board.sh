#!/bin/sh
# on_board.sh NETWORK.pt ANSWER.json: measure a network on the board, which answers {"latency": ms, "energy": mJ}.
set -e
here=$(dirname "$0")
ssh() { python3 "$here/fake_ssh.py" "$@"; } # with a board: remove this line

ssh board ./measure --runs 100 < "$1" > "$2"
