"""Devices behind commands: a search by latency and energy of a board that ssh reaches, each network measured once.

Run: python examples/device_by_command.py    (half a minute)
From the command line: nastk search --devices examples/device_by_command/devices.toml --device board
    --objective accuracy --objective latency --objective energy
In examples/device_by_command scripts stand in for ssh, and for adb of a phone; they say what to change for real ones.
Expect: sixteen values of eight networks, two of each call, and a front in accuracy, latency and energy.
"""

from pathlib import Path

import nastk
from nastk.oracles import Command, Predicted

DEVICES = Path(__file__).parent / "device_by_command" / "devices.toml"

space = nastk.space("nasbench201")
latency, energy = (Command(space, "board", metric, devices=DEVICES) for metric in ("latency", "energy"))
accuracy = Predicted(nastk.predictor("gp", pretrained="nasbench201-cifar10"), space, "accuracy", "%", "max")

result = nastk.search(space, [accuracy, latency, energy], measurements=8, verify=2, seed=0)
print(latency.source)
records = result.history.records("search")
calls = {record.arch for record in records}
print(f"{len(records)} values of {len(calls)} measured networks")
print(result.front[["arch", "accuracy", "latency", "energy"]].to_string(index=False))
