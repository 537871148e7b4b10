"""Names to things."""

import subprocess
import sys
from pathlib import Path

import pytest

import nastk
from nastk.errors import InvalidValue, UnknownName
from nastk.registry import ENCODINGS, PREDICTORS, REGISTRIES, SEARCHERS, SPACES, Registry, load_object

OWN_SPACE = '''
"""A space of one's own."""
import nastk


class Own(nastk.SearchSpace):
    name = "own"
    choices = (nastk.Choice("width", ("4", "8")),)

    def __init__(self, wide=False):
        self.wide = wide

    def build(self, arch, **options):
        raise NotImplementedError


def other():
    return 3


instance = Own(wide=True)
'''


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    file = tmp_path / "own_space_of_a_test.py"
    file.write_text(OWN_SPACE)
    return file


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_entry_is_described_in_one_line(kind: str):
    for name, entry in REGISTRIES[kind].entries.items():
        assert entry.description, name
        assert "\n" not in entry.description, name


def entries() -> list[tuple[str, str]]:
    return [(k, name) for k, r in REGISTRIES.items() for name, e in r.entries.items() if not e.family]


@pytest.mark.parametrize(("kind", "name"), entries())
def test_every_entry_is_a_class_or_something_that_makes_one(kind: str, name: str):
    assert callable(REGISTRIES[kind].get(name))


def test_the_spaces_are_there():
    assert {"nasbench201", "fbnet"} <= set(SPACES.names())
    assert SPACES.entries["fbnet"].description.startswith("FBNet: 9^22 networks")


def test_listing_imports_neither_torch_nor_pandas():
    code = (
        "import sys; from nastk.registry import REGISTRIES; "
        "[r.entries for r in REGISTRIES.values()]; print({'torch', 'pandas', 'sklearn', 'optuna'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_an_unknown_name_proposes_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'nasbench201'"):
        nastk.space("nasbench-201")


def test_an_option_that_does_not_exist_is_an_error_of_the_user():
    with pytest.raises(InvalidValue, match=r"nasbench201.*colour"):
        nastk.space("nasbench201", colour="red")


def test_a_class_of_ones_own_that_cannot_be_made_is_one_line(tmp_path: Path):
    file = tmp_path / "unfinished.py"
    file.write_text(
        "import nastk\n"
        "class Unfinished(nastk.Predictor):\n    pass\n"
        "class Fails(nastk.Searcher):\n    def __init__(self, *a, **o):\n        open('nowhere')\n"
        "    def _ask(self, *a): pass\n"
    )
    with pytest.raises(InvalidValue, match=r"predictor '.*Unfinished' lacks .*fit"):
        nastk.predictor(f"{file}:Unfinished")
    with pytest.raises(InvalidValue, match=r"searcher '.*Fails' cannot be created: FileNotFoundError"):
        SEARCHERS.create(f"{file}:Fails", nastk.space("nasbench201"), [])


def test_a_space_of_ones_own_comes_from_a_file(own_file: Path):
    assert nastk.space(f"{own_file}:Own", wide=True).wide
    assert not nastk.space(f"{own_file}:Own").wide
    assert nastk.space(f"{own_file}:instance").wide


def test_what_is_not_a_space_is_refused(own_file: Path):
    with pytest.raises(InvalidValue, match="not a search space"):
        nastk.space(f"{own_file}:other")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.py:Own", "no such file"),
        ("no_module_of_this_name:Own", "cannot import"),
        ("nastk.errors:Nothing", "has no 'Nothing'"),
        ("nastk.errors", "module:name"),
    ],
)
def test_an_object_that_cannot_be_loaded_says_why(path: str, message: str):
    with pytest.raises(InvalidValue, match=message):
        load_object(path)


def test_a_file_that_does_not_run_says_what_went_wrong(tmp_path: Path):
    (tmp_path / "broken_of_a_test.py").write_text("1 / 0")
    with pytest.raises(InvalidValue, match="ZeroDivisionError"):
        load_object(f"{tmp_path / 'broken_of_a_test.py'}:Own")


def test_a_new_file_is_a_new_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "plugin_of_a_test" / "spaces"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "own_space.py").write_text(OWN_SPACE.lstrip())
    (package / "_private.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("nastk.registry.__file__", str(package.parent / "registry.py"))
    registry = Registry("space", "plugin_of_a_test.spaces", "nastk.spaces.base.SearchSpace")
    assert registry.names() == ["own-space"]
    assert registry.entries["own-space"].description == "A space of one's own."
    assert registry.create("own-space").name == "own"


def test_families_take_what_follows_the_colon():
    families = [e for r in (PREDICTORS, SEARCHERS, ENCODINGS) for e in r.entries.values() if e.family]
    for entry in families:
        assert ":" in entry.name


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """What an object's source is, such as for the identity of its evaluations, is read from its own file."""
    import inspect

    files = [tmp_path / folder / "alike_named.py" for folder in ("one", "other")]
    for file in files:
        file.parent.mkdir()
        file.write_text(f"class Net:\n    here = {file.parent.name!r}\n")
    loaded = [load_object(f"{file}:Net") for file in files]
    assert [net.here for net in loaded] == ["one", "other"]
    assert [net.__module__ == "alike_named" for net in loaded] == [True, False]
    assert ["one" in inspect.getsource(net) for net in loaded] == [True, False]
    assert load_object(f"{files[1]}:Net") is loaded[1]
