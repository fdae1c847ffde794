/* SPDX-License-Identifier: Apache-2.0
 *
 * What is pending is bounded, however it is submitted: a single call is refused by the return
 * value, one of a batch by its event, and whoever goes on without ever taking an event is refused
 * whole.
 */
#include <stdatomic.h>
#include <string.h>

#include "check.h"

enum { MOST = 10, MOST_REFUSED = 100000, BATCH = 1000 };

static gcs_client limited_client(void) {
  gcs_client_options options;
  gcs_client client = 0;
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = silent_address();
  options.token = "";
  options.max_pending_calls = MOST;
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), GCS_OK);
  return client;
}

static gcs_status get_one(gcs_client client, gcs_queue queue, gcs_error** error) {
  return gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), NULL, NULL, gcs_queue_push,
                    as_user(queue), error);
}

static uint64_t count_of(gcs_client client, const char* name) {
  gcs_buffer* json = NULL;
  char text[4096];
  char quoted[64];
  const char* found;
  CHECK_EQUAL(gcs_client_stats(client, &json), GCS_OK);
  CHECK(gcs_buffer_size(json) < sizeof text);
  memcpy(text, gcs_buffer_data(json), gcs_buffer_size(json));
  text[gcs_buffer_size(json)] = '\0';
  gcs_buffer_free(json);
  snprintf(quoted, sizeof quoted, "\"%s\":", name);
  found = strstr(text, quoted);
  CHECK(found != NULL);
  return strtoull(found + strlen(quoted), NULL, 10);
}

static atomic_int releases;

static void release(void* user, const void* data, size_t size) {
  (void)user, (void)data, (void)size;
  atomic_fetch_add(&releases, 1);
}

static void a_single_call_too_many_is_refused_at_once(void) {
  const gcs_client client = limited_client();
  const gcs_queue queue = new_queue();
  const gcs_body lent = {"x", 1, release, NULL};
  gcs_error* error = NULL;
  uint64_t id = 0;
  int i;
  for (i = 0; i < MOST; ++i) CHECK_EQUAL(get_one(client, queue, NULL), GCS_OK);
  CHECK_EQUAL(get_one(client, queue, &error), GCS_LIMIT);
  CHECK(strstr(gcs_error_message(error), "max_pending_calls, 10") != NULL);
  CHECK_EQUAL(gcs_error_flags(error), GCS_FLAG_LOCAL | GCS_FLAG_RETRYABLE);
  gcs_error_free(error);
  CHECK_EQUAL(
      gcs_call_path(client, "/a.B/C", &lent, NULL, NULL, gcs_queue_push, as_user(queue), NULL),
      GCS_LIMIT);
  CHECK_EQUAL(releases, 0);
  CHECK_EQUAL(gcs_client_connect(client, SECONDS(1), NULL, gcs_queue_push, as_user(queue)),
              GCS_LIMIT);
  CHECK_EQUAL(gcs_client_watch(client, &id, gcs_queue_push, as_user(queue)), GCS_LIMIT);
  CHECK_EQUAL(count_of(client, "refused"), 4);
  CHECK_EQUAL(count_of(client, "not_taken"), MOST);
  CHECK_EQUAL(gcs_client_close(client), GCS_OK);
  for (i = 0; i < MOST; ++i) {
    gcs_event* event = next_event(queue);
    CHECK_EQUAL(gcs_event_status(event), GCS_CLOSED);
    gcs_event_free(event);
  }
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static gcs_status submit(gcs_client client, gcs_queue queue, size_t count) {
  static gcs_call_item items[BATCH];
  const uint64_t first = gcs_reserve_ids(count);
  const gcs_body body = {"x", 1, release, NULL};
  size_t i;
  CHECK(count <= BATCH);
  memset(items, 0, sizeof items);
  for (i = 0; i < count; ++i) {
    items[i].struct_size = sizeof items[i];
    items[i].client = client;
    items[i].id = first + i;
    items[i].path = "/a.B/C";
    items[i].request = body;
    items[i].fn = gcs_queue_push;
    items[i].user = as_user(queue);
  }
  return gcs_call_batch(items, count);
}

static void of_a_batch_what_is_too_much_gets_an_event(void) {
  const gcs_client client = limited_client();
  const gcs_queue queue = new_queue();
  int i;
  releases = 0;
  CHECK_EQUAL(submit(client, queue, MOST + 5), GCS_OK);
  for (i = 0; i < 5; ++i) {
    gcs_event* event = next_event(queue);
    CHECK_EQUAL(gcs_event_status(event), GCS_LIMIT);
    CHECK(strstr(gcs_event_message(event), "max_pending_calls, 10") != NULL);
    gcs_event_free(event);
  }
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(releases, MOST + 5);
}

static void who_never_takes_an_event_is_refused_whole_until_it_does(void) {
  const gcs_client client = limited_client();
  const gcs_queue queue = new_queue();
  const gcs_queue other = new_queue();
  gcs_event* events[BATCH];
  size_t batches = 0;
  size_t count = 0;
  size_t taken = 0;
  gcs_status status;
  while ((status = submit(client, queue, BATCH)) == GCS_OK)
    CHECK(++batches <= MOST_REFUSED / BATCH + 1);
  CHECK_EQUAL(status, GCS_LIMIT);
  CHECK(batches >= MOST_REFUSED / BATCH);
  {
    gcs_packed_call record;
    memset(&record, 0, sizeof record);
    record.stride = sizeof record;
    CHECK_EQUAL(gcs_call_batch_packed(queue, &record, sizeof record), GCS_LIMIT);
    /* Who does take them is not made to suffer. */
    CHECK_EQUAL(gcs_call_batch_packed(other, &record, sizeof record), GCS_OK);
  }
  do {
    CHECK_EQUAL(gcs_queue_drain(queue, events, BATCH, &count), GCS_OK);
    taken += count;
    while (count > 0) gcs_event_free(events[--count]);
  } while (taken < batches * BATCH - MOST);
  CHECK_EQUAL(taken, batches * BATCH - MOST);
  CHECK_EQUAL(submit(client, queue, 1), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(other, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

int main(void) {
  begin();
  a_single_call_too_many_is_refused_at_once();
  of_a_batch_what_is_too_much_gets_an_event();
  who_never_takes_an_event_is_refused_whole_until_it_does();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
