"""The catalogue: pinned addresses, checksums, licences, collections; and against the manifest of a mirror."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from nastk.data.catalogue import Catalogue, shipped
from nastk.errors import UnknownName


def test_every_file_has_a_pinned_address_a_checksum_a_licence_and_a_citation():
    for file in shipped().files.values():
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.bytes > 0
        assert file.source.licence in {"MIT", "Apache-2.0", "none stated"}
        assert re.search(r"20\d\d\.$", file.source.citation), file.source.name
        assert re.fullmatch(r"[0-9a-f]{40}", file.source.commit)
        if file.url is not None:
            assert f"/{file.source.commit}/" in file.url
            assert file.url.startswith("https://raw.githubusercontent.com/")


def test_every_file_belongs_to_a_collection():
    for file in shipped().files.values():
        assert shipped().collection_of(file) in shipped().collections, file.path


def test_collections_hold_what_their_space_needs():
    from nastk.data import fbnet, nasbench201

    for module, name in ((nasbench201, "nasbench201"), (fbnet, "fbnet")):
        held = {f.path for f in shipped().collections[name].files}
        assert set(module.FILES) <= held
        assert shipped().collections[name].tables == (name,)


def test_only_what_names_another_table_joins_one():
    joins = {c.name: c.joins for c in shipped().collections.values() if c.joins}
    assert joins == {"hw-nas-bench-360": "nasbench201"}


def test_an_exact_address():
    file = shipped().file("help/fbnet/arch.pt")
    commit = "45f70eb92d0d735970a33b608d1544ad3c52f285"
    assert file.url == f"https://raw.githubusercontent.com/HayeonLee/HELP/{commit}/data/fbnet/arch.pt"
    assert file.origin == f"HayeonLee/HELP@{commit} data/fbnet/arch.pt"


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'nasbench201'"):
        shipped().select(["nasbench2o1"])
    with pytest.raises(UnknownName, match=r"did you mean 'help/fbnet/arch\.pt'"):
        shipped().file("help/fbnet/arch.pth")


def test_select_names_each_file_once():
    files = shipped().select(["fbnet", "help/fbnet/arch.pt", "all"])
    assert len(files) == len({f.path for f in files}) == len(shipped().files)


def test_a_source_without_files_to_fetch_has_no_address():
    assert shipped().file("hw-gpt-bench/hwgpt_s.csv.gz").url is None
    assert [f.path for f in shipped().files.values() if f.url is None] == ["hw-gpt-bench/hwgpt_s.csv.gz"]


def test_a_row_may_name_its_upstream_path():
    text = """
        [collection.c]
        description = "d"
        files = ["s/*"]
        [source.s]
        repo = "o/r"
        commit = "abc"
        licence = "MIT"
        cite = "x"
        citation = "y"
        prefix = "s/"
        base = "data/"
        files = [["s/a.csv", 1, "00"], ["s/b.csv", 1, "11", "other/b.csv"]]
    """
    a, b = Catalogue.parse(text).collections["c"].files
    assert a.url == "https://raw.githubusercontent.com/o/r/abc/data/a.csv"
    assert b.url == "https://raw.githubusercontent.com/o/r/abc/other/b.csv"


def test_importing_the_data_package_loads_nothing_heavy():
    code = "import sys, nastk.data; print([m for m in ('torch', 'pandas', 'requests', 'pooch') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.data
def test_the_catalogue_agrees_with_the_mirrors_manifest(raw):
    manifests = sorted(raw.parent.glob("MANIFEST*.json"))
    if not manifests:
        pytest.skip("the mirror has no MANIFEST.json")
    entries = {e["path"].removeprefix("raw/"): e for m in manifests for e in json.loads(m.read_text())}
    assert set(shipped().files) <= set(entries)  # a mirror may hold more
    for path, file in shipped().files.items():
        entry = entries[path]
        assert (file.url, file.bytes, file.sha256) == (entry["url"], entry["bytes"], entry["sha256"])
        assert (file.source.repo, file.source.commit) == (entry["repo"], entry["commit"])
        assert (file.source.licence, file.upstream) == (entry["licence"], entry["upstream"])
