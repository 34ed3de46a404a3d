"""Pickles of arrays and plain values, read without executing anything that they might hold."""

import codecs
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sbp.errors import UserError

NOT_READ = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError,
            ImportError, MemoryError, OverflowError, RecursionError)  # fmt: skip
"""What a broken pickle can raise."""


def _latin(text: str, encoding: str = "latin1") -> bytes:
    """Bytes, as Python 3 writes them in old protocols."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"the encoding {encoding!r} is not taken")
    return codecs.latin_1_encode(text)[0]


def _array(*_: Any) -> np.ndarray:
    """An empty array, which its state fills."""
    return np.empty(0, dtype=np.uint8)


_ALLOWED: dict[tuple[str, str], Callable] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin,
}


class _Plain(pickle.Unpickler):
    """Takes dictionaries, lists, texts, numbers and arrays of numbers: what else a pickle names is refused
    before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array and no plain value")
        return _ALLOWED[module, name]


def read_plain(path: Path) -> dict[bytes, Any]:
    """The dictionary in a pickle that Python 2 or 3 wrote, texts of Python 2 as bytes. Raises UserError for a
    file that cannot be read or holds anything but plain values and arrays of numbers."""
    try:
        content = _Plain(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except NOT_READ as error:
        raise UserError(f"{path}: not read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold a dictionary, not {type(content).__name__}")
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}
