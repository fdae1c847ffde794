/* SPDX-License-Identifier: Apache-2.0
 *
 * What the programs about the packed forms share: a client to nobody, a queue, and batches built
 * record by record.
 */
#ifndef GCS_TESTS_BOUNDARY_PACKED_BATCH_H
#define GCS_TESTS_BOUNDARY_PACKED_BATCH_H

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
  gcs_packed_call* last;
};

static inline gcs_packed_call call_of(uint16_t kind) {
  gcs_packed_call call;
  memset(&call, 0, sizeof call);
  call.kind = kind;
  call.client = client;
  call.timeout = 0;
  if (kind != GCS_PACKED_CANCEL) call.id = gcs_reserve_ids(1);
  return call;
}

static inline gcs_packed_call* append(struct batch* batch, gcs_packed_call call, const char* name,
                                      const void* key, size_t key_size, const void* body,
                                      size_t body_size) {
  const int pointed = (call.flags & GCS_PACKED_BODY_POINTER) != 0;
  const size_t in_record = pointed ? sizeof body : body_size;
  unsigned char* at = batch->memory.bytes + batch->size;
  call.name_size = (uint32_t)strlen(name);
  call.key_size = key_size;
  call.body_size = body_size;
  call.stride = (uint32_t)((sizeof call + call.name_size + key_size + in_record + 7) / 8 * 8);
  CHECK(batch->size + call.stride <= BATCH);
  memset(at, 0, call.stride);
  memcpy(at, &call, sizeof call);
  batch->last = (gcs_packed_call*)(void*)at;
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

static inline gcs_packed_call* append_get(struct batch* batch, gcs_packed_call call) {
  return append(batch, call, "ns", "key", 3, NULL, 0);
}

static inline gcs_status submit(const struct batch* batch) {
  return gcs_call_batch_packed(queue, batch->memory.bytes, batch->size);
}

/* The text that comes with a failed event: the method, and what follows it. */
struct text {
  const char* method;
  const char* address;
  const char* message;
};

static inline struct text text_of(const gcs_packed_event* event) {
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
static inline gcs_packed_event next_packed(void) {
  gcs_packed_event event;
  gcs_packed_drain drain;
  CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(20), &event, 1, arena, sizeof arena, &drain),
              GCS_OK);
  CHECK_EQUAL(drain.count, 1);
  CHECK_EQUAL(drain.arena_used, event.size);
  return event;
}

static inline void nothing_comes(void) {
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

static inline void begin_packed(void) {
  begin();
  client = new_client();
  queue = new_queue();
}

static inline void end_packed(void) {
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
}

#endif /* GCS_TESTS_BOUNDARY_PACKED_BATCH_H */
