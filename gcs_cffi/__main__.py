# SPDX-License-Identifier: Apache-2.0
"""`python -m gcs_cffi`: the command line.

Invariant: what goes wrong is one line on stderr, and an exit status that is not 0.
"""

from __future__ import annotations

import argparse
import os
import sys

import gcs_cffi


def main(arguments: list[str] | None = None) -> int:
    """Runs the command that the arguments name, and gives the process's exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m gcs_cffi", description="A client of Ray's GCS (Global Control Service)."
    )
    parser.add_argument("--version", action="version", version=f"gcs_cffi {gcs_cffi.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="show the client at work on a real GCS",
        description="Shows the client at work: on a gcs_server that it starts and ends itself, or "
        "on a running cluster, which it leaves as it found it, but for three job ids.",
    )
    demo.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="the GCS of a running cluster; `auto` finds the one of this machine (RAY_ADDRESS, "
        "or what `ray start` left). Without it, a gcs_server is started.",
    )
    demo.add_argument(
        "--gets",
        type=_count,
        default=50_000,
        metavar="N",
        help="how many values to get at the end (default: %(default)s)",
    )
    demo.add_argument(
        "--in-flight",
        type=_count,
        default=256,
        metavar="N",
        help="how many of these gets run at once (default: %(default)s)",
    )
    chosen = parser.parse_args(arguments)
    from gcs_cffi import _demo

    try:
        return _demo.main(chosen.address, gets=chosen.gets, in_flight=chosen.in_flight)
    except BrokenPipeError:
        # Whoever read this has seen enough. Nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


if __name__ == "__main__":
    sys.exit(main())
