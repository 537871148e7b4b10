"""Independent runs: one thread each, whoever's linear algebra it is."""

from __future__ import annotations

import os
from time import process_time

import pytest

from nastk import parallel
from nastk.parallel import each, kept_processes, kept_seconds


def blas_threads(job: int) -> list[int]:
    import numpy as np
    import scipy.linalg
    from threadpoolctl import threadpool_info

    np.linalg.cholesky(np.eye(job))
    scipy.linalg.cholesky(np.eye(job))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_answered_and_has_one_thread(workers: int) -> None:
    answers = dict(each(blas_threads, [2, 3, 4], workers))
    assert sorted(answers) == [2, 3, 4]
    for threads in answers.values():
        assert threads
        assert set(threads) == {1}


def test_this_process_has_its_threads_back_afterwards() -> None:
    import torch

    before = torch.get_num_threads(), blas_threads(2)
    list(each(blas_threads, [2], 1))
    assert (torch.get_num_threads(), blas_threads(2)) == before


def busy(job: int) -> int:
    if job < 0:
        raise ValueError("a job that fails")
    start = process_time()
    while process_time() - start < 0.05:
        pass
    return os.getpid()


def test_processes_are_kept_until_the_end_of_the_block_or_an_error() -> None:
    with kept_processes():
        first = set(dict(each(busy, [1, 2, 3, 4], 2)).values())
        again = set(dict(each(busy, [1, 2, 3, 4], 2)).values())
        assert len(first | again) <= 2
        assert os.getpid() not in first
        assert 0.4 <= kept_seconds() < 2
        kept = parallel._kept
        assert kept is not None
        with pytest.raises(ValueError, match="a job that fails"):
            list(each(busy, [-1, -2], 2))
        assert kept.pool is None, "the next jobs get new processes"
    assert kept_seconds() == 0
