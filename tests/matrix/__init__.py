# SPDX-License-Identifier: Apache-2.0
"""Every public method of the client, on every release of Ray that it promises to work with.

How a test is written here:

- `@pytest.mark.method("actors.list")` says which method it is about; several may be named. A way of
  using a method that deserves a line of its own stands in brackets: "call (raw)".
- What only some releases can do has `@pytest.mark.since("2.41")`: on an older one the very same
  test must end with an UnsupportedByServerError that names the method and this release. Where that
  concerns a part of a method, which the record of methods does not know, name the part too:
  `since("2.10", part="deadline")`, give it a line of its own
  (`method("autoscaler.drain_node (deadline)")`), and the error must name the part as well. Within a
  test the fixture `expected` does the same for a block: `with expected("2.41"): ...`. Nothing is
  skipped: a test that is counts as wrong.
- It uses the fixture `gcs`, a client of the server that all tests share, or `connect`, which makes
  clients of other servers. Both come once asynchronous and once blocking, under the same names; the
  blocking client's methods are awaited as well.
- A server is fresh, and no raylet is there: a test registers the nodes, jobs and actors that it
  needs, under ids of its own (`unique`), and expects others beside them. `own_server` is one that
  it has for itself.
- `release` is the server's, as numbers: (2, 40, 0).
"""
