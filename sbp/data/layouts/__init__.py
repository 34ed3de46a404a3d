"""How data sets lie on the disk: a class per layout, registered by its name in the config group `data`.

Importing this imports every file beside it, which registers all layouts; no heavy library is needed for that.
"""

from importlib import import_module
from pkgutil import iter_modules

from sbp.data.layouts.base import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout"]

for module in iter_modules(__path__):
    import_module(f"{__name__}.{module.name}")
