"""Your own searcher: mutants of the front that is known, fifteen lines, beside random search on a toy accuracy.

Run: python examples/own_searcher.py    (seconds)
From the command line: nastk search --searcher examples/own_searcher.py:FrontMutants --budget 20
Expect: two mean hypervolumes of five runs, that of FrontMutants above that of random search.
"""

import numpy as np

import nastk
from nastk.metrics import nondominated


class FrontMutants(nastk.Searcher):
    """Ten random architectures, then one mutation each of those that nothing dominates."""

    start = 10

    def _ask(self, n, pending, rng):
        archs, costs, violation = self.complete()  # those with every objective known; costs are minimised
        missing = self.start - len(self.archs_) - len(pending)
        if missing > 0 or not len(archs):
            return self.propose(self.fresh_random(min(n, max(missing, 1)), pending, rng))
        kept = violation <= violation.min()  # the constraints, if there are any, come first
        front = archs[kept][nondominated(costs[kept])]
        return self.propose(
            self.fresh_from(lambda k: self.space.mutate(front[rng.integers(len(front), size=k)], rng), n, pending, rng)
        )


def toy_accuracy(archs):
    """Stands for a training: convolutions (options 2 and 3) help, and a skip connection in the first place hurts."""
    return 60 + 6 * (archs >= 2).sum(axis=1) - 3 * (archs[:, 0] == 1)


if __name__ == "__main__":
    space = nastk.space("nasbench201")
    accuracy = nastk.FunctionOracle(space, toy_accuracy, "accuracy", unit="%", direction="max")
    objectives = [accuracy, nastk.oracles.Params(space)]
    for searcher in ("random", f"{__file__}:FrontMutants"):
        runs = [nastk.search(space, objectives, searcher=searcher, budget=40, seed=seed) for seed in range(5)]
        volume = np.mean([result.hypervolume([60.0, 1.6e6]) for result in runs])
        print(f"{searcher.split(':')[-1]}: hypervolume {volume / 1e6:.2f}")
