"""A pool from a CSV of one column a choice: its space, its members, and a search on the values beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nastk
from nastk.cli import run
from nastk.errors import DataError, DataWarning, InvalidValue, UnknownName
from nastk.testing import check_space

TABLE = """width;op;depth;acc
16;conv_3x3;2;70,5
8;skip;2;60
16;skip;10;71
8;conv_3x3;10;65,25
16;conv_3x3;2;70,5
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(TABLE)
    return path


def test_columns_are_choices_and_rows_are_members(file: Path) -> None:
    pool = nastk.pool_of(file, values=["acc"])
    assert [(c.name, c.options) for c in pool.choices] == [
        ("width", ("8", "16")),
        ("op", ("conv_3x3", "skip")),
        ("depth", ("2", "10")),
    ]
    assert pool.members.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 1]]
    assert pool.format(pool.members[3]) == "8|conv_3x3|10"
    assert (pool.size, pool.whole.size, pool.whole.name) == (4, 8, "mine")
    assert np.array_equal(nastk.pool_of(file, choices=["op"]).members, [[0], [1]])


def test_numbers_are_in_order_and_texts_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n10,none,x\n9,8,x\n1e1,8,y\n9,16,y\n")
    assert [c.options for c in nastk.pool_of(path).choices] == [("9", "10", "1e1"), ("none", "8", "16"), ("x", "y")]


def test_it_keeps_the_contract_of_spaces(file: Path) -> None:
    pool = nastk.pool_of(file, values=["acc"])
    check_space(pool)
    check_space(pool.whole)


def test_members_of_a_space_that_is_known(tmp_path: Path) -> None:
    space = nastk.space("nasbench-macro")
    archs = space.sample(5, 0, unique=True)
    path = tmp_path / "a.csv"
    heading = ",".join(c.name for c in space.choices)
    rows = [",".join(c.options[v] for c, v in zip(space.choices, arch, strict=True)) for arch in archs]
    path.write_text("\n".join([heading, *rows]))
    pool = nastk.pool_of(path, "nasbench-macro")
    assert np.array_equal(pool.members, archs)
    assert pool.has_networks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,\n", "line 2, column 'b' is empty"),
        ("a,b\n1,x\n1,\n2,y\n", "line 3, column 'b' is empty, and no other choice decides where"),
        ("a,a\n1,2\n", "has two columns 'a'"),
        ("a,b\n1,x|y\n", "an option cannot hold '|'"),
        ("a,acc\n1,.1\n1,.2\n1,.3\n", "every row has another 'acc'"),
        ("a,b\n", "has no rows"),
        ("a,b\n1\n", "line 2 has 1 cell"),
    ],
)
def test_what_holds_no_choices_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        nastk.pool_of(path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_column_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(UnknownName, match="column of the file 'accuracy'"):
        nastk.pool_of(file, values=["accuracy"])


CONDITIONAL = """depth,kernel 2,head,hidden,acc
1,,linear,,60
2,3,linear,,70
2,5,mlp,8,72
1,,mlp,16,65
2,3,mlp,16,74
"""


def test_cells_of_choices_that_are_not_made_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    file, spaces, result = tmp_path / "a.csv", tmp_path / "my_spaces.py", tmp_path / "out"
    file.write_text(CONDITIONAL)
    pool = nastk.pool_of(file, values=["acc"])
    assert [c.options for c in pool.choices] == [("1", "2"), ("", "3", "5"), ("linear", "mlp"), ("", "8", "16")]
    check_space(pool)
    assert pool.format_all(pool.members)[:2] == ["1||linear|", "2|3|linear|"]
    spaces.write_text(f"import nastk\n\nPOOL = nastk.pool_of({str(file)!r}, values=['acc'])\n")
    name = f"{spaces}:POOL"
    assert run(["data", "import", str(file), "--space", name, "--column", "acc:test_accuracy", "--dataset", "d"]) == 0
    words = ["search", "--space", name, "--dataset", "d", "--objective", "test_accuracy", "--budget", "5"]
    assert run([*words, "--searcher", "reinforce", "--out", str(result), "--seed", "0"]) == 0
    assert "2|3|mlp|16" in (result / "front.csv").read_text()
    table = nastk.benchmark(name, dataset="d")
    assert table.oracle("test_accuracy")(["1||linear|"]) == [60]


def test_a_column_is_named_once(file: Path) -> None:
    for named in ({"values": ["acc"], "choices": ["acc"]}, {"choices": ["op", "op"]}):
        with pytest.raises(InvalidValue, match="is named twice"):
            nastk.pool_of(file, **named)
    with pytest.raises(InvalidValue, match="of a space of the file's own"):
        nastk.pool_of(file, "fbnet", choices=["op"])


def test_a_search_on_the_values_beside_them(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    spaces = tmp_path / "my_spaces.py"
    spaces.write_text(f"import nastk\n\nPOOL = nastk.pool_of({str(file)!r}, values=['acc'])\n")
    name = f"{spaces}:POOL"
    assert run(["data", "import", str(file), "--space", name, "--column", "acc:test_accuracy", "--dataset", "d"]) == 0
    table = nastk.benchmark(name, dataset="d")
    assert table.oracle("test_accuracy")(["16|skip|10"]) == [71]
    result = tmp_path / "out"
    words = ["search", "--space", name, "--dataset", "d", "--objective", "test_accuracy", "--budget", "4"]
    assert run([*words, "--searcher", "random", "--out", str(result), "--seed", "0"]) == 0
    assert "16|skip|10" in (result / "front.csv").read_text()


def test_importing_nastk_does_not_load_it() -> None:
    code = "import sys, nastk; print('nastk.data.pool_file' in sys.modules, nastk.pool_of.__module__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "nastk.data.pool_file"]


def test_a_search_stays_among_what_the_table_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    file, spaces, result = tmp_path / "mine.csv", tmp_path / "my_spaces.py", tmp_path / "out"
    file.write_text("width,depth,acc,ms,mj\n16,2,70.5,4,\n8,2,60,,1\n16,10,71,5,\n8,4,65,,2\n")
    spaces.write_text(f"import nastk\n\nPOOL = nastk.pool_of({str(file)!r}, values=['acc', 'ms', 'mj'])\n")
    name = f"{spaces}:POOL"
    columns = ["--column", "acc:test_accuracy", "--column", "ms:latency", "--column", "mj:energy"]
    assert run(["data", "import", str(file), "--space", name, *columns, "--device", "pi", "--dataset", "d"]) == 0
    words = ["search", "--space", name, "--dataset", "d", "--objective", "test_accuracy", "--searcher", "random"]
    words += ["--budget", "4", "--seed", "0", "--out", str(result), "--objective", "latency:pi"]
    capsys.readouterr()
    assert run(words) == 0
    said = capsys.readouterr()
    assert "failed" not in said.out
    line = "2 of the 4 architectures of mine's table have latency (table mine d pi imported as mine); the search stays"
    assert said.err == f"nastk: warning: {line} among them\n"
    table = nastk.benchmark(name, dataset="d")
    goals = [table.oracle("test_accuracy"), table.oracle("latency", device="pi")]
    with pytest.warns(DataWarning, match=r"2 of the 4 architectures"):
        found = nastk.search(table.space, goals, searcher="random", budget=4)
    assert {r.arch for r in found.history.records()} == {(1, 0), (1, 2)}
    assert run([*words, "--objective", "energy:pi"]) == 2
    assert "none of the 4 architectures of mine's table has latency" in capsys.readouterr().err
