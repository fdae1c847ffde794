# SPDX-License-Identifier: Apache-2.0
"""Build the wheel: build_wheel.py FOLDER BUILD_FOLDER, by .venv's Python, in the root folder.

meson-python tags a wheel for the interpreter that built it. The extension is built for the limited
API of Python 3.10, whatever built it, so that the tag is set right afterwards.
"""

import subprocess
import sys
from pathlib import Path

import mesonpy  # type: ignore[import-untyped]


def main() -> None:
    """Build, with the C++ and C tests defined in the build folder but not built."""
    folder, build_folder = Path(sys.argv[1]), sys.argv[2]
    settings = {
        "build-dir": build_folder,
        "setup-args": ["-Dtests=true"],
    }
    name = mesonpy.build_wheel(str(folder), settings)
    retag = [sys.executable, "-m", "wheel", "tags", "--python-tag", "cp310", "--remove"]
    subprocess.run([*retag, str(folder / name)], check=True)


if __name__ == "__main__":
    main()
