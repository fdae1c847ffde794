# SPDX-License-Identifier: Apache-2.0
"""A real GCS for tests: `GcsServer` runs the gcs_server of any version of Ray, and ends it again.

Invariant: nothing here uses the client of this package, so that a fault there cannot hide here.
"""

from gcs_cffi.testing._probe import TlsFiles
from gcs_cffi.testing._processes import GcsServerError
from gcs_cffi.testing._server import GcsServer

__all__ = ["GcsServer", "GcsServerError", "TlsFiles"]
