# SPDX-License-Identifier: Apache-2.0
"""Faults on purpose: a client at work on a real GCS while its network and its server misbehave.

- proxy.py: the network between client and server, and what can be wrong with it.
- faults.py: when which fault begins and ends, out of a seed.
- workloads.py, workloads/*.toml: what is run.
- worker.py, callers.py: the process that makes the calls, and writes down what became of each.
- record.py, oracles.py: what was written down, and what must hold of it.
- runner.py, __main__.py: one run, and run after run.
"""
