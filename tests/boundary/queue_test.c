/* SPDX-License-Identifier: Apache-2.0
 *
 * The completion queue: when its descriptor is readable, when its wake function is called, how
 * waiting ends, and what closing does to what is queued and to what is pending.
 */
#include "check.h"

static gcs_client client;

static void free_all(gcs_event** events, size_t count) {
  size_t i;
  for (i = 0; i < count; ++i) gcs_event_free(events[i]);
}

static void wait_until_pending_is_zero(void) {
  for (;;) {
    gcs_buffer* buffer = NULL;
    char json[4096];
    CHECK_EQUAL(gcs_client_stats(client, &buffer), GCS_OK);
    CHECK(gcs_buffer_size(buffer) < sizeof json);
    memcpy(json, gcs_buffer_data(buffer), gcs_buffer_size(buffer));
    json[gcs_buffer_size(buffer)] = '\0';
    gcs_buffer_free(buffer);
    if (strstr(json, "\"pending\":0,") != NULL) return;
    sleep_for(MILLISECONDS(1));
  }
}

/* Puts `count` events into the queue. */
static void fill(gcs_queue queue, size_t count) {
  struct counter marker;
  size_t i;
  counter_init(&marker);
  for (i = 0; i < count; ++i) expired_call(client, gcs_queue_push, as_user(queue));
  /* Events of one client come in order: when this one is there, so are those. */
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
}

static void the_fd_is_readable_exactly_while_the_queue_is_not_empty(void) {
  const gcs_queue queue = new_queue();
  const int fd = queue_fd(queue);
  gcs_event* events[16];
  size_t count = 0;
  int round;
  for (round = 0; round < 50; ++round) {
    CHECK(!is_readable(fd));
    fill(queue, 5);
    CHECK(is_readable(fd));
    CHECK_EQUAL(gcs_queue_drain(queue, events, 2, &count), GCS_OK);
    CHECK_EQUAL(count, 2);
    free_all(events, count);
    CHECK(is_readable(fd));
    CHECK_EQUAL(gcs_queue_drain(queue, events, 0, &count), GCS_OK);
    CHECK_EQUAL(count, 0);
    CHECK(is_readable(fd));
    CHECK_EQUAL(gcs_queue_drain(queue, events, 3, &count), GCS_OK);
    CHECK_EQUAL(count, 3);
    free_all(events, count);
    CHECK(!is_readable(fd));
    CHECK_EQUAL(gcs_queue_drain(queue, events, 16, &count), GCS_OK);
    CHECK_EQUAL(count, 0);
  }
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void pushing_by_hand_is_the_same_as_delivery(void) {
  const gcs_queue from = new_queue();
  const gcs_queue to = new_queue();
  const uint64_t id = expired_call(client, gcs_queue_push, as_user(from));
  gcs_event* event = next_event(from);
  CHECK(!is_readable(queue_fd(to)));
  gcs_queue_push(as_user(to), event);
  CHECK(is_readable(queue_fd(to)));
  event = next_event(to);
  CHECK_EQUAL(gcs_event_id(event), id);
  CHECK_EQUAL(gcs_queue_close(to), GCS_OK);
  /* Freed: a leak would be seen by a sanitizer. */
  gcs_queue_push(as_user(to), event);
  CHECK_EQUAL(gcs_queue_destroy(from, SECONDS(20)), GCS_OK);
}

struct wakes {
  pthread_mutex_t mutex;
  size_t count;
};

static void count_wake(void* user) {
  struct wakes* wakes = user;
  pthread_mutex_lock(&wakes->mutex);
  ++wakes->count;
  pthread_mutex_unlock(&wakes->mutex);
}

static size_t wakes_now(struct wakes* wakes) {
  size_t count;
  pthread_mutex_lock(&wakes->mutex);
  count = wakes->count;
  pthread_mutex_unlock(&wakes->mutex);
  return count;
}

static void wake_is_called_once_for_each_turn_to_non_empty(void) {
  struct wakes wakes;
  gcs_queue_options options;
  gcs_queue queue = 0;
  gcs_event* events[16];
  size_t count = 0;
  int32_t fd = 0;
  size_t round;
  memset(&wakes, 0, sizeof wakes);
  CHECK(pthread_mutex_init(&wakes.mutex, NULL) == 0);
  memset(&options, 0, sizeof options);
  options.struct_size = sizeof options;
  options.wake = count_wake;
  options.wake_user = &wakes;
  CHECK_EQUAL(gcs_queue_create(&options, &queue, NULL), GCS_OK);
  CHECK_EQUAL(gcs_queue_fd(queue, &fd), GCS_NOT_FOUND);
  for (round = 1; round <= 20; ++round) {
    fill(queue, 5);
    CHECK_EQUAL(wakes_now(&wakes), round);
    CHECK_EQUAL(gcs_queue_wait(queue, 0), GCS_OK);
    CHECK_EQUAL(gcs_queue_drain(queue, events, 4, &count), GCS_OK);
    free_all(events, count);
    fill(queue, 1);
    CHECK_EQUAL(wakes_now(&wakes), round);
    CHECK_EQUAL(gcs_queue_drain(queue, events, 16, &count), GCS_OK);
    CHECK_EQUAL(count, 2);
    free_all(events, count);
    CHECK_EQUAL(gcs_queue_wait(queue, 0), GCS_DEADLINE);
  }
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(wakes_now(&wakes), 20);
}

static void waiting_ends_after_its_time(void) {
  const gcs_queue queue = new_queue();
  const int64_t began = gcs_now();
  CHECK_EQUAL(gcs_queue_wait(queue, 0), GCS_DEADLINE);
  CHECK_EQUAL(gcs_queue_wait(queue, MILLISECONDS(30)), GCS_DEADLINE);
  CHECK(gcs_now() - began >= MILLISECONDS(30));
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

struct waiter {
  gcs_queue queue;
  int packed;
  gcs_status status;
};

static void* wait_for_ever(void* user) {
  struct waiter* waiter = user;
  if (waiter->packed) {
    static char arena[GCS_PACKED_ARENA_MIN];
    gcs_packed_event slot;
    gcs_packed_drain drain;
    waiter->status = gcs_queue_drain_packed(waiter->queue, GCS_TIMEOUT_NONE, &slot, 1, arena,
                                            sizeof arena, &drain);
  } else {
    waiter->status = gcs_queue_wait(waiter->queue, GCS_TIMEOUT_NONE);
  }
  return NULL;
}

static void waiting_ends_when_the_queue_is_closed(void) {
  int packed;
  for (packed = 0; packed < 2; ++packed) {
    struct waiter waiter;
    pthread_t thread;
    waiter.queue = new_queue();
    waiter.packed = packed;
    waiter.status = GCS_OK;
    CHECK(pthread_create(&thread, NULL, wait_for_ever, &waiter) == 0);
    sleep_for(MILLISECONDS(20));
    /* Destroying waits until the other thread has left. */
    CHECK_EQUAL(gcs_queue_destroy(waiter.queue, SECONDS(20)), GCS_OK);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(waiter.status == GCS_CLOSED || waiter.status == GCS_BAD_HANDLE);
  }
}

static void handle_signal(int number) {
  (void)number;
}

static void waiting_ends_when_a_signal_handler_ran(void) {
  int packed;
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = handle_signal;
  action.sa_flags = SA_RESTART;
  CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
  for (packed = 0; packed < 2; ++packed) {
    struct waiter waiter;
    pthread_t thread;
    waiter.queue = new_queue();
    waiter.packed = packed;
    waiter.status = GCS_OK;
    CHECK(pthread_create(&thread, NULL, wait_for_ever, &waiter) == 0);
    sleep_for(MILLISECONDS(50));
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_EQUAL(waiter.status, GCS_INTERRUPTED);
    CHECK_EQUAL(gcs_queue_destroy(waiter.queue, SECONDS(20)), GCS_OK);
  }
}

static void a_closed_queue_stays_readable_while_it_is_used(void) {
  const gcs_queue queue = new_queue();
  const int fd = queue_fd(queue);
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, NULL,
                         gcs_queue_push, as_user(queue), NULL),
              GCS_OK);
  CHECK(!is_readable(fd));
  CHECK_EQUAL(gcs_queue_close(queue), GCS_OK);
  wait_until_pending_is_zero();
}

static void closing_discards_what_is_queued_and_cancels_what_is_pending(void) {
  const gcs_queue queue = new_queue();
  const gcs_queue other = new_queue();
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  uint64_t survivor = 0;
  gcs_event* event;
  int i;
  fill(queue, 10);
  for (i = 0; i < 1000; ++i) {
    CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, NULL,
                           gcs_queue_push, as_user(queue), NULL),
                GCS_OK);
  }
  CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, &survivor,
                         gcs_queue_push, as_user(other), NULL),
              GCS_OK);
  /* Only returns OK once nothing holds the queue: its thousand calls have ended. */
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK(!is_readable(queue_fd(other)));
  CHECK_EQUAL(gcs_cancel(client, survivor), GCS_OK);
  event = next_event(other);
  CHECK_EQUAL(gcs_event_id(event), survivor);
  CHECK_EQUAL(gcs_event_status(event), GCS_CANCELLED);
  gcs_event_free(event);
  CHECK_EQUAL(gcs_queue_destroy(other, SECONDS(20)), GCS_OK);
}

/* The copy of the body takes its time, in which the queue is closed. */
static void* submit_large(void* user) {
  static unsigned char body_bytes[32 << 20];
  const gcs_body body = {body_bytes, sizeof body_bytes, NULL, NULL};
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  gcs_call_path(client, "/some.Service/Method", &body, &options, NULL, gcs_queue_push, user, NULL);
  return NULL;
}

static void a_call_that_is_submitted_while_its_queue_is_closed_is_cancelled_too(void) {
  int i;
  for (i = 0; i < 20; ++i) {
    const gcs_queue queue = new_queue();
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, submit_large, as_user(queue)) == 0);
    sleep_for(MILLISECONDS(i % 5));
    CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  wait_until_pending_is_zero();
}

static int open_descriptors(void) {
  int count = 0;
  int fd;
  for (fd = 0; fd < 1024; ++fd) {
    struct pollfd descriptor;
    descriptor.fd = fd;
    descriptor.events = 0;
    descriptor.revents = 0;
    if (poll(&descriptor, 1, 0) >= 0 && (descriptor.revents & POLLNVAL) == 0) ++count;
  }
  return count;
}

static void queues_leave_no_descriptor_behind(void) {
  const int before = open_descriptors();
  int i;
  for (i = 0; i < 300; ++i) {
    const gcs_queue queue = new_queue();
    expired_call(client, gcs_queue_push, as_user(queue));
    CHECK_EQUAL(i % 2 == 0 ? gcs_queue_destroy(queue, SECONDS(20)) : gcs_queue_close(queue),
                GCS_OK);
  }
  /* A marker: everything before it has been delivered, and so dropped. */
  wait_until_pending_is_zero();
  {
    struct counter marker;
    counter_init(&marker);
    expired_call(client, count_event, &marker);
    wait_for_count(&marker, 1);
  }
  CHECK_EQUAL(open_descriptors(), before);
}

int main(void) {
  begin();
  client = new_client();
  the_fd_is_readable_exactly_while_the_queue_is_not_empty();
  pushing_by_hand_is_the_same_as_delivery();
  wake_is_called_once_for_each_turn_to_non_empty();
  waiting_ends_after_its_time();
  waiting_ends_when_the_queue_is_closed();
  waiting_ends_when_a_signal_handler_ran();
  a_closed_queue_stays_readable_while_it_is_used();
  closing_discards_what_is_queued_and_cancels_what_is_pending();
  queues_leave_no_descriptor_behind();
  a_call_that_is_submitted_while_its_queue_is_closed_is_cancelled_too();
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
