"""One generator for many devices, then a front for this machine from ten measurements (MODNAS).

Works without any download: accuracy and the source devices' latencies are the shipped predictors' estimates.

Run: python examples/front_generator.py    (under two minutes; no download)
Expect: one training on 27 devices, proposals for this machine within milliseconds, and eight networks at most with
their estimated accuracy and latency, the best above 93 %.
"""

import time

import nastk
from nastk.generators import Device, ParetoGenerator

space = nastk.space("nasbench201")
accuracy = nastk.predictor("gp", pretrained="nasbench201-cifar10")
few = nastk.predictor("few-shot-gp", pretrained="nasbench201")
references = few.choose(10, seed=0)

# Train on the source devices. Accuracy depends on the cell only, latency (None here) on the device.
sources = dict(zip(few.devices, few.sources_(space.enumerate()).T, strict=True))
start = time.perf_counter()
generator = ParetoGenerator(space, {"accuracy": accuracy, "latency": None}, references=references)
generator.fit([Device(name, {"latency": ms}) for name, ms in sources.items()])
print(f"trained on {len(sources)} devices in {time.perf_counter() - start:.0f} s")

# A new device is described by its latencies on the ten reference architectures.
latency = nastk.oracles.Latency(space, device="this")
measured = latency(references)
start = time.perf_counter()
proposed = generator.propose(Device("this", references={"latency": measured}))
print(f"{len(proposed)} architectures proposed in {1000 * (time.perf_counter() - start):.0f} ms")

# The same ten measurements adapt a latency predictor, which selects the best of many samples.
mine = few.adapt(nastk.Task(space, references, measured, "latency", "ms", device="this"))
chosen = generator.decode(Device("this", {"latency": mine}, {"latency": measured}), n=8)
chosen = chosen[accuracy.predict(chosen).mean.argsort()]
for arch, percent, ms in zip(chosen, accuracy.predict(chosen).mean, mine.predict(chosen).mean, strict=True):
    print(f"{percent:5.1f} % and {ms:6.2f} ms, estimated   {space.format(arch)}")
