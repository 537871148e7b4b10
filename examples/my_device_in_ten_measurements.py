"""A device without a table: ten measurements, then the latency of every architecture, with intervals.

Run: python examples/my_device_in_ten_measurements.py    (half a minute)
Here the device is this machine. For another one, measure the ten architectures in whatever way it has, and put the
numbers where `measured.values` is; `nastk predict --measured my.csv` does the same from a file.
Expect: known devices that this one resembles, five latencies with intervals from the fastest network to the slowest,
and a rank correlation with fifteen fresh measurements, above 0.9 on a quiet machine.
"""

import numpy as np

import nastk
from nastk.metrics import spearman

space = nastk.space("nasbench201")
few = nastk.predictor("few-shot-gp", pretrained="nasbench201")  # has seen 27 other devices
ten = few.choose(10, seed=0)  # the most informative ones

latency = nastk.oracles.Latency(space, device="this", threads=1, batch=1)
measured = nastk.Task.measure(latency, ten)
mine = few.adapt(measured)

everything = space.enumerate()
prediction = mine.predict(everything)
alike = ", ".join(f"{name} ({rank:.2f})" for name, rank in mine.resembles()[:3] if rank > 0.5)
print(f"this machine resembles {alike or 'no known device'}")
error = np.median(np.abs(mine.left_out() / measured.values - 1))
print(f"leave-one-out median error of the measurements: {100 * error:.1f} %")
for i in np.argsort(prediction.mean)[:: len(everything) // 5]:
    low, high = (prediction.mean[i] + s * 1.96 * prediction.std[i] for s in (-1, 1))
    print(f"{space.format(everything[i])}  {prediction.mean[i]:6.2f} ms  ({max(low, 0):.2f} to {high:.2f})")

fresh = space.sample(15, seed=1)
truth = latency.evaluate(fresh).value
print(f"on 15 other architectures: Spearman {spearman(mine.predict(fresh).mean, truth):.3f}")
