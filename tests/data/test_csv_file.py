"""CSV as people write it is read alike; what could be two things is refused with file, line and column."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from effort import peak

from nastk.data import csv_file, readers
from nastk.data.csv_file import CSVFile
from nastk.errors import DataError, UnknownName


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(content: str | bytes, name: str = "mine.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


PLAIN = "arch,ms\n1 2,3.5\n2 1,40.25\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", ";").replace(".", ","),
        PLAIN.replace(",", "\t").replace(".", ","),
        'arch,ms\n1 2,"3,5"\n2 1,"40,25"\n',
        "sep=;\n" + PLAIN.replace(",", ";"),
        " arch , ms \n 1 2 , 3.5 \n 2 1 ,40.25\n",
        "arch,ms\n\n1 2,3.5\n,\n2 1,40.25\n  \n,,\n",
        "arch,ms\n1 2,3.5,\n2 1,40.25,\n",
        '"arch","ms"\n"1 2","3.5"\n"2 1","+4.025e1"\n',
    ],
)
def test_every_way_to_write_a_table_gives_the_same_values(write, content):
    file = CSVFile(write(content))
    assert file.columns == ("arch", "ms")
    assert len(file) == 2
    assert list(file.entries("arch")) == ["1 2", "2 1"]
    assert file.numbers("ms").tolist() == [3.5, 40.25]
    packed = CSVFile(write(gzip.compress(content if isinstance(content, bytes) else content.encode()), "mine.csv.gz"))
    assert packed.numbers("ms").tolist() == [3.5, 40.25]


@pytest.mark.parametrize("text", ["", " ", "N/A", "NA", "n/a", "#N/A", "nan", "NaN", "null", "None", "-"])
def test_unknown_values_are_nan(write, text):
    values = CSVFile(write(f"arch,ms\na,{text}\nb,2\n")).numbers("ms")
    np.testing.assert_array_equal(values, [np.nan, 2])


@pytest.mark.parametrize("text", ["93.1%", "93.1 %", "93.1"])
def test_percent_signs_are_read_where_values_are_percentages(write, text):
    file = CSVFile(write(f"arch,acc\na,{text}\n"))
    assert file.numbers("acc", percent=True).tolist() == [93.1]


def test_percent_signs_elsewhere_are_refused(write):
    with pytest.raises(DataError, match=r"mine\.csv, line 2, column 'ms': '93%' is a percentage"):
        CSVFile(write("arch,ms\na,93%\n")).numbers("ms")


@pytest.mark.parametrize(
    "text", ["9_0.5", "1_0", "0x10", "1e", "fast", "5.3 ms", "1.2.3", "--5", "True", "٣", "５", "1 234", "−5", "1,2,3"]
)
def test_what_is_no_number_is_refused_with_its_place(write, text):
    file = CSVFile(write(f'arch,note,ms\na,x,1\nb,"two\nlines",2\nc,x,"{text}"\n'))
    with pytest.raises(DataError, match=r"mine\.csv, line 5, column 'ms': .* is not a number") as caught:
        file.numbers("ms")
    assert "\n" not in str(caught.value)
    assert file.where(2, "ms").endswith("mine.csv, line 5, column 'ms'")


def test_a_comma_that_may_be_two_things_is_refused(write):
    with pytest.raises(DataError, match=r"line 2, column 'ms': '1,234' may be '1234' or '1\.234'"):
        CSVFile(write('arch,ms\na,"1,234"\nb,2\n')).numbers("ms")
    with pytest.raises(DataError, match=r"line 3, column 'ms': '2,5' has a comma where line 2 has a decimal point"):
        CSVFile(write("arch;ms\na;1.5\nb;2,5\n")).numbers("ms")
    with pytest.raises(DataError, match=r"line 2, column 'ms': '1,234\.5' has a comma|is not a number"):
        CSVFile(write('arch,ms\na,"1,234.5"\n')).numbers("ms")
    # in a file with semicolons, commas are decimal commas
    assert CSVFile(write("arch;ms\na;1,234\nb;2\n")).numbers("ms").tolist() == [1.234, 2]


def test_the_delimiter_is_the_one_that_fits_the_rows(write):
    file = CSVFile(write("arch;latency, ms\n1,2,3;4,5\n1,2,4;5,5\n"))
    assert file.columns == ("arch", "latency, ms")
    assert file.numbers("latency, ms").tolist() == [4.5, 5.5]
    file = CSVFile(write("a;b,c\n1,2\n3,4\n"))
    assert file.columns == ("a;b", "c")


def test_a_column_without_a_heading_is_called_by_its_place(write):
    assert CSVFile(write(",ms\n0,1\n1,2\n")).columns == ("column 1", "ms")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b,a\n1,2,3\n", "two columns 'a'"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cell under 2 headings: is the file cut off, or a cell missing?"),
        (b"a,b\n1,2\n3,4,5\n", "line 3 has 3 cells under 2 headings; a cell that holds ',' needs quotes"),
        (b'a,b\n1,"2\n', "line 2 is not CSV, or the file is truncated"),
        (b"a,b\n1,2\n\xff,3\n", "line 3 is no text in UTF-8; save it as 'CSV UTF-8'"),
        (b"\xff\xfea\x00,", "is no text in UTF-?16|its end is no text"),
        (b"a,b\n1,\x002\n", "line 2 holds a null character"),
        (b"a,b\n" + b"x" * (csv_file.RECORD + 1), "line 2 is longer than"),
        (b'a,b\n"' + b"x,\n" * (csv_file.RECORD // 3 + 1), "a row of more than|field larger"),
        (b"PK\x03\x04\x14\x00\x00\x00", "null character"),
    ],
)
def test_what_is_not_a_table_is_refused_in_one_line(write, content, what):
    with pytest.raises(DataError, match=what) as caught:
        CSVFile(write(content))
    assert "mine.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_large_file_and_an_unknown_column_are_refused(write):
    with pytest.raises(DataError, match="cannot read"):
        CSVFile("no/such/file.csv")
    with pytest.raises(DataError, match="larger than"):
        CSVFile(write("a\n1\n"), limit=3)
    with pytest.raises(UnknownName, match="did you mean 'latency'"):
        CSVFile(write("latency\n1\n")).numbers("latenci")


def test_a_file_needs_little_more_memory_than_its_size(write):
    content = "a,b\n" + "12,34\n" * 200_000
    path = write(content)
    assert peak(lambda: CSVFile(path).numbers("b")) < 4 * len(content)


def test_numbers_of_other_files_are_as_strict(write):
    for wrong in ("9_0.5", True, np.bool_(True), "True", None, [1]):
        with pytest.raises(DataError, match="x: not a number"):
            readers.numbers([wrong], "x")
    np.testing.assert_array_equal(readers.numbers(["1e3", "N/A", 2, np.float32(0.5)], "x"), [1000, np.nan, 2, 0.5])
