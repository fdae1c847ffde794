/* SPDX-License-Identifier: Apache-2.0
 *
 * Arguments: NULL where something is needed, sizes that cannot be, requests that must not be sent.
 * What is refused leaves nothing behind: no event, no id, no release.
 */
#include "check.h"

static gcs_client client;
static struct counter never;

static void must_not_release(void* user, const void* data, size_t size) {
  (void)user;
  (void)data;
  (void)size;
  fprintf(stderr, "a body that was not accepted was released\n");
  exit(1);
}

static void null_is_refused_where_something_is_needed(void) {
  const gcs_bytes key = text_bytes("key");
  uint32_t method = 0;
  size_t count = 0;
  gcs_packed_event slot;
  gcs_packed_drain drain;
  static char arena[GCS_PACKED_ARENA_MIN];
  const gcs_queue queue = new_queue();
  CHECK_EQUAL(gcs_status_at(0, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_create(NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_state(client, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_address(client, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_cluster_id(client, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_stats(client, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_connect(client, 0, NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_kv_get(client, key, key, NULL, NULL, NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call(client, 1, NULL, NULL, NULL, NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_path(client, NULL, NULL, NULL, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_method_find(NULL, &method), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_method_find("/a/b", NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_kv_multi_get(client, key, NULL, 1, NULL, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_create(NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_fd(queue, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain(queue, NULL, 1, &count), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain(queue, NULL, 0, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain(queue, NULL, 0, &count), GCS_OK);
  CHECK_EQUAL(gcs_log_drain(NULL, 1, &count), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_log_drain(NULL, 0, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_batch(NULL, 1), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_batch(NULL, 0), GCS_OK);
  CHECK_EQUAL(gcs_call_batch_packed(queue, NULL, 8), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_batch_packed(queue, NULL, 0), GCS_OK);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, NULL, 1, arena, sizeof arena, &drain),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &slot, 0, arena, sizeof arena, &drain),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &slot, 1, NULL, sizeof arena, &drain),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &slot, 1, arena, sizeof arena - 1, &drain),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &slot, 1, arena, sizeof arena, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
}

static void accessors_and_frees_take_null(void) {
  gcs_bytes key;
  CHECK_EQUAL(gcs_event_kind(NULL), 0);
  CHECK_EQUAL(gcs_event_id(NULL), 0);
  CHECK_EQUAL(gcs_event_status(NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_event_flags(NULL), 0);
  CHECK_EQUAL(gcs_event_number(NULL), 0);
  CHECK(strcmp(gcs_event_message(NULL), "") == 0);
  CHECK(strcmp(gcs_event_method(NULL), "") == 0);
  CHECK(strcmp(gcs_event_address(NULL), "") == 0);
  CHECK_EQUAL(gcs_event_details(NULL).size, 0);
  CHECK_EQUAL(gcs_event_body(NULL).size, 0);
  CHECK_EQUAL(gcs_event_entry_count(NULL), 0);
  CHECK_EQUAL(gcs_event_entry(NULL, 0, &key, NULL), GCS_NOT_FOUND);
  CHECK_EQUAL(gcs_event_entry(NULL, 0, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK(gcs_event_take_body(NULL) == NULL);
  CHECK(gcs_buffer_data(NULL) == NULL);
  CHECK_EQUAL(gcs_buffer_size(NULL), 0);
  CHECK_EQUAL(gcs_error_status(NULL), GCS_OK);
  CHECK_EQUAL(gcs_error_flags(NULL), 0);
  CHECK(strcmp(gcs_error_message(NULL), "") == 0);
  gcs_event_free(NULL);
  gcs_buffer_free(NULL);
  gcs_error_free(NULL);
  gcs_queue_push(NULL, NULL);
}

static void bytes_without_data_are_refused(void) {
  const gcs_bytes good = text_bytes("key");
  gcs_bytes bad;
  gcs_body body;
  bad.data = NULL;
  bad.size = 1;
  memset(&body, 0, sizeof body);
  body.size = 1;
#define REFUSED(call) CHECK_EQUAL(call, GCS_INVALID_ARGUMENT)
  REFUSED(gcs_kv_get(client, bad, good, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_get(client, good, bad, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_put(client, good, good, bad, 0, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_delete(client, good, bad, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_delete_prefix(client, good, bad, 0, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_exists(client, bad, good, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_keys(client, bad, good, 0, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_multi_get(client, bad, &good, 1, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_kv_multi_get(client, good, &bad, 1, NULL, NULL, count_event, &never, NULL));
  REFUSED(gcs_call(client, 1, &body, NULL, NULL, count_event, &never, NULL));
#undef REFUSED
}

static void what_cannot_fit_into_a_message_is_refused_unread(void) {
  /* The sizes are lies: to read even one byte past "key" would be seen by a sanitizer. */
  const size_t sizes[] = {((size_t)512 << 20) + 1, (size_t)1 << 40, SIZE_MAX / 2, SIZE_MAX};
  const gcs_bytes good = text_bytes("key");
  size_t i;
  for (i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    gcs_bytes large = good;
    gcs_bytes keys[2];
    gcs_body body;
    large.size = sizes[i];
    keys[0] = good;
    keys[1] = large;
    memset(&body, 0, sizeof body);
    body.data = "x";
    body.size = sizes[i];
    body.release = must_not_release;
    CHECK_EQUAL(gcs_kv_get(client, good, large, NULL, NULL, count_event, &never, NULL), GCS_LIMIT);
    CHECK_EQUAL(gcs_kv_get(client, large, large, NULL, NULL, count_event, &never, NULL), GCS_LIMIT);
    CHECK_EQUAL(gcs_kv_put(client, good, large, large, 0, NULL, NULL, count_event, &never, NULL),
                GCS_LIMIT);
    CHECK_EQUAL(gcs_kv_multi_get(client, good, keys, 2, NULL, NULL, count_event, &never, NULL),
                GCS_LIMIT);
    CHECK_EQUAL(
        gcs_kv_multi_get(client, good, keys, sizes[i], NULL, NULL, count_event, &never, NULL),
        GCS_LIMIT);
    CHECK_EQUAL(gcs_call(client, 1, &body, NULL, NULL, count_event, &never, NULL), GCS_LIMIT);
  }
}

static void ids_that_were_not_reserved_are_refused(void) {
  const gcs_bytes key = text_bytes("key");
  const gcs_body body = {"x", 1, must_not_release, NULL};
  uint64_t id = gcs_reserve_ids(1) + 1000;
  const uint64_t unreserved = id;
  gcs_error* error = NULL;
  CHECK_EQUAL(gcs_kv_get(client, key, key, NULL, &id, count_event, &never, &error),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(id, unreserved);
  CHECK(strstr(gcs_error_message(error), "gcs_reserve_ids") != NULL);
  gcs_error_free(error);
  CHECK_EQUAL(gcs_call(client, 1, &body, NULL, &id, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  id = UINT64_MAX;
  CHECK_EQUAL(gcs_client_connect(client, 0, &id, count_event, &never), GCS_INVALID_ARGUMENT);
}

static void reserved_ids_follow_each_other_and_come_once(void) {
  const uint64_t first = gcs_reserve_ids(10);
  const uint64_t second = gcs_reserve_ids(1);
  CHECK(first != 0);
  CHECK(second >= first + 10);
  CHECK_EQUAL(gcs_reserve_ids(0), 0);
  CHECK_EQUAL(gcs_reserve_ids(((uint64_t)1 << 32) + 1), 0);
  CHECK_EQUAL(gcs_reserve_ids(UINT64_MAX), 0);
  CHECK(gcs_reserve_ids(1) > second);
}

static void times_that_cannot_be_are_refused(void) {
  const gcs_queue queue = new_queue();
  CHECK_EQUAL(gcs_client_connect(client, -3, NULL, count_event, &never), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_destroy(client, -3), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_wait(queue, -3), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_wait(queue, GCS_TIMEOUT_DEFAULT), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_queue_destroy(queue, INT64_MIN), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_shutdown(-2), GCS_INVALID_ARGUMENT);
  /* Neither was closed by that. */
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
}

static void keys_that_reach_into_rays_namespaces_are_refused(void) {
  const gcs_bytes none = text_bytes("");
  const gcs_bytes reserved = text_bytes("@namespace_job:x");
  const gcs_bytes good = text_bytes("key");
  gcs_bytes keys[2];
  gcs_error* error = NULL;
  keys[0] = good;
  keys[1] = reserved;
#define REFUSED(call)                             \
  do {                                            \
    CHECK_EQUAL(call, GCS_INVALID_ARGUMENT);      \
    CHECK(error != NULL);                         \
    CHECK(strlen(gcs_error_message(error)) > 20); \
    gcs_error_free(error);                        \
  } while (0)
  REFUSED(gcs_kv_get(client, none, reserved, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_put(client, none, reserved, good, 0, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_delete(client, none, reserved, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_exists(client, none, reserved, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_multi_get(client, none, keys, 2, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_delete_prefix(client, none, none, 0, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_keys(client, none, none, 0, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_keys(client, good, good, 4, NULL, NULL, count_event, &never, &error));
  REFUSED(gcs_kv_put(client, good, good, good, GCS_KV_ALL_NAMESPACES, NULL, NULL, count_event,
                     &never, &error));
#undef REFUSED
}

static void paths_that_no_header_can_carry_are_refused(void) {
  const char* const paths[] = {"",    "/",   "//",     "/a",       "/a/",
                               "a/b", "//b", "/a b/c", "/a/b\r\n", "/a/\xc3\xa9"};
  char large[2048];
  size_t i;
  for (i = 0; i < sizeof paths / sizeof paths[0]; ++i) {
    CHECK_EQUAL(gcs_call_path(client, paths[i], NULL, NULL, NULL, count_event, &never, NULL),
                GCS_INVALID_ARGUMENT);
  }
  memset(large, 'a', sizeof large);
  memcpy(large, "/a/", 3);
  large[sizeof large - 1] = '\0';
  CHECK_EQUAL(gcs_call_path(client, large, NULL, NULL, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
}

static void methods_without_a_number_are_refused(void) {
  uint32_t method = 7;
  CHECK_EQUAL(gcs_method_find("/ray.rpc.NoService/NoMethod", &method), GCS_NOT_FOUND);
  CHECK_EQUAL(method, 0);
  CHECK_EQUAL(gcs_method_find("/ray.rpc.InternalKVGcsService/InternalKVGet", &method), GCS_OK);
  CHECK(strcmp(gcs_method_path(method), "/ray.rpc.InternalKVGcsService/InternalKVGet") == 0);
  CHECK(gcs_method_path(0) == NULL);
  CHECK(gcs_method_path(UINT32_MAX) == NULL);
  CHECK_EQUAL(gcs_call(client, UINT32_MAX, NULL, NULL, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
}

int main(void) {
  begin();
  counter_init(&never);
  client = new_client();
  null_is_refused_where_something_is_needed();
  accessors_and_frees_take_null();
  bytes_without_data_are_refused();
  what_cannot_fit_into_a_message_is_refused_unread();
  ids_that_were_not_reserved_are_refused();
  reserved_ids_follow_each_other_and_come_once();
  times_that_cannot_be_are_refused();
  keys_that_reach_into_rays_namespaces_are_refused();
  paths_that_no_header_can_carry_are_refused();
  methods_without_a_number_are_refused();
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
  CHECK_EQUAL(count_now(&never), 0);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
