/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside a callback: whatever would wait for the callback's own return is refused, and everything
 * else works.
 */
#include "check.h"

struct inside {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  int done;
  gcs_client client;
  gcs_queue queue;
  struct counter* counter;
};

static void finish(struct inside* inside) {
  pthread_mutex_lock(&inside->mutex);
  inside->done = 1;
  pthread_cond_broadcast(&inside->changed);
  pthread_mutex_unlock(&inside->mutex);
}

static void inside_init(struct inside* inside, struct counter* counter) {
  memset(inside, 0, sizeof *inside);
  CHECK(pthread_mutex_init(&inside->mutex, NULL) == 0);
  CHECK(pthread_cond_init(&inside->changed, NULL) == 0);
  inside->client = new_client();
  inside->queue = new_queue();
  inside->counter = counter;
}

static void run_inside(struct inside* inside, gcs_completion_fn body) {
  expired_call(inside->client, body, inside);
  pthread_mutex_lock(&inside->mutex);
  while (!inside->done) pthread_cond_wait(&inside->changed, &inside->mutex);
  pthread_mutex_unlock(&inside->mutex);
}

static void try_to_wait(void* user, gcs_event* event) {
  struct inside* inside = user;
  static char arena[GCS_PACKED_ARENA_MIN];
  gcs_packed_event slot;
  gcs_packed_drain drain;
  int32_t state = -1;
  int32_t fd = -1;
  gcs_event_free(event);
  CHECK_EQUAL(gcs_client_destroy(inside->client, 0), GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_queue_destroy(inside->queue, 0), GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_queue_wait(inside->queue, 0), GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_queue_drain_packed(inside->queue, 1, &slot, 1, arena, sizeof arena, &drain),
              GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_shutdown(0), GCS_WOULD_DEADLOCK);
  /* Nothing was done by any of these. */
  CHECK_EQUAL(gcs_client_state(inside->client, &state), GCS_OK);
  CHECK_EQUAL(state, GCS_STATE_IDLE);
  CHECK_EQUAL(gcs_queue_fd(inside->queue, &fd), GCS_OK);
  CHECK_EQUAL(gcs_queue_drain_packed(inside->queue, 0, &slot, 1, arena, sizeof arena, &drain),
              GCS_OK);
  finish(inside);
}

static void waiting_inside_a_callback_is_refused(void) {
  struct inside inside;
  inside_init(&inside, NULL);
  run_inside(&inside, try_to_wait);
  CHECK_EQUAL(gcs_client_destroy(inside.client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(inside.queue, SECONDS(20)), GCS_OK);
}

static void use_everything(void* user, gcs_event* event) {
  struct inside* inside = user;
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  const gcs_bytes key = text_bytes("key");
  gcs_client other;
  gcs_buffer* buffer = NULL;
  uint64_t id = 0;
  size_t before = count_now(inside->counter);
  gcs_event_free(event);
  /* Submitted here, they must not end in here. */
  expired_call(inside->client, count_event, inside->counter);
  CHECK_EQUAL(
      gcs_kv_get(inside->client, key, key, &options, &id, count_event, inside->counter, NULL),
      GCS_OK);
  CHECK_EQUAL(gcs_cancel(inside->client, id), GCS_OK);
  expired_call(inside->client, gcs_queue_push, as_user(inside->queue));
  CHECK_EQUAL(count_now(inside->counter), before);
  CHECK_EQUAL(gcs_client_stats(inside->client, &buffer), GCS_OK);
  gcs_buffer_free(buffer);
  other = new_client();
  expired_call(other, count_event, inside->counter);
  CHECK_EQUAL(gcs_client_close(other), GCS_OK);
  CHECK_EQUAL(gcs_client_close(inside->client), GCS_OK);
  CHECK_EQUAL(gcs_queue_close(inside->queue), GCS_OK);
  CHECK_EQUAL(count_now(inside->counter), before);
  finish(inside);
}

static void a_callback_may_submit_cancel_query_and_close(void) {
  struct counter counter;
  struct inside inside;
  counter_init(&counter);
  inside_init(&inside, &counter);
  run_inside(&inside, use_everything);
  wait_for_count(&counter, 3);
}

static void free_only(void* user, gcs_event* event) {
  (void)user;
  gcs_event_free(event);
}

static void close_other(void* user, gcs_event* event) {
  struct inside* inside = user;
  gcs_event_free(event);
  CHECK_EQUAL(gcs_client_close(inside->client), GCS_OK);
  finish(inside);
}

static void a_client_closed_in_its_own_callback_ends_its_calls(void) {
  struct counter counter;
  struct inside inside;
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  int i;
  counter_init(&counter);
  inside_init(&inside, &counter);
  for (i = 0; i < 1000; ++i) {
    CHECK_EQUAL(gcs_kv_get(inside.client, text_bytes("ns"), text_bytes("key"), &options, NULL,
                           count_event, &counter, NULL),
                GCS_OK);
  }
  run_inside(&inside, close_other);
  wait_for_count(&counter, 1000);
  CHECK_EQUAL(counter.last_status, GCS_CLOSED);
  CHECK_EQUAL(gcs_queue_destroy(inside.queue, SECONDS(20)), GCS_OK);
}

struct wake_inside {
  gcs_queue queue;
  gcs_client client;
  struct counter marker;
};

static void wake_and_use(void* user) {
  struct wake_inside* inside = user;
  gcs_event* event = NULL;
  size_t count = 0;
  /* No lock is held: the queue can be drained from here. */
  CHECK_EQUAL(gcs_queue_destroy(inside->queue, GCS_TIMEOUT_NONE), GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_queue_drain(inside->queue, &event, 1, &count), GCS_OK);
  CHECK_EQUAL(count, 1);
  gcs_event_free(event);
  expired_call(inside->client, count_event, &inside->marker);
}

static void a_wake_function_may_drain_and_submit(void) {
  struct wake_inside inside;
  gcs_queue_options options;
  gcs_queue from = new_queue();
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.wake = wake_and_use;
  options.wake_user = &inside;
  counter_init(&inside.marker);
  inside.client = new_client();
  CHECK_EQUAL(gcs_queue_create(&options, &inside.queue, NULL), GCS_OK);
  expired_call(inside.client, gcs_queue_push, as_user(inside.queue));
  wait_for_count(&inside.marker, 1);
  /* On a thread of the application as well. */
  expired_call(inside.client, gcs_queue_push, as_user(from));
  gcs_queue_push(as_user(inside.queue), next_event(from));
  wait_for_count(&inside.marker, 2);
  CHECK_EQUAL(gcs_client_destroy(inside.client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(inside.queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(from, SECONDS(20)), GCS_OK);
}

static void exit_leaves_open_handles_behind_at_once(void) {
  int status = 0;
  const int64_t began = gcs_now();
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
    const gcs_client client = new_client();
    new_queue();
    if (gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, NULL, free_only, NULL,
                   NULL) != GCS_OK) {
      _exit(9);
    }
    exit(7);
  }
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK_EQUAL(WEXITSTATUS(status), 7);
  CHECK(gcs_now() - began < MILLISECONDS(900));
}

#if defined(__SANITIZE_THREAD__)
const char* __tsan_default_options(void);
const char* __tsan_default_options(void) {
  return "die_after_fork=0";
}
#endif

int main(void) {
  begin();
  /* First, while this process has one thread only. */
  exit_leaves_open_handles_behind_at_once();
  waiting_inside_a_callback_is_refused();
  a_callback_may_submit_cancel_query_and_close();
  a_client_closed_in_its_own_callback_ends_its_calls();
  a_wake_function_may_drain_and_submit();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
