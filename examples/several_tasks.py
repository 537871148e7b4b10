"""Which paths to open between the networks of two tasks: MTL-NAS in one training, then another searcher.

The tasks are the number and the parity (or the thickness, measured in pixels) of scikit-learn's handwritten digits.

Run: python examples/several_tasks.py              (under three minutes; no download)
     python examples/several_tasks.py thickness
Expect: test errors of 3 to 4 % (digits) and 2 % (parity) with a handful of the 14 paths open, their gates near 0 or 1,
and a front of four networks of which the one without paths is not the best.
"""

import sys

import torch

import nastk
from nastk.data.digit_tasks import digit_tasks
from nastk.generators import MTLNAS
from nastk.oracles import Params, Recipe, Training

data = digit_tasks(sys.argv[1] if len(sys.argv) > 1 else "parity")
# of your own: nastk.data.images.data_of(..., problem=nastk.problems.MultiTask({"one": "classification", ...}))
space = nastk.space("mtl-fusion", outputs=(10, 2))


def told(name: str, network: torch.nn.Module) -> None:
    x, y = data.test.tensors()
    with torch.no_grad():
        answers = data.problem.columns(data.problem.read(network(x)), y)
    errors = [
        f"{task.badness(float(task.scores(found, wanted).float().mean())):5.1f} % {label}"
        for label, task, found, wanted in answers
    ]
    print(f"{name:28} test error {', '.join(errors)}   {sum(p.numel() for p in network.parameters()):,} parameters")


# one search: its network is not trained again
search = MTLNAS(space, steps=160, rate=2e-2).fit(data)
told("MTL-NAS", search.network())
print("  open:", space.format(search.arch))
print("  gates:", ", ".join(f"{c.name} {p:.2f}" for c, p in zip(space.choices, search.probabilities, strict=True)))

# any other searcher takes the same space, and trains a network at a time
recipe = Recipe(10, 32, "adamw", 2e-2, decay=1e-2)
error, params = Training(space, data, recipe=recipe), Params(space)
result = nastk.search(space, objectives=[error, params], searcher="predictor", budget=8, seed=0)
print(result.front[["arch", error.name, "params"]].to_string(index=False))
