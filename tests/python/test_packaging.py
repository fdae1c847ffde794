# SPDX-License-Identifier: Apache-2.0
"""The package as it is installed: what is imported, from where, and what importing it costs."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import run_script, said_nothing

import gcs_cffi
from gcs_cffi import _native, _status, options

TREE = Path(__file__).resolve().parent.parent.parent


def test_the_tests_run_the_installed_package() -> None:
    site_packages = Path(sysconfig.get_paths()["platlib"]).resolve()
    assert Path(gcs_cffi.__file__).resolve().is_relative_to(site_packages)
    assert not Path(gcs_cffi.__file__).resolve().is_relative_to(TREE / "gcs_cffi")


def test_importing_the_tree_without_its_extension_says_so_in_one_line(tmp_path: Path) -> None:
    # A copy, as a developer may have an extension lying in the tree.
    ignore = shutil.ignore_patterns("*.so*", "__pycache__")
    shutil.copytree(TREE / "gcs_cffi", tmp_path / "gcs_cffi", ignore=ignore)
    done = subprocess.run(
        [sys.executable, "-c", "import gcs_cffi"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: gcs_cffi cannot be used from ")
    assert "source tree" in last
    assert "install the package" in last
    assert "During handling" not in done.stderr


def test_importing_starts_no_thread_and_imports_no_protobuf() -> None:
    script = """
import os, sys
import gcs_cffi
assert len(os.listdir("/proc/self/task")) == 1
assert not [name for name in sys.modules if name.startswith("google")]
assert "pycparser" not in sys.modules and "cffi" not in sys.modules
"""
    assert said_nothing(run_script(script, options=("-W", "error")))


def test_the_version_is_the_same_everywhere() -> None:
    assert gcs_cffi.__version__ == _native.version()
    assert gcs_cffi.__version__ == importlib.metadata.version("gcs-cffi")


def test_types_and_schema_are_installed_beside_the_modules() -> None:
    folder = importlib.resources.files("gcs_cffi")
    for name in ("py.typed", "messages/__init__.pyi", "schema.binpb", "sync.py", "_sync/client.py"):
        assert folder.joinpath(name).is_file(), name


def test_statuses_have_the_librarys_numbers_and_names() -> None:
    known = _native.statuses()
    assert len(known) > 30
    assert {status: _native.status_name(status) for status in known} == _status.NAMES


def test_public_names_are_what_they_say() -> None:
    for name in gcs_cffi.__all__:
        assert getattr(gcs_cffi, name) is not None, name
    for module in (gcs_cffi, gcs_cffi.sync):
        for cls in (module.GcsClient, module.KeyValueStore, module.Jobs, module.Nodes):
            assert cls.__doc__
            for name, member in vars(cls).items():
                if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                    assert member.__doc__, f"{cls}.{name}"


def test_the_wake_mode_can_be_chosen() -> None:
    assert options.wake_mode() == "fd"
    options.set_wake_mode("callback")
    try:
        assert options.wake_mode() == "callback"
    finally:
        options.set_wake_mode("fd")
    with pytest.raises(ValueError, match="wake mode"):
        options.set_wake_mode("signal")  # type: ignore[arg-type]
    script = 'import gcs_cffi; assert gcs_cffi.options.wake_mode() == "callback"'
    assert said_nothing(run_script(script, env={"GCS_CFFI_WAKE": "callback"}))
    done = run_script("import gcs_cffi", env={"GCS_CFFI_WAKE": "nonsense"})
    assert "GCS_CFFI_WAKE" in done.stderr.splitlines()[-1]
