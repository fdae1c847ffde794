/* SPDX-License-Identifier: Apache-2.0 */
#include "gcs_capi.h"

static gcs_completion_fn const gcs_cffi_queue_push = gcs_queue_push;
