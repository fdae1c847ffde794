# SPDX-License-Identifier: Apache-2.0
"""What scripts that fork need: the text that such a script has before its own."""

from __future__ import annotations

FORKED = """
import os, sys, time, warnings
warnings.filterwarnings("ignore", "This process", DeprecationWarning)

def forked(child):
    "Runs child in a forked process, and fails unless it ends well and soon."
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)     # with all that an interpreter does at its end
    for _ in range(1000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(pid, 9)
    raise AssertionError("the child hangs")
"""
"""Defines `forked()`."""
