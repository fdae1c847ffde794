/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library says about itself: versions, features, names of statuses, the clock, the log.
 */
#include "check.h"

static void a_newer_header_than_the_library_is_refused(void) {
  CHECK_EQUAL(gcs_abi_version(), GCS_ABI_VERSION);
  CHECK_EQUAL(gcs_abi_check(GCS_ABI_VERSION), GCS_OK);
  CHECK_EQUAL(gcs_abi_check(1), GCS_OK);
  CHECK_EQUAL(gcs_abi_check(GCS_ABI_VERSION + 1), GCS_ABI);
  CHECK_EQUAL(gcs_abi_check(UINT32_MAX), GCS_ABI);
  CHECK_EQUAL(gcs_abi_check(0), GCS_ABI);
}

static void the_version_is_three_numbers(void) {
  int major = -1;
  int minor = -1;
  int patch = -1;
  int end = 0;
  CHECK(sscanf(gcs_version(), "%d.%d.%d%n", &major, &minor, &patch, &end) == 3);
  CHECK(gcs_version()[end] == '\0');
}

static void features_can_be_asked_for(void) {
  CHECK_EQUAL(gcs_has_feature("kv"), 1);
  CHECK_EQUAL(gcs_has_feature("tls"), 1);
  CHECK_EQUAL(gcs_has_feature("packed"), 1);
  CHECK_EQUAL(gcs_has_feature("wake"), 1);
  CHECK_EQUAL(gcs_has_feature("ray_version"), 1);
  CHECK_EQUAL(gcs_has_feature("pack"), 0);
  CHECK_EQUAL(gcs_has_feature(""), 0);
  CHECK_EQUAL(gcs_has_feature(NULL), 0);
}

static void every_status_has_a_name_of_its_own(void) {
  gcs_status status = -100;
  size_t count = 0;
  size_t i;
  int ours = 0;
  int of_grpc = 0;
  CHECK_EQUAL(gcs_status_at(0, &status), GCS_OK);
  CHECK_EQUAL(status, GCS_OK);
  while (gcs_status_at(count, &status) == GCS_OK) {
    const char* name = gcs_status_name(status);
    CHECK(strcmp(name, "UNKNOWN_STATUS") != 0);
    for (i = 0; i < count; ++i) {
      gcs_status other = 0;
      CHECK_EQUAL(gcs_status_at(i, &other), GCS_OK);
      CHECK(other != status);
      CHECK(strcmp(gcs_status_name(other), name) != 0);
    }
    if (status < 0) ++ours;
    if (status > 0 && status <= 16) ++of_grpc;
    ++count;
  }
  CHECK_EQUAL(ours, -GCS_UNAVAILABLE);
  CHECK_EQUAL(of_grpc, 16);
  CHECK_EQUAL(gcs_status_at(count, &status), GCS_NOT_FOUND);
  CHECK_EQUAL(gcs_status_at(SIZE_MAX, &status), GCS_NOT_FOUND);
  CHECK(strcmp(gcs_status_name(GCS_DEADLINE), "GCS_DEADLINE") == 0);
  CHECK(strcmp(gcs_status_name(14), "UNAVAILABLE") == 0);
  CHECK(strcmp(gcs_status_name(GCS_RAY_NOT_FOUND), "RAY_NOT_FOUND") == 0);
  CHECK(strcmp(gcs_status_name(-1000), "UNKNOWN_STATUS") == 0);
  CHECK(strcmp(gcs_status_name(INT32_MIN), "UNKNOWN_STATUS") == 0);
}

static void releases_of_ray_have_numbers(void) {
  CHECK_EQUAL(gcs_ray_version_number("2.60.0"), 2060000);
  CHECK_EQUAL(gcs_ray_version_number("3.0.0.dev0"), 3000000);
  CHECK_EQUAL(gcs_ray_version_number("2.1000.x"), 2999000);
  CHECK_EQUAL(gcs_ray_version_number("dev"), 0);
  CHECK_EQUAL(gcs_ray_version_number(""), 0);
  CHECK_EQUAL(gcs_ray_version_number(NULL), 0);
}

static void the_clock_only_goes_forwards(void) {
  struct timespec time;
  const int64_t before = gcs_now();
  CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
  CHECK((int64_t)time.tv_sec * 1000000000 + time.tv_nsec >= before);
  CHECK(gcs_now() >= before);
}

/* Whatever the client has to say when nobody answers. */
static void make_records(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  gcs_call_options options = with_timeout(SECONDS(20));
  options.wait_for_ready = 0;
  CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, NULL,
                         gcs_queue_push, as_user(queue), NULL),
              GCS_OK);
  gcs_event_free(next_event(queue));
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static size_t take_records(void) {
  gcs_event* records[64];
  size_t total = 0;
  size_t count = 1;
  while (count != 0) {
    size_t i;
    CHECK_EQUAL(gcs_log_drain(records, 64, &count), GCS_OK);
    for (i = 0; i < count; ++i) {
      CHECK_EQUAL(gcs_event_kind(records[i]), GCS_EVENT_LOG);
      CHECK(gcs_event_number(records[i]) >= GCS_LOG_DEBUG);
      CHECK(strlen(gcs_event_message(records[i])) > 5);
      gcs_event_free(records[i]);
    }
    total += count;
  }
  return total;
}

static void records_are_kept_until_they_are_taken(void) {
  CHECK_EQUAL(gcs_log_set_level(GCS_LOG_DEBUG), GCS_OK);
  make_records();
  CHECK(take_records() > 0);
  CHECK_EQUAL(take_records(), 0);
  CHECK_EQUAL(gcs_log_set_level(GCS_LOG_OFF), GCS_OK);
  make_records();
  CHECK_EQUAL(take_records(), 0);
  CHECK_EQUAL(gcs_log_set_level(-1), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_log_set_level(GCS_LOG_OFF + 1), GCS_INVALID_ARGUMENT);
}

static void a_target_gets_what_was_kept_and_what_follows(void) {
  struct counter counter;
  const gcs_queue queue = new_queue();
  gcs_event* record;
  counter_init(&counter);
  CHECK_EQUAL(gcs_log_set_level(GCS_LOG_DEBUG), GCS_OK);
  make_records();
  /* Never from inside the call. */
  pthread_mutex_lock(&counter.mutex);
  CHECK_EQUAL(gcs_log_set_target(count_event, &counter), GCS_OK);
  CHECK_EQUAL(counter.count, 0);
  while (counter.count == 0) pthread_cond_wait(&counter.changed, &counter.mutex);
  CHECK_EQUAL(counter.last_kind, GCS_EVENT_LOG);
  CHECK(!pthread_equal(counter.last_thread, pthread_self()));
  pthread_mutex_unlock(&counter.mutex);
  CHECK_EQUAL(take_records(), 0);
  CHECK_EQUAL(gcs_log_set_target(gcs_queue_push, as_user(queue)), GCS_OK);
  make_records();
  record = next_event(queue);
  CHECK_EQUAL(gcs_event_kind(record), GCS_EVENT_LOG);
  gcs_event_free(record);
  CHECK_EQUAL(gcs_log_set_target(NULL, NULL), GCS_OK);
  /* Nothing but the target held the queue. */
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_log_set_level(GCS_LOG_WARNING), GCS_OK);
}

int main(void) {
  begin();
  a_newer_header_than_the_library_is_refused();
  the_version_is_three_numbers();
  features_can_be_asked_for();
  every_status_has_a_name_of_its_own();
  releases_of_ray_have_numbers();
  the_clock_only_goes_forwards();
  records_are_kept_until_they_are_taken();
  a_target_gets_what_was_kept_and_what_follows();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
