"""meco: least eigenvalues of the correlations between channels (Jiang et al., MeCo, NeurIPS 2023)."""

from __future__ import annotations

import torch

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined


class MeCo(Proxy):
    """``sum over layers of the least eigenvalue of P``, P Pearson's correlations of a layer's channels over places.

    Of the first image, as the definition has one input (Section 4.1), which may be noise: no label is read. A channel
    that is the same everywhere correlates with nothing: its row of P is zero, as in the authors' code, and so the
    layer's least eigenvalue; so is that of a layer with as many channels as places, such as a vocabulary's. Layers
    without places (those behind global pooling) have no correlations and add nothing.
    """

    needs = frozenset({"activations"})

    def __call__(self, run: Pass) -> float:
        total, counted = 0.0, 0
        for output, channels in zip(run.activations, run.channels, strict=True):
            if output.ndim < 3:
                continue
            maps = output[0].movedim(channels - 1 if channels > 0 else channels, 0).flatten(1).double()
            if maps.shape[1] < 2:
                continue
            counted += 1
            if len(maps) >= maps.shape[1]:  # centred, they are dependent: the least eigenvalue is zero
                continue
            centred = maps - maps.mean(dim=1, keepdim=True)
            length = centred.norm(dim=1, keepdim=True)
            unit = torch.where(length > 0, centred / length, 0.0)
            total += float(torch.linalg.eigvalsh(unit @ unit.T)[0].clamp(min=0.0))  # rounding makes a zero negative
        if not counted:
            raise Undefined("no layer has an output with places")
        return total
