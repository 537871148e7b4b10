"""Weight sharing: one training that rates every architecture of a space; one file a method."""

from nastk.supernets.base import Judged, Supernet
from nastk.supernets.factory import supernet

__all__ = ["Judged", "Supernet", "supernet"]
