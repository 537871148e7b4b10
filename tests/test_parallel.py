"""Independent runs: one thread each, whoever's linear algebra it is."""

from __future__ import annotations

import pytest

from nastk.parallel import each


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
