"""Fixtures of the real public tables: tests skip, with the command that fetches them, where they are absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker, which the libraries read when they are loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from nastk.data.fetch import Store
from nastk.errors import DataError


@pytest.fixture(scope="session")
def raw() -> Path:
    """The folder ``raw/`` of the fetched files: of the mirror if NASTK_MIRROR names a folder, else of the cache."""
    for folder in (os.environ.get("NASTK_MIRROR"), Store().home):
        if folder and (Path(folder) / "raw").is_dir():
            return Path(folder) / "raw"
    pytest.skip("the public tables are not here; run: nastk data fetch all")


@pytest.fixture(scope="session")
def nastk_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with nasbench201 and fbnet, fetched from NASTK_MIRROR, else the user's own."""
    home = tmp_path_factory.mktemp("nastk-home") if os.environ.get("NASTK_MIRROR") else Store().home
    store = Store(home)
    try:
        if store.mirror:
            store.fetch(["nasbench201", "fbnet"], progress=False)
        for file in store.catalogue.select(["nasbench201", "fbnet"]):
            store.path(file.path)
    except DataError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASTK_HOME", str(home))
        yield home


@pytest.fixture(scope="session")
def suite_home(nastk_home: Path) -> Path:
    """The same cache with all files of the 28 tasks."""
    names = ["nasbench101", "nasbench301", "transbench101"]
    store = Store(nastk_home)
    try:
        if store.mirror:
            store.fetch(names, progress=False)
        for file in store.catalogue.select(names):
            store.path(file.path)
    except DataError as error:
        pytest.skip(str(error))
    return nastk_home


@pytest.fixture(scope="session")
def extra_home(suite_home: Path) -> Path:
    """The same cache with the tables of the remaining spaces."""
    names = ["nasbench-macro", "mobilenetv3", "hw-gpt-bench"]
    store = Store(suite_home)
    try:
        if store.mirror:
            store.fetch(names, progress=False)
        for file in store.catalogue.select(names):
            store.path(file.path)
    except DataError as error:
        pytest.skip(str(error))
    return suite_home
