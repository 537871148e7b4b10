"""Whether the networks of a space take the images of some data, and the options with which they do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nastk.data.images import ImageData
from nastk.errors import InvalidValue, NastkError, Unsupported
from nastk.outputs import Logits, class_count
from nastk.spaces._networks import blank_inputs, build_network, without_memory
from nastk.spaces._placeholders import build_options
from nastk.spaces.base import SearchSpace

AXES = {"images": "channels, height, width", "series": "channels, time"}


def options_for(space: SearchSpace, data: ImageData) -> dict[str, Any]:
    """Options of `SearchSpace.build` with which the networks take these images and tell these classes.

    They are `num_classes`, `in_channels` and `input_size` (the side, or height and width; the steps of series), as far
    as the space has them, and they are not what it does without.

    Raises:
        InvalidValue: its networks take inputs of another shape, or tell another number of classes.
        Unsupported: the space builds no networks.
    """
    space.need_networks("accuracy on images")
    channels, *sides = data.shape
    wanted = {"in_channels": channels, "input_size": sides[0] if len(set(sides)) == 1 else tuple(sides)}
    if (outputs := _outputs(data)) is not None:
        wanted["num_classes"] = outputs
    taken = build_options(space)
    options = {name: value for name, value in wanted.items() if name in taken and taken[name] != value}
    check_fit(space, data, options)
    return options


def check_fit(space: SearchSpace, data: ImageData, options: Mapping[str, Any]) -> None:
    """Refuse networks that do not fit the images; errors as of :func:`options_for`."""
    if space.vocabulary(**options) is not None:
        raise InvalidValue(f"the networks of {space.whole.name} take tokens, and {data.name} are {data.kind}")
    try:
        shape = tuple(space.input_shape(**options))
    except Unsupported:
        return  # the networks themselves will tell
    if shape != data.shape:
        raise InvalidValue(
            f"the networks of {space.whole.name} take inputs of {_text(shape)}, and the {data.kind} of {data.name} "
            f"have {_text(data.shape)} ({AXES[data.kind]}){_cure(shape, data.shape)}"
        )
    told = _classes(space, options) if data.classes else None
    if told is not None and told != len(data.classes):
        raise InvalidValue(
            f"the networks of {space.whole.name} tell {told} classes, and {data.name} has {len(data.classes)}; give "
            f"their constructor an argument num_classes, or {len(data.classes)} outputs"
        )


def _outputs(data: ImageData) -> int | None:
    """How many numbers a network tells; None where the problem does not say."""
    if data.classes:
        return len(data.classes)
    labels = data.training.labels
    return 1 if labels.ndim == 1 else labels.shape[1] if data.problem.name == "regression" else None


def _cure(shape: tuple[int, ...], found: tuple[int, ...]) -> str:
    if len(shape) == len(found) == 2 and shape[0] == found[0]:
        return f"; --image-size {shape[1]} resamples them"
    if len(shape) == len(found) == 3 and shape[0] == found[0] and shape[1] == shape[2]:
        return f"; --image-size {shape[1]} resizes them"
    return ""


def _classes(space: SearchSpace, options: Mapping[str, Any]) -> int | None:
    """How many classes a network of the space tells; None where that cannot be seen in one."""

    def outputs() -> Any:
        network = build_network(space, space.sample(1, 0)[0], **options).eval()
        return Logits(options.get("num_classes"), dimensions=2).choose(network(blank_inputs(space, 2, **options)))[1]

    import torch

    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            return class_count(without_memory(outputs))
    except (NastkError, Exception, SystemExit):  # one that fails is a record with its reason, not the end
        return None


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
