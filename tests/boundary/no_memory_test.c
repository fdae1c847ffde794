/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory that cannot be had: the k-th allocation fails, for k = 1, 2, ... until none is left to
 * fail. Whatever the library does then, it says so, every accepted call ends exactly once, and the
 * process lives.
 *
 * The allocator is this program's: it stands before the C library's, in the library and in
 * libstdc++, too.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* old, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

/* Allocations until one fails, of any thread; 0 or less: none does. */
static atomic_long countdown = 0;

static int fails(void) {
  return atomic_load_explicit(&countdown, memory_order_relaxed) > 0 &&
         atomic_fetch_sub_explicit(&countdown, 1, memory_order_relaxed) == 1;
}

void* malloc(size_t size) {
  if (!fails()) return __libc_malloc(size);
  errno = ENOMEM;
  return NULL;
}

void* calloc(size_t count, size_t size) {
  if (!fails()) return __libc_calloc(count, size);
  errno = ENOMEM;
  return NULL;
}

void* realloc(void* old, size_t size) {
  if (!fails()) return __libc_realloc(old, size);
  errno = ENOMEM;
  return NULL;
}

int posix_memalign(void** out, size_t alignment, size_t size) {
  if (fails()) return ENOMEM;
  *out = __libc_memalign(alignment, size);
  return *out == NULL ? ENOMEM : 0;
}

void* aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : __libc_memalign(alignment, size);
}

/* Arms the allocator; says whether the failure has happened when it is disarmed. */
static void arm(long k) {
  atomic_store(&countdown, k);
}
static int disarm(void) {
  return atomic_exchange(&countdown, 0) <= 0;
}

static int is_clean_failure(gcs_status status) {
  if (status == GCS_NO_MEMORY || status == GCS_INTERNAL) return 1;
  fprintf(stderr, "%s when memory failed\n", gcs_status_name(status));
  return 0;
}

/* A client is made, is used while nothing answers, and goes; one of its allocations fails. */
static int use_once(long k) {
  gcs_client_options options;
  gcs_client client = 0;
  gcs_queue queue = 0;
  gcs_error* error = NULL;
  gcs_buffer* json = NULL;
  struct counter ended;
  uint64_t accepted = 0;
  uint64_t watch = 0;
  int failed;
  int i;
  counter_init(&ended);
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = silent_address();
  options.token = "a-token-that-is-longer-than-what-a-string-holds-in-place";
  arm(k);
  gcs_status status = gcs_client_create(&options, &client, &error);
  if (status == GCS_OK) {
    static const char key[] = "a key that is longer than what a string holds in place";
    static const char value[1024];
    const gcs_bytes name_space = {"namespace", 9};
    const gcs_bytes the_key = {key, sizeof key - 1};
    const gcs_bytes the_value = {value, sizeof value};
    const gcs_body body = {value, sizeof value, NULL, NULL};
    gcs_call_options call;
    gcs_call_options_init(&call, sizeof call);
    for (i = 0; i < 3; ++i) {
      uint64_t id = 0;
      call.timeout = i == 0 ? MILLISECONDS(1) : GCS_TIMEOUT_DEFAULT;
      status = gcs_kv_get(client, name_space, the_key, &call, &id, count_event, &ended, NULL);
      accepted += status == GCS_OK;
      CHECK(status == GCS_OK || is_clean_failure(status));
      if (status == GCS_OK && i == 1) gcs_cancel(client, id);
      status = gcs_kv_put(client, name_space, the_key, the_value, GCS_KV_OVERWRITE, &call, NULL,
                          count_event, &ended, NULL);
      accepted += status == GCS_OK;
      CHECK(status == GCS_OK || is_clean_failure(status));
    }
    status = gcs_call_path(client, "/some.long.package.and.Service/MethodThatNobodyKnows", &body,
                           NULL, NULL, count_event, &ended, &error);
    accepted += status == GCS_OK;
    CHECK(status == GCS_OK || is_clean_failure(status));
    if (gcs_client_stats(client, &json) == GCS_OK) gcs_buffer_free(json);
    status = gcs_queue_create(NULL, &queue, NULL);
    CHECK(status == GCS_OK || is_clean_failure(status));
    if (status == GCS_OK) {
      void* const user = (void*)(uintptr_t)queue;
      status = gcs_client_watch(client, &watch, gcs_queue_push, user);
      CHECK(status == GCS_OK || is_clean_failure(status));
      gcs_queue_close(queue);
    }
    sleep_for(MILLISECONDS(2));
    CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  } else {
    CHECK(is_clean_failure(status));
  }
  failed = disarm();
  gcs_error_free(error);
  CHECK_EQUAL(count_now(&ended), accepted);
  return failed;
}

static void every_allocation_may_fail(void) {
  long k;
  CHECK(!use_once(1000000));
  for (k = 1; use_once(k); ++k) continue;
  printf("%ld allocations\n", k);
  CHECK(k > 50);
  CHECK(!use_once(1000000));
}

int main(void) {
  every_allocation_may_fail();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
