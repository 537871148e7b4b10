"""What every test relies on: the public tables, surroundings that no other test has changed, quiet where it measures.

Real tables: tests that read them skip, with the command that fetches them, where they are absent. They are fetched and
compiled once a run, whatever the number of workers.

Order: it is random (pytest-randomly; the head of the output has the seed, ``-p no:randomly`` turns it off). A test that
leaves the environment, the current folder or torch's threads changed fails itself, not another one.

Time: no test asserts seconds. What a search, a space or a table may cost is counted in calls (:mod:`effort`), and where
the measuring itself is tested, networks that sleep move a clock that only they move. The few tests that compare what
this machine measures are marked ``alone``: they come last, and a lock that every worker holds while it runs a test,
shared with the others but for these, keeps them apart.
"""

from __future__ import annotations

import fcntl
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread a worker, which the libraries read when they are loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from postgres import Server, programs

from nastk.data import tables
from nastk.data.fetch import Store
from nastk.errors import DataError

# ---- order and apartness


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)  # stable: else in the order given


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    alone = item.get_closest_marker("alone") is not None
    with locked(_run_folder(item.config) / "alone.lock", shared=not alone):
        return (yield)


def _run_folder(config: pytest.Config) -> Path:
    """The temporary folder that all workers of this run share."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent if hasattr(config, "workerinput") else own


@contextmanager
def locked(path: Path, shared: bool = False) -> Iterator[None]:
    """Hold a lock among processes: any number of shared holders, or one alone."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)


# ---- surroundings


@pytest.fixture(autouse=True, scope="module")
def _little_garbage() -> None:
    """What earlier files imported is not searched for garbage again and again: a full collection took half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _surroundings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty cache instead of the user's, a torch seed; what a test leaves behind is its own failure."""
    empty = tmp_path_factory.getbasetemp() / "no-cache"
    seed = request.config.getoption("randomly_seed", None)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(seed, int):
        torch.manual_seed(seed)  # another one each run: what needs a certain one sets it
    modules, path = set(sys.modules), list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASTK_HOME", str(empty))
        before = _state()
        yield
        after = _state()
    sys.path[:] = path  # a user's file, loaded by its name, stays importable: files of the same name would meet
    base = str(_run_folder(request.config))
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(base):
            del sys.modules[name]
    ours = {what for what in after if what.startswith("NASTK_")}  # libraries add variables of theirs when they load
    changed = {what: after.get(what) for what in {*before, *ours} if before.get(what) != after.get(what)}
    assert not changed, f"the test left this changed: {changed}"
    assert not empty.exists(), "the test wrote to the default cache"


def _state() -> dict[str, object]:
    state: dict[str, object] = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    state["current folder"] = os.getcwd()
    if torch := sys.modules.get("torch"):
        state |= {
            "torch threads": torch.get_num_threads(),
            "torch default type": torch.get_default_dtype(),
            "torch gradients": torch.is_grad_enabled(),
            "torch deterministic": torch.are_deterministic_algorithms_enabled(),
        }
    return state


# ---- databases


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server, where its programs and the driver are installed."""
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    bin = programs()
    if bin is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    server = Server(bin)
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind that is supported."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/run.db"
    server: Server = request.getfixturevalue("postgres")
    return server.fresh()


# ---- the real tables


@pytest.fixture(scope="session")
def raw() -> Path:
    """The folder ``raw/`` of the fetched files: of the mirror if NASTK_MIRROR names a folder, else of the cache."""
    for folder in (os.environ.get("NASTK_MIRROR"), Store().home):
        if folder and (Path(folder) / "raw").is_dir():
            return Path(folder) / "raw"
    pytest.skip("the public tables are not here; run: nastk data fetch all")


@pytest.fixture(scope="session")
def fetched(pytestconfig: pytest.Config) -> Callable[..., Path]:
    """``fetched("nasbench201", "fbnet")``: a cache with these collections, their tables compiled.

    They come from NASTK_MIRROR, once for all workers; without a mirror it is the user's own cache as it is.
    """
    run = _run_folder(pytestconfig)
    store = Store(run / "nastk-home" if os.environ.get("NASTK_MIRROR") else None)

    @cache
    def bring(name: str) -> str:
        """Why it is not there, else nothing."""
        done = run / f"fetched-{name}"
        with locked(run / "fetched.lock"):
            try:
                if store.mirror and not done.exists():
                    store.fetch([name], progress=False)
                    for table in store.catalogue.collections[name].tables:
                        tables.load(table, store)
                    done.touch()
                for file in store.catalogue.select([name]):
                    store.path(file.path)
            except DataError as error:
                return str(error)
        return ""

    def home(*names: str) -> Path:
        for name in names:
            if reason := bring(name):
                pytest.skip(reason)
        return store.home

    return home


@pytest.fixture
def nastk_home(fetched: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nasbench201 and fbnet, named by NASTK_HOME while the test runs."""
    home = fetched("nasbench201", "fbnet")
    monkeypatch.setenv("NASTK_HOME", str(home))
    return home


@pytest.fixture
def suite_home(fetched: Callable[..., Path], nastk_home: Path) -> Path:
    """The same cache with all files of the 28 tasks."""
    return fetched("nasbench101", "nasbench301", "transbench101")


@pytest.fixture
def extra_home(fetched: Callable[..., Path], suite_home: Path) -> Path:
    """The same cache with the tables of the remaining spaces."""
    return fetched("nasbench-macro", "mobilenetv3", "hw-gpt-bench")
