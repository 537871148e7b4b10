"""The 13 zero-cost proxies of NAS-Bench-Suite-Zero (Krishnakumar et al., NeurIPS 2022), as columns of tables."""

from __future__ import annotations

from nastk.data.tables import Column

PROXIES = (
    *("epe_nas", "fisher", "flops", "grad_norm", "grasp", "jacov", "l2_norm", "nwot", "params", "plain", "snip"),
    *("synflow", "zen"),
)
"""Names in alphabetical order, the order of every proxy matrix."""

COUNTS = ("flops", "params")
"""Proxies that are counts: lower is cheaper. For all others, higher predicts higher accuracy."""

FAILED = -1e8
"""NASLib's value for a proxy that could not be computed; NaN in the tables."""


def proxy_column(
    name: str, dataset: str | None = None, in_millions: bool = False, variant: str | None = None
) -> Column:
    """Description of the column of a proxy; counts may be in millions."""
    if name in COUNTS:
        note = "another count than that of the space's statics" if name == "flops" else ""
        unit = "M" if in_millions else ""
        return Column(name, "count", unit, "min", dataset=dataset, variant=variant, note=note)
    return Column(name, "proxy", "", "max", dataset=dataset, variant=variant)
