"""A search on a public table: every accuracy and latency that it uses counts as an evaluation.

Run: nastk data fetch nasbench201 && python examples/search_table.py    (under two minutes)
From the command line: nastk search --dataset cifar10 --device fpga --budget 20
Expect: the hypervolume of the searcher with twenty accuracies and ten latencies near that of the true front, .974, and
random search with twice as many below it.
"""

import sys

import nastk
from nastk.metrics import ModnasProtocol

try:
    table = nastk.benchmark("nasbench201", dataset="cifar10")
except nastk.errors.DataError as error:
    print(f"skipped: {error}")
    sys.exit()

accuracy = table.oracle("test_accuracy")
latency = table.oracle("latency", device="fpga")

# The shipped latency predictor has seen this device: remove it and its near-duplicates from the sources.
few = nastk.predictor("few-shot-gp", pretrained="nasbench201").without(["fpga"], duplicates=0.99)
found = {
    "predictor": nastk.search(
        table.space,
        objectives=[accuracy, latency],
        searcher="predictor",
        predictor={"latency": few, "test_accuracy": "gp"},
        budget={"test_accuracy": 20, "latency": 10},
        batch=5,
    ),
    "random": nastk.search(table.space, objectives=[accuracy, latency], searcher="random", budget=20),
}

everything = table.space.enumerate()
protocol = ModnasProtocol(100 - accuracy(everything), latency(everything))
for name, result in found.items():
    volume = protocol.hypervolume(table.space.index(result.front_archs))
    print(f"{name:10} {len(result.front):3} architectures, hypervolume {volume:.4f}")
print(f"{'true front':10} {len(protocol.front()):3} architectures, hypervolume {protocol.front_hypervolume():.4f}")
