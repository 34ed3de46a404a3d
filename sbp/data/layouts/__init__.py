"""How data sets lie on the disk: a class per layout, registered by its name in the config group `data`.

Importing this registers all of them; no heavy library is needed for that.
"""

from sbp.data.layouts import (  # noqa: F401
    coco,
    dagm,
    kolektor,
    magnetic_tile,
    masks,
    mvtec_ad,
    severstal,
    table,
    visa,
)
from sbp.data.layouts.base import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout"]
