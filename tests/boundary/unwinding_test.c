/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that ends inside the library unwinds through it: by pthread_exit() in a completion,
 * release or wake function, or by cancellation while it waits. Nothing hangs, nothing is lost, and
 * the process goes on; with another I/O thread, if it was that one.
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

static void* close_and_destroy(void* user) {
  const gcs_queue queue = new_queue();
  const gcs_queue other = new_queue();
  const gcs_client own = new_client();
  const gcs_client another = new_client();
  (void)user;
  pthread_cancel(pthread_self());
  CHECK_EQUAL(gcs_queue_close(queue), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(other, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_client_close(own), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(another, SECONDS(20)), GCS_OK);
  pthread_testcancel();
  return NULL;
}

static void what_gives_something_up_is_not_cut_short_by_a_cancellation(void) {
  pthread_t thread;
  void* result = NULL;
  CHECK(pthread_create(&thread, NULL, close_and_destroy, NULL) == 0);
  CHECK(pthread_join(thread, &result) == 0);
  CHECK(result == PTHREAD_CANCELED);
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

static void count_one(struct counter* counter) {
  pthread_mutex_lock(&counter->mutex);
  ++counter->count;
  pthread_cond_broadcast(&counter->changed);
  pthread_mutex_unlock(&counter->mutex);
}

static void count_and_exit(void* user, gcs_event* event) {
  count_event(user, event);
  pthread_exit(NULL);
}

static void a_completion_may_end_the_io_thread(void) {
  enum { CALLS = 50 };
  struct counter counter;
  size_t i;
  counter_init(&counter);
  for (i = 0; i < CALLS; ++i) expired_call(client, count_and_exit, &counter);
  wait_for_count(&counter, CALLS);
  expired_call(client, count_event, &counter);
  wait_for_count(&counter, CALLS + 1);
}

static void a_batch_loses_nothing_when_its_completions_end_the_io_thread(void) {
  enum { CALLS = 50 };
  struct counter counter;
  const gcs_call_options options = with_timeout(0);
  gcs_call_item items[CALLS];
  const uint64_t first = gcs_reserve_ids(CALLS);
  size_t i;
  counter_init(&counter);
  memset(items, 0, sizeof items);
  for (i = 0; i < CALLS; ++i) {
    items[i].struct_size = sizeof items[i];
    items[i].client = client;
    items[i].id = first + i;
    items[i].method = 1;
    items[i].options = &options;
    items[i].fn = count_and_exit;
    items[i].user = &counter;
  }
  CHECK_EQUAL(gcs_call_batch(items, CALLS), GCS_OK);
  wait_for_count(&counter, CALLS);
}

static void release_and_exit(void* user, const void* data, size_t size) {
  (void)data;
  (void)size;
  count_one(user);
  pthread_exit(NULL);
}

static void a_release_function_may_end_the_io_thread(void) {
  struct counter releases;
  struct counter completions;
  const gcs_call_options options = with_timeout(0);
  gcs_body body = {"x", 1, release_and_exit, &releases};
  size_t i;
  counter_init(&releases);
  counter_init(&completions);
  for (i = 0; i < 20; ++i) {
    CHECK_EQUAL(gcs_call(client, 1, &body, &options, NULL, count_event, &completions, NULL),
                GCS_OK);
  }
  wait_for_count(&completions, 20);
  wait_for_count(&releases, 20);
}

static void count_and_end_thread(void* user) {
  count_one(user);
  pthread_exit(NULL);
}

static void a_wake_function_may_end_the_io_thread(void) {
  struct counter wakes;
  gcs_queue_options options;
  gcs_queue queue = 0;
  size_t i;
  counter_init(&wakes);
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.wake = count_and_end_thread;
  options.wake_user = &wakes;
  CHECK_EQUAL(gcs_queue_create(&options, &queue, NULL), GCS_OK);
  for (i = 0; i < 20; ++i) {
    expired_call(client, gcs_queue_push, as_user(queue));
    gcs_event_free(next_event(queue));
    wait_for_count(&wakes, i + 1);
  }
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void the_last_event_of_a_client_may_end_the_io_thread(void) {
  struct counter counter;
  size_t i;
  counter_init(&counter);
  for (i = 0; i < 10; ++i) {
    const gcs_client closing = new_client_with(count_and_exit, &counter);
    CHECK_EQUAL(gcs_client_destroy(closing, SECONDS(20)), GCS_OK);
    /* No callback after that. */
    CHECK(count_now(&counter) >= i + 1);
  }
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
  what_gives_something_up_is_not_cut_short_by_a_cancellation();
  a_wake_function_may_end_its_thread();
  a_completion_may_end_the_io_thread();
  a_batch_loses_nothing_when_its_completions_end_the_io_thread();
  a_release_function_may_end_the_io_thread();
  a_wake_function_may_end_the_io_thread();
  the_last_event_of_a_client_may_end_the_io_thread();
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
