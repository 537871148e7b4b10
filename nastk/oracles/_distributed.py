"""One training on several GPUs of this machine, a process each: PyTorch's DistributedDataParallel."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nastk.errors import InvalidValue
from nastk.oracles._trainer import CHECKPOINT_SECONDS, Fit, Job, Outcome, Progress, own_random_state, read_outcome

if TYPE_CHECKING:
    from torch import nn

POLL = 0.2
"""Seconds between looks at what the processes have told."""


def train_in_processes(
    job: Job, processes: int, progress: Progress | None = None, every: float = CHECKPOINT_SECONDS
) -> Outcome:
    """Train a network as :func:`nastk.oracles._trainer.train` does, each batch divided between processes.

    On the device "cuda" each process has a GPU of its own, and batch normalisation sees the whole batch; on "cpu" each
    has its share of the cores, and its own share of the batch. Gradients are those of the whole batch.

    Args:
        job: with a folder, from which the outcome is read.
        processes: two or more.

    Raises:
        InvalidValue: fewer GPUs, or batches that are too small to be divided.
        RuntimeError: what a process raised, as text.
    """
    import cloudpickle
    import torch
    from torch import multiprocessing

    assert job.folder is not None
    steps = max(round(len(job.training) / job.recipe.batch), 1)
    if len(job.training) // steps < 2 * processes:
        raise InvalidValue(f"a batch of {job.recipe.batch} images is too small for {processes} processes")
    if job.device.startswith("cuda") and torch.cuda.device_count() < processes:
        raise InvalidValue(f"this machine has {torch.cuda.device_count()} GPUs; {processes} were asked for")
    kept = read_outcome(job.folder, job.known_as)
    if kept is not None and set(job.at) <= kept.errors.keys():
        return kept
    told = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="nastk-", ignore_cleanup_errors=True) as temporary:
        store = os.path.join(temporary, "store")
        content = cloudpickle.dumps(job)
        started = multiprocessing.start_processes(
            _process, (content, processes, store, told, every), processes, join=False, daemon=True
        )
        try:
            _follow(started, told, progress)
        except multiprocessing.ProcessRaisedException as error:
            raise RuntimeError(str(error).strip().rpartition("\n")[2]) from error
        finally:
            for process in started.processes:
                if process.is_alive():
                    process.terminate()
    found = read_outcome(job.folder, job.known_as)
    assert found is not None
    return found


def _follow(started: Any, told: Any, progress: Progress | None) -> None:
    """Wait for the processes, and pass on what they tell."""
    ended = False
    while not ended:
        ended = started.join(timeout=POLL)
        while not told.empty():
            done, total = told.get()
            if progress is not None:
                progress(done, total)


def _process(rank: int, content: bytes, processes: int, store: str, told: Any, every: float) -> None:
    """What each process runs: the same training, on its share of each batch."""
    import torch
    from torch import distributed

    job: Job = pickle.loads(content)
    on_gpu = job.device.startswith("cuda")
    if on_gpu:
        torch.cuda.set_device(rank)
        job = replace(job, device=f"cuda:{rank}")
    else:
        torch.set_num_threads(max(torch.get_num_threads() // processes, 1))
    address = Path(store).as_uri()
    distributed.init_process_group("nccl" if on_gpu else "gloo", address, rank=rank, world_size=processes)
    try:
        with own_random_state(job):
            fit = _SharedFit(job, rank, processes)
            fit.resume()
            if rank:  # processes draw other augmentations and dropouts than each other
                torch.manual_seed(job.seed + rank)
            fit.run((lambda done, total: told.put((done, total))) if rank == 0 else None, every)
            if rank == 0:
                fit.finish()
            distributed.barrier()
    finally:
        distributed.destroy_process_group()


class _SharedFit(Fit):
    """A training whose batches are divided between processes; the first one evaluates and writes."""

    def __init__(self, job: Job, rank: int, processes: int):
        self.rank, self.processes = rank, processes
        super().__init__(job)

    def prepared(self, network: nn.Module) -> nn.Module:
        from torch import nn

        found = super().prepared(network)
        return nn.SyncBatchNorm.convert_sync_batchnorm(found) if self.device.type == "cuda" else found

    def forward_of(self, network: nn.Module) -> Callable[..., Any]:
        from torch.nn.parallel import DistributedDataParallel

        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)

    def share(self, places: Any) -> tuple[Any, float]:
        """This process's images of a batch, and the weight of their mean loss in that of the whole batch."""
        mine = places[self.rank :: self.processes]
        return mine, self.processes * len(mine) / len(places)

    def evaluate(self) -> dict[str, float]:
        return super().evaluate() if self.rank == 0 else {}

    def save(self) -> None:
        if self.rank == 0:
            super().save()
