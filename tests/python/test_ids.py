# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.ids: no id of a wrong length, and ids that behave like the bytes that they are."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcs_cffi import ids

SIZES: dict[type[ids.BaseID], int] = {
    ids.JobID: 4,
    ids.NodeID: 28,
    ids.WorkerID: 28,
    ids.ClusterID: 28,
    ids.ActorID: 16,
    ids.PlacementGroupID: 18,
    ids.TaskID: 24,
    ids.ObjectID: 28,
}
every_kind = pytest.mark.parametrize("kind", SIZES, ids=lambda kind: kind.__name__)


def an_id(kind: type[ids.BaseID]) -> ids.BaseID:
    return kind(bytes(range(1, SIZES[kind] + 1)))


def test_every_id_class_is_covered_here() -> None:
    public = {getattr(ids, name) for name in ids.__all__ if name.endswith("ID")} - {ids.AnyID}
    assert public - {ids.BaseID} == set(SIZES)


@every_kind
def test_only_the_exact_length_is_taken(kind: type[ids.BaseID]) -> None:
    size = SIZES[kind]
    assert size == kind.SIZE
    assert len(kind(b"x" * size)) == size
    for length in {0, 1, size - 1, size + 1, 2 * size} - {size}:
        with pytest.raises(ValueError, match=f"{kind.__name__} has {size} bytes, not {length}"):
            kind(b"x" * length)


@every_kind
@pytest.mark.parametrize("value", ["0" * 8, 4, None, 1.5, [1, 2], object(), bytes], ids=repr)
def test_what_holds_no_bytes_is_a_type_error(kind: type[ids.BaseID], value: object) -> None:
    with pytest.raises(TypeError, match=kind.__name__):
        kind(value)  # type: ignore[arg-type]


@every_kind
def test_any_buffer_of_bytes_is_taken(kind: type[ids.BaseID]) -> None:
    raw = bytes(range(SIZES[kind]))
    assert kind(raw) == kind(bytearray(raw)) == kind(memoryview(raw)) == raw


def test_an_id_of_another_kind_is_refused_even_if_it_is_as_long() -> None:
    with pytest.raises(TypeError, match="WorkerID is not NodeID"):
        ids.NodeID(an_id(ids.WorkerID))
    assert ids.NodeID(an_id(ids.NodeID)) == an_id(ids.NodeID)


def test_an_object_with_a_binary_method_is_taken_and_checked() -> None:
    class Foreign:
        def __init__(self, raw: object) -> None:
            self.raw = raw

        def binary(self) -> bytes:
            return self.raw  # type: ignore[return-value]

    assert ids.JobID(Foreign(b"\x01\x00\x00\x00")) == ids.JobID.from_int(1)
    with pytest.raises(ValueError, match="JobID has 4 bytes, not 3"):
        ids.JobID(Foreign(b"\x01\x00\x00"))
    with pytest.raises(TypeError, match="JobID"):
        ids.JobID(Foreign("1000"))
    with pytest.raises(TypeError, match="JobID"):
        ids.JobID(Foreign)  # type: ignore[arg-type]


def test_rays_own_ids_are_taken_without_an_import_of_ray() -> None:
    code = (
        "import sys\n"
        "from gcs_cffi import ids\n"
        "assert 'ray' not in sys.modules\n"
        "import ray\n"
        "for name in ('JobID', 'NodeID', 'ActorID', 'WorkerID', 'TaskID', 'PlacementGroupID',"
        " 'ObjectID'):\n"
        "    theirs = getattr(ray, name, None) or getattr(ray._raylet, name)\n"
        "    ours = getattr(ids, name)\n"
        "    value = theirs(bytes(range(ours.SIZE)))\n"
        "    assert ours(value).hex() == value.hex(), name\n"
        "    assert ours.nil() == theirs.nil().binary(), name\n"
        "assert ids.JobID.from_int(7) == ray.JobID.from_int(7).binary()\n"
        "print('same')"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "same", done.stderr


@every_kind
def test_hex_goes_both_ways(kind: type[ids.BaseID]) -> None:
    value = an_id(kind)
    assert kind.from_hex(value.hex()) == value
    assert kind.from_hex(value.hex().upper()) == value
    assert str(value) == f"{value}" == value.hex()


@every_kind
def test_text_that_is_not_the_hex_of_an_id_is_a_value_error(kind: type[ids.BaseID]) -> None:
    good = an_id(kind).hex()
    for text in (
        "",
        good[:-1],
        good + "0",
        good[:-2],
        " " + good[1:],
        "zz" + good[2:],
        "é" + good[1:],
    ):
        with pytest.raises(ValueError, match=f"{kind.__name__} has {len(good)} hexadecimal digits"):
            kind.from_hex(text)
    spaced = "  " + good[2:]
    with pytest.raises(ValueError, match="hexadecimal digits"):
        kind.from_hex(spaced)


@every_kind
def test_nil_has_every_bit_set(kind: type[ids.BaseID]) -> None:
    assert kind.nil() == b"\xff" * SIZES[kind]
    assert kind.nil().is_nil is True
    assert an_id(kind).is_nil is False


@every_kind
def test_an_id_is_its_bytes(kind: type[ids.BaseID]) -> None:
    value = an_id(kind)
    raw = bytes(value)
    assert isinstance(value, bytes)
    assert type(raw) is bytes
    assert value == raw
    assert hash(value) == hash(raw)
    assert {value: 1}[raw] == 1  # type: ignore[index]
    assert value.binary() == raw
    assert type(value.binary()) is bytes
    assert sorted([kind.nil(), value]) == [value, kind.nil()]
    assert b"".join([value]) == raw


@every_kind
def test_the_repr_makes_the_same_id(kind: type[ids.BaseID]) -> None:
    value = an_id(kind)
    assert eval(repr(value), vars(ids)) == value
    assert repr(value).startswith(kind.__name__)


@every_kind
def test_an_id_survives_pickle_and_copy(kind: type[ids.BaseID]) -> None:
    value = an_id(kind)
    copies = [copy.copy(value), copy.deepcopy(value)]
    copies += [pickle.loads(pickle.dumps(value, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in copies:
        assert twin == value
        assert type(twin) is kind


@every_kind
def test_an_id_takes_no_attributes(kind: type[ids.BaseID]) -> None:
    with pytest.raises(AttributeError):
        an_id(kind).note = "x"  # type: ignore[attr-defined]


def test_the_base_class_is_no_id() -> None:
    with pytest.raises(TypeError, match="subclasses"):
        ids.BaseID(b"")


def test_a_job_id_is_a_little_endian_number() -> None:
    assert ids.JobID.from_int(1).hex() == "01000000"
    assert ids.JobID.from_int(0x01020304) == b"\x04\x03\x02\x01"
    assert int(ids.JobID(b"1234")) == 0x34333231  # and not the number that the digits spell
    assert ids.JobID.nil().to_int() == 2**32 - 1


@given(st.integers(0, 2**32 - 1))
def test_a_job_id_keeps_its_number(number: int) -> None:
    job_id = ids.JobID.from_int(number)
    assert int(job_id) == job_id.to_int() == number


@pytest.mark.parametrize("number", [-1, 2**32, 2**64])
def test_a_number_that_no_job_has_is_a_value_error(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        ids.JobID.from_int(number)


@pytest.mark.parametrize("number", ["1", 1.0, None, b"1"], ids=repr)
def test_a_job_number_that_is_no_int_is_a_type_error(number: object) -> None:
    with pytest.raises(TypeError):
        ids.JobID.from_int(number)  # type: ignore[arg-type]


def test_ids_hold_the_ids_that_they_are_made_of() -> None:
    job = ids.JobID.from_int(3)
    actor = ids.ActorID(b"a" * 12 + job)
    task = ids.TaskID(b"t" * 8 + actor)
    made = ids.ObjectID(task + b"\x01\x00\x00\x00")
    group = ids.PlacementGroupID(b"g" * 14 + job)
    assert (actor.job_id, task.job_id, group.job_id) == (job, job, job)
    assert type(actor.job_id) is ids.JobID
    assert task.actor_id == actor
    assert made.task_id == task
