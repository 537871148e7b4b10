"""Three objectives and a limit: accuracy, parameters and multiply-adds, of networks with 500,000 parameters at most.

Accuracy is the estimate that ships with nastk, so that nothing is trained; a training of your own goes in its place.

Run: python examples/limit_and_three_objectives.py    (seconds; no download)
From the command line: nastk search --objective accuracy --objective params --objective flops
    --constraint "params<=500000"
Expect: a front of some eight networks, all within the limit, the best near 93.8 %; and what tighter limits cost, read
from the same search, for nothing.
"""

import nastk
from nastk.oracles import Flops, Params

space = nastk.space("nasbench201")
estimate = nastk.predictor("gp", pretrained="nasbench201-cifar10")
accuracy = nastk.FunctionOracle(space, lambda archs: estimate.predict(archs).mean, "accuracy", "%", "max")

objectives = [accuracy, Params(space), Flops(space)]
result = nastk.search(
    space, objectives, constraints=["params<=500000"], budget=20, storage="sqlite:///limit.db", seed=0
)
print(result.front[["arch", "accuracy", "params", "flops"]].to_string(index=False))
assert result.feasible, "nothing keeps the limit; the front is the network that comes nearest"

for most in (500_000, 250_000, 120_000):
    front = nastk.front("sqlite:///limit.db", constraints=[f"params<={most}"]).table
    print(f"at most {most:,} parameters: {front['accuracy'].max():.2f} %")
