"""Stands in for ssh to a board: reads a network from standard input, and answers as the board's program would.

ssh HOST PROGRAM --runs N < NETWORK
"""

import json
import sys


def answer(size: int) -> dict[str, float]:
    """Latency (ms) and energy (mJ) of a network whose file has this many bytes."""
    latency = 1.5 + size / 250_000
    return {"latency": latency, "energy": 2.8 * latency + size / 1_000_000}


if __name__ == "__main__":
    host, program, *_ = sys.argv[1:]
    network = sys.stdin.buffer.read()
    if not network:
        sys.exit(f"{host}: {program}: no network")
    print(json.dumps(answer(len(network))))
