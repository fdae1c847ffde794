/* SPDX-License-Identifier: Apache-2.0 */
#include "gcs_capi.h"
