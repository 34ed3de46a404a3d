"""Selective back-propagation for segmentation: train on the images that matter.

The selection is usable alone, in any training loop: see SelectiveSampler.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbp.selection import ScoreBook, Selective, SelectiveSampler

__all__ = ["ScoreBook", "Selective", "SelectiveSampler"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # late, so that `import sbp` (shell completion, --help) does not import torch
    if name in __all__:
        from sbp import selection

        return getattr(selection, name)
    raise AttributeError(f"module 'sbp' has no attribute {name!r}")
