"""A runtime of one's own in one file: the graph that torch.export captures, kept in a file and run from it.

Run: python examples/own_runtime.py    (about a minute)
From the command line: nastk measure --random 5 --runtime examples/own_runtime.py:ExportedGraph
Expect: the latencies of two networks in eager PyTorch, and of the same two as exported graphs.
"""

import torch

import nastk
from nastk.oracles import Latency
from nastk.runtimes.base import Runtime
from nastk.testing import check_runtime


class ExportedGraph(Runtime):
    """Calls the captured graph, from a file that is written once a network."""

    name = "exported-graph"
    suffix = ".pt2"

    def describe(self):
        return f"{self.name} {torch.__version__.split('+')[0]}"

    def export(self, network, inputs, file):
        torch.export.save(torch.export.export(network, (inputs,)), file)

    def _prepare(self, source, inputs):
        graph = torch.export.load(source).module()
        return lambda: graph(inputs)


if __name__ == "__main__":
    check_runtime(ExportedGraph)
    space = nastk.space("nasbench201")
    archs = space.from_index([55, 1462])
    for runtime in ("torch", ExportedGraph):
        latency = Latency(space, runtime=runtime, channels=4, cells_per_stage=1)
        print(latency.source, *(f"{ms:.2f} ms" for ms in latency(archs)), sep="; ")
