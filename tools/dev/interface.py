# SPDX-License-Identifier: Apache-2.0
"""The C interface: the header compiles everywhere, and declares what the library exports."""

from __future__ import annotations

import re
from pathlib import Path

from console import StepFailedError, run
from environment import NATIVE_BUILD
from machine import ROOT

HEADER = ROOT / "capi" / "include" / "gcs_capi.h"
LIBRARY = NATIVE_BUILD / "capi" / "libgcs_capi.so.1"
VERSION_NODE = "GCS_CAPI_1"
# What the machine keeps up to date, or what must be one with the process's own.
SHARED = ("libcrypto.so.3", "libnghttp2.so.14", "libssl.so.3", "libstdc++.so.6")
C_STANDARDS = ["c99", "c11", "c17", "c2x"]
CPP_STANDARDS = ["c++11", "c++14", "c++17", "c++20"]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Werror", "-fsyntax-only"]


def check_header() -> None:
    """Compile the header, alone and twice in one file, with both compilers and each standard."""
    source = NATIVE_BUILD / "header-check"
    source.mkdir(exist_ok=True)
    file = source / "twice.c"
    file.write_text('#include "gcs_capi.h"\n#include "gcs_capi.h"\n')
    for language, standards, compilers in (
        ("c", C_STANDARDS, ("gcc", "clang")),
        ("c++", CPP_STANDARDS, ("g++", "clang++")),
    ):
        extra = ["-Wstrict-prototypes"] if language == "c" else []
        for compiler in compilers:
            for standard in standards:
                run(
                    [compiler, f"-std={standard}", "-x", language, *STRICT, *extra,
                     "-I", HEADER.parent, file]
                )  # fmt: skip


def declared_functions() -> set[str]:
    """The functions that the header declares, after the preprocessor."""
    text = run(["gcc", "-E", "-P", "-DGCS_CDEF", HEADER])
    text = re.sub(r"typedef[^;{]*\([^;]*;", "", text)
    return set(re.findall(r"\b(gcs_[a-z0-9_]+)\s*\(", text))


def exported_symbols(library: Path) -> set[str]:
    """What the library exports, without the version that follows a name."""
    lines = run(["nm", "-D", "--defined-only", library]).splitlines()
    return {line.split()[-1].split("@")[0] for line in lines if line.strip()}


def check_symbols() -> None:
    """Compare exports with the header; both ways, and nothing beside gcs_* and the version node."""
    exported = exported_symbols(LIBRARY)
    breaches = []
    if VERSION_NODE not in exported:
        breaches.append(f"the library has no version node {VERSION_NODE}")
    exported.discard(VERSION_NODE)
    declared = declared_functions()
    breaches += [f"exported, but not in the header: {name}" for name in sorted(exported - declared)]
    breaches += [f"in the header, but not exported: {name}" for name in sorted(declared - exported)]
    dynamic = run(["readelf", "-dW", LIBRARY])
    if "soname: [libgcs_capi.so.1]" not in dynamic:
        breaches.append("the library's SONAME is not libgcs_capi.so.1")
    if "NODELETE" not in dynamic:
        breaches.append("the library is not linked with -z nodelete")
    breaches += [
        f"the library is not linked with {name} as a shared library"
        for name in SHARED
        if f"Shared library: [{name}]" not in dynamic
    ]
    if breaches:
        raise StepFailedError("\n".join(breaches))
