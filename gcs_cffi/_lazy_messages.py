# SPDX-License-Identifier: Apache-2.0
"""What the modules of `gcs_cffi.messages` have in common: attributes that are made on first use.

Invariant: importing this imports no protobuf.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcs_cffi._schema import Schema


def schema() -> Schema:
    """The bundled schema."""
    from gcs_cffi._bundled_schema import SCHEMA

    return SCHEMA


def names(module: str) -> Mapping[str, object]:
    """What the module shows, by name."""
    return schema().names[module]


def attribute(module: str, name: str) -> object:
    """What a module's `__getattr__` returns; it is not asked again.

    Raises:
        AttributeError: the module shows no such name.
    """
    here = sys.modules[module]
    if name == "__all__":
        return dir(here)
    # Tools ask every module for names such as __path__: that must not cost an import of protobuf.
    if not name.startswith("__"):
        found = names(module)
        if name in found:
            value = found[name]
            setattr(here, name, value)
            return value
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
