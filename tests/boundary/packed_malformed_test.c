/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches that cannot be read: nothing of them is accepted, wherever in them the fault lies.
 */
#include "packed_batch.h"

static void a_malformed_batch_is_refused_as_a_whole(void) {
  static struct batch batch;
  gcs_packed_call call;
  size_t size;
#define MALFORMED(what)                                \
  do {                                                 \
    batch.size = 0;                                    \
    append_get(&batch, call_of(GCS_EVENT_KV_GET));     \
    append_get(&batch, call_of(GCS_EVENT_KV_GET));     \
    memcpy(&call, batch.last, sizeof call);            \
    what;                                              \
    memcpy(batch.last, &call, sizeof call);            \
    CHECK_EQUAL(submit(&batch), GCS_INVALID_ARGUMENT); \
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
    batch.memory.bytes[(size_t)rand_r(&seed) % records] ^=
        (unsigned char)(1 << (rand_r(&seed) % 6));
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
        CHECK_EQUAL(
            gcs_queue_drain_packed(queue, SECONDS(20), &event, 1, arena, sizeof arena, &drain),
            GCS_OK);
        CHECK(event.status != GCS_OK);
      }
      at += record.stride;
    }
  }
  nothing_comes();
}

/* A refusal is an event like any other, whatever the record called itself. */
static void no_kind_of_record_makes_an_event_that_is_not_a_calls(void) {
  uint16_t kind;
  for (kind = 0; kind < 64; ++kind) {
    struct batch batch;
    gcs_packed_event slot;
    gcs_packed_drain drain;
    gcs_event* event;
    gcs_packed_call record = call_of(GCS_EVENT_CALL);
    const int known = kind >= GCS_EVENT_CALL && kind <= GCS_EVENT_KV_KEYS;
    if (kind == GCS_PACKED_CANCEL) continue;
    record.kind = kind;
    record.flags = 0x8000; /* no kind knows it */
    batch.size = 0;
    append(&batch, record, "", NULL, 0, NULL, 0);
    CHECK_EQUAL(submit(&batch), GCS_OK);
    event = next_event(queue);
    CHECK_EQUAL(gcs_event_id(event), record.id);
    CHECK_EQUAL(gcs_event_kind(event), known ? kind : GCS_EVENT_CALL);
    CHECK_EQUAL(gcs_event_status(event), GCS_INVALID_ARGUMENT);
    gcs_event_free(event);
    record.id = gcs_reserve_ids(1);
    batch.size = 0;
    append(&batch, record, "", NULL, 0, NULL, 0);
    CHECK_EQUAL(submit(&batch), GCS_OK);
    CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(20), &slot, 1, arena, sizeof arena, &drain),
                GCS_OK);
    CHECK_EQUAL(slot.kind, known ? kind : GCS_EVENT_CALL);
  }
}

int main(void) {
  begin_packed();
  no_kind_of_record_makes_an_event_that_is_not_a_calls();
  a_malformed_batch_is_refused_as_a_whole();
  random_bytes_are_refused_or_answered();
  end_packed();
  return 0;
}
