# SPDX-License-Identifier: Apache-2.0
"""gcs.runtime_envs on every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import gcs_cffi
from matrix.unsent import check_unsent

if TYPE_CHECKING:
    from gcs_cffi import GcsClient


@pytest.mark.method("runtime_envs.pin_uri")
async def test_a_package_is_pinned_and_stays(gcs: GcsClient, namespace: str) -> None:
    uri = f"gcs://_ray_pkg_{namespace}.zip"
    await gcs.kv.put(uri, b"package")
    await gcs.runtime_envs.pin_uri(uri, expiration_s=60)
    await gcs.runtime_envs.pin_uri(uri, expiration_s=60)
    assert await gcs.kv.get(uri) == b"package"
    await gcs.kv.delete(uri)


@pytest.mark.method("runtime_envs.pin_uri")
async def test_wrong_arguments_about_packages_are_refused_here(gcs: GcsClient) -> None:
    await check_unsent(gcs, gcs.runtime_envs.pin_uri, [
        (TypeError, (b"gcs://package.zip",), {"expiration_s": 1}),
        (TypeError, ("gcs://package.zip",), {"expiration_s": 1.5}),
        (TypeError, ("gcs://package.zip",), {"expiration_s": None}),
        (ValueError, ("gcs://package.zip",), {"expiration_s": -1}),
        (ValueError, ("gcs://package.zip",), {"expiration_s": 1 << 31}),
        (ValueError, ("gcs://package.zip",), {"expiration_s": 1, "timeout": -1}),
    ])  # fmt: skip


@pytest.mark.method("runtime_envs.pin_uri")
async def test_a_pin_that_has_no_time_expires(gcs: GcsClient) -> None:
    with pytest.raises(gcs_cffi.DeadlineExceededError):
        await gcs.runtime_envs.pin_uri("gcs://package.zip", expiration_s=1, timeout=0)
