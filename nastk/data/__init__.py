"""Public measurements: fetched by name, checked, and compiled into compact tables.

``nastk data fetch nasbench201`` downloads the files; :func:`path` returns the path of one. ``catalogue.toml`` lists
what can be fetched, from where and under which licence. Importing this package is cheap: it loads only the catalogue,
and that on first use.
"""

from __future__ import annotations

from nastk.data.catalogue import Catalogue, Collection, File, Source
from nastk.data.fetch import Store, default_home, path

__all__ = ["Catalogue", "Collection", "File", "Source", "Store", "default_home", "path"]
