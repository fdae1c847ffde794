/* SPDX-License-Identifier: Apache-2.0
 *
 * Packed submission and drain: a malformed batch is refused as a whole, and of any other every record gets one event.
 */
#include "check.h"

enum { BATCH = 65536 };

static gcs_client client;
static gcs_queue queue;
static char arena[GCS_PACKED_ARENA_MIN];

struct batch {
  union {
    uint64_t aligned;
    unsigned char bytes[BATCH];
  } memory;
  size_t size;
  gcs_packed_call *last;
};

static gcs_packed_call call_of(uint16_t kind) {
  gcs_packed_call call;
  memset(&call, 0, sizeof call);
  call.kind = kind;
  call.client = client;
  call.timeout = 0;
  if (kind != GCS_PACKED_CANCEL) call.id = gcs_reserve_ids(1);
  return call;
}

static gcs_packed_call *append(struct batch *batch, gcs_packed_call call, const char *name,
                               const void *key, size_t key_size, const void *body, size_t body_size) {
  const int pointed = (call.flags & GCS_PACKED_BODY_POINTER) != 0;
  const size_t in_record = pointed ? sizeof body : body_size;
  unsigned char *at = batch->memory.bytes + batch->size;
  call.name_size = (uint32_t)strlen(name);
  call.key_size = key_size;
  call.body_size = body_size;
  call.stride = (uint32_t)((sizeof call + call.name_size + key_size + in_record + 7) / 8 * 8);
  CHECK(batch->size + call.stride <= BATCH);
  memset(at, 0, call.stride);
  memcpy(at, &call, sizeof call);
  batch->last = (gcs_packed_call *)(void *)at;
  at += sizeof call;
  memcpy(at, name, call.name_size);
  at += call.name_size;
  if (key_size != 0) memcpy(at, key, key_size);
  at += key_size;
  if (pointed) {
    memcpy(at, &body, sizeof body);
  } else if (body_size != 0) {
    memcpy(at, body, body_size);
  }
  batch->size += call.stride;
  return batch->last;
}

static gcs_packed_call *append_get(struct batch *batch, gcs_packed_call call) {
  return append(batch, call, "ns", "key", 3, NULL, 0);
}

static gcs_status submit(const struct batch *batch) {
  return gcs_call_batch_packed(queue, batch->memory.bytes, batch->size);
}

/* The text that comes with a failed event: the method, and what follows it. */
struct text {
  const char *method;
  const char *address;
  const char *message;
};

static struct text text_of(const gcs_packed_event *event) {
  struct text text;
  CHECK(event->buffer == NULL);
  CHECK(event->offset + event->size <= sizeof arena);
  text.method = arena + event->offset;
  text.address = text.method + strlen(text.method) + 1;
  text.message = text.address + strlen(text.address) + 1;
  CHECK(text.message + strlen(text.message) + 1 <= arena + event->offset + event->size);
  return text;
}

/* Waits for exactly one event. */
static gcs_packed_event next_packed(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(20), &event, 1, arena, sizeof arena, &drain), GCS_OK);
  CHECK_EQUAL(drain.count, 1);
  CHECK_EQUAL(drain.arena_used, event.size);
  return event;
}

static void nothing_comes(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  struct counter marker;
  counter_init(&marker);
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
  memset(&drain, 0xff, sizeof drain);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &event, 1, arena, sizeof arena, &drain), GCS_OK);
  CHECK_EQUAL(drain.count, 0);
  CHECK_EQUAL(drain.arena_used, 0);
  CHECK_EQUAL(drain.more, 0);
  CHECK(!is_readable(queue_fd(queue)));
}

static void a_record_of_each_kind_gets_one_event(void) {
  static struct batch batch;
  const uint16_t kinds[] = {GCS_EVENT_CALL,      GCS_EVENT_KV_GET,           GCS_EVENT_KV_MULTI_GET,
                            GCS_EVENT_KV_PUT,    GCS_EVENT_KV_DELETE,        GCS_EVENT_KV_DELETE_PREFIX,
                            GCS_EVENT_KV_EXISTS, GCS_EVENT_KV_KEYS};
  const char *const methods[] = {"/some.Service/Method",
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
    CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(20), events, KINDS, arena, sizeof arena, &drain), GCS_OK);
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

static void a_malformed_batch_is_refused_as_a_whole(void) {
  static struct batch batch;
  gcs_packed_call call;
  size_t size;
#define MALFORMED(what)                                    \
  do {                                                     \
    batch.size = 0;                                        \
    append_get(&batch, call_of(GCS_EVENT_KV_GET));         \
    append_get(&batch, call_of(GCS_EVENT_KV_GET));         \
    memcpy(&call, batch.last, sizeof call);                \
    what;                                                  \
    memcpy(batch.last, &call, sizeof call);                \
    CHECK_EQUAL(submit(&batch), GCS_INVALID_ARGUMENT);     \
  } while (0)
  MALFORMED(call.stride = 0);
  MALFORMED(call.stride = 8);
  MALFORMED(call.stride = sizeof call - 8);
  MALFORMED(call.stride -= 1);
  MALFORMED(call.stride -= 8);
  MALFORMED(call.stride += 4);
  MALFORMED(call.stride += 8);
  MALFORMED(call.stride = UINT32_MAX - 7);
  MALFORMED(call.name_size = 100);
  MALFORMED(call.name_size = UINT32_MAX);
  MALFORMED(call.key_size = 100);
  MALFORMED(call.key_size = UINT64_MAX);
  MALFORMED(call.key_size = UINT64_MAX - 1);
  MALFORMED(call.body_size = 100);
  MALFORMED(call.body_size = UINT64_MAX);
  MALFORMED((call.key_size = UINT64_MAX, call.body_size = 2));
  MALFORMED((call.name_size = UINT32_MAX, call.key_size = UINT64_MAX - UINT32_MAX + 1));
  /* No room for the pointer; and a whole word that belongs to nothing. */
  MALFORMED(call.flags = GCS_PACKED_BODY_POINTER);
  MALFORMED((call.name_size = 0, call.key_size = 0));
  MALFORMED(batch.size -= 8);
  MALFORMED(batch.size -= 1);
#undef MALFORMED
  /* Cut anywhere but between two records. */
  batch.size = 0;
  append_get(&batch, call_of(GCS_EVENT_KV_GET));
  append_get(&batch, call_of(GCS_EVENT_KV_GET));
  for (size = 1; size < batch.size; ++size) {
    if (size == batch.size / 2) continue;
    CHECK_EQUAL(gcs_call_batch_packed(queue, batch.memory.bytes, size), GCS_INVALID_ARGUMENT);
  }
  nothing_comes();
}

static void random_bytes_are_refused_or_answered(void) {
  static struct batch batch;
  unsigned int seed = (unsigned int)(gcs_now() & 0x7fffffff);
  int round;
  printf("seed %u\n", seed);
  for (round = 0; round < 2000; ++round) {
    size_t records;
    gcs_status status;
    batch.size = 0;
    append_get(&batch, call_of(GCS_EVENT_KV_GET));
    append_get(&batch, call_of(GCS_EVENT_KV_GET));
    append(&batch, call_of(GCS_EVENT_CALL), "/a.B/C", NULL, 0, "request", 7);
    records = batch.size;
    /* Not the pointer flag: where a caller says that bytes are, they are read. */
    batch.memory.bytes[(size_t)rand_r(&seed) % records] ^= (unsigned char)(1 << (rand_r(&seed) % 6));
    for (size_t at = 0; at + sizeof(gcs_packed_call) <= records; at += 8) {
      batch.memory.bytes[at + 6] &= (unsigned char)~GCS_PACKED_BODY_POINTER;
    }
    status = submit(&batch);
    CHECK(status == GCS_OK || status == GCS_INVALID_ARGUMENT);
    if (status != GCS_OK) continue;
    /* A cancel has no event; every other record has one. */
    for (size_t at = 0; at < records;) {
      gcs_packed_call record;
      memcpy(&record, batch.memory.bytes + at, sizeof record);
      if (record.kind != GCS_PACKED_CANCEL) {
        gcs_packed_event event;
        gcs_packed_drain drain;
        gcs_cancel(client, record.id);
        CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(20), &event, 1, arena, sizeof arena, &drain), GCS_OK);
        CHECK(event.status != GCS_OK);
      }
      at += record.stride;
    }
  }
  nothing_comes();
}

static void refuse_one(gcs_packed_call call, const char *name, const void *key, size_t key_size,
                       const void *body, size_t body_size, gcs_status expected) {
  static struct batch batch;
  gcs_packed_event event;
  batch.size = 0;
  append(&batch, call, name, key, key_size, body, body_size);
  CHECK_EQUAL(submit(&batch), GCS_OK);
  event = next_packed();
  CHECK_EQUAL(event.status, expected);
  CHECK_EQUAL(event.id, call.id);
  CHECK_EQUAL(event.kind, call.kind);
  CHECK(event.flags & GCS_FLAG_LOCAL);
  CHECK(strlen(text_of(&event).message) > 10);
}

static void refused_records_get_their_event(void) {
  gcs_packed_call call;
  const unsigned char short_keys[] = {1, 0, 0};
  const unsigned char long_key[] = {9, 0, 0, 0, 'a'};
#define REFUSED(of_kind, what, name, key, body, expected)                                        \
  do {                                                                                           \
    call = call_of(of_kind);                                                                     \
    what;                                                                                        \
    refuse_one(call, name, key, strlen(key), body, strlen(body), expected);                      \
  } while (0)
  REFUSED(GCS_EVENT_KV_GET, call.client = 0, "ns", "key", "", GCS_BAD_HANDLE);
  REFUSED(GCS_EVENT_KV_GET, call.client = queue, "ns", "key", "", GCS_BAD_HANDLE);
  REFUSED(GCS_EVENT_KV_GET, call.id = 0, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.id = UINT64_MAX, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.id += 1, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.timeout = -3, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.started = -1, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.flags = 1024, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_GET, call.flags = GCS_PACKED_OVERWRITE, "ns", "key", "", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_PUT, call.flags = GCS_PACKED_WAIT | GCS_PACKED_NO_WAIT, "ns", "key", "v", GCS_INVALID_ARGUMENT);
  REFUSED(GCS_EVENT_KV_PUT, call.flags = GCS_PACKED_RETRY_NEVER | GCS_PACKED_RETRY_ALWAYS, "ns", "key", "v", GCS_INVALID_ARGUMENT);
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
  refuse_one(call_of(GCS_EVENT_KV_MULTI_GET), "ns", short_keys, sizeof short_keys, NULL, 0, GCS_INVALID_ARGUMENT);
  refuse_one(call_of(GCS_EVENT_KV_MULTI_GET), "ns", long_key, sizeof long_key, NULL, 0, GCS_INVALID_ARGUMENT);
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
  CHECK_EQUAL(gcs_queue_drain_packed(queue, MILLISECONDS(30), &event, 1, arena, sizeof arena, &drain), GCS_DEADLINE);
  CHECK(gcs_now() - began >= MILLISECONDS(30));
  CHECK_EQUAL(drain.count, 0);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, -3, &event, 1, arena, sizeof arena, &drain), GCS_INVALID_ARGUMENT);
}

static void kept_log_records_are_announced(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  gcs_event *record = NULL;
  size_t count = 1;
  while (count != 0) {
    CHECK_EQUAL(gcs_log_drain(&record, 1, &count), GCS_OK);
    if (count != 0) gcs_event_free(record);
  }
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &event, 1, arena, sizeof arena, &drain), GCS_OK);
  CHECK_EQUAL(drain.log_waiting, 0);
}

int main(void) {
  begin();
  client = new_client();
  queue = new_queue();
  a_record_of_each_kind_gets_one_event();
  a_malformed_batch_is_refused_as_a_whole();
  random_bytes_are_refused_or_answered();
  refused_records_get_their_event();
  a_refused_record_does_not_touch_its_neighbours();
  a_cancel_takes_effect_in_order();
  time_runs_from_when_the_call_was_made();
  a_partial_drain_says_that_there_is_more();
  waiting_for_the_first_event_ends_in_time();
  kept_log_records_are_announced();
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
