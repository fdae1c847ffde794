/* SPDX-License-Identifier: Apache-2.0
 *
 * Options: sizes of older and newer headers, and values that cannot be.
 */
#include "check.h"

static void init_fills_in_the_documented_defaults(void) {
  gcs_client_options client;
  gcs_call_options call;
  memset(&client, 0xff, sizeof client);
  memset(&call, 0xff, sizeof call);
  CHECK_EQUAL(gcs_client_options_init(&client, sizeof client), GCS_OK);
  CHECK_EQUAL(client.struct_size, sizeof client);
  CHECK(client.address == NULL && client.cluster_id == NULL && client.token == NULL);
  CHECK_EQUAL(client.connect_timeout, SECONDS(5));
  CHECK_EQUAL(client.timeout, SECONDS(60));
  CHECK_EQUAL(client.on_cluster_change, GCS_CLUSTER_CHANGE_ERROR);
  CHECK_EQUAL(client.wait_for_ready, 1);
  CHECK_EQUAL(client.max_send_message, (uint64_t)512 << 20);
  CHECK_EQUAL(client.max_receive_message, (uint64_t)512 << 20);
  CHECK_EQUAL(client.tcp_user_timeout, SECONDS(20));
  CHECK(client.event_fn == NULL && client.event_user == NULL);
  CHECK_EQUAL(client.max_pending_calls, 1000000);
  CHECK_EQUAL(client.max_pending_bytes, (uint64_t)4 << 30);
  CHECK_EQUAL(client.tls, -1);
  CHECK_EQUAL(client.reserved, 0);
  CHECK(client.tls_ca_file == NULL && client.tls_cert_file == NULL);
  CHECK(client.tls_key_file == NULL && client.tls_server_name == NULL);
  CHECK_EQUAL(gcs_call_options_init(&call, sizeof call), GCS_OK);
  CHECK_EQUAL(call.struct_size, sizeof call);
  CHECK_EQUAL(call.timeout, GCS_TIMEOUT_DEFAULT);
  CHECK_EQUAL(call.wait_for_ready, -1);
  CHECK_EQUAL(call.retry, GCS_RETRY_DEFAULT);
  CHECK_EQUAL(call.ray_version, 0);
  CHECK_EQUAL(call.reserved, 0);
}

static void init_refuses_sizes_that_no_release_had(void) {
  gcs_client_options client;
  gcs_call_options call;
  const size_t wrong[] = {0, 1, 8, 16, sizeof client + 8, 4104, SIZE_MAX};
  size_t i;
  for (i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    CHECK_EQUAL(gcs_client_options_init(&client, wrong[i]), GCS_ABI);
    CHECK_EQUAL(gcs_call_options_init(&call, wrong[i]), GCS_ABI);
  }
  CHECK_EQUAL(gcs_client_options_init(NULL, sizeof client), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_options_init(NULL, sizeof call), GCS_INVALID_ARGUMENT);
}

/* Without the fields for limits and TLS. */
enum { kFirstSize = offsetof(gcs_client_options, max_pending_calls) };

static void a_struct_of_the_first_header_is_taken(void) {
  gcs_client_options options;
  gcs_client client = 0;
  memset(&options, 0xff, sizeof options);
  CHECK_EQUAL(gcs_client_options_init(&options, kFirstSize), GCS_OK);
  CHECK_EQUAL(options.struct_size, kFirstSize);
  CHECK(options.max_pending_calls == UINT64_MAX &&
        options.tls == -1); /* untouched: it is not there */
  options.address = silent_address();
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

/* A struct of a later header: ours, and then more. */
struct later_options {
  gcs_client_options known;
  uint64_t unknown[4];
};

static void a_later_struct_is_taken_if_its_tail_is_zero(void) {
  struct later_options options;
  gcs_client client = 0;
  memset(&options, 0, sizeof options);
  CHECK_EQUAL(gcs_client_options_init(&options.known, sizeof options.known), GCS_OK);
  options.known.struct_size = sizeof options;
  options.known.address = silent_address();
  CHECK_EQUAL(gcs_client_create(&options.known, &client, NULL), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
  options.unknown[3] = (uint64_t)1 << 56;
  client = 7;
  CHECK_EQUAL(gcs_client_create(&options.known, &client, NULL), GCS_UNSUPPORTED);
  CHECK_EQUAL(client, 0);
}

static void create_refuses(gcs_client_options options, gcs_status expected, const char* word) {
  gcs_client client = 7;
  gcs_error* error = (gcs_error*)&client;
  CHECK_EQUAL(gcs_client_create(&options, &client, &error), expected);
  CHECK_EQUAL(client, 0);
  CHECK(error != NULL);
  CHECK_EQUAL(gcs_error_status(error), expected);
  CHECK(gcs_error_flags(error) & GCS_FLAG_LOCAL);
  if (strstr(gcs_error_message(error), word) == NULL) {
    fprintf(stderr, "\"%s\" does not say \"%s\"\n", gcs_error_message(error), word);
    exit(1);
  }
  gcs_error_free(error);
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), expected);
}

static void create_refuses_values_that_cannot_be(void) {
  gcs_client_options good;
  gcs_client_options bad;
  const char* const addresses[] = {"",           "host",          ":1",    "host:0",
                                   "host:65536", "http://host:1", "a b:1", "::1:6379"};
  size_t i;
  CHECK_EQUAL(gcs_client_options_init(&good, sizeof good), GCS_OK);
  good.address = silent_address();
#define REFUSES(field, value, expected, word) \
  do {                                        \
    bad = good;                               \
    bad.field = (value);                      \
    create_refuses(bad, expected, word);      \
  } while (0)
  REFUSES(struct_size, 0, GCS_ABI, "struct_size");
  REFUSES(struct_size, kFirstSize - 8, GCS_ABI, "struct_size");
  REFUSES(struct_size, sizeof good + 1, GCS_ABI, "struct_size");
  REFUSES(struct_size, 100000, GCS_ABI, "struct_size");
  for (i = 0; i < sizeof addresses / sizeof addresses[0]; ++i) {
    REFUSES(address, addresses[i], GCS_INVALID_ARGUMENT, "");
  }
  REFUSES(cluster_id, "abc", GCS_INVALID_ARGUMENT, "cluster");
  REFUSES(max_pending_calls, 0, GCS_INVALID_ARGUMENT, "max_pending_calls");
  REFUSES(max_pending_bytes, 0, GCS_INVALID_ARGUMENT, "max_pending_bytes");
  REFUSES(connect_timeout, 0, GCS_INVALID_ARGUMENT, "connect_timeout");
  REFUSES(connect_timeout, GCS_TIMEOUT_NONE, GCS_INVALID_ARGUMENT, "connect_timeout");
  REFUSES(connect_timeout, -3, GCS_INVALID_ARGUMENT, "connect_timeout");
  REFUSES(timeout, -3, GCS_INVALID_ARGUMENT, "timeout");
  REFUSES(timeout, INT64_MIN, GCS_INVALID_ARGUMENT, "timeout");
  REFUSES(tcp_user_timeout, -3, GCS_INVALID_ARGUMENT, "tcp_user_timeout");
  REFUSES(on_cluster_change, 2, GCS_INVALID_ARGUMENT, "on_cluster_change");
  REFUSES(on_cluster_change, -1, GCS_INVALID_ARGUMENT, "on_cluster_change");
  REFUSES(wait_for_ready, 2, GCS_INVALID_ARGUMENT, "wait_for_ready");
  REFUSES(wait_for_ready, -1, GCS_INVALID_ARGUMENT, "wait_for_ready");
  REFUSES(max_send_message, 0, GCS_INVALID_ARGUMENT, "max_send_message");
  REFUSES(max_receive_message, (uint64_t)1 << 32, GCS_INVALID_ARGUMENT, "max_receive_message");
  REFUSES(tls, 2, GCS_INVALID_ARGUMENT, "tls");
  REFUSES(tls, -2, GCS_INVALID_ARGUMENT, "tls");
  REFUSES(reserved, 1, GCS_INVALID_ARGUMENT, "reserved");
  REFUSES(tls_ca_file, "/nowhere/ca.pem", GCS_INVALID_ARGUMENT, "/nowhere/ca.pem");
  REFUSES(tls_ca_file, "", GCS_INVALID_ARGUMENT, "empty");
  REFUSES(tls_cert_file, "/nowhere/cert.pem", GCS_INVALID_ARGUMENT, "without its key");
  REFUSES(tls_key_file, "/nowhere/key.pem", GCS_INVALID_ARGUMENT, "without a certificate");
  good.tls = 0;
  REFUSES(tls_server_name, "host", GCS_INVALID_ARGUMENT, "TLS is off");
#undef REFUSES
}

static void defaults_stand_for_what_is_not_given(void) {
  gcs_client_options options;
  gcs_client client = 0;
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = silent_address();
  options.connect_timeout = GCS_TIMEOUT_DEFAULT;
  options.timeout = GCS_TIMEOUT_NONE;
  options.tcp_user_timeout = GCS_TIMEOUT_NONE;
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

static void call_options_are_checked(void) {
  const gcs_client client = new_client();
  const gcs_bytes key = text_bytes("key");
  struct {
    gcs_call_options known;
    uint64_t unknown;
  } later;
  gcs_call_options bad = with_timeout(-3);
  struct counter counter;
  counter_init(&counter);
#define GET(options) gcs_kv_get(client, key, key, options, NULL, count_event, &counter, NULL)
  CHECK_EQUAL(GET(&bad), GCS_INVALID_ARGUMENT);
  bad = with_timeout(0);
  bad.wait_for_ready = 2;
  CHECK_EQUAL(GET(&bad), GCS_INVALID_ARGUMENT);
  bad.wait_for_ready = -2;
  CHECK_EQUAL(GET(&bad), GCS_INVALID_ARGUMENT);
  bad = with_timeout(0);
  bad.retry = GCS_RETRY_ALWAYS + 1;
  CHECK_EQUAL(GET(&bad), GCS_INVALID_ARGUMENT);
  bad = with_timeout(0);
  bad.reserved = 1;
  CHECK_EQUAL(GET(&bad), GCS_INVALID_ARGUMENT);
  bad = with_timeout(0);
  bad.struct_size = 8;
  CHECK_EQUAL(GET(&bad), GCS_ABI);
  memset(&later, 0, sizeof later);
  later.known = with_timeout(0);
  later.known.struct_size = sizeof later;
  later.unknown = 1;
  CHECK_EQUAL(GET(&later.known), GCS_UNSUPPORTED);
  CHECK_EQUAL(count_now(&counter), 0);
  later.unknown = 0;
  CHECK_EQUAL(GET(&later.known), GCS_OK);
  /* Of the first header, which ended before ray_version: what lies behind is not looked at. */
  bad = with_timeout(0);
  bad.struct_size = offsetof(gcs_call_options, ray_version);
  bad.reserved = 1;
  CHECK_EQUAL(GET(&bad), GCS_OK);
  wait_for_count(&counter, 2);
#undef GET
  CHECK_EQUAL(counter.last_status, GCS_DEADLINE);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(10)), GCS_OK);
}

static void queue_options_are_checked(void) {
  gcs_queue_options options;
  gcs_queue queue = 7;
  gcs_error* error = NULL;
  memset(&options, 0, sizeof options);
  CHECK_EQUAL(gcs_queue_create(&options, &queue, &error), GCS_ABI);
  CHECK_EQUAL(queue, 0);
  CHECK(error != NULL);
  gcs_error_free(error);
  options.struct_size = sizeof options;
  CHECK_EQUAL(gcs_queue_create(&options, &queue, &error), GCS_OK);
  CHECK(error == NULL);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(10)), GCS_OK);
}

int main(void) {
  begin();
  init_fills_in_the_documented_defaults();
  init_refuses_sizes_that_no_release_had();
  a_struct_of_the_first_header_is_taken();
  a_later_struct_is_taken_if_its_tail_is_zero();
  create_refuses_values_that_cannot_be();
  defaults_stand_for_what_is_not_given();
  call_options_are_checked();
  queue_options_are_checked();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
