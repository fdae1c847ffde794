# SPDX-License-Identifier: Apache-2.0
"""docs/ray-methods.md: every method of Ray's Python clients has a line, whose names exist here."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import gcs_cffi
from gcs_cffi import GcsClient
from gcs_cffi._release import METHODS, KnownMethod

TABLE = (Path(__file__).parents[2] / "docs" / "ray-methods.md").read_text(encoding="utf-8")


def methods_of_ray() -> list[str]:
    code = (
        "import json\n"
        "from ray._raylet import GlobalStateAccessor, InnerGcsClient\n"
        "print(json.dumps([n for c in (GlobalStateAccessor, InnerGcsClient) for n in dir(c)]))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    names: list[str] = json.loads(done.stdout)
    return [name for name in names if not name.startswith("_")]


def accessor_methods() -> set[str]:
    """Such as "kv.get", of every accessor of a client."""
    found = set()
    for attribute, cls in accessors().items():
        for name, value in inspect.getmembers(cls, inspect.isfunction):
            is_method = inspect.iscoroutinefunction(value) or name == "watch"
            if is_method and not name.startswith("_"):
                assert value.__doc__, f"{attribute}.{name} has no docstring"
                found.add(f"{attribute}.{name}")
    return found


def accessors() -> dict[str, type]:
    source = inspect.getsource(GcsClient.__init__)
    names = dict(re.findall(r"self\.(\w+) = (\w+)\(channel\)", source))
    module = sys.modules[GcsClient.__module__]
    return {attribute: getattr(module, name) for attribute, name in names.items()}


def test_every_method_of_rays_python_clients_is_in_the_table() -> None:
    names = methods_of_ray()
    assert len(names) > 50
    # Where one line is for both forms, it has the name of the blocking one.
    left_out = {"standalone", "connect", "address", "cluster_id"}
    missing = [
        name
        for name in names
        if name not in left_out
        and f"`{name}`" not in TABLE
        and f"`{name.removeprefix('async_')}`" not in TABLE
    ]
    assert missing == []


def test_every_method_that_the_table_names_here_exists() -> None:
    named = set(re.findall(r"`gcs\.([a-z_]+\.[a-z_]+)`", TABLE))
    assert len(named) > 40
    assert named <= accessor_methods()


def test_every_method_of_the_accessors_is_in_the_table() -> None:
    missing = {name for name in accessor_methods() if f"`gcs.{name}`" not in TABLE}
    assert missing == set()


def test_both_clients_have_the_same_accessors() -> None:
    assert set(accessors()) <= set(GcsClient.__slots__)
    assert set(GcsClient.__slots__) == set(gcs_cffi.sync.GcsClient.__slots__)


def covered_methods() -> set[str]:
    """The paths that accessors call; the library itself calls those of the key-value store."""
    modules = {sys.modules[cls.__module__] for cls in accessors().values()}
    values = [value for module in modules for value in vars(module).values()]
    known = [part for value in values if isinstance(value, tuple) for part in value]
    paths = {method.path for method in known if isinstance(method, KnownMethod)}
    store = "/ray.rpc.InternalKVGcsService/InternalKV"
    library = {path for path in METHODS if path.startswith(store)}
    return paths | library | {"/ray.rpc.NodeInfoGcsService/GetClusterId"}


def test_what_no_accessor_covers_is_listed_with_its_number() -> None:
    methods = {path for path in METHODS if path.startswith("/ray.rpc.")}
    newest = {path for path in methods if METHODS[path].last is None}
    covered = covered_methods()
    assert covered <= methods
    left = set(re.findall(r"^\| `(\w+/\w+)` \|", TABLE.split("## What is left")[1], re.MULTILINE))
    assert {f"/ray.rpc.{name}" for name in left} == methods - covered
    said = (
        f"Of the {len(newest)} unary methods of Ray 2.60 ({len(methods)} of Ray 2.9 to 2.60, with "
        f"those that have moved or gone) accessors cover {len(newest & covered)} ({len(covered)})."
    )
    assert said in " ".join(TABLE.split())
