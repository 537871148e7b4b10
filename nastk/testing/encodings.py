"""Conformance kit of encodings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nastk.encodings.base import Context, Encoding
from nastk.errors import Unsupported
from nastk.spaces.base import SearchSpace


def check_encoding(make: Callable[[], Encoding], space: SearchSpace, context: Context | None = None) -> None:
    """Test the contract of :class:`nastk.Encoding`; raises AssertionError with the violation.

    Args:
        make: builds a new encoding, the same each time.
        space: a space that the encoding supports.
        context: sources of looked-up features, for encodings that need one.
    """
    import torch

    encoding = make()
    assert encoding.fit(space, context) is encoding, "fit must return the encoding itself"
    archs = space.sample(40, 0)
    features = encoding.transform(archs)
    assert features.ndim == 2, f"features have {features.ndim} dimensions"
    assert features.shape == (len(archs), len(encoding.names_)), (
        f"{features.shape} features but {len(encoding.names_)} names for {len(archs)} architectures"
    )
    assert features.dtype == np.float64, f"features are {features.dtype}"
    assert np.isfinite(features).all(), "a feature is not finite"
    assert encoding.transform(archs[:0]).shape == (0, features.shape[1]), "no architectures must give no rows"
    order = np.random.default_rng(0).permutation(len(archs))
    assert np.allclose(encoding.transform(archs[order]), features[order]), "rows depend on the rest of the batch"
    assert np.array_equal(make().fit(space, context).transform(archs), features), "two fits differ"
    both = (make() + make()).fit(space, context).transform(archs)
    assert np.array_equal(both, np.concatenate([features, features], axis=1)), "encodings are not concatenated by +"
    hot = torch.tensor(space.one_hot(archs), requires_grad=True)
    if encoding.relaxable:
        relaxed = encoding.transform_relaxed(hot)
        assert np.allclose(relaxed.detach().numpy(), features), "the relaxed form differs at one-hot inputs"
        relaxed.sum().backward()
        assert hot.grad is not None, "no gradient flows through the relaxed form"
    else:
        try:
            encoding.transform_relaxed(hot)
        except Unsupported:
            return
        raise AssertionError("an encoding that is not relaxable must raise Unsupported")
