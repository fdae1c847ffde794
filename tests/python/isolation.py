# SPDX-License-Identifier: Apache-2.0
"""Tests apart from the person who runs them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def user_hidden(home: Path) -> Iterator[None]:
    """Has neither tests nor servers see the user's Ray settings, nor the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        yield
