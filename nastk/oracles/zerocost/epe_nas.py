"""epe-nas: how similarly the network responds to the images of each class (Lopes et al., EPE-NAS, ICANN 2021)."""

from __future__ import annotations

import numpy as np

from nastk.oracles.zerocost._pass import Pass
from nastk.oracles.zerocost.base import Proxy, Undefined

SMALL = 1e-5
"""k of the definition: keeps the logarithm finite where a correlation is 0."""
MANY = 100
"""Above this many classes, scores of classes are compared pairwise instead of added (the definition has two cases)."""


class EpeNas(Proxy):
    """``sum over classes of |sum log(|r| + k)|`` over the correlations r between Jacobians of a class's images.

    With more than a hundred classes: the mean size of the differences between the classes' scores, each divided by the
    number of its images.
    """

    def __call__(self, run: Pass) -> float:
        jacobian = run.jacobian.detach().double().cpu().numpy()
        labels = run.labels.detach().cpu().numpy()
        if labels.ndim != 1:
            raise Undefined("it needs one class for each image")
        classes = run.logits.shape[1]
        scores = []
        for label in np.unique(labels):
            mine = jacobian[labels == label]
            if len(mine) < 2 or not (mine.std(axis=1) > 0).all():
                continue
            score = float(np.log(np.abs(np.corrcoef(mine)) + SMALL).sum())
            scores.append(score / len(mine) if classes > MANY else score)
        if not scores:
            raise Undefined("no class has two images whose logits depend on them")
        values = np.array(scores)
        if classes <= MANY:
            return float(np.abs(values).sum())
        return float(np.abs(values[:, None] - values).sum() / len(values))
