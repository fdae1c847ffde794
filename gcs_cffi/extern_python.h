/* SPDX-License-Identifier: Apache-2.0
 *
 * What cffi declares: the library's header, and beside it the C functions whose bodies are Python. Only cffi reads this
 * file, after the C preprocessor.
 */
#include "gcs_capi.h"

/* A queue's wake-up in the mode that uses call_soon_threadsafe. `user` is the number of the reactor, not an address. */
extern "Python" void gcs_cffi_wake(void *user);

/* gcs_queue_push itself: `lib.gcs_queue_push` is a function of cffi's around it, which the library could not tell from any
 * other callback, so that it would not know the queue behind it. */
extern gcs_completion_fn const gcs_cffi_queue_push;
