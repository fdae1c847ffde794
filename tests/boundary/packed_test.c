/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed submission and drain: every record of a batch gets one event, refused ones included.
 */
#include "packed_batch.h"

static void a_record_of_each_kind_gets_one_event(void) {
  static struct batch batch;
  const uint16_t kinds[] = {GCS_EVENT_CALL,      GCS_EVENT_KV_GET,    GCS_EVENT_KV_MULTI_GET,
                            GCS_EVENT_KV_PUT,    GCS_EVENT_KV_DELETE, GCS_EVENT_KV_DELETE_PREFIX,
                            GCS_EVENT_KV_EXISTS, GCS_EVENT_KV_KEYS};
  const char* const methods[] = {"/some.Service/Method",
                                 "/ray.rpc.InternalKVGcsService/InternalKVGet",
                                 "/ray.rpc.InternalKVGcsService/InternalKVMultiGet",
                                 "/ray.rpc.InternalKVGcsService/InternalKVPut",
                                 "/ray.rpc.InternalKVGcsService/InternalKVDel",
                                 "/ray.rpc.InternalKVGcsService/InternalKVDel",
                                 "/ray.rpc.InternalKVGcsService/InternalKVExists",
                                 "/ray.rpc.InternalKVGcsService/InternalKVKeys"};
  const unsigned char keys[] = {1, 0, 0, 0, 'a', 0, 0, 0, 0, 2, 0, 0, 0, 'b', 'c'};
  enum { KINDS = sizeof kinds / sizeof kinds[0] };
  gcs_packed_event events[KINDS];
  uint64_t ids[KINDS];
  size_t count = 0;
  size_t i;
  batch.size = 0;
  for (i = 0; i < KINDS; ++i) {
    const gcs_packed_call call = call_of(kinds[i]);
    ids[i] = call.id;
    if (kinds[i] == GCS_EVENT_CALL) {
      append(&batch, call, methods[i], NULL, 0, "request", 7);
    } else if (kinds[i] == GCS_EVENT_KV_MULTI_GET) {
      append(&batch, call, "ns", keys, sizeof keys, NULL, 0);
    } else if (kinds[i] == GCS_EVENT_KV_PUT) {
      append(&batch, call, "ns", "key", 3, "value", 5);
    } else {
      append_get(&batch, call);
    }
  }
  CHECK_EQUAL(submit(&batch), GCS_OK);
  while (count < KINDS) {
    gcs_packed_drain drain;
    CHECK_EQUAL(
        gcs_queue_drain_packed(queue, SECONDS(20), events, KINDS, arena, sizeof arena, &drain),
        GCS_OK);
    for (i = 0; i < drain.count; ++i) {
      const struct text text = text_of(&events[i]);
      CHECK_EQUAL(events[i].kind, kinds[count]);
      CHECK_EQUAL(events[i].id, ids[count]);
      CHECK_EQUAL(events[i].status, GCS_DEADLINE);
      CHECK(events[i].flags & GCS_FLAG_TIMEOUT);
      CHECK(strcmp(text.method, methods[count]) == 0);
      CHECK(strcmp(text.address, silent_address()) == 0);
      CHECK(strlen(text.message) > 10);
      ++count;
    }
  }
  nothing_comes();
}

static int is_call_kind(uint16_t kind) {
  return kind >= GCS_EVENT_CALL && kind <= GCS_EVENT_KV_KEYS;
}

static void refuse_one(gcs_packed_call call, const char* name, const void* key, size_t key_size,
                       const void* body, size_t body_size, gcs_status expected) {
  static struct batch batch;
  gcs_packed_event event;
  batch.size = 0;
  append(&batch, call, name, key, key_size, body, body_size);
  CHECK_EQUAL(submit(&batch), GCS_OK);
  event = next_packed();
  CHECK_EQUAL(event.status, expected);
  CHECK_EQUAL(event.id, call.id);
  CHECK_EQUAL(event.kind, is_call_kind(call.kind) ? call.kind : GCS_EVENT_CALL);
  CHECK(event.flags & GCS_FLAG_LOCAL);
  CHECK(strlen(text_of(&event).message) > 10);
}

static void refused_records_get_their_event(void) {
  gcs_packed_call call;
  const unsigned char short_keys[] = {1, 0, 0};
  const unsigned char long_key[] = {9, 0, 0, 0, 'a'};
#define REFUSED(of_kind, what, name, key, body, expected)                   \
  do {                                                                      \
    call = call_of(of_kind);                                                \
    what;                                                                   \
    refuse_one(call, name, key, strlen(key), body, strlen(body), expected); \
  } while (0)
  REFUSED(GCS_EVENT_KV_GET, call.client = 0, "ns", "key", "", GCS_BAD_HANDLE);
  REFUSED(GCS_EVENT_KV_GET, call.client = queue, "ns", "key", "", GCS_BAD_HANDLE);
  REFUSED(GCS_EVENT_KV_GET, call.id = 0, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.id = UINT64_MAX, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.id += 1, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.timeout = -3, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.started = -1, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, call.reserved = 1, "/a.B/C", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.flags = 1024, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.flags = GCS_PACKED_OVERWRITE, "ns", "key", "",
          GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_PUT, call.flags = GCS_PACKED_WAIT | GCS_PACKED_NO_WAIT, "ns", "key", "v",
          GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_PUT, call.flags = GCS_PACKED_RETRY_NEVER | GCS_PACKED_RETRY_ALWAYS, "ns",
          "key", "v", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.method = 1, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, (void)0, "ns", "key", "body", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, (void)0, "", "@namespace_x", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_KEYS, (void)0, "", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_DELETE_PREFIX, (void)0, "", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, (void)0, "no path", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, (void)0, "", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, call.method = 1, "/a.B/C", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, call.method = UINT32_MAX, "", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CALL, (void)0, "/a.B/C", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(0, (void)0, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_CONNECT, (void)0, "", "", "", GCS_INVALID_ARGUMENT);
  REFUSED(25, (void)0, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(UINT16_MAX, (void)0, "ns", "key", "", GCS_INVALID_ARGUMENT);
#undef REFUSED
  refuse_one(call_of(GCS_EVENT_KV_MULTI_GET), "ns", short_keys, sizeof short_keys, NULL, 0,
             GCS_INVALID_ARGUMENT);
  refuse_one(call_of(GCS_EVENT_KV_MULTI_GET), "ns", long_key, sizeof long_key, NULL, 0,
             GCS_INVALID_ARGUMENT);
  call = call_of(GCS_EVENT_KV_PUT);
  call.flags = GCS_PACKED_BODY_POINTER;
  refuse_one(call, "ns", "key", 3, NULL, 1, GCS_INVALID_ARGUMENT);
  call = call_of(GCS_EVENT_KV_PUT);
  call.flags = GCS_PACKED_BODY_POINTER;
  refuse_one(call, "ns", "key", 3, "x", (size_t)1 << 40, GCS_LIMIT);
  nothing_comes();
}

static void a_refused_record_does_not_touch_its_neighbours(void) {
  static struct batch batch;
  gcs_packed_call call = call_of(GCS_EVENT_KV_GET);
  const uint64_t first = call.id;
  int expired = 0;
  int refused = 0;
  batch.size = 0;
  append_get(&batch, call);
  /* The same id again, one from before, and one after. */
  append_get(&batch, call);
  call.id = first - 1;
  append_get(&batch, call);
  append_get(&batch, call_of(GCS_EVENT_KV_GET));
  CHECK_EQUAL(submit(&batch), GCS_OK);
  while (expired + refused < 4) {
    const gcs_packed_event event = next_packed();
    if (event.status == GCS_DEADLINE) {
      ++expired;
    } else {
      CHECK_EQUAL(event.status, GCS_INVALID_ARGUMENT);
      CHECK(event.id <= first);
      ++refused;
    }
  }
  CHECK_EQUAL(expired, 2);
  nothing_comes();
}

static void a_cancel_takes_effect_in_order(void) {
  static struct batch batch;
  gcs_packed_call call = call_of(GCS_EVENT_KV_GET);
  gcs_packed_call cancel = call_of(GCS_PACKED_CANCEL);
  const uint64_t id = call.id;
  gcs_packed_event event;
  batch.size = 0;
  cancel.id = id;
  call.timeout = GCS_TIMEOUT_NONE;
  append(&batch, cancel, "", NULL, 0, NULL, 0);
  append_get(&batch, call);
  CHECK_EQUAL(submit(&batch), GCS_OK);
  nothing_comes();
  call = call_of(GCS_EVENT_KV_GET);
  batch.size = 0;
  append_get(&batch, call);
  append(&batch, cancel, "", NULL, 0, NULL, 0);
  cancel.client = 0;
  append(&batch, cancel, "", NULL, 0, NULL, 0);
  CHECK_EQUAL(submit(&batch), GCS_OK);
  for (int i = 0; i < 2; ++i) {
    event = next_packed();
    CHECK_EQUAL(event.status, event.id == id ? GCS_CANCELLED : GCS_DEADLINE);
  }
  nothing_comes();
}

static void time_runs_from_when_the_call_was_made(void) {
  static struct batch batch;
  gcs_packed_call call = call_of(GCS_EVENT_KV_GET);
  const int64_t began = gcs_now();
  call.timeout = SECONDS(3600);
  call.started = gcs_now() - SECONDS(3601);
  if (call.started <= 0) {
    /* The machine has just been started. */
    call.timeout = 1;
    call.started = 1;
  }
  batch.size = 0;
  append_get(&batch, call);
  call = call_of(GCS_EVENT_KV_GET);
  /* A start in the future is now. */
  call.timeout = MILLISECONDS(20);
  call.started = INT64_MAX;
  append_get(&batch, call);
  CHECK_EQUAL(submit(&batch), GCS_OK);
  CHECK_EQUAL(next_packed().status, GCS_DEADLINE);
  CHECK_EQUAL(next_packed().status, GCS_DEADLINE);
  CHECK(gcs_now() - began >= MILLISECONDS(20));
  CHECK(gcs_now() - began < SECONDS(20));
  nothing_comes();
}

static void a_partial_drain_says_that_there_is_more(void) {
  static struct batch batch;
  gcs_packed_event events[8];
  gcs_packed_drain drain;
  struct counter marker;
  uint64_t ids[10];
  size_t seen = 0;
  counter_init(&marker);
  batch.size = 0;
  for (int i = 0; i < 10; ++i) {
    const gcs_packed_call call = call_of(GCS_EVENT_KV_GET);
    ids[i] = call.id;
    append_get(&batch, call);
  }
  CHECK_EQUAL(submit(&batch), GCS_OK);
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
  while (seen < 10) {
    CHECK(is_readable(queue_fd(queue)));
    CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, events, 4, arena, sizeof arena, &drain), GCS_OK);
    for (size_t i = 0; i < drain.count; ++i) CHECK_EQUAL(events[i].id, ids[seen++]);
    CHECK_EQUAL(drain.count, seen < 10 ? 4 : 2);
    CHECK_EQUAL(drain.more, seen < 10);
  }
  nothing_comes();
}

static void waiting_for_the_first_event_ends_in_time(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  const int64_t began = gcs_now();
  CHECK_EQUAL(
      gcs_queue_drain_packed(queue, MILLISECONDS(30), &event, 1, arena, sizeof arena, &drain),
      GCS_DEADLINE);
  CHECK(gcs_now() - began >= MILLISECONDS(30));
  CHECK_EQUAL(drain.count, 0);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, -3, &event, 1, arena, sizeof arena, &drain),
              GCS_INVALID_ARGUMENT);
}

static void kept_log_records_are_announced(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  gcs_event* record = NULL;
  size_t count = 1;
  while (count != 0) {
    CHECK_EQUAL(gcs_log_drain(&record, 1, &count), GCS_OK);
    if (count != 0) gcs_event_free(record);
  }
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &event, 1, arena, sizeof arena, &drain), GCS_OK);
  CHECK_EQUAL(drain.log_waiting, 0);
}

int main(void) {
  begin_packed();
  a_record_of_each_kind_gets_one_event();
  refused_records_get_their_event();
  a_refused_record_does_not_touch_its_neighbours();
  a_cancel_takes_effect_in_order();
  time_runs_from_when_the_call_was_made();
  a_partial_drain_says_that_there_is_more();
  waiting_for_the_first_event_ends_in_time();
  kept_log_records_are_announced();
  end_packed();
  return 0;
}
