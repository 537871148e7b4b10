"""Your own latency predictor, compared with the others on the literature's device sets.

Run: python examples/compare_my_predictor.py    (about a minute, after: nastk data fetch nasbench201)
The whole comparison: nastk reproduce latency --methods examples/compare_my_predictor.py:Blend,few-shot-gp,flops
Expect: a rank correlation with its interval for each of four methods, few-shot-gp first, Blend above 0.8.
"""

import numpy as np

import nastk
from nastk.bench import latency


class Blend(nastk.FewShotPredictor):
    """Ranks by the source devices, each weighted by how well it agrees with the few measurements."""

    def __init__(self, sharpness=20.0):
        self.sharpness = sharpness

    def pretrain(self, tasks):
        self._check_sources(tasks)
        self.models_ = [nastk.predictor("ridge", encoding="vec+counts").fit(task) for task in tasks]
        return self

    def adapt(self, task):
        self._check_target(task)
        return _Blended(self.models_, self.sharpness).fit(task)


class _Blended(nastk.Predictor):
    def __init__(self, models, sharpness):
        self.models, self.sharpness = models, sharpness

    def fit(self, task):
        self.task_ = task
        known = self._standard(task.archs)
        agreement = np.nan_to_num(np.corrcoef(known.T, task.values)[-1, :-1])
        weights = np.exp(self.sharpness * (agreement - agreement.max()))
        self.weights_ = weights / weights.sum()
        design = np.stack([known @ self.weights_, np.ones(len(task))], axis=1)
        self.line_ = np.linalg.lstsq(design, task.values, rcond=None)[0]
        self.std_ = (task.values - design @ self.line_).std()
        return self

    def _standard(self, archs):
        if not hasattr(self, "scale_"):
            values = np.stack([m.predict(self.task_.space.sample(500, seed=0)).mean for m in self.models], axis=1)
            self.scale_ = values.mean(axis=0), values.std(axis=0)
        values = np.stack([m.predict(archs).mean for m in self.models], axis=1)
        return (values - self.scale_[0]) / self.scale_[1]

    def predict(self, archs):
        mean = self._standard(self._checked(archs)) @ self.weights_ * self.line_[0] + self.line_[1]
        return nastk.Prediction(np.maximum(mean, 1e-3), np.full(len(mean), self.std_))


if __name__ == "__main__":
    methods = [f"{__file__}:Blend", "few-shot-gp", "lookup-table", "flops"]
    try:
        rows = latency.run(["ND"], methods, samples=[10], seeds=3)
    except nastk.NastkError as error:
        raise SystemExit(f"skipped: {error}") from None
    for row in rows:
        if row["device"] == "*" and row["metric"] == "spearman":
            name = row["method"].rpartition(":")[2]
            print(f"{name:12} {row['mean']:.3f} +- {row['ci95']:.3f}   (six unseen devices, 10 measurements each)")
