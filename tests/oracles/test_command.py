"""Devices behind a command: what it is given, what it answers, how it fails, and one call for several metrics."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import HANGS
from toy import Toy, oracle

import nastk
from nastk.errors import InvalidValue, MissingExtra, NastkError, UnknownName, installing
from nastk.evaluation import Record
from nastk.history import History
from nastk.oracles import Command, CommandDevice
from nastk.oracles._child import KEPT, run_child
from nastk.search.base import Objective, Proposal, Searcher
from nastk.spaces.base import Archs, SearchSpace
from nastk.study import Study
from nastk.testing import check_oracle

SPACE = Toy()
ARCH = np.array([[2, 0, 1, 0]])


def device(folder: Path, script: str, *arguments: str, name: str = "phone", **options: Any) -> CommandDevice:
    """A device whose command is a shell script in `folder`, called once, without another try or a limit of time."""
    file = folder / "run.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    given = {"repeats": 1, "retries": 0, "timeout": HANGS, "folder": str(folder), **options}
    return CommandDevice(name, ("./run.sh", *(arguments or ("{arch}",))), **given)


def command(folder: Path, script: str, *arguments: str, metric: Any = "latency", **options: Any) -> Command:
    return Command(SPACE, device(folder, script, *arguments, **options), metric)


def reason(found: Command, arch: Any = ARCH) -> str:
    """Why the one architecture failed."""
    assert np.isnan(found(arch)).all()
    return found.reasons[SPACE.format(arch[0])]


# ---- what a command is given


def test_it_keeps_the_contract_of_oracles(tmp_path: Path) -> None:
    found = command(tmp_path, 'echo "$1" | cksum | cut -c 1-4')
    check_oracle(found, SPACE.sample(4, seed=0))
    assert (found.name, found.unit, found.kind, found.few_shot, found.expensive) == (
        "latency", "ms", "measured", True, True,
    )  # fmt: skip
    assert found.source == "measured on phone by ./run.sh ..., one call"


def test_arguments_reach_the_command_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "a folder; with $(words)"
    folder.mkdir()
    script = 'for word in "$@"; do printf "%s\\n" "$word" >> given; done; echo 1'
    spec = device(folder, script, "a b", "$HOME; ls", "{{arch}}", "x={arch}", "{print $1}", "{threads}", "*")
    Command(SPACE, spec, threads=3)(ARCH)
    assert (folder / "given").read_text().splitlines() == [
        "a b", "$HOME; ls", "{arch}", f"x={SPACE.format(ARCH[0])}", "{print $1}", "3", "*",
    ]  # fmt: skip


def test_the_architecture_is_given_as_json_in_a_file(tmp_path: Path) -> None:
    command(tmp_path, 'cp "$1" kept; echo 1', "{arch_json}")(ARCH)
    facts = json.loads((tmp_path / "kept").read_text())
    assert facts == {
        "space": "toy", "arch": SPACE.format(ARCH[0]), "row": [2, 0, 1, 0],
        "choices": {"choice0": "c", "choice1": "a", "choice2": "b", "choice3": "a"},
    }  # fmt: skip


def test_networks_are_written_once_and_their_folder_is_gone_in_the_end(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    space = nastk.space("nasbench201")
    script = 'echo "$1 $2 $(wc -c < "$1")" >> calls; cp "$1" kept.pt; cp "$2" kept.pt2; echo 1'
    spec = device(tmp_path, script, "{torchscript}", "{pt2}", "{batch}", repeats=2)
    small = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
    found = Command(space, spec, batch=3, **small)
    assert found(7) == 1
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first == second
    assert not Path(shlex.split(first)[0]).parent.exists()
    torch.manual_seed(0)
    x = torch.randn(3, 3, 8, 8)
    network = space.build(space.as_archs(7)[0], **small).eval()
    kept = torch.jit.load(tmp_path / "kept.pt"), torch.export.load(tmp_path / "kept.pt2").module()
    for answer in (run(x) for run in kept):
        answer = answer[0] if isinstance(answer, tuple) else answer
        expected = network(x)
        expected = expected[0] if isinstance(expected, tuple) else expected
        torch.testing.assert_close(answer, expected)


def test_onnx_files_are_written(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    spec = device(tmp_path, 'cp "$1" kept.onnx; echo 1', "{onnx}")
    small = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
    assert Command(nastk.space("nasbench201"), spec, batch=2, **small)(7) == 1
    [given] = onnx.load(tmp_path / "kept.onnx").graph.input
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [2, 3, 8, 8]


@pytest.mark.slow
def test_tflite_files_are_written(tmp_path: Path) -> None:
    for module in ("ai_edge_litert", "ai_edge_quantizer", "litert_torch"):
        pytest.importorskip(module, reason="needs the extra litert")
    spec = device(tmp_path, 'cp "$1" kept.tflite; echo 1', "{tflite}")
    small = {"channels": 4, "cells_per_stage": 1, "input_size": 8}
    assert Command(nastk.space("nasbench201"), spec, **small)(7) == 1
    assert (tmp_path / "kept.tflite").read_bytes()[4:8] == b"TFL3"


def test_a_missing_extra_is_said_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=re.escape(installing("onnx"))):
        Command(nastk.space("nasbench201"), device(tmp_path, "touch called; echo 1", "{onnx}"))
    assert not (tmp_path / "called").exists()


def test_networks_that_cannot_be_built_fail_with_their_own_reason(tmp_path: Path) -> None:
    class Broken(Toy):
        def build(self, arch: Archs, **options: Any) -> Any:
            raise RuntimeError("no such layer")

        def input_shape(self, **options: Any) -> tuple[int, ...]:
            return (3,)

    found = Command(Broken(), device(tmp_path, "touch called; echo 1", "{torchscript}"))
    assert np.isnan(found(ARCH)).all()
    assert found.reasons == {SPACE.format(ARCH[0]): "RuntimeError: no such layer"}
    assert not (tmp_path / "called").exists()


# ---- what it answers


@pytest.mark.parametrize(
    ("printed", "unit", "ms"),
    [
        ("12.5", "ms", 12.5),
        ("model v3: 40 runs, median 1.25e3", "us", 1.25),
        ("took .5 s", "s", 500.0),
        ("12.5ms", "ms", 12.5),
        ("Größe 3, Zeit: 7 µs ±", "µs", 7e-3),
        ("int8 conv3x3 2000", "ns", 2e-3),
        ("latency=+4.", "ms", 4.0),
        ("9\n\n", "ms", 9.0),
        ("median 8.3 ms (30 runs, 4 threads)", "ms", 8.3),
        ("min 7 ms, median 8.3 ms (30 runs)", "ms", 8.3),
        ("run 1,000: 8.3 ms of 4 threads", "ms", 8.3),
        ("loaded in 12 s\n50 %\r8300 (30)\r8300", "us", 8.3),
        ("took 12 s at 2026-11-29", "s", 12000.0),
        ("\x1b[1;32m12.5\x1b[0m\n", "ms", 12.5),
        ('warming up 3 {"a": 1}\n{"latency": 4, "rounds": 100}', "ms", 4.0),
        ('log {\n{\n  "latency": 2.5,\n  "more": {"n": 3}\n}\n', "ms", 2.5),
    ],
)
def test_the_last_number_or_the_json_object_is_the_answer(tmp_path: Path, printed: str, unit: str, ms: float) -> None:
    (tmp_path / "text").write_text(printed, encoding="utf-8")
    assert command(tmp_path, "cat text", unit=unit)(ARCH) == pytest.approx([ms])


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        ("", "the command printed no number; it printed nothing"),
        ("no device", "the command printed no number: no device"),
        ("nan", "the command's latency is nan, which no latency can be: nan"),
        ("median inf", "the command's latency is inf, which no latency can be: median inf"),
        ("-3.5", "the command's latency is -3.5, which no latency can be: -3.5"),
        ("0.0", "the command's latency is 0.0, which no latency can be: 0.0"),
        ("1,234.5", "the command printed 1,234.5, whose comma may be of thousands or of decimals: 1,234.5"),
        ("in all 3.5 s", "the command printed 3.5 s, and the device's unit is ms: in all 3.5 s"),
        ("8300 us (4 threads)", "the command printed 8300 us, and the device's unit is ms: 8300 us (4 threads)"),
        ("12 s at 2026-11-29", "the command printed 12 s, and the device's unit is ms: 12 s at 2026-11-29"),
        ("8 ms of 3 s", "the command printed 3 s, and the device's unit is ms: 8 ms of 3 s"),
        ("3 microseconds", "the command printed 3 microseconds, and the device's unit is ms: 3 microseconds"),
        ("3 s, 4 runs\ndone", "the command printed 3 s, and the device's unit is ms, in the line '3 s, 4 runs': done"),
        ("v1.2.3", "the command printed no number: v1.2.3"),
        ("{'latency': 3, 'n': 100}", "the command's answer is no valid JSON: {'latency': 3, 'n': 100}"),
        ('{"time": 3}', 'the command\'s answer has no latency, only time: {"time": 3}'),
        ('{"latency": "3"}', 'the command\'s latency is \'3\', not a number: {"latency": "3"}'),
        ('{"latency": NaN}', 'the command\'s latency is nan, which no latency can be: {"latency": NaN}'),
        ('{"latency": true}', "the command's latency is 'True', not a number: {\"latency\": true}"),
        ("\x1b[31mfailed\x07 \udc80\x1b[0m", "the command printed no number: failed �"),
    ],
)
def test_what_is_no_answer_fails_with_the_last_line(tmp_path: Path, printed: str, why: str) -> None:
    (tmp_path / "text").write_bytes(printed.encode("utf-8", "surrogateescape"))
    assert reason(command(tmp_path, "cat text")) == why


def test_the_answer_is_read_from_the_file_where_the_command_names_one(tmp_path: Path) -> None:
    assert command(tmp_path, 'echo 7; echo 3 > "$2"', "{arch}", "{out}")(ARCH) == [3.0]
    found = command(
        tmp_path, 'if [ ! -e once ]; then touch once; echo 3 > "$2"; fi; echo 7', "{arch}", "{out}", repeats=2
    )
    assert reason(found) == "the command wrote nothing to {out}: 7", "the first call's file is not read again"


def test_median_and_spread_are_of_the_repeats(tmp_path: Path) -> None:
    found = command(tmp_path, "echo x >> n; set -- 5 1 3; shift $(($(wc -l < n) - 1)); echo $1", repeats=3)
    answer = found.evaluate(ARCH)
    assert answer.value == [3.0]
    assert answer.std == pytest.approx([2.0 / math.sqrt(3)])
    assert answer.attempts == [1]
    assert answer.cost > 0


def test_energy_and_memory_have_units_of_their_own(tmp_path: Path) -> None:
    unit = {"energy": "J", "memory": "KB", "latency": "s"}
    script = """echo '{"latency": 0.25, "energy": 0.5, "memory": 2500, "note": "x"}'"""
    values = {}
    for metric in ("latency", "energy", "memory"):
        found = command(tmp_path, script, metric=metric, unit=unit)
        values[metric] = float(found(ARCH)[0]), found.unit, found.few_shot
    assert values == {"latency": (250.0, "ms", True), "energy": (500.0, "mJ", True), "memory": (2.5, "MB", False)}


def test_one_call_answers_the_other_metrics_at_no_cost(tmp_path: Path) -> None:
    unit = {"latency": "ms", "energy": "mJ"}
    answer = command(tmp_path, """echo '{"latency": 2, "energy": 5}'""", unit=unit).evaluate(ARCH)
    assert answer.others["energy"].value == [5.0]
    assert answer.others["energy"].cost == [0.0]
    part = command(tmp_path, """echo '{"latency": 2, "energy": null}'""", unit=unit)
    assert part.evaluate(ARCH).value == [2.0]
    assert np.isnan(part.evaluate(ARCH).others["energy"].value).all()


# ---- how it fails


def test_failures_have_the_last_line_of_output_or_else_of_errors(tmp_path: Path) -> None:
    assert reason(command(tmp_path, "echo 5; echo broken >&2; exit 3")) == "the command failed with exit status 3: 5"
    many = "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i >&2; done; exit 1"
    assert reason(command(tmp_path, many)) == "the command failed with exit status 1: line 1000"
    assert reason(command(tmp_path, "kill -SEGV $$")).startswith("the command was ended by SIGSEGV")
    long = reason(command(tmp_path, "head -c 100000 /dev/zero | tr '\\0' x; exit 1"))
    assert len(long) < 350
    assert long.endswith("x...")


def test_failed_calls_are_made_again_and_then_fail_the_network(tmp_path: Path) -> None:
    script = "echo x >> n; if [ $(wc -l < n) -lt 3 ]; then echo cable >&2; exit 1; fi; echo 4"
    answer = command(tmp_path, script, retries=2).evaluate(ARCH)
    assert (answer.value, answer.attempts) == ([4.0], [3])
    (tmp_path / "n").unlink()
    found = command(tmp_path, script, retries=1)
    assert reason(found) == "the command failed with exit status 1: cable"
    assert (tmp_path / "n").read_text() == "x\nx\n"
    assert found(ARCH) == [4.0]
    assert not found.reasons, "what went well later is no failure"


def test_a_study_does_not_repeat_the_tries_of_the_command(tmp_path: Path) -> None:
    found = command(tmp_path, "echo x >> n; exit 1", retries=1)
    [record] = nastk.evaluation.evaluate_together(Objective.of(found), ARCH, None, retries=5)
    assert record.status == "failed"
    assert record.attempts == 2
    assert (tmp_path / "n").read_text() == "x\nx\n"


def gone(file: Path) -> bool:
    """Whether the process whose number a script has written is no more, or soon is."""
    process = int(file.read_text())
    for _ in range(HANGS * 10):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if (
            Path(f"/proc/{process}/stat").exists()
            and Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] == "Z"
        ):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000 & echo $! > child; echo 5; wait",  # a child of the same group
        "trap '' TERM; echo $$ > child; echo 5; while :; do sleep 1000; done",  # no request ends it
        "echo $$ > child; echo 5; exec >&- 2>&-; sleep 1000",  # its output is closed, and it goes on
    ],
)
def test_the_whole_process_group_ends_with_its_time(tmp_path: Path, script: str) -> None:
    found = command(tmp_path, script, timeout=1.0)
    assert reason(found) == "the command gave no answer within 1 s: 5"
    assert gone(tmp_path / "child")


def test_a_process_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    """adb starts a server that holds the output open."""
    server = "import os, time; os.setsid(); open('child', 'w').write(str(os.getpid())); time.sleep(1000)"
    script = (
        f"{shlex.quote(sys.executable)} -c {shlex.quote(server)} & while [ ! -s child ]; do sleep 0.05; done; echo 5"
    )
    try:
        assert command(tmp_path, script)(ARCH) == [5.0]
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_gigabytes_of_output_do_not_fill_the_memory(tmp_path: Path) -> None:
    ended = run_child(["/bin/sh", "-c", "head -c 60000000 /dev/zero; echo; echo 3; echo y >&2"], str(tmp_path), HANGS)
    assert ended.status == 0
    assert ended.output.endswith("\n3\n")
    assert len(ended.output) <= KEPT
    assert ended.errors == "y\n"


def test_nothing_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command(tmp_path, "echo to stdout 1; echo to stderr >&2; cat; ls /nowhere")(ARCH)
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_ends_the_child_too(tmp_path: Path) -> None:
    program = (
        "import signal, sys; from nastk.oracles._child import run_child; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # in the background it is ignored
        "run_child(['/bin/sh', '-c', 'echo $$ > child; sleep 1000'], sys.argv[1], 1000)"
    )
    folder = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE, **folder) as process:  # type: ignore[call-overload]
        for _ in range(HANGS * 10):
            if (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HANGS)
    assert b"KeyboardInterrupt" in said
    assert gone(tmp_path / "child")


def test_a_program_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    found = command(tmp_path, "echo 1")
    (tmp_path / "run.sh").unlink()
    with pytest.raises(NastkError, match=r"run\.sh cannot be started: No such file"):
        found(ARCH)
    text = command(tmp_path, "")
    (tmp_path / "run.sh").write_text("no program at all\n")
    with pytest.raises(NastkError, match="a first line such as #!/bin/sh"):
        text(ARCH)
    (tmp_path / "run.sh").write_text("#!/no/such/interpreter\n")
    with pytest.raises(NastkError, match="is the interpreter that its first line names installed"):
        text(ARCH)


def test_what_cannot_be_measured_is_refused_before(tmp_path: Path) -> None:
    spec = device(tmp_path, "echo 1")
    with pytest.raises(InvalidValue, match="measures latency, not energy; where its command prints several"):
        Command(SPACE, spec, "energy")
    with pytest.raises(InvalidValue, match=r"does not use \{threads\}"):
        Command(SPACE, spec, threads=2)
    with pytest.raises(InvalidValue, match=r"uses neither \{batch\} nor a file"):
        Command(SPACE, spec, batch=2)
    with pytest.raises(nastk.errors.Unsupported):
        Command(_Namespace(), device(tmp_path, "echo 1", "{torchscript}"))
    with pytest.raises(UnknownName, match=r"device of devices\.toml"):
        Command(SPACE, "tablet", devices=_file(tmp_path, "[phone]\ncommand = ['sh', '{arch}']"))


class _Namespace(SearchSpace):
    name, choices = "names", Toy.choices


def _file(folder: Path, text: str) -> Path:
    path = folder / "devices.toml"
    path.write_text(text)
    return path


# ---- identity


def test_another_command_unit_or_number_of_calls_is_another_device(tmp_path: Path) -> None:
    def identity(**change: Any) -> str:
        facts = {"name": "phone", "command": ["sh", "-c", "echo 1", "{arch}"], **change}
        return json.dumps(Command(SPACE, CommandDevice(**facts)).identity(), sort_keys=True)

    same = identity()
    assert identity(timeout=5, retries=9, folder=str(tmp_path)) == same
    changed = [
        identity(command=["sh", "-c", "echo 2", "{arch}"]),
        identity(unit="us"),
        identity(repeats=5),
        identity(name="b"),
    ]
    assert len({same, *changed}) == 5
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    here, there = (CommandDevice("phone", ("sh", "run.sh", "{arch}"), folder=str(f)) for f in (tmp_path, "/"))
    assert here.identity() != there.identity(), "a relative path names another program in another folder"


def test_it_travels_to_worker_processes(tmp_path: Path) -> None:
    found = command(tmp_path, "echo 5")
    sent = pickle.dumps(found)
    assert len(sent) < 5000
    assert pickle.loads(sent)(ARCH) == [5.0]


# ---- several metrics of one call are one evaluation

BOTH = """echo "$1" >> calls; echo "$1" | cksum | { read a b; echo "{\\"latency\\": $a, \\"energy\\": $((a + 1))}"; }"""


class Kept(History):
    """Remembers which records came in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[str]] = []

    def _store(self, records: Any, state: Any) -> None:
        self.steps.append([r.objective for r in records])


class Scripted(Searcher):
    def __init__(self, script: list[tuple[Any, tuple[str, ...]]], goals: Any, **options: Any):
        super().__init__(SPACE, goals, **options)
        self.script, self.told = list(script), []  # type: ignore[var-annotated]

    def _ask(self, n: int, pending: Archs, rng: np.random.Generator) -> list[Proposal]:
        taken, self.script = self.script[:n], self.script[n:]
        return [Proposal(np.array(arch), names) for arch, names in taken]

    def _tell(self, records: Any) -> None:
        self.told += [(r.objective, r.charged) for r in records]


def goals(folder: Path, script: str = BOTH, **options: Any) -> list[Command]:
    spec = device(folder, script, unit={"latency": "ms", "energy": "mJ"}, **options)
    return [Command(SPACE, spec, "latency"), Command(SPACE, spec, "energy")]


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("workers", [0, 3])
def test_the_command_is_called_once_a_network_for_all_objectives(tmp_path: Path, workers: int) -> None:
    script = [((a, 0, 0, 0), ("latency",)) for a in range(3)] + [((a, 1, 1, 1), ("energy", "latency")) for a in (1, 2)]
    script += [((0, 0, 0, 0), ("energy",)), ((2, 2, 2, 2), ("accuracy", "energy", "latency"))]
    searcher, history = Scripted(script, [*goals(tmp_path), oracle("accuracy")]), Kept()
    executor = ThreadPoolExecutor(workers) if workers else None
    study = Study(searcher, {"latency": 10, "energy": 10, "accuracy": 10}, history, 4, executor, workers or 1)
    study.run()
    made = calls(tmp_path)
    assert len(made) == len(set(made)) == 6
    of = Counter(r.objective for r in history.records())
    assert of == {"latency": 6, "energy": 6, "accuracy": 1}
    both = [step for step in history.steps if step != ["accuracy"]]
    assert all(sorted(step) == ["energy", "latency"] for step in both), "a search that is killed has both, or none"
    assert sorted(searcher.told) == sorted([(n, True) for n in ("accuracy", *["energy"] * 6, *["latency"] * 6)])
    for record in history.records():
        other = history.find(record.arch, "energy")
        if record.objective == "latency":
            assert other is not None
            assert other.value == record.value + 1
            assert {record.cost, other.cost} & {0.0}, "a call is paid for once"


def test_what_a_call_tells_besides_is_charged_as_far_as_the_budget_has_room(tmp_path: Path) -> None:
    script = [((a, b, 0, 0), ("energy",)) for a in (1, 2) for b in (0, 1)]
    searcher, history = Scripted(script, goals(tmp_path)), History()
    Study(searcher, {"latency": 2, "energy": 4}, history).run()
    assert len(calls(tmp_path)) == 4
    assert history.counts() == {"energy": 4, "latency": 4}
    assert history.spent() == {"energy": 4, "latency": 2}


def test_a_failed_call_is_one_failure(tmp_path: Path) -> None:
    script = [(tuple(a), ("latency", "energy")) for a in SPACE.sample(4, seed=1, unique=True)]
    failing = 'echo x >> calls; if [ $(wc -l < calls) = 2 ]; then exit 1; fi; echo \'{"latency": 1, "energy": 2}\''
    history = History()
    Study(Scripted(script, goals(tmp_path, failing)), 3, history).run()
    assert Counter((r.objective, r.status) for r in history.records()) == {
        ("latency", "ok"): 3, ("energy", "ok"): 3, ("latency", "failed"): 1,
    }  # fmt: skip
    assert len(calls(tmp_path)) == 4
    (tmp_path / "calls").unlink()
    counted = History()
    Study(Scripted(script, goals(tmp_path, failing)), 3, counted, count_failures=True).run()
    assert Counter(r.status for r in counted.records() if r.objective == "energy") == {"ok": 2, "failed": 1}
    assert counted.spent() == {"latency": 3, "energy": 3}
    assert len(calls(tmp_path)) == 3


def test_a_metric_that_a_call_left_out_gets_a_call_of_its_own(tmp_path: Path) -> None:
    script = """
    echo x >> calls
    if [ $(wc -l < calls) = 1 ]; then echo '{"latency": 1}'; else echo '{"latency": 1, "energy": 2}'; fi
    """
    history = History()
    Study(Scripted([((0, 0, 0, 0), ("latency", "energy"))], goals(tmp_path, script)), 1, history).run()
    assert [(r.objective, r.status) for r in history.records()] == [("latency", "ok"), ("energy", "ok")]
    assert len(calls(tmp_path)) == 2


def test_two_devices_of_one_name_with_other_commands_are_not_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = goals(tmp_path)[0], goals(tmp_path / "b")[1]
    assert first.device == second.device
    history = History()
    Study(Scripted([((0, 0, 0, 0), ("latency", "energy"))], [first, second]), 1, history).run()
    assert len(calls(tmp_path)) == len(calls(tmp_path / "b")) == 1
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    common = {"searcher": "random", "budget": 3, "measurements": None, "storage": storage, "verify": 0}
    nastk.search(SPACE, [goals(tmp_path)[0]], **common)
    before = len(calls(tmp_path))
    again = nastk.search(SPACE, [goals(tmp_path)[0]], **common)
    assert len(calls(tmp_path)) == before, "the same search goes on with what it has"
    assert again.history.counts() == {"latency": 3}
    nastk.search(SPACE, [goals(tmp_path, f"{BOTH} # edited", repeats=2)[0]], **common)
    assert len(calls(tmp_path)) == before + 6, "another command's values are measured anew"


def test_the_front_is_verified_by_one_call_a_network(tmp_path: Path) -> None:
    both = goals(tmp_path)
    result = nastk.search(SPACE, [oracle("accuracy"), *both], budget=6, measurements=4, predictor="ridge", verify=0)
    archs = SPACE.sample(3, seed=5, unique=True)
    archs = archs[[result.history.find(a, "latency") is None for a in archs]]
    before = len(calls(tmp_path))
    table = result.verify(archs)
    assert len(calls(tmp_path)) - before == len(archs) > 0
    assert Counter(table["objective"])["latency"] == Counter(table["objective"])["energy"] == len(archs)
    assert table["measured"].notna().all()


# ---- a search on a device that fails

UNRELIABLE = """
echo x >> begun
n=$(wc -l < begun)
case $((n % 20)) in
    1 | 4 | 7 | 8 | 15 | 18) echo "call $n: device offline" >&2; exit 1 ;;
    11) echo "call $n: waiting"; sleep 1000 ;;
esac
echo "$1" | cksum | { read a b; echo "{\\"latency\\": $a, \\"energy\\": $((a + 1))}"; }
"""


@pytest.mark.parametrize("retries", [0, 1])
def test_a_search_ends_with_its_budget_where_a_third_of_the_calls_fail(tmp_path: Path, retries: int) -> None:
    """30 % of the calls fail and 5 % hang."""
    latency, energy = goals(tmp_path, UNRELIABLE, timeout=2.0, retries=retries)
    storage = f"sqlite:///{tmp_path / 'kept.db'}"
    result = nastk.search(
        SPACE, [latency, energy, oracle("accuracy")], searcher="random", budget=20, measurements=None, storage=storage,
        verify=0,
    )  # fmt: skip
    begun = len((tmp_path / "begun").read_text().splitlines())
    kinds = [n % 20 for n in range(1, begun + 1)]
    broken = [k in (1, 4, 7, 8, 15, 18, 11) for k in kinds]
    records = result.history.records()
    measured = [r for r in records if r.objective in ("latency", "energy")]
    first = [r for r in measured if r.status == "failed" or r.cost > 0]
    status = Counter((r.objective, r.status) for r in records)
    assert status["latency", "ok"] == status["energy", "ok"] == status["accuracy", "ok"] == 20
    assert sum(r.attempts for r in first) == begun, "every call is part of one record"
    if not retries:
        assert sum(1 for r in measured if r.status == "failed") == sum(broken) > 9
        hung = [r.reason for r in measured if "within 2 s" in r.reason]
        assert len(hung) == kinds.count(11) > 0
        assert all(reason.endswith(": waiting") for reason in hung)
    pairs = 0  # failures one after the other are one network's: tried, and tried again
    position = 0
    while retries and position < len(broken):
        pairs += broken[position] and broken[min(position + 1, len(broken) - 1)]
        position += 1 + broken[position]
    if retries:
        assert sum(1 for r in measured if r.status == "failed") == pairs
        assert sum(1 for r in first if r.status == "ok" and r.attempts == 2) == sum(broken) - 2 * pairs
    kept = nastk.search(
        SPACE, [latency, energy, oracle("accuracy")], searcher="random", budget=20, measurements=None, storage=storage,
        verify=0,
    )  # fmt: skip
    assert [r.key for r in kept.history.records()] == [r.key for r in records], "all of it is in the database"
    assert len((tmp_path / "begun").read_text().splitlines()) == begun


def test_a_few_shot_predictor_learns_both_from_the_same_calls(tmp_path: Path) -> None:
    space = nastk.space("nasbench201")
    script = """
    echo x >> calls
    size=$(echo "$1" | tr -cd 3 | wc -c)
    echo "{\\"latency\\": $((size + 2)), \\"energy\\": 5$size}"
    """
    spec = device(tmp_path, script, unit={"latency": "ms", "energy": "mJ"})
    params = nastk.oracles.Count(space, "params")
    params.direction = "max"
    both = [Command(space, spec, "latency"), Command(space, spec, "energy")]
    result = nastk.search(space, [params, *both], measurements=8, verify=0, seed=0)
    assert len(calls(tmp_path)) == 8
    assert result.history.counts() == {"latency": 8, "energy": 8}
    assert result.searcher.few_shot == ["latency", "energy"]
    assert all(isinstance(r, Record) for r in result.history.records())
    assert set(result.searcher.estimate(space.sample(2, seed=0))) == {"latency", "energy"}
