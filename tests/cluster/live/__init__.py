# SPDX-License-Identifier: Apache-2.0
"""A live cluster of three raylets, read by our accessors and by Ray's own clients."""
