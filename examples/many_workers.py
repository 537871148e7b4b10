"""Many workers: several trainings at a time, each in a process of its own that may hang, crash or eat memory.

Run: python examples/many_workers.py [workers]    (under half a minute with 2)
From the command line: nastk search --space examples/many_workers.py:SPACE --accuracy examples/many_workers.py:train
    --objective accuracy --objective params --workers 4 --timeout 5 --budget 20 --storage sqlite:///workers.db
Expect: twenty trainings, beside them those that crashed or ran out of time, counted by reason, and a front; run again,
it ends at once, since every evaluation is in workers.db.
"""

import os
import sys
import time
from collections import Counter

import nastk

SPACE = nastk.space("nasbench201")


def train(arch):
    """Stands for a training: convolutions help, one kind of network crashes its process, one never ends."""
    if arch[0] == 0:
        os._exit(3)  # as a segmentation fault would
    if arch[0] == 4:
        print("epoch 1 of 100")
        time.sleep(3600)
    time.sleep(0.1)
    return 60.0 + 5 * int((arch >= 2).sum())


if __name__ == "__main__":  # worker processes import this file
    accuracy = nastk.FunctionOracle(SPACE, train, "accuracy", "%", "max", one_by_one=True)
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    result = nastk.search(
        SPACE, [accuracy, nastk.oracles.Params(SPACE)], searcher="random", budget=20, workers=workers, timeout=2,
        retries=0, storage="sqlite:///workers.db",
    )  # fmt: skip
    records = result.history.records("search")
    print(f"{sum(r.status == 'ok' for r in records)} trainings by {workers} workers")
    for reason, count in Counter(r.reason for r in records if r.status != "ok").items():
        print(f"{count} failed: {reason}")
    print(result.front[["arch", "accuracy", "params"]].to_string(index=False))
