/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread of the application that ends inside the library unwinds through it: by pthread_exit() in
 * a release or wake function, or by cancellation while it waits. Nothing hangs, nothing is lost,
 * and the process goes on.
 */
#include "check.h"

static gcs_client client;

static void exit_thread(void* user, const void* data, size_t size) {
  (void)data;
  (void)size;
  pthread_exit(user);
}

static void count_release(void* user, const void* data, size_t size) {
  (void)data;
  (void)size;
  ++*(int*)user;
}

/* What a thread has drained stays here when it ends inside of the drain. */
struct drain {
  gcs_queue queue;
  gcs_event* event;
};

static void* drain_until_the_end(void* user) {
  struct drain* drain = user;
  for (;;) {
    size_t count = 0;
    CHECK_EQUAL(gcs_queue_drain(drain->queue, &drain->event, 1, &count), GCS_OK);
    gcs_event_free(drain->event);
    drain->event = NULL;
  }
}

static void a_release_function_may_end_its_thread(void) {
  static int token;
  const gcs_queue queue = new_queue();
  struct drain drain = {0, NULL};
  struct counter marker;
  const gcs_call_options options = with_timeout(0);
  gcs_body body = {"x", 1, exit_thread, &token};
  int releases = 0;
  pthread_t thread;
  void* result = NULL;
  size_t count = 0;
  gcs_event* events[4];
  size_t i;
  counter_init(&marker);
  CHECK_EQUAL(gcs_call(client, 1, &body, &options, NULL, gcs_queue_push, as_user(queue), NULL),
              GCS_OK);
  body.release = count_release;
  body.user = &releases;
  CHECK_EQUAL(gcs_call(client, 1, &body, &options, NULL, gcs_queue_push, as_user(queue), NULL),
              GCS_OK);
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
  drain.queue = queue;
  CHECK(pthread_create(&thread, NULL, drain_until_the_end, &drain) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == &token);
  gcs_event_free(drain.event);
  /* What the dead thread had taken with it came back. */
  while (releases == 0) {
    CHECK_EQUAL(gcs_queue_drain(queue, events, 4, &count), GCS_OK);
    for (i = 0; i < count; ++i) gcs_event_free(events[i]);
  }
  CHECK_EQUAL(releases, 1);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void* wait_for_ever(void* user) {
  gcs_queue_wait(*(gcs_queue*)user, GCS_TIMEOUT_NONE);
  return NULL;
}

static void a_thread_that_waits_may_be_cancelled(void) {
  gcs_queue queue = new_queue();
  pthread_t thread;
  void* result = NULL;
  CHECK(pthread_create(&thread, NULL, wait_for_ever, &queue) == 0);
  sleep_for(MILLISECONDS(20));
  CHECK(pthread_cancel(thread) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
  /* It has let go of the queue. */
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void end_thread(void* user) {
  pthread_exit(user);
}

static void* push_one(void* user) {
  gcs_queue* queues = user;
  gcs_queue_push(as_user(queues[1]), next_event(queues[0]));
  return NULL;
}

static void a_wake_function_may_end_its_thread(void) {
  static int token;
  gcs_queue_options options;
  gcs_queue queues[2];
  pthread_t thread;
  void* result = NULL;
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.wake = end_thread;
  options.wake_user = &token;
  queues[0] = new_queue();
  CHECK_EQUAL(gcs_queue_create(&options, &queues[1], NULL), GCS_OK);
  expired_call(client, gcs_queue_push, as_user(queues[0]));
  CHECK(pthread_create(&thread, NULL, push_one, queues) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == &token);
  gcs_event_free(next_event(queues[1]));
  CHECK_EQUAL(gcs_queue_destroy(queues[0], SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queues[1], SECONDS(20)), GCS_OK);
}

#if defined(__SANITIZE_ADDRESS__)
/* A cancelled thread leaves the marks of its frames on its stack, where AddressSanitizer itself
 * then trips over them; with this its marks are elsewhere. */
const char* __asan_default_options(void);
const char* __asan_default_options(void) {
  return "detect_stack_use_after_return=1";
}
#endif

int main(void) {
  begin();
  client = new_client();
  a_release_function_may_end_its_thread();
  a_thread_that_waits_may_be_cancelled();
  a_wake_function_may_end_its_thread();
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
