"""Networks as files that ship: written, read back, compared with PyTorch, and described by a card."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nastk.deploy._card import Card, as_markdown, earlier_files, make_card
from nastk.deploy._format import Format, Network, format_class
from nastk.deploy._runtime_file import RuntimeFile
from nastk.deploy.weights import find_weights
from nastk.errors import DataWarning, InvalidValue, NastkError
from nastk.evaluation import reason_of
from nastk.files import locked_folder, write_text
from nastk.finished import FinishedSearch, read_search
from nastk.oracles._on_runtime import example, example_inputs
from nastk.oracles._weights import Weights, load_weights, read_weights
from nastk.parallel import Uninterrupted
from nastk.result import Result
from nastk.runtimes._agreement import LEAST_COSINE, Agreement, agreement
from nastk.runtimes._calibration import read_calibration
from nastk.runtimes._onnx_export import sharing_exports
from nastk.spaces._networks import build_network
from nastk.spaces._placeholders import DerivedSpace
from nastk.spaces.base import Archs, SearchSpace
from nastk.spaces.precisions import WithPrecision

if TYPE_CHECKING:
    import torch

    from nastk.data.images import ImageData

FOLDER = "nastk-export"
"""Where files are written unless the user says."""

RANDOM = 4
"""Random inputs that outputs are compared on, at least, where the user gives none."""

COMPARED = 64
"""Validation images that outputs are compared on, where the search trained on images."""

CALIBRATED = 128
"""Training images that int8 files take their ranges from."""

LONGEST_STEM = 60
"""Characters of the longest name of a file that is made from an architecture."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Args:
        folder: in which it is.
        files: the network in each format, with the files that lie beside it.
        card: the model card's content.
        json, markdown: the card's files.
    """

    folder: Path
    files: list[Path]
    card: Card
    json: Path
    markdown: Path


@dataclass(frozen=True)
class _Subject:
    """Which network of what."""

    space: SearchSpace
    arch: Archs
    finished: FinishedSearch | None = None
    build: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.space.format(self.arch)

    @property
    def precision(self) -> str:
        """That the architecture chose; float32 where it has no choice."""
        return self.space.precision_of(self.arch)[0] if isinstance(self.space, WithPrecision) else "fp32"


def export(
    result: str | os.PathLike[str] | FinishedSearch | Result | SearchSpace,
    arch: Any = None,
    pick: str | None = None,
    format: str | Sequence[str] = (),
    runtime: str | Sequence[str] = (),
    precision: str | None = None,
    *,
    weights: Any = None,
    untrained: bool = False,
    network: torch.nn.Module | None = None,
    origin: str = "",
    inputs: Any = None,
    calibration: Any = None,
    images: ImageData | None = None,
    batch: int = 1,
    folder: str | os.PathLike[str] = FOLDER,
    name: str | None = None,
    command: str | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> Exported:
    """Write one network in formats that other programs run, with a model card: ``nastk.export``.

    Each file is read back, and its outputs are compared with those of the network in eager PyTorch and float32: float32
    files may differ by `nastk.runtimes._agreement.TOLERANCE` of the greatest output, the `python` module and
    `safetensors` not by a bit. Of lower precisions the agreement is told. Where one file fails, none is written.

    Args:
        result: a search that has ended, the folder that it wrote, or a space.
        arch: the architecture: text form, index or integers; of a result that has several, this or `pick`.
        pick: "accuracy, latency<=8", see :meth:`nastk.finished.FinishedSearch.pick`.
        format: names of :data:`nastk.deploy._format.FORMATS`.
        runtime: runtimes whose own files are written ("openvino").
        precision: of the files; by default the one that the architecture chose or, of the runtime that the search
            measured, the one that it measured; else float32.
        weights: a file of a state dict, or one; by default those that the search's training kept.
        untrained: take random weights (seed 0) where none are known.
        network: the network itself with its weights, such as one that was trained further.
        origin: where the weights of `network` come from, a sentence without its stop.
        inputs: ``(n, ...)``, an array or .npy file, on which outputs are compared; by default validation images of
            `images`, or random ones.
        calibration: inputs that int8 takes its ranges from; by default training images of `images`, or random ones.
        images: by default those that the search trained on.
        batch: inputs of a run, for which the files are made.
        folder: to write into.
        name: of the files, without their endings; by default made from space and architecture.
        command: that asked for it, for the card.
        progress: called with what is done next.

    Raises:
        InvalidValue: an argument that cannot be used; no weights are known and `untrained` is not said.
        UnknownName: no such format or runtime.
        Unsupported: the space builds no networks, or a format cannot hold this one.
        MissingExtra: what a format needs is not installed.
        DataError: the result, or its weights, are damaged.
        NastkError: the network cannot be exported, or the file answers other outputs than PyTorch.
        StorageError: the folder cannot be written to.

    Example::

        >>> nastk.export("nastk-out", pick="accuracy, latency<=8", format=["onnx", "python"])
    """
    import torch

    if batch < 1:
        raise InvalidValue(f"batch is {batch}, must be at least 1")
    subject = _subject(result, arch, pick)
    subject.space.need_networks("an export")
    names, runtimes = _asked(subject, format, runtime)
    # files of the runtime that the search measured are in its precision: they have the latency which was found
    precisions = {name: precision or _precision(subject, name) for name in (*names, *runtimes)}
    ranges = read_calibration(calibration)
    if ranges is not None and "int8" not in precisions.values():
        found = " and ".join(sorted({*precisions.values()}))
        raise InvalidValue(f"calibration is of int8, and the precision is {found}; leave it out")
    to_calibrate = ranges is None and "int8" in precisions.values()
    if images is None and (inputs is None or to_calibrate):
        images = _images_of(subject, to_calibrate)
    if to_calibrate and images is not None:
        ranges = images.training.some(CALIBRATED)
    elif to_calibrate and not untrained:
        warnings.warn(
            "int8 takes its ranges from random inputs, which may cost accuracy; give some of your own: --calibration "
            "inputs.npy", DataWarning, stacklevel=2,
        )  # fmt: skip
    formats = _formats(names, runtimes, precisions, ranges)
    made, about = _network(subject, network, origin, weights, untrained, batch)
    stem = _stem(subject, name)
    batches, checked_on = _inputs(made, inputs, batch, images)
    with torch.no_grad():
        try:
            expected = torch.cat([_first(made.module(x)) for x in batches])
        except Exception as error:
            raise NastkError(f"the network {subject.text} cannot be run: {reason_of(error)}") from error
    with locked_folder(folder) as target, _temporary(target) as here, sharing_exports():
        entries = []
        for one in formats:
            file = here / f"{stem}{one.ending()}"
            progress(file.name)
            entries.append(_written(one, made, file, batches, expected, subject.text))
        card = make_card(made, subject.text, subject.finished, about, entries, checked_on, command)
        names = sorted(path.name for path in here.iterdir() if path.is_file())
        card["files"] = sorted([*entries, *earlier_files(target / f"{stem}.json", card)], key=lambda e: str(e["file"]))
        with Uninterrupted():  # all of them, or none
            umask = os.umask(0)
            os.umask(umask)
            for written in names:
                os.chmod(here / written, 0o666 & ~umask)  # some libraries write for their user alone
                os.replace(here / written, target / written)
            write_text(target / f"{stem}.md", as_markdown(card))
            write_text(target / f"{stem}.json", json.dumps(card, indent=1, allow_nan=False) + "\n")
    shown = Path(folder)
    return Exported(shown, [shown / n for n in names], card, shown / f"{stem}.json", shown / f"{stem}.md")


# ---- which network


def _subject(result: Any, arch: Any, pick: str | None) -> _Subject:
    if arch is not None and pick is not None:
        raise InvalidValue("both an architecture and pick say which network; leave one out")
    if isinstance(result, SearchSpace):
        if arch is None:
            raise InvalidValue(f"say which network of {result.name}: --arch")
        return _Subject(result, _read(result, arch))
    if isinstance(result, Result):
        finished = FinishedSearch.of(result)
    else:
        finished = result if isinstance(result, FinishedSearch) else read_search(result)
    if arch is not None:
        return _Subject(finished.space, finished.arch(arch), finished, finished.build)
    if pick is None and len(finished.front) != 1:
        raise InvalidValue(
            f"the front of {finished.called} has {len(finished.front)} networks; say which: --pick "
            f"{finished.objectives[0].name}, or --arch"
        )
    text = str(finished.front["arch"].iloc[0] if pick is None else finished.pick(pick)["arch"])
    return _Subject(finished.space, finished.space.as_archs(text)[0], finished, finished.build)


def _read(space: SearchSpace, arch: Any) -> Archs:
    if isinstance(arch, str) and arch.strip().isascii() and arch.strip().isdigit() and space.d > 1:
        arch = int(arch)
    return space.as_archs(arch)[0]


def choices_of(space: SearchSpace, arch: Archs) -> dict[str, str]:
    """What an architecture ``(d,)`` chooses, by the names of choices; without those that it does not make."""
    if isinstance(space, WithPrecision):
        return {**choices_of(space.networks, arch[:-1]), "precision": space.precision_of(arch)[0]}
    found = {c.name: str(c.options[int(v)]) for c, v in zip(space.choices, arch, strict=True)}
    whole = space.whole
    made = set(whole.params(arch)) if isinstance(whole, DerivedSpace) else set(found)
    return {name: option for name, option in found.items() if name in made}


def _stem(subject: _Subject, name: str | None) -> str:
    """Name of the files: as the user says, else of space and architecture."""
    if name is not None:
        if not re.fullmatch(r"\w[\w .+-]*", name) or len(name) > 2 * LONGEST_STEM:
            raise InvalidValue(
                f"name {name[: 2 * LONGEST_STEM]!r}: write letters, digits, blanks and . _ + - only, at most "
                f"{2 * LONGEST_STEM}"
            )
        return name
    # words of letters, digits and _, so that a Python module can be imported by this name
    slug = re.sub(r"\W+", "_", f"{subject.space.whole.name} {subject.text}", flags=re.ASCII).strip("_")
    if len(slug) > LONGEST_STEM:
        digest = hashlib.sha256(subject.text.encode()).hexdigest()[:10]
        slug = f"{slug[: LONGEST_STEM - 11].rstrip('_')}_{digest}"
    return slug


# ---- its weights


def _network(
    subject: _Subject,
    given: torch.nn.Module | None,
    origin: str,
    weights: Any,
    untrained: bool,
    batch: int,
) -> tuple[Network, Card]:
    """The network with its weights in evaluation mode, and where they come from."""
    found, trained = None, True
    if given is not None:
        module = copy.deepcopy(given).cpu().float().eval()
        origin = origin or "The weights are those of the network that was given"
        facts: Card = {}
        row = subject.arch
    else:
        found = _weights(subject, weights)
        trained = found is not None
        if found is None and not untrained:
            raise InvalidValue(f"no trained weights of {subject.text} are known{_why(subject)}; {OTHERWISE}")
        row = subject.arch if found is None else _row_of(subject, found)
        module, origin, facts = _built(subject, row, found, batch)
    space = subject.space
    made = Network(
        space,
        row,
        module,
        example_inputs(space, batch, **subject.build),
        subject.build,
        choices_of(space, row),
    )
    return made, {"origin": origin, "trained": trained, "sha256": _fingerprint(module), **facts}


OTHERWISE = "--weights FILE takes your own, --untrained random ones"
"""What can be done where no weights are known."""


def _why(subject: _Subject) -> str:
    """Why a search kept none."""
    finished = subject.finished
    if finished is None:
        return ", for a space alone has none"
    if finished.networks is not None:
        return f" (nothing of it is in {finished.networks}: was it trained in the search, in place?)"
    kinds = {str(e["oracle"].get("oracle")) for e in finished.description.objectives}
    if kinds.isdisjoint({"function", "train", "training", "object"}):
        return ": this search trained no networks, its accuracies are looked up or estimated"
    return ": this search kept none"


def _weights(subject: _Subject, given: Any) -> Weights | None:
    if given is None:
        return None if subject.finished is None else find_weights(subject.finished, subject.arch)
    if isinstance(given, Weights):
        return given
    if isinstance(given, (str, os.PathLike)):
        found = read_weights(given)
        if found is None:
            raise InvalidValue(f"the folder {given} holds no weights.safetensors and no weights.pt")
        return found
    from nastk.oracles._weights import state_of

    try:
        return Weights(state_of(given), Path("the given weights"))
    except TypeError as error:
        raise InvalidValue(str(error)) from error


def _row_of(subject: _Subject, weights: Weights) -> Archs:
    """The row that was trained: of isomorphic encodings it may be another one, whose modules have other names."""
    text, space = weights.facts.get("arch"), subject.space
    networks = space.networks if isinstance(space, WithPrecision) else space
    row = subject.arch[: networks.d]
    if not isinstance(text, str):
        return subject.arch
    try:
        trained = networks.as_archs(text)[0]
    except NastkError:
        return subject.arch
    same = np.array_equal(*networks.as_networks(np.stack([row, trained])))
    return np.concatenate([trained, subject.arch[networks.d :]]) if same else subject.arch


def _built(subject: _Subject, row: Archs, weights: Weights | None, batch: int) -> tuple[torch.nn.Module, str, Card]:
    import torch

    space, build = subject.space, subject.build
    try:
        if weights is None:
            module, _ = example(space, row, batch, compared=True, **build)
            return module, "The weights are random (seed 0): the network is not trained", {}
        with torch.random.fork_rng(devices=[]):
            module = build_network(space, row, **build).eval()
    except NastkError:
        raise
    except Exception as error:
        raise NastkError(f"the network {subject.text} cannot be built: {reason_of(error)}") from error
    load_weights(module, weights)
    return module, _origin(weights), {"file": str(weights.file), "training": weights.facts}


def _origin(weights: Weights) -> str:
    facts = weights.facts
    if "function" not in facts:
        return f"The weights are those of {weights.file}"
    parts = [f"seed {facts['seed']}" if "seed" in facts else ""]
    parts += [f"{e:g} epochs" for e in facts.get("epochs", ()) if isinstance(e, (int, float))]
    if isinstance(facts.get("value"), (int, float)):
        parts.append(f"{facts.get('metric', 'value')} {facts['value']:.6g} {facts.get('unit', '')}".rstrip())
    told = ", ".join(part for part in parts if part)
    return f"The weights were trained by {facts['function']}" + (f" ({told})" if told else "")


def _fingerprint(module: torch.nn.Module) -> str:
    import torch

    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        if hasattr(value, "numpy"):
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


# ---- formats and inputs


def _images_of(subject: _Subject, needed: bool) -> ImageData | None:
    """The images that the search trained on; None where there are none, or they are not here and not needed."""
    if subject.finished is None:
        return None
    try:
        return subject.finished.images()
    except NastkError as error:
        if needed:
            raise InvalidValue(
                f"int8 takes its ranges from the images of the search, and they cannot be read: {error}; give inputs: "
                "--calibration inputs.npy"
            ) from error
        warnings.warn(f"outputs are compared on random inputs, not on images: {error}", DataWarning, stacklevel=3)
        return None


def _asked(subject: _Subject, format: str | Sequence[str], runtime: str | Sequence[str]) -> tuple[list[str], list[str]]:
    """The formats and the runtimes that are asked for; the search's own runtime where none is."""
    names, runtimes = _names(format), _names(runtime)
    if not names and not runtimes:
        measured, _ = _of_search(subject)
        if measured is None:
            raise InvalidValue(
                "say what to write: --format onnx, pt2, torchscript (deprecated), python or safetensors, or the file "
                "of a --runtime: openvino, mnn, litert"
            )
        runtimes = [measured]
    return names, runtimes


def _formats(names: list[str], runtimes: list[str], precisions: dict[str, str], calibration: Any) -> list[Format]:
    given = {name: calibration if of == "int8" else None for name, of in precisions.items()}
    made: list[Format] = [format_class(name)(precisions[name], given[name]) for name in names]
    made += [RuntimeFile(name, precisions[name], given[name]) for name in runtimes]
    if any(one.name == "python" for one in made):  # which reads them, so that they come first
        made.insert(0, format_class("safetensors")())
    return list({one.ending(): one for one in made}.values())


def _names(given: str | Sequence[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given)
    return [part.strip() for text in texts for part in str(text).split(",") if part.strip()]


def _precision(subject: _Subject, name: str) -> str:
    """The precision of a format's or runtime's file where none is asked for."""
    measured, own = _of_search(subject)
    return own if name == measured else subject.precision


def _of_search(subject: _Subject) -> tuple[str | None, str]:
    """The runtime that the search measured, where it has files of its own, and the precision."""
    from nastk.runtimes.base import runtime_class

    entries = [] if subject.finished is None else subject.finished.description.objectives
    for entry in entries:
        oracle = entry["oracle"]
        name = oracle.get("runtime")
        if isinstance(name, str) and runtime_class(name).suffix:
            own = str(oracle.get("precision", "fp32"))
            return name, subject.precision if "," in own else own
    return None, subject.precision


def _inputs(network: Network, given: Any, batch: int, images: ImageData | None) -> tuple[list[torch.Tensor], str]:
    """Batches to compare outputs on, and what they are in words."""
    shape = tuple(network.inputs.shape[1:])
    if given is None and images is not None and len(images.validation) >= batch:
        some = images.validation.some(max(COMPARED, batch))
        made = [part.contiguous() for part in some.split(batch) if len(part) == batch]
        return made, f"{len(made) * batch} validation images of {images.name}"
    if given is None:
        count = -(-RANDOM // batch)
        made = [example_inputs(network.space, batch, seed=i, **network.build) for i in range(count)]
        return made, f"{count * batch} random inputs"
    found = read_calibration(given, "inputs")
    assert found is not None
    if tuple(found.shape[1:]) != shape:
        raise InvalidValue(
            f"the inputs have shape {tuple(found.shape)}; the network takes (n, {', '.join(map(str, shape))})"
        )
    if len(found) < batch:
        raise InvalidValue(f"{len(found)} inputs are fewer than a batch of {batch}")
    if not network.inputs.is_floating_point() and found.is_floating_point():
        raise InvalidValue("the network takes tokens, and the inputs are no whole numbers")
    count = len(found) // batch
    parts = [found[i * batch : (i + 1) * batch].to(network.inputs.dtype).contiguous() for i in range(count)]
    return parts, f"{count * batch} of your inputs" + (f" ({given})" if isinstance(given, (str, os.PathLike)) else "")


def _first(result: Any) -> torch.Tensor:
    from nastk.runtimes.base import first_of

    first: torch.Tensor = first_of(result).detach().cpu()
    return first


# ---- writing and checking


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A folder within another one, which is gone in the end, whatever happens."""
    made = Path(tempfile.mkdtemp(prefix=".nastk-export-", dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _written(
    one: Format, network: Network, file: Path, batches: list[torch.Tensor], expected: torch.Tensor, text: str
) -> Card:
    """Write a file and compare what it answers; its entry in the card."""
    import torch

    before = set(file.parent.iterdir())
    try:
        one.write(network, file)
        answers = [answer.clone() for answer in one.outputs(network, file, batches)]
        agreed = agreement(expected, torch.cat(answers))
        if one.exact and agreed.difference:
            raise RuntimeError(f"it answers other outputs than PyTorch: {agreed.describe()}; allowed is no difference")
        agreed.check(one.precision, one.label)
    except NastkError:
        raise
    except Exception as error:
        raise NastkError(f"{file.name}: the network {text} cannot be exported: {reason_of(error)}") from error
    if agreed.cosine < LEAST_COSINE:
        warnings.warn(
            f"{file.name}: outputs in {one.precision} are far from those in fp32: {agreed.describe()}", DataWarning,
            stacklevel=2,
        )  # fmt: skip
    beside = sorted(set(file.parent.iterdir()) - {*before, file})
    return {
        "file": file.name,
        "beside": [path.name for path in beside],
        "format": one.name if not isinstance(one, RuntimeFile) else one.runtime.name,
        "precision": one.precision,
        "run_by": one.label,
        "bytes": sum(path.stat().st_size for path in (file, *beside)),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "agreement": _facts(agreed),
        "notes": list(one.notes),
    }


def _facts(agreed: Agreement) -> Card:
    return {
        "difference": agreed.difference, "cosine": agreed.cosine, "first_class": agreed.first_class,
        "examples": agreed.examples,
    }  # fmt: skip
