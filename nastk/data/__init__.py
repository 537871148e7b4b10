"""Public measurements: fetched by name, checked, and compiled into compact tables.

``nastk data fetch nasbench201`` brings the files; :func:`path` says where one lies. What can be fetched, from where and
under which licence stands in ``catalogue.toml``. Importing this package is cheap: it loads nothing but the catalogue,
and that when it is first asked.
"""

from __future__ import annotations

from nastk.data.catalogue import Catalogue, Collection, File, Source
from nastk.data.fetch import Store, default_home, path

__all__ = ["Catalogue", "Collection", "File", "Source", "Store", "default_home", "path"]
