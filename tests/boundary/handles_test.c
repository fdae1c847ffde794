/* SPDX-License-Identifier: Apache-2.0
 *
 * Handles: whatever is no open handle of the right type is refused, by every function.
 */
#include "check.h"

/* Calls every function that takes a client, but for close and destroy, which would give a valid one
 * up. */
static void every_client_function_gives(gcs_client client, gcs_status expected) {
  struct counter never;
  const gcs_bytes key = text_bytes("key");
  const gcs_body body = {"x", 1, NULL, NULL};
  gcs_buffer* buffer = (gcs_buffer*)&never;
  int32_t state = 0;
  uint64_t id = 0;
  counter_init(&never);
  CHECK_EQUAL(gcs_client_connect(client, 0, &id, count_event, &never), expected);
  CHECK_EQUAL(gcs_client_state(client, &state), expected);
  CHECK_EQUAL(gcs_client_address(client, &buffer), expected);
  CHECK(buffer == NULL);
  CHECK_EQUAL(gcs_client_cluster_id(client, &buffer), expected);
  CHECK_EQUAL(gcs_client_stats(client, &buffer), expected);
  CHECK_EQUAL(gcs_call(client, 1, &body, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(gcs_call_path(client, "/a.B/C", &body, NULL, &id, count_event, &never, NULL),
              expected);
  CHECK_EQUAL(gcs_cancel(client, 1), expected);
  CHECK_EQUAL(gcs_kv_get(client, key, key, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(gcs_kv_multi_get(client, key, &key, 1, NULL, &id, count_event, &never, NULL),
              expected);
  CHECK_EQUAL(gcs_kv_put(client, key, key, key, 0, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(gcs_kv_delete(client, key, key, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(gcs_kv_delete_prefix(client, key, key, 0, NULL, &id, count_event, &never, NULL),
              expected);
  CHECK_EQUAL(gcs_kv_exists(client, key, key, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(gcs_kv_keys(client, key, key, 0, NULL, &id, count_event, &never, NULL), expected);
  CHECK_EQUAL(id, 0);
  CHECK_EQUAL(count_now(&never), 0);
}

static void no_client(gcs_client client) {
  every_client_function_gives(client, GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_client_close(client), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_client_destroy(client, 0), GCS_BAD_HANDLE);
}

static void no_queue(gcs_queue queue) {
  static char arena[GCS_PACKED_ARENA_MIN];
  gcs_packed_event slot;
  gcs_packed_drain drain;
  gcs_event* event = NULL;
  size_t count = 1;
  int32_t fd = 0;
  CHECK_EQUAL(gcs_queue_fd(queue, &fd), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_BAD_HANDLE);
  CHECK_EQUAL(count, 0);
  CHECK_EQUAL(gcs_queue_wait(queue, 0), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &slot, 1, arena, sizeof arena, &drain),
              GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_call_batch_packed(queue, NULL, 0), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_queue_close(queue), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_queue_destroy(queue, 0), GCS_BAD_HANDLE);
}

static void a_zero_handle_is_refused(void) {
  no_client(0);
  no_queue(0);
}

static void a_forged_handle_is_refused(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  int bit;
  for (bit = 0; bit < 64; ++bit) {
    const uint64_t forged = client ^ ((uint64_t)1 << bit);
    int32_t state = 0;
    CHECK_EQUAL(gcs_client_state(forged, &state), GCS_BAD_HANDLE);
    CHECK_EQUAL(gcs_client_close(forged), GCS_BAD_HANDLE);
    CHECK_EQUAL(gcs_queue_close(queue ^ ((uint64_t)1 << bit)), GCS_BAD_HANDLE);
  }
  no_client(UINT64_MAX);
  no_queue(UINT64_MAX);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

static void a_handle_of_the_other_type_is_refused(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  /* The type's bits exchanged, too: the slot knows what is in it. */
  const uint64_t types = (client ^ queue) & ((uint64_t)15 << 60);
  no_queue(client);
  no_client(queue);
  no_queue(client ^ types);
  no_client(queue ^ types);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

static void a_closed_handle_is_refused_for_ever(void) {
  gcs_client clients[3];
  gcs_queue queues[3];
  int i;
  for (i = 0; i < 3; ++i) {
    clients[i] = new_client();
    queues[i] = new_queue();
    CHECK_EQUAL(gcs_client_close(clients[i]), GCS_OK);
    CHECK_EQUAL(gcs_queue_close(queues[i]), GCS_OK);
  }
  /* Their slots serve others now. */
  for (i = 0; i < 3; ++i) {
    const gcs_client client = new_client();
    const gcs_queue queue = new_queue();
    no_client(clients[i]);
    no_queue(queues[i]);
    CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
    CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
  }
}

static void a_bad_queue_as_a_target_is_refused(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const gcs_bytes key = text_bytes("key");
  gcs_client_options options;
  gcs_client other = 1;
  gcs_error* error = NULL;
  CHECK_EQUAL(gcs_queue_close(queue), GCS_OK);
  CHECK_EQUAL(gcs_kv_get(client, key, key, NULL, NULL, gcs_queue_push, as_user(queue), &error),
              GCS_BAD_HANDLE);
  CHECK(error != NULL);
  CHECK_EQUAL(gcs_error_status(error), GCS_BAD_HANDLE);
  CHECK(strstr(gcs_error_message(error), "queue") != NULL);
  gcs_error_free(error);
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = silent_address();
  options.event_fn = gcs_queue_push;
  CHECK_EQUAL(gcs_client_create(&options, &other, NULL), GCS_BAD_HANDLE);
  CHECK_EQUAL(other, 0);
  CHECK_EQUAL(gcs_log_set_target(gcs_queue_push, as_user(queue)), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

/* One of many threads that use and close the same handles. */
struct race {
  gcs_client client;
  gcs_queue queue;
  int closes;
  pthread_mutex_t mutex;
};

static void* use_and_close(void* user) {
  struct race* race = user;
  int closed = 0;
  int i;
  for (i = 0; i < 50; ++i) {
    const gcs_call_options options = with_timeout(0);
    const gcs_bytes key = text_bytes("key");
    const gcs_status status = gcs_kv_get(race->client, key, key, &options, NULL, gcs_queue_push,
                                         as_user(race->queue), NULL);
    CHECK(status == GCS_OK || status == GCS_BAD_HANDLE);
    if (i == 25) closed += (gcs_client_close(race->client) == GCS_OK) ? 1 : 0;
    if (i == 30) closed += (gcs_queue_close(race->queue) == GCS_OK) ? 1 : 0;
  }
  pthread_mutex_lock(&race->mutex);
  race->closes += closed;
  pthread_mutex_unlock(&race->mutex);
  return NULL;
}

static void of_many_threads_that_close_one_wins(void) {
  int round;
  for (round = 0; round < 20; ++round) {
    struct race race;
    pthread_t threads[4];
    int i;
    race.client = new_client();
    race.queue = new_queue();
    race.closes = 0;
    CHECK(pthread_mutex_init(&race.mutex, NULL) == 0);
    for (i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, use_and_close, &race) == 0);
    for (i = 0; i < 4; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK_EQUAL(race.closes, 2);
  }
}

int main(void) {
  begin();
  a_zero_handle_is_refused();
  a_forged_handle_is_refused();
  a_handle_of_the_other_type_is_refused();
  a_closed_handle_is_refused_for_ever();
  a_bad_queue_as_a_target_is_refused();
  of_many_threads_that_close_one_wins();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
