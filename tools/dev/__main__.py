# SPDX-License-Identifier: Apache-2.0
"""The entry of ./dev; readable to old Pythons, so that they get a sentence, not a SyntaxError."""

import signal
import sys

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(
        "./dev needs Python 3.10 or newer and this is {}.{}: name another one, as in "
        "PYTHON=python3.12 ./dev help".format(*sys.version_info[:2])
    )

from console import StepFailedError, complain

HELP = """usage: ./dev VERB [arguments]

  setup             install what is missing, build the wheel, and install it into .venv
  demo [ARGS]       setup, then show the client on a real gcs_server of its own
                    (--address HOST:PORT: on a running cluster)
  test [ARGS]       setup, then every C++, C and Python test, on each Python of 3.10 to 3.14 that
                    is on the machine, and every method on three releases of Ray; with ARGS
                    (pytest's, such as -k EXPR): the Python tests only, on .venv's Python only
  matrix [ARGS]     setup, then every method on the gcs_server of twelve releases of Ray, and a
                    table of methods by releases (--ray 2.40.0 ...: on these; else pytest's
                    arguments)
  live [ARGS]       setup with Ray's dashboard, then a cluster of three raylets, on which every
                    accessor is compared with Ray's own clients, and a tally (ARGS: pytest's)
  lint              formats, types, static analysis, the rules on sources, header and symbols
  format            rewrite the sources in the form that lint asks for
  bench [--quick]   calls per second and client CPU per call, beside Ray's client and grpc.aio
  bench pubsub      messages per second and client CPU per message, beside Ray's subscribers
  sanitize [KIND]   the C++ and C tests under AddressSanitizer with UndefinedBehaviorSanitizer
                    (KIND address) and under ThreadSanitizer (KIND thread)
  chaos [ARGS]      setup, then workloads on real servers while network and server misbehave, again
                    and again with seeds of their own (--minutes N --seed S --workload NAME; --list;
                    --sanitizer KIND: with it in the library; --long: the tests that take minutes;
                    --help)
  help              this text

A second run installs and builds only what has changed.
PYTHON=/path/to/python3 chooses the interpreter of .venv.
"""


def main(arguments: "list[str]") -> int:
    """Run one verb; returns the process's exit status."""
    # A job of a script has Ctrl-C ignored, and so would everything that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    verb = arguments[0] if arguments else "help"
    rest = arguments[1:]
    if verb in ("help", "-h", "--help"):
        print(HELP, end="")
        return 0
    import verbs

    known = {
        "setup": verbs.setup,
        "demo": verbs.demo,
        "test": verbs.test,
        "live": verbs.live,
        "matrix": verbs.matrix,
        "lint": verbs.lint,
        "format": verbs.reformat,
        "bench": verbs.bench,
        "sanitize": verbs.sanitize,
        "chaos": verbs.chaos,
    }
    if verb not in known:
        complain(f"./dev has no verb {verb!r}\n\n{HELP}")
        return 2
    try:
        return known[verb](rest)
    except StepFailedError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
