# SPDX-License-Identifier: Apache-2.0
# The cffi extension, built from gcs_capi.h. Only _native uses it, and gives every call its types.

from typing import Any

ffi: Any
lib: Any
