"""``devices.toml``: where it is found, what it may say, and the one line that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nastk.data.device_file import CommandDevice, UserDevices, list_devices, read_devices
from nastk.errors import InvalidValue

PHONE = '[phone]\ncommand = ["sh", "run.sh", "{arch}"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a cache folder in it."""
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    return tmp_path


def test_the_file_of_the_current_folder_goes_before_that_of_the_cache(folder: Path) -> None:
    assert read_devices() == {}
    (folder / "home" / "devices.toml").write_text(PHONE.replace("phone", "theirs"))
    assert list(read_devices()) == ["theirs"]
    (folder / "devices.toml").write_text(PHONE)
    assert list(read_devices()) == ["phone"]
    assert list(read_devices(folder / "home" / "devices.toml")) == ["theirs"]


def test_what_is_left_out_has_defaults(folder: Path) -> None:
    (folder / "home" / "devices.toml").write_text(PHONE)
    found = read_devices()["phone"]
    assert (found.unit, found.repeats, found.timeout, found.retries) == ("ms", 3, 120.0, 2)
    assert found.folder == str(folder / "home"), "relative paths begin where the file lies"
    assert CommandDevice(**found.to_dict()) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[phone", "devices.toml is not valid TOML"),
        ("command = ['sh']", "'command' stands in no device; begin each with its name, such as [phone]"),
        ("[phone]\nunit = 'ms'", "device phone needs a command"),
        ("[phone]\ncommand = 'sh {arch}'", "device phone: command is a list of texts"),
        ("[phone]\ncommand = ['sh', 1, '{arch}']", "device phone: command is a list of texts"),
        ("[phone]\ncommand = []", "device phone: command is empty"),
        ("[phone]\ncommand = [' ', '{arch}']", "device phone: command is empty"),
        (PHONE + "timout = 3", "unknown key of device phone: 'timout'; did you mean 'timeout'?"),
        (PHONE + "name = 'x'", "unknown key of device phone: 'name'"),
        (PHONE + "timeout = '3'", "timeout is a number of seconds above 0; got '3'"),
        (PHONE + "timeout = 0", "timeout is a number of seconds above 0; got 0"),
        (PHONE + "timeout = nan", "timeout is a number of seconds above 0; got nan"),
        (PHONE + "repeats = 0", "repeats is a whole number of at least 1; got 0"),
        (PHONE + "repeats = 1.5", "repeats is a whole number of at least 1; got 1.5"),
        (PHONE + "retries = true", "retries is a whole number of at least 0; got True"),
        (PHONE + "retries = -1", "retries is a whole number of at least 0; got -1"),
        (PHONE + "unit = 'parsec'", "unit 'parsec' is none of time, energy or memory"),
        (PHONE + "unit = 3", 'unit is a text such as "us", or a table by metric; got 3'),
        (PHONE + "unit = {}", "unit is a text"),
        (PHONE + "unit = { power = 'W' }", "unit: a command can measure latency, energy, memory; got 'power'"),
        (PHONE + "unit = { latency = 'mJ' }", "'mJ' is no unit of latency; known: ms,"),
        ("[phone]\ncommand = ['sh', '{arc}']", "unknown placeholder of device phone: '{arc}'; did you mean '{arch}'"),
        ("[phone]\ncommand = ['sh', '{}']", "does not say which network it measures; it needs one of {onnx}"),
        ("[phone]\ncommand = ['sh', '{{arch}}', '{threads}']", "does not say which network it measures"),
        ("[phone]\ncommand = ['{arch}']", "the program '{arch}' holds a placeholder"),
        (PHONE.replace("phone", "this"), "a device cannot be called 'this', which is this machine's"),
        (PHONE.replace("phone", "cuda"), "a device cannot be called 'cuda', which is this machine's"),
        (PHONE.replace("phone", '"my phone"'), "'my phone' cannot be a device's name"),
        (PHONE.replace("phone", '"cuda:1"'), "cannot be a device's name"),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, text: str, said: str) -> None:
    (folder / "devices.toml").write_text(text)
    with pytest.raises(InvalidValue) as error:
        read_devices()
    assert said in str(error.value)
    assert str(error.value).startswith(("devices.toml", "cannot read devices.toml"))
    assert "\n" not in str(error.value).strip()


def test_a_file_that_cannot_be_read_is_said(folder: Path) -> None:
    with pytest.raises(InvalidValue, match=r"cannot read nowhere\.toml: No such file"):
        read_devices("nowhere.toml")
    with pytest.raises(InvalidValue, match=r"cannot read home: Is a directory"):
        read_devices("home")
    (folder / "devices.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidValue, match="is not valid TOML"):
        read_devices()


def test_units_are_by_metric(folder: Path) -> None:
    def units(unit: object) -> dict[str, str]:
        return CommandDevice("phone", ("sh", "{arch}"), unit).units  # type: ignore[arg-type]

    assert units("us") == {"latency": "us"}
    assert units("uJ") == {"energy": "uJ"}
    assert units("KiB") == {"memory": "KiB"}
    assert list(units({"memory": "B", "latency": "s"})) == ["latency", "memory"]


def test_programs_are_found_on_the_path_or_beside_the_file(folder: Path) -> None:
    def program(*command: str) -> str:
        return CommandDevice("phone", (*command, "{arch}"), folder=str(folder)).program()

    assert program("sh").endswith("/sh")
    with pytest.raises(InvalidValue, match=r"device phone: there is no program 'no-such-thing' on the PATH$"):
        program("no-such-thing")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    with pytest.raises(
        InvalidValue, match=r"no program 'run\.sh' on the PATH; for the file of that name write \./run\.sh"
    ):
        program("run.sh")
    with pytest.raises(InvalidValue, match=r"run\.sh cannot be executed: chmod \+x it, or begin"):
        program("./run.sh")
    (folder / "run.sh").chmod(0o755)
    assert Path(program("./run.sh")) == folder / "run.sh"
    with pytest.raises(InvalidValue, match=r"there is no program .*/lost\.sh"):
        program("./lost.sh")


def test_a_command_line_is_split_as_a_shell_would_and_goes_before_the_file(folder: Path) -> None:
    (folder / "devices.toml").write_text(PHONE)
    devices = UserDevices(command="sh 'a b.sh' \"{arch}\" $HOME", name="phone")
    found = devices.find("phone")
    assert found is not None
    assert found.command == ("sh", "a b.sh", "{arch}", "$HOME")
    assert devices.names() == ["phone"]
    with pytest.raises(InvalidValue, match="no closing quotation"):
        UserDevices(command="sh '{arch}")
    with pytest.raises(InvalidValue, match="command is empty"):
        UserDevices(command="")


def test_a_broken_file_stops_no_search_of_this_machine(folder: Path) -> None:
    (folder / "devices.toml").write_text("[phone")
    devices = UserDevices()
    assert [devices.find(name) for name in ("this", "cuda:1", "cpu", "mps")] == [None] * 4
    with pytest.raises(InvalidValue, match="not valid TOML"):
        devices.find("phone")


def test_listing_says_what_is_wrong_with_each(folder: Path) -> None:
    lost = '[board]\ncommand = ["./lost.sh", "{out}", "{arch}"]\nunit = { latency = "us", energy = "mJ" }\n'
    (folder / "devices.toml").write_text(PHONE + lost)
    phone, board = list_devices()
    assert phone == {"name": "phone", "command": "sh run.sh '{arch}'", "unit": "latency in ms", "problem": ""}
    assert board["unit"] == "latency in us, energy in mJ"
    assert "there is no program" in board["problem"]


def test_devices_can_be_in_sets_whatever_their_unit() -> None:
    one, same = (CommandDevice("phone", ("ls", "{arch}"), {"latency": "us"}) for _ in range(2))
    other = CommandDevice("phone", ("ls", "{arch}"), {"latency": "ns"})
    assert len({one, same, other}) == 2
