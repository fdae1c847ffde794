# SPDX-License-Identifier: Apache-2.0
"""What the README says works as it stands there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import run_script

import gcs_cffi

if TYPE_CHECKING:
    from gcs_cffi.testing import GcsServer

README = Path(__file__).resolve().parent.parent.parent / "README.md"
ADDRESS = "127.0.0.1:6379"


def test_the_ten_line_example_works(server: GcsServer) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    example = blocks[0]
    assert len(example.splitlines()) == 10
    assert example.count(ADDRESS) == 1
    done = run_script(example.replace(ADDRESS, server.address))
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "b'red'"
    assert re.fullmatch(r"[0-9a-f]{8} \d+ nodes", second)


def test_the_c_example_works(server: GcsServer, tmp_path: Path) -> None:
    (example,) = re.findall(r"^```c\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    source, program = tmp_path / "get.c", tmp_path / "get"
    source.write_text(example)
    package = Path(gcs_cffi.__file__).parent
    include = README.parent / "capi" / "include"
    compile_it = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", str(include), str(source)]
    link_it = ["-o", str(program), str(package / "libgcs_capi.so.1"), f"-Wl,-rpath,{package}"]
    subprocess.run(compile_it + link_it, check=True)
    with gcs_cffi.sync.connect(server.address) as gcs:
        gcs.kv.put("color", b"red")
        done = subprocess.run([program, server.address], capture_output=True, text=True, check=True)
        gcs.kv.delete("color")
    assert (done.stdout, done.stderr) == ("GCS_OK red\n", "")


def test_the_two_commands_come_first() -> None:
    indented = re.findall(r"^    (\S+ \S+)", README.read_text(), re.MULTILINE)
    assert indented[:2] == ["./dev demo", "./dev test"]
