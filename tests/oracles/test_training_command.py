"""Trainings behind a command: what it is given, what it answers, when it is ended, how it fails."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import HANGS
from toy import Toy

import nastk
from nastk.errors import InvalidValue, NastkError
from nastk.files import is_running
from nastk.history import History
from nastk.identity import evaluation_identity
from nastk.oracles import TrainingCommand
from nastk.search.base import Objective
from nastk.search.mo_asha import MOASHA
from nastk.search.random import RandomSearch
from nastk.study import Study
from nastk.testing import check_oracle

SPACE = Toy()
ARCH = np.array([[2, 0, 1, 0]])
TEXT = SPACE.format(ARCH[0])
CURVE = 'for e in 1 2 3 4 5 6 7 8 9; do echo "{\\"epoch\\": $e, \\"accuracy\\": 6$e, \\"f1\\": 0.$e}"; done'
"""Nine epochs, each told as a JSON object."""


def training(place: Path, script: str, *arguments: str, **options: Any) -> TrainingCommand:
    """A training by a shell script in `place`, without another try."""
    file = place / "train.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    given = {"retries": 0, "working_folder": place, "folder": place / "runs", **options}
    return TrainingCommand(SPACE, ["./train.sh", *(arguments or ("{arch}",))], **given)


def reason(found: TrainingCommand, fidelity: float | None = None) -> str:
    """Why the one architecture failed."""
    assert np.isnan(found.evaluate(ARCH, fidelity).value).all()
    return found.reasons[TEXT]


# ---- what a command is given


def test_it_keeps_the_contract_of_oracles(tmp_path: Path) -> None:
    each = 'echo "{\\"epoch\\": $e, \\"accuracy\\": $n}"'
    script = f'n=$(echo "$1" | cksum | cut -c 1-2); for e in $(seq "$2"); do {each}; done'
    found = training(tmp_path, script, "{arch}", "{epochs}", fidelities=(1, 3))
    check_oracle(found, SPACE.sample(3, seed=0))
    assert (found.name, found.unit, found.direction, found.kind, found.expensive, found.few_shot) == (
        "accuracy", "%", "max", "measured", True, False,
    )  # fmt: skip
    assert found.source == "trained by ./train.sh ..., at 1, 3"
    check_oracle(pickle.loads(pickle.dumps(found)), SPACE.sample(1, seed=0))


def test_what_stands_in_braces_is_put_in(tmp_path: Path) -> None:
    script = 'for word in "$@"; do printf "%s\\n" "$word" >> given; done; echo 1'
    words = ["{arch}", "{epochs}", "x={seed}", "{folder}", "{{arch}}", "$HOME; ls", "{print $1}"]
    found = training(tmp_path, script, *words, fidelities=(5, 2_000_000), seed=7)
    found.evaluate(ARCH, 5)
    found.evaluate(ARCH)
    own = str(tmp_path / "runs" / "2-0-1-0")
    rest = ["x=7", own, "{arch}", "$HOME; ls", "{print $1}"]
    assert (tmp_path / "given").read_text().splitlines() == [TEXT, "5", *rest, TEXT, "2000000", *rest]
    assert Path(own).is_dir()


def test_a_text_is_split_as_a_shell_would(tmp_path: Path) -> None:
    training(tmp_path, 'printf "%s\\n" "$@" > given; echo 1')
    found = TrainingCommand(SPACE, "./train.sh 'a b' {arch}", working_folder=tmp_path)
    assert found(ARCH) == 1
    assert (tmp_path / "given").read_text().splitlines() == ["a b", TEXT]


def test_the_architecture_is_given_as_json_in_a_file(tmp_path: Path) -> None:
    training(tmp_path, 'cp "$1" kept; echo 1', "{arch_json}")(ARCH)
    assert json.loads((tmp_path / "kept").read_text())["row"] == [2, 0, 1, 0]


# ---- what it answers


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("echo 91.5", 91.5),
        ("echo epoch 3; echo accuracy: 91.5 %", 91.5),
        ('echo 3; echo \'{"accuracy": 91.5, "loss": 2}\'', 91.5),
        ('echo 3 > "$2"; echo \'{"accuracy": 91.5}\' > "$2"; echo done 7', 91.5),
        (f"{CURVE}; echo saved as 50.pt", 69.0),
        (f"{CURVE}; echo '{{\"accuracy\": 91.5}}'", 91.5),
    ],
)
def test_the_answer_is_the_last_number_or_a_json_object(tmp_path: Path, script: str, value: float) -> None:
    out = ("{out}",) if '"$2"' in script else ()
    assert training(tmp_path, script, "{arch}", *out)(ARCH) == value


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo fine; echo 'RuntimeError: no memory' >&2; exit 3", "failed with exit status 3: RuntimeError: no memory"),
        ("echo started; exit 3", "exit status 3: started"),
        ("kill -9 $$", "ended by SIGKILL; it printed nothing"),
        ("echo nothing to see", "printed no number: nothing to see"),
        ("echo nan", "the command's accuracy is nan, which is no finite number"),
        ("echo 91,5", "comma may be of thousands or of decimals"),
        ("echo '{\"f1\": 91.5}'", "answer has no accuracy, only f1"),
        ('echo \'{"accuracy": "high"}\'', "accuracy is 'high', not a number"),
        ("echo '{accuracy: 3}'", "no valid JSON"),
    ],
)
def test_a_failure_says_why(tmp_path: Path, script: str, words: str) -> None:
    assert words in reason(training(tmp_path, script))


def test_a_command_that_is_to_write_its_answer_and_does_not_fails(tmp_path: Path) -> None:
    assert reason(training(tmp_path, "echo 91.5", "{arch}", "{out}")) == "the command wrote nothing to {out}: 91.5"


def test_a_training_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    found = training(tmp_path, "echo epoch 1; sleep 600", timeout=0.3)
    assert reason(found) == "the command gave no answer within 0.3 s: epoch 1"


# ---- intermediate values


def test_values_on_the_way_are_kept_where_they_are_of_a_fidelity(tmp_path: Path) -> None:
    found = training(tmp_path, CURVE, "{arch}", fidelities=(2, 5, 9), metrics=("accuracy", "f1"))
    whole = found.evaluate(ARCH)
    assert (whole.value.tolist(), whole.others["f1"].value.tolist()) == ([69.0], [0.9])
    assert {f: (e.value.tolist(), e.others["f1"].value.tolist()) for f, e in whole.lower.items()} == {
        2: ([62.0], [0.2]),
        5: ([65.0], [0.5]),
    }
    assert [e.cost.tolist() for e in whole.lower.values()] == [[0.0], [0.0]], "part of the one training"
    assert found.evaluate(ARCH, 5).value.tolist() == [65.0]
    assert found.evaluate(ARCH, 2).lower == {}


def test_a_command_without_epochs_is_ended_at_its_fidelity_with_all_its_processes(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > child; {CURVE}; echo $$ > whole; sleep 600; echo late > late"
    found = training(tmp_path, script, fidelities=(2, 5))
    assert found(ARCH) == 65.0
    _until(lambda: not is_running(int((tmp_path / "child").read_text())) or _is_zombie(tmp_path / "child"))
    assert not (tmp_path / "late").exists()


def test_a_command_with_epochs_ends_by_itself(tmp_path: Path) -> None:
    script = f'{CURVE}; echo "$2 epochs" > saved; echo \'{{"accuracy": 70}}\''
    assert training(tmp_path, script, "{arch}", "{epochs}", fidelities=(2, 5)).evaluate(ARCH, 2).value == 62.0
    assert (tmp_path / "saved").read_text() == "2 epochs\n"
    assert training(tmp_path, "echo 70", "{arch}", "{epochs}", fidelities=(2, 5))(ARCH) == 70


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"epoch": 2, "accuracy": 62}', '{"epoch": 1, "accuracy": 61}'], "epoch 1 came after epoch 2: epochs ascend"),
        (['{"epoch": 2, "accuracy": 62}', '{"epoch": 2, "accuracy": 61}'], "epoch 2 came after epoch 2"),
        (['{"epoch": 2, "accuracy": NaN}'], "the value at epoch 2 is nan, which is no finite number"),
        (['{"epoch": 2, "accuracy": "good"}'], "the value at epoch 2 is 'good', not a number"),
        (['{"epoch": "2", "accuracy": 62}'], "an epoch is '2', not a number"),
        (['{"epoch": 7, "accuracy": 62}'], "no value at epoch 5: epoch 7 was the first; does its folder hold"),
        (['{"epoch": 4, "accuracy": 62}', '{"epoch": 6, "accuracy": 62}'], "no value at epoch 5: epoch 6 followed 4"),
        (['{"epoch": 2, "accuracy": 62}'], "the training ended at epoch 2, before 5"),
        (['{"epoch": 2, "loss": 0.1}', "62"], 'uses no {epochs} and printed no line such as {"epoch": 5, "accuracy"'),
    ],
)
def test_values_on_the_way_that_cannot_be_used_fail(tmp_path: Path, lines: Sequence[str], words: str) -> None:
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    found = training(tmp_path, "cat lines; exec 1>&-", fidelities=(5,), retries=2)
    assert words in reason(found)
    assert found.evaluate(ARCH).attempts == [1], "it would print the same again"


def test_an_answer_of_another_epoch_is_refused(tmp_path: Path) -> None:
    script = 'echo \'{"epoch": 4, "accuracy": 62}\' > "$2"'
    found = training(tmp_path, script, "{arch}", "{out}", "{epochs}", fidelities=(5,))
    assert reason(found).startswith("the command's answer is of epoch 4, and not of 5")


def test_a_line_without_its_end_counts(tmp_path: Path) -> None:
    script = "printf '{\"epoch\": 5, \"acc'; sleep 0.1; printf 'uracy\": 65}'"
    assert training(tmp_path, script, fidelities=(5,))(ARCH) == 65.0


def test_a_training_ends_where_the_search_is_killed(tmp_path: Path) -> None:
    """Nobody waits for it any more, and the next one of its network would write to the same files."""
    training(tmp_path, "trap '' TERM; echo $$ > process; exec sleep 600")
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from toy import Toy\n"
        "from nastk.oracles import TrainingCommand\n"
        "TrainingCommand(Toy(), './train.sh {arch}', working_folder=sys.argv[1]).evaluate([[0, 0, 0, 0]])\n"
    )
    root = Path(nastk.__file__).parents[1]
    search = subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(root), str(root / "tests")])
    file = tmp_path / "process"
    _until(lambda: file.exists() and file.read_text().strip() != "")
    search.send_signal(signal.SIGKILL)
    search.wait()
    _until(lambda: not is_running(int(file.read_text())) or _is_zombie(file))


def _until(happened: Any) -> None:
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < HANGS, "hangs"
        time.sleep(0.05)


def _is_zombie(file: Path) -> bool:
    """Whether the process of the number in a file has ended, and only nobody has asked how."""
    try:
        return ") Z" in Path("/proc", file.read_text().strip(), "stat").read_text()
    except OSError:
        return not is_running(int(file.read_text()))


# ---- what is tried again


@pytest.mark.parametrize(
    ("first", "attempts"),
    [
        ("echo 'RuntimeError: CUDA out of memory' >&2; exit 1", 2),
        ("kill -9 $$", 2),
        ("exit 1", 2),
        ("echo 'ValueError: 3 channels' >&2; exit 1", 1),
        ("echo 'ModuleNotFoundError: No module named x' >&2; exit 1", 1),
        ("echo no number", 1),
    ],
)
def test_what_may_pass_is_tried_again(tmp_path: Path, first: str, attempts: int) -> None:
    found = training(tmp_path, f"if mkdir once 2>/dev/null; then {first}; else echo 91.5; fi", retries=2)
    whole = found.evaluate(ARCH)
    assert (whole.attempts == [attempts]).all()
    assert np.isfinite(whole.value).all() == (attempts == 2)
    assert (TEXT in found.reasons) == (attempts == 1)


def test_retries_are_not_endless(tmp_path: Path) -> None:
    whole = training(tmp_path, "echo x >> calls; exit 1", retries=2).evaluate(ARCH)
    assert whole.attempts == [3]
    assert (tmp_path / "calls").read_text() == "x\n" * 3


# ---- searches


def goals(folder: Path, script: str = f"echo x >> calls; {CURVE}", **options: Any) -> list[TrainingCommand]:
    both = {"metrics": ("accuracy", "f1"), **options}
    return [
        training(folder, script, metric="accuracy", **both),
        training(folder, script, metric="f1", direction="max", **both),
    ]


def test_one_training_tells_all_metrics_at_all_fidelities_that_it_passed(tmp_path: Path) -> None:
    found = goals(tmp_path, fidelities=(2, 5, 9))
    history = Study(RandomSearch(SPACE, found), 3, History()).run().history
    assert (tmp_path / "calls").read_text() == "x\n" * 3
    told = Counter((r.objective, r.fidelity, r.value, r.charged) for r in history.records())
    values = {None: (69.0, 0.9), 2: (62.0, 0.2), 5: (65.0, 0.5)}
    assert told == {
        (name, f, value, f is None): 3
        for f, both in values.items()
        for name, value in zip(("accuracy", "f1"), both, strict=True)
    }
    assert history.spent() == {"accuracy": 3, "f1": 3}


def test_a_promoted_network_is_told_what_it_knows_already(tmp_path: Path) -> None:
    found = goals(tmp_path, fidelities=(1, 3, 9))
    history = Study(MOASHA(SPACE, found, trainings=3.0), None, History()).run().history
    calls = len((tmp_path / "calls").read_text().split())
    charged = [r for r in history.records() if r.charged]
    assert calls * 2 == len(charged) == len(history), "a rung that was passed again is recorded once"
    assert {r.fidelity for r in charged} == {1, 3, None}


def test_a_metric_at_another_fidelity_than_it_was_asked_for_is_not_charged(tmp_path: Path) -> None:
    accuracy, f1 = goals(tmp_path, fidelities=(2, 5, 9))
    asked = [Objective("accuracy", accuracy, 5), Objective("f1", f1)]
    history = Study(RandomSearch(SPACE, asked), 2, History()).run().history
    told = Counter((r.objective, r.fidelity, r.charged) for r in history.records())
    assert told == {
        ("accuracy", 5, True): 2, ("accuracy", 2, False): 2,
        ("f1", 5, False): 2, ("f1", 2, False): 2, ("f1", None, True): 2, ("accuracy", 9, False): 2,
    }  # fmt: skip
    assert len((tmp_path / "calls").read_text().split()) == 4


def test_a_metric_that_the_command_does_not_tell_fails(tmp_path: Path) -> None:
    found = goals(tmp_path, "echo '{\"accuracy\": 70}'")
    with pytest.raises(NastkError, match="all 5 evaluations of f1 failed; last: the command's answer has no f1, only"):
        Study(RandomSearch(SPACE, found), 9, History()).run()


def test_worker_processes_train_in_the_folders_of_the_networks(tmp_path: Path) -> None:
    script = 'echo "$2" > "$1/mine"; echo 70'
    found = training(tmp_path, script, "{folder}", "{arch}", folder="")
    with ProcessPoolExecutor(2) as pool:
        storage = f"sqlite:///{tmp_path / 'run.db'}"
        result = nastk.search(SPACE, [found], "random", budget=4, storage=storage, executor=pool, workers=2)
    [root] = (tmp_path / "run.db-networks").iterdir()
    assert sorted((folder / "mine").read_text().strip() for folder in root.iterdir()) == sorted(
        SPACE.format(np.array(r.arch)) for r in result.history.records()
    )


def test_what_a_training_depends_on_is_its_identity(tmp_path: Path) -> None:
    base = training(tmp_path, "echo 70")

    def same(**options: Any) -> bool:
        return training(tmp_path, "echo 70", **options).identity() == base.identity()

    assert same(seed=3), "the command does not use it"
    assert same(retries=5, timeout=9.0, fidelities=(1, 2))
    assert not same(metric="f1", direction="max")
    seeded = [training(tmp_path, "echo 70", "{arch}", "{seed}", seed=s).identity() for s in (0, 1)]
    assert seeded[0] != seeded[1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert training(elsewhere, "echo 70").identity() != base.identity(), "another script of that name"


def test_an_edit_of_the_script_is_said(tmp_path: Path) -> None:
    before = evaluation_identity(Objective.of(training(tmp_path, "echo 70")))
    [said] = [said for said in before.code.values() if not said.startswith("toy.py")]
    assert said.startswith("train.sh (changed ")
    after = evaluation_identity(Objective.of(training(tmp_path, "echo 71")))
    assert before.digest == after.digest
    [said] = after.edited_since(before.version)
    assert said.startswith("train.sh (changed ")


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (["./train.sh", "{arch"], {}, "does not say which network it trains"),
        (["./train.sh", "{arhc}"], {}, "unknown placeholder of --train: '{arhc}'; did you mean '{arch}'"),
        (["./train.sh", "{arch}", "{threads}"], {}, "unknown placeholder"),
        (["./train.sh", "{arch}", "{epochs}"], {}, "uses {epochs}: say how many, such as --epochs 5,50"),
        (["./nosuch.sh", "{arch}"], {}, "there is no program"),
        (["{arch}"], {}, "holds a placeholder; only its arguments can"),
        ([], {}, "--train: command is empty"),
        ("./train.sh '{arch}", {}, "no closing quotation"),
        (["./train.sh", "{arch}"], {"metric": "f1"}, "write max:f1 or min:f1"),
        (["./train.sh", "{arch}"], {"timeout": 0}, "timeout is a number of seconds above 0; got 0"),
        (["./train.sh", "{arch}"], {"timeout": math.nan}, "timeout is a number of seconds above 0"),
        (["./train.sh", "{arch}"], {"retries": -1}, "retries is a whole number, 0 or more; got -1"),
        (["./train.sh", "{arch}"], {"fidelities": (5, 2)}, "fidelities must ascend"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, words: Any, options: dict[str, Any], message: str) -> None:
    training(tmp_path, "echo 1")
    with pytest.raises(InvalidValue) as raised:
        TrainingCommand(SPACE, words, working_folder=tmp_path, **options)
    assert message in str(raised.value)


def test_a_folder_has_to_be_said_outside_of_a_search(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="say where, such as folder='runs'"):
        training(tmp_path, "echo 1", "{arch}", "{folder}", folder="").evaluate(ARCH)
    assert os.listdir(tmp_path) == ["train.sh"]
