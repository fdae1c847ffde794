# SPDX-License-Identifier: Apache-2.0
"""The blocking client, generated from the asynchronous one. Use `gcs_cffi.sync`."""
