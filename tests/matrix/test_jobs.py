# SPDX-License-Identifier: Apache-2.0
"""gcs.jobs on every release."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import JobID

if TYPE_CHECKING:
    from gcs_cffi import GcsClient


@pytest.mark.method("jobs.next_id")
async def test_job_ids_count_up_and_are_given_once(gcs: GcsClient) -> None:
    ids = [await gcs.jobs.next_id() for _ in range(3)]
    assert all(type(job) is JobID for job in ids)
    numbers = [job.to_int() for job in ids]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    at_once = await asyncio.gather(*(gcs.jobs.next_id() for _ in range(20)))
    assert len({*ids, *at_once}) == 23
