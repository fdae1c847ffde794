# SPDX-License-Identifier: Apache-2.0
"""gcs_cffi.errors: numbers choose the class, nothing gets lost, and the text says it all."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gcs_cffi import _status, errors

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = "/ray.rpc.InternalKVGcsService/InternalKVGet"
ADDRESS = "127.0.0.1:6379"

CLASSES = [getattr(errors, name) for name in errors.__all__]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)

BUILTIN_BASES: dict[type[errors.GcsError], tuple[type[Exception], ...]] = {
    errors.UnavailableError: (ConnectionError,),
    errors.ConnectionLostError: (ConnectionError, errors.UnavailableError),
    errors.DeadlineExceededError: (TimeoutError, asyncio.TimeoutError),
    errors.InvalidRequestError: (ValueError,),
}

EXPECTED: list[tuple[int, int, type[errors.GcsError]]] = [
    (_status.INVALID_ARGUMENT, _status.FLAG_LOCAL, errors.InvalidRequestError),
    (_status.BAD_HANDLE, _status.FLAG_LOCAL, errors.ClientClosedError),
    (_status.CLOSED, _status.FLAG_LOCAL, errors.ClientClosedError),
    (_status.CANCELLED, _status.FLAG_LOCAL, errors.GcsError),
    (_status.DEADLINE, _status.FLAG_LOCAL | _status.FLAG_TIMEOUT, errors.DeadlineExceededError),
    (_status.CONNECTION_LOST, _status.FLAG_LOCAL, errors.ConnectionLostError),
    (_status.CLUSTER_CHANGED, _status.FLAG_LOCAL, errors.ClusterChangedError),
    (_status.FORKED, _status.FLAG_LOCAL, errors.ForkedError),
    (_status.ABI, _status.FLAG_LOCAL, errors.GcsError),
    (_status.NO_MEMORY, _status.FLAG_LOCAL, errors.GcsError),
    (_status.WOULD_DEADLOCK, _status.FLAG_LOCAL, errors.GcsError),
    (_status.NOT_FOUND, _status.FLAG_LOCAL, errors.GcsError),
    (_status.LIMIT, _status.FLAG_LOCAL, errors.LimitExceededError),
    (_status.UNSUPPORTED, _status.FLAG_LOCAL, errors.UnsupportedByServerError),
    (_status.INTERRUPTED, _status.FLAG_LOCAL, errors.GcsError),
    (_status.INTERNAL, _status.FLAG_LOCAL, errors.GcsError),
    (_status.UNAVAILABLE, _status.FLAG_LOCAL, errors.UnavailableError),
    (_status.UNAVAILABLE, _status.FLAG_LOCAL | _status.FLAG_AUTH, errors.AuthenticationError),
    (3, 0, errors.RpcError),
    (4, _status.FLAG_TIMEOUT, errors.DeadlineExceededError),
    (4, 0, errors.DeadlineExceededError),
    (8, 0, errors.RpcError),
    (10, 0, errors.RpcError),
    (12, 0, errors.UnsupportedByServerError),
    (14, 0, errors.UnavailableError),
    (1, 0, errors.UnavailableError),
    (16, _status.FLAG_AUTH, errors.AuthenticationError),
    (16, 0, errors.AuthenticationError),
    (77, 0, errors.RpcError),
    (_status.RAY_NOT_FOUND, 0, errors.GcsStatusError),
    (1012, _status.FLAG_TIMEOUT, errors.DeadlineExceededError),
    (1034, 0, errors.GcsStatusError),
    (1999, 0, errors.GcsStatusError),
    (-77, _status.FLAG_LOCAL, errors.GcsError),
]


def full(cls: type[errors.GcsError]) -> errors.GcsError:
    return cls(
        "it broke",
        code=10,
        method=METHOD,
        address=ADDRESS,
        retryable=True,
        maybe_executed=True,
        details=b"\x00\xff",
    )


@pytest.mark.parametrize(("status", "flags", "cls"), EXPECTED)
def test_the_numbers_choose_the_class(status: int, flags: int, cls: type[errors.GcsError]) -> None:
    error = errors.from_status(status, flags, "it broke", METHOD, ADDRESS)
    assert type(error) is cls
    assert error.code == status


def test_every_status_of_the_library_has_an_expectation_here() -> None:
    local = {status for status in _status.NAMES if status < 0}
    assert local <= {status for status, _, _ in EXPECTED}


@every_class
def test_every_class_is_a_gcs_error_and_what_python_has_for_it(
    cls: type[errors.GcsError],
) -> None:
    bases: tuple[type[Exception], ...] = (errors.GcsError, *BUILTIN_BASES.get(cls, ()))
    for base in bases:
        with pytest.raises(base):
            raise full(cls)


def test_success_is_no_error() -> None:
    with pytest.raises(ValueError, match="success"):
        errors.from_status(0, 0, "", METHOD, ADDRESS)


@pytest.mark.parametrize("retryable", [False, True])
@pytest.mark.parametrize("maybe_executed", [False, True])
def test_flags_become_attributes(retryable: bool, maybe_executed: bool) -> None:
    flags = _status.FLAG_RETRYABLE * retryable | _status.FLAG_MAYBE_EXECUTED * maybe_executed
    error = errors.from_status(14, flags, "it broke", METHOD, ADDRESS, b"why")
    assert (error.retryable, error.maybe_executed) == (retryable, maybe_executed)
    assert (error.message, error.method, error.address) == ("it broke", METHOD, ADDRESS)
    assert error.details == b"why"


@every_class
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickle(cls: type[errors.GcsError], protocol: int) -> None:
    assert_same(pickle.loads(pickle.dumps(full(cls), protocol)), full(cls))


@every_class
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_an_error_survives_a_copy(
    cls: type[errors.GcsError], copier: Callable[[errors.GcsError], errors.GcsError]
) -> None:
    assert_same(copier(full(cls)), full(cls))


def assert_same(copied: errors.GcsError, error: errors.GcsError) -> None:
    assert type(copied) is type(error)
    assert vars(copied) == vars(error)
    assert (str(copied), copied.args, repr(copied)) == (str(error), error.args, repr(error))


def test_an_error_can_be_read_by_another_process() -> None:
    error = errors.from_status(12, 0, "no such method", METHOD, ADDRESS)
    code = f"import pickle; print(pickle.loads(bytes.fromhex({pickle.dumps(error).hex()!r})))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout.rstrip("\n") == str(error), done.stderr


def test_a_subclass_with_a_constructor_of_its_own_survives_pickle_and_copy() -> None:
    error = OddError(3)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert_same(twin, error)
        assert twin.number == 3


class OddError(errors.UnavailableError):
    def __init__(self, number: int) -> None:
        super().__init__(f"odd {number}", code=14)
        self.number = number


def test_what_a_server_lacks_is_named_by_method_and_code() -> None:
    text = str(errors.from_status(12, 0, "", "/ray.rpc.Odd/Method", ADDRESS))
    for part in ("UNIMPLEMENTED", "/ray.rpc.Odd/Method", ADDRESS):
        assert part in text


def test_the_text_says_each_thing_once() -> None:
    message = f"no connection to {ADDRESS}: InvalidArgument: bad id"
    text = str(errors.from_status(10, 0, message, METHOD, ADDRESS, b"bad id"))
    for part in ("ABORTED", "bad id", METHOD, ADDRESS):
        assert text.count(part) == 1


def test_readable_details_are_in_the_text_and_others_are_not() -> None:
    assert "the id is odd" in str(errors.GcsError("no", code=10, details=b"the id is odd"))
    assert str(errors.GcsError("no", details=b"\x08\x01\xff")) == "no"
    assert errors.GcsError("no", details="é").details == "é".encode()


def test_rays_own_number_is_at_hand() -> None:
    error = errors.from_status(1038, 0, "passive", METHOD, ADDRESS)
    assert isinstance(error, errors.GcsStatusError)
    assert error.ray_code == 38
    assert error.code_name == "RAY_GCS_PASSIVE"
