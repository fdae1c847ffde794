/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls: each that was accepted ends exactly once, never from inside the submitting call, whatever
 * happens to the client.
 */
#include "check.h"

enum { MANY = 10000 };

static void a_call_with_no_time_expires_on_another_thread(void) {
  struct counter counter;
  const gcs_client client = new_client();
  int i;
  counter_init(&counter);
  for (i = 1; i <= 200; ++i) {
    uint64_t id;
    /* A completion inside the call would wait for this lock for ever. */
    pthread_mutex_lock(&counter.mutex);
    id = expired_call(client, count_event, &counter);
    pthread_mutex_unlock(&counter.mutex);
    wait_for_count(&counter, (size_t)i);
    CHECK_EQUAL(counter.last_status, GCS_DEADLINE);
    CHECK_EQUAL(counter.last_kind, GCS_EVENT_KV_GET);
    CHECK_EQUAL(counter.last_id, id);
    CHECK(!pthread_equal(counter.last_thread, pthread_self()));
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

static void the_event_says_what_happened_to_what(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const uint64_t id = expired_call(client, gcs_queue_push, as_user(queue));
  gcs_event* event = next_event(queue);
  gcs_buffer* body;
  CHECK_EQUAL(gcs_event_id(event), id);
  CHECK_EQUAL(gcs_event_kind(event), GCS_EVENT_KV_GET);
  CHECK_EQUAL(gcs_event_status(event), GCS_DEADLINE);
  CHECK_EQUAL(
      gcs_event_flags(event) & (GCS_FLAG_LOCAL | GCS_FLAG_TIMEOUT | GCS_FLAG_MAYBE_EXECUTED),
      GCS_FLAG_LOCAL | GCS_FLAG_TIMEOUT);
  CHECK(strlen(gcs_event_message(event)) > 10);
  CHECK(strcmp(gcs_event_method(event), "/ray.rpc.InternalKVGcsService/InternalKVGet") == 0);
  CHECK(strcmp(gcs_event_address(event), silent_address()) == 0);
  CHECK_EQUAL(gcs_event_details(event).size, 0);
  CHECK_EQUAL(gcs_event_body(event).size, 0);
  CHECK_EQUAL(gcs_event_entry_count(event), 0);
  body = gcs_event_take_body(event);
  CHECK_EQUAL(gcs_buffer_size(body), 0);
  gcs_buffer_free(body);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void a_call_that_will_not_wait_fails_with_the_reason(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  gcs_call_options options = with_timeout(SECONDS(20));
  gcs_event* event;
  uint64_t id = 0;
  options.wait_for_ready = 0;
  CHECK_EQUAL(gcs_call_path(client, "/some.Service/Method", NULL, &options, &id, gcs_queue_push,
                            as_user(queue), NULL),
              GCS_OK);
  event = next_event(queue);
  CHECK_EQUAL(gcs_event_id(event), id);
  CHECK_EQUAL(gcs_event_status(event), GCS_UNAVAILABLE);
  CHECK(gcs_event_flags(event) & GCS_FLAG_RETRYABLE);
  CHECK(strstr(gcs_event_message(event), "refused") != NULL);
  CHECK(strcmp(gcs_event_method(event), "/some.Service/Method") == 0);
  gcs_event_free(event);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void connecting_to_nobody_fails_within_its_time(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const int64_t began = gcs_now();
  uint64_t id = 0;
  gcs_event* event;
  CHECK_EQUAL(gcs_client_connect(client, MILLISECONDS(100), &id, gcs_queue_push, as_user(queue)),
              GCS_OK);
  event = next_event(queue);
  CHECK(gcs_now() - began >= MILLISECONDS(90));
  CHECK_EQUAL(gcs_event_id(event), id);
  CHECK_EQUAL(gcs_event_kind(event), GCS_EVENT_CONNECT);
  CHECK_EQUAL(gcs_event_status(event), GCS_UNAVAILABLE);
  CHECK(strstr(gcs_event_message(event), silent_address()) != NULL);
  gcs_event_free(event);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

/* Waits for `count` events with ids from `first` on, each exactly once, all with `status`. */
static void expect_each_once(gcs_queue queue, uint64_t first, size_t count, gcs_status status) {
  unsigned char* seen = calloc(count, 1);
  size_t left = count;
  CHECK(seen != NULL);
  while (left > 0) {
    gcs_event* events[64];
    size_t got = 0;
    size_t i;
    CHECK_EQUAL(gcs_queue_wait(queue, SECONDS(20)), GCS_OK);
    CHECK_EQUAL(gcs_queue_drain(queue, events, 64, &got), GCS_OK);
    for (i = 0; i < got; ++i) {
      const uint64_t id = gcs_event_id(events[i]);
      CHECK(id >= first && id < first + count);
      CHECK_EQUAL(seen[id - first], 0);
      seen[id - first] = 1;
      CHECK_EQUAL(gcs_event_status(events[i]), status);
      gcs_event_free(events[i]);
      --left;
    }
  }
  free(seen);
}

static void submit_many(gcs_client client, uint64_t first, gcs_completion_fn fn, void* user) {
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  uint64_t i;
  for (i = 0; i < MANY; ++i) {
    uint64_t id = first + i;
    CHECK_EQUAL(
        gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, &id, fn, user, NULL),
        GCS_OK);
    CHECK_EQUAL(id, first + i);
  }
}

static void no_more_events(gcs_queue queue) {
  gcs_event* event = NULL;
  size_t count = 1;
  CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
  CHECK_EQUAL(count, 0);
  CHECK(!is_readable(queue_fd(queue)));
}

static void close_ends_every_pending_call_exactly_once(void) {
  const gcs_queue queue = new_queue();
  struct counter closed;
  gcs_client client;
  const uint64_t first = gcs_reserve_ids(MANY);
  counter_init(&closed);
  client = new_client_with(count_event, &closed);
  submit_many(client, first, gcs_queue_push, as_user(queue));
  CHECK_EQUAL(gcs_client_close(client), GCS_OK);
  expect_each_once(queue, first, MANY, GCS_CLOSED);
  /* The last thing that a client says. */
  pthread_mutex_lock(&closed.mutex);
  while (closed.last_kind != GCS_EVENT_CLIENT_CLOSED)
    pthread_cond_wait(&closed.changed, &closed.mutex);
  CHECK_EQUAL(closed.last_id, client);
  pthread_mutex_unlock(&closed.mutex);
  no_more_events(queue);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void after_destroy_no_callback_runs(void) {
  struct counter counter;
  const gcs_client client = new_client();
  counter_init(&counter);
  submit_many(client, gcs_reserve_ids(MANY), count_event, &counter);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  /* Not "at least": every call has ended, and none later. */
  CHECK_EQUAL(count_now(&counter), MANY);
  CHECK_EQUAL(counter.last_status, GCS_CLOSED);
  sleep_for(MILLISECONDS(20));
  CHECK_EQUAL(count_now(&counter), MANY);
}

static void cancel_ends_each_call_once_and_ignores_strangers(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const uint64_t first = gcs_reserve_ids(MANY);
  uint64_t id;
  submit_many(client, first, gcs_queue_push, as_user(queue));
  for (id = first; id < first + MANY; ++id) {
    CHECK_EQUAL(gcs_cancel(client, id), GCS_OK);
    CHECK_EQUAL(gcs_cancel(client, id), GCS_OK);
  }
  CHECK_EQUAL(gcs_cancel(client, 0), GCS_OK);
  CHECK_EQUAL(gcs_cancel(client, UINT64_MAX), GCS_OK);
  expect_each_once(queue, first, MANY, GCS_CANCELLED);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  no_more_events(queue);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void shutdown_ends_what_is_pending_and_the_library_works_again(void) {
  struct counter counter;
  gcs_client client = new_client();
  int32_t state = 0;
  counter_init(&counter);
  submit_many(client, gcs_reserve_ids(MANY), count_event, &counter);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  wait_for_count(&counter, MANY);
  CHECK_EQUAL(gcs_client_state(client, &state), GCS_BAD_HANDLE);
  client = new_client();
  expired_call(client, count_event, &counter);
  wait_for_count(&counter, MANY + 1);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

static void a_batch_gives_every_item_one_event(void) {
  enum { ITEMS = 6 };
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const gcs_call_options at_once = with_timeout(0);
  const gcs_call_options bad = with_timeout(-9);
  const uint64_t first = gcs_reserve_ids(ITEMS);
  const gcs_status expected[ITEMS] = {GCS_DEADLINE,         GCS_BAD_HANDLE,
                                      GCS_INVALID_ARGUMENT, GCS_INVALID_ARGUMENT,
                                      GCS_INVALID_ARGUMENT, GCS_DEADLINE};
  struct counter counter;
  gcs_call_item items[ITEMS];
  int target;
  counter_init(&counter);
  for (target = 0; target < 2; ++target) {
    const uint64_t base = target == 0 ? first : gcs_reserve_ids(ITEMS);
    size_t i;
    memset(items, 0, sizeof items);
    for (i = 0; i < ITEMS; ++i) {
      items[i].struct_size = sizeof items[i];
      items[i].client = client;
      items[i].id = base + i;
      items[i].path = "/some.Service/Method";
      items[i].options = &at_once;
      items[i].fn = target == 0 ? gcs_queue_push : count_event;
      items[i].user = target == 0 ? as_user(queue) : (void*)&counter;
    }
    items[1].client = 0;
    items[2].path = NULL;
    items[3].options = &bad;
    items[4].reserved = 1;
    if (target == 1) {
      pthread_mutex_lock(&counter.mutex);
      CHECK_EQUAL(gcs_call_batch(items, ITEMS), GCS_OK);
      pthread_mutex_unlock(&counter.mutex);
      wait_for_count(&counter, ITEMS);
      CHECK(!pthread_equal(counter.last_thread, pthread_self()));
    } else {
      size_t seen = 0;
      CHECK_EQUAL(gcs_call_batch(items, ITEMS), GCS_OK);
      while (seen < ITEMS) {
        gcs_event* event = next_event(queue);
        CHECK_EQUAL(gcs_event_status(event), expected[gcs_event_id(event) - base]);
        CHECK(strlen(gcs_event_message(event)) > 10);
        gcs_event_free(event);
        ++seen;
      }
      no_more_events(queue);
    }
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(count_now(&counter), ITEMS);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void a_batch_refuses_ids_that_do_not_increase(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const gcs_call_options at_once = with_timeout(0);
  const uint64_t first = gcs_reserve_ids(3);
  const uint64_t ids[5] = {0, first + 1, first + 1, first, UINT64_MAX};
  gcs_call_item items[5];
  size_t expired = 0;
  size_t i;
  memset(items, 0, sizeof items);
  for (i = 0; i < 5; ++i) {
    items[i].struct_size = sizeof items[i];
    items[i].client = client;
    items[i].id = ids[i];
    items[i].method = 1;
    items[i].options = &at_once;
    items[i].fn = gcs_queue_push;
    items[i].user = as_user(queue);
  }
  CHECK_EQUAL(gcs_call_batch(items, 5), GCS_OK);
  for (i = 0; i < 5; ++i) {
    gcs_event* event = next_event(queue);
    if (gcs_event_status(event) == GCS_DEADLINE) {
      CHECK_EQUAL(gcs_event_id(event), first + 1);
      ++expired;
    } else {
      CHECK_EQUAL(gcs_event_status(event), GCS_INVALID_ARGUMENT);
    }
    gcs_event_free(event);
  }
  CHECK_EQUAL(expired, 1);
  no_more_events(queue);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void a_batch_that_cannot_be_read_accepts_nothing(void) {
  const gcs_client client = new_client();
  struct counter counter;
  gcs_call_item items[2];
  size_t i;
  counter_init(&counter);
  memset(items, 0, sizeof items);
  for (i = 0; i < 2; ++i) {
    items[i].struct_size = sizeof items[i];
    items[i].client = client;
    items[i].id = gcs_reserve_ids(1);
    items[i].method = 1;
    items[i].fn = count_event;
    items[i].user = &counter;
  }
  items[1].fn = NULL;
  CHECK_EQUAL(gcs_call_batch(items, 2), GCS_INVALID_ARGUMENT);
  items[1].fn = count_event;
  items[1].struct_size = 8;
  CHECK_EQUAL(gcs_call_batch(items, 2), GCS_ABI);
  items[0].struct_size = 0;
  CHECK_EQUAL(gcs_call_batch(items, 2), GCS_ABI);
  items[0].struct_size = 8192;
  CHECK_EQUAL(gcs_call_batch(items, 2), GCS_ABI);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(count_now(&counter), 0);
}

static void what_a_client_says_of_itself(void) {
  const gcs_client client = new_client();
  gcs_buffer* buffer = NULL;
  int32_t state = -1;
  char json[4096];
  CHECK_EQUAL(gcs_client_state(client, &state), GCS_OK);
  CHECK_EQUAL(state, GCS_STATE_IDLE);
  CHECK_EQUAL(gcs_client_address(client, &buffer), GCS_OK);
  CHECK_EQUAL(gcs_buffer_size(buffer), strlen(silent_address()));
  CHECK(memcmp(gcs_buffer_data(buffer), silent_address(), gcs_buffer_size(buffer)) == 0);
  gcs_buffer_free(buffer);
  CHECK_EQUAL(gcs_client_cluster_id(client, &buffer), GCS_OK);
  CHECK_EQUAL(gcs_buffer_size(buffer), 0);
  gcs_buffer_free(buffer);
  CHECK_EQUAL(gcs_client_stats(client, &buffer), GCS_OK);
  CHECK(gcs_buffer_size(buffer) < sizeof json);
  memcpy(json, gcs_buffer_data(buffer), gcs_buffer_size(buffer));
  json[gcs_buffer_size(buffer)] = '\0';
  gcs_buffer_free(buffer);
  CHECK(strcmp(json,
               "{\"state\":\"idle\",\"started\":0,\"completed\":0,\"failed\":0,\"pending\":0,"
               "\"waiting\":0,\"in_flight\":0,\"not_taken\":0,\"pending_bytes\":0,\"refused\":0,"
               "\"sent_again\":0,\"connects\":0,\"disconnects\":0,\"last_disconnect\":\"\",\"last_connect_error\":\"\",\"bytes_"
               "sent\":0,"
               "\"bytes_received\":0,\"methods\":{},\"latencies\":[]}") == 0);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

/* A client whose calls and events say whether it is gone. */
struct racing {
  gcs_client client;
  pthread_mutex_t mutex;
  size_t accepted;
  size_t completed;
  int last_event_came;
  int destroyed;
  int too_late; /* events after the client's last, or after destroy has returned */
};

static void note_completion(void* user, gcs_event* event) {
  struct racing* racing = user;
  pthread_mutex_lock(&racing->mutex);
  ++racing->completed;
  racing->too_late += racing->last_event_came || racing->destroyed;
  pthread_mutex_unlock(&racing->mutex);
  gcs_event_free(event);
}

static void note_client_event(void* user, gcs_event* event) {
  struct racing* racing = user;
  pthread_mutex_lock(&racing->mutex);
  racing->too_late += racing->last_event_came || racing->destroyed;
  racing->last_event_came = gcs_event_kind(event) == GCS_EVENT_CLIENT_CLOSED;
  pthread_mutex_unlock(&racing->mutex);
  gcs_event_free(event);
}

static void* call_until_it_is_closed(void* user) {
  struct racing* racing = user;
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  size_t accepted = 0;
  while (gcs_kv_get(racing->client, text_bytes("ns"), text_bytes("key"), &options, NULL,
                    note_completion, racing, NULL) == GCS_OK) {
    ++accepted;
  }
  pthread_mutex_lock(&racing->mutex);
  racing->accepted += accepted;
  pthread_mutex_unlock(&racing->mutex);
  return NULL;
}

static void no_callback_comes_after_destroy_while_others_submit(void) {
  enum { THREADS = 2, ROUNDS = 100 };
  int round;
  for (round = 0; round < ROUNDS; ++round) {
    pthread_t threads[THREADS];
    struct racing racing;
    int i;
    memset(&racing, 0, sizeof racing);
    CHECK(pthread_mutex_init(&racing.mutex, NULL) == 0);
    racing.client = new_client_at(mute_address(), note_client_event, &racing);
    for (i = 0; i < THREADS; ++i) {
      CHECK(pthread_create(&threads[i], NULL, call_until_it_is_closed, &racing) == 0);
    }
    sleep_for(MILLISECONDS(1 + round % 3));
    CHECK_EQUAL(gcs_client_destroy(racing.client, SECONDS(20)), GCS_OK);
    pthread_mutex_lock(&racing.mutex);
    racing.destroyed = 1;
    pthread_mutex_unlock(&racing.mutex);
    for (i = 0; i < THREADS; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(racing.completed, racing.accepted);
    CHECK_EQUAL(racing.too_late, 0);
    CHECK(racing.last_event_came);
  }
}

int main(void) {
  begin();
  no_callback_comes_after_destroy_while_others_submit();
  a_call_with_no_time_expires_on_another_thread();
  the_event_says_what_happened_to_what();
  a_call_that_will_not_wait_fails_with_the_reason();
  connecting_to_nobody_fails_within_its_time();
  close_ends_every_pending_call_exactly_once();
  after_destroy_no_callback_runs();
  cancel_ends_each_call_once_and_ignores_strangers();
  shutdown_ends_what_is_pending_and_the_library_works_again();
  a_batch_gives_every_item_one_event();
  a_batch_refuses_ids_that_do_not_increase();
  a_batch_that_cannot_be_read_accepts_nothing();
  what_a_client_says_of_itself();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
