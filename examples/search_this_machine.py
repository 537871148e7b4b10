"""The main job in Python: accuracy against latency on this machine, from ten measurements.

Run: python examples/search_this_machine.py [folder]    (about a minute on two cores)
From the command line: nastk search
Expect: four to twelve architectures with estimated accuracies and measured latencies, how well the predicted latencies
agreed with them (a Spearman correlation above 0.9 on a quiet machine), and a page and a picture of the front.
"""

import sys
from pathlib import Path

import nastk
from nastk.metrics import spearman
from nastk.oracles import Latency, Predicted

space = nastk.space("nasbench201")

# Accuracy: an estimate of the predictor that ships with the package, fitted on CIFAR-10 results. Free to evaluate.
estimator = nastk.predictor("gp", pretrained="nasbench201-cifar10")
accuracy = Predicted(estimator, space, "accuracy", "%", "max", source="estimate of the shipped predictor")

# Latency: ten measurements here. The few-shot predictor that ships with the package chooses them and adapts to this
# machine; in the end eight of the front that it predicts are measured too.
latency = Latency(space, device="this", threads=1, batch=1)
result = nastk.search(space, objectives=[accuracy, latency], measurements=10, verify=8, seed=0)
check = result.verification

print(result.front[["arch", "accuracy", "latency", "latency_source"]].to_string(index=False))
if check is not None and len(check) > 2:
    print(f"Spearman correlation of prediction and measurement: {spearman(check.predicted, check.measured):.3f}")

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "nastk-out")
result.report(folder / "front.html")
result.plot(folder / "front.png")
print(f"figures in {folder}")
