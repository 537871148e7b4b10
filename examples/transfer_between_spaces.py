"""Accuracies of one search space help in another: a prior from TransNAS-Bench-101 for trainings on NAS-Bench-201.

The prior learns how zero-cost proxies rank networks, which is alike from space to space, on tasks of other spaces; ten
trainings of the new space then correct it.

Run: nastk data fetch nasbench201 transbench101 && python examples/transfer_between_spaces.py    (under a minute)
Expect: two rank correlations over all other networks after ten trainings, each the mean of three draws: with the prior
more than without.
"""

import sys

import numpy as np

import nastk
from nastk.bench.accuracy import targets
from nastk.metrics import spearman

try:
    sources = [*targets("transbench101-micro").values(), *targets("transbench101-macro").values()]
    target = targets("nasbench201")["cifar10"]
except nastk.errors.DataError as error:
    print(f"skipped: {error}")
    sys.exit()

prior = nastk.predictor("gp-bma").pretrain(sources)
print(f"a prior from {len(sources)} tasks of {', '.join(sorted({task.space.name for task in sources}))}")

found = {"with the prior": [], "without": []}
for seed in range(3):
    rows = np.random.default_rng(seed).choice(len(target), 10, replace=False)
    others = np.setdiff1d(np.arange(len(target)), rows)
    ten = target.subset(rows)
    for name, fitted in {"with the prior": prior.adapt(ten), "without": nastk.predictor("gp-bma").fit(ten)}.items():
        found[name].append(spearman(fitted.predict(target.archs[others]).mean, target.values[others]))
for name, values in found.items():
    print(f"{name}: Spearman {np.mean(values):.3f} over {len(target) - 10:,} other networks")
