/* SPDX-License-Identifier: Apache-2.0
 *
 * Subscriptions at the boundary: what is refused, how they end where no server is, and that drop()
 * runs once, after the last event.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "check.h"

static const gcs_bytes NO_KEY = {NULL, 0};

typedef struct {
  atomic_int ends;
  atomic_int drops;
  atomic_int status;
  atomic_int ends_at_drop;
} Seen;

static void receive(void* user, gcs_event* event) {
  Seen* const seen = user;
  CHECK_EQUAL(gcs_event_kind(event), GCS_EVENT_SUBSCRIPTION_END);
  CHECK_EQUAL(gcs_event_key(event).size, 0);
  atomic_store(&seen->status, gcs_event_status(event));
  gcs_event_free(event);
  atomic_fetch_add(&seen->ends, 1);
}

static void drop(void* user, const void* data, size_t size) {
  Seen* const seen = user;
  CHECK(data == NULL);
  CHECK_EQUAL(size, 0);
  atomic_store(&seen->ends_at_drop, atomic_load(&seen->ends));
  atomic_fetch_add(&seen->drops, 1);
}

static gcs_subscribe_options with_drop(Seen* seen) {
  gcs_subscribe_options options;
  CHECK_EQUAL(gcs_subscribe_options_init(&options, sizeof options), GCS_OK);
  options.drop = drop;
  options.drop_user = seen;
  return options;
}

static gcs_status subscribe(gcs_client client, const char* channel, gcs_bytes key,
                            const gcs_subscribe_options* options, uint64_t* id, Seen* seen) {
  return gcs_subscribe(client, channel, key, options, id, receive, seen, NULL);
}

static void wait_for(atomic_int* count, int expected) {
  const struct timespec pause = {0, 1000000};
  int i;
  for (i = 0; i < 20000 && atomic_load(count) < expected; ++i) nanosleep(&pause, NULL);
  CHECK_EQUAL(atomic_load(count), expected);
}

static void what_cannot_be_is_refused_and_nothing_is_dropped(void) {
  const gcs_client client = new_client();
  Seen seen = {0};
  gcs_subscribe_options options = with_drop(&seen);
  const gcs_bytes no_data = {NULL, 3};
  const gcs_bytes short_id = {"12345", 5};
  uint64_t forged = UINT64_MAX;
  gcs_error* error = NULL;
  CHECK_EQUAL(subscribe(client, NULL, NO_KEY, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(subscribe(client, "", NO_KEY, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(subscribe(client, "errors", no_data, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, &forged, &seen), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_subscribe(client, "actors", short_id, &options, NULL, receive, &seen, &error),
              GCS_INVALID_ARGUMENT);
  CHECK(strstr(gcs_error_message(error), "16 bytes") != NULL);
  gcs_error_free(error);
  CHECK_EQUAL(gcs_subscribe(client, "errors", NO_KEY, &options, NULL, NULL, NULL, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_subscribe(client, "errors", NO_KEY, &options, NULL, gcs_queue_push, NULL, NULL),
              GCS_BAD_HANDLE);
  CHECK_EQUAL(subscribe(0, "errors", NO_KEY, &options, NULL, &seen), GCS_BAD_HANDLE);
  CHECK_EQUAL(subscribe(client + 1, "errors", NO_KEY, &options, NULL, &seen), GCS_BAD_HANDLE);
  options.policy = 3;
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  options = with_drop(&seen);
  options.timeout = -3;
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  options = with_drop(&seen);
  options.wait_for_ready = 2;
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, NULL, &seen), GCS_INVALID_ARGUMENT);
  options = with_drop(&seen);
  options.struct_size = 8;
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, NULL, &seen), GCS_ABI);
  CHECK_EQUAL(gcs_subscribe_options_init(NULL, sizeof options), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_subscribe_options_init(&options, 8), GCS_ABI);
  CHECK_EQUAL(gcs_subscribe_options_init(&options, sizeof options + 8), GCS_ABI);
  CHECK_EQUAL(gcs_subscription_credit(0, 1, 1, 1), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_unsubscribe(0, 1), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_subscription_credit(client, 12345, UINT64_MAX, UINT64_MAX), GCS_OK);
  CHECK_EQUAL(gcs_unsubscribe(client, 12345), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(atomic_load(&seen.ends), 0);
  CHECK_EQUAL(atomic_load(&seen.drops), 0);
  CHECK_EQUAL(gcs_event_key(NULL).size, 0);
  CHECK_EQUAL(gcs_has_feature("subscriptions"), 1);
}

/* The key begins at a page that nobody may read. */
static void a_key_that_is_too_large_is_refused_unread(void) {
  const size_t largest = (size_t)1 << 20;
  const size_t sizes[] = {largest + 1, (size_t)1 << 40, SIZE_MAX / 2, SIZE_MAX};
  const char* const channels[] = {"errors", "logs", "actors", "no such channel"};
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void* const unreadable = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const gcs_client client = new_client();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  size_t i, j;
  CHECK(unreadable != MAP_FAILED);
  for (i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    for (j = 0; j < sizeof channels / sizeof *channels; ++j) {
      const gcs_bytes key = {unreadable, sizes[i]};
      const int has_ids = strcmp(channels[j], "actors") == 0;
      gcs_error* error = NULL;
      CHECK_EQUAL(gcs_subscribe(client, channels[j], key, &options, NULL, receive, &seen, &error),
                  GCS_INVALID_ARGUMENT);
      CHECK(strstr(gcs_error_message(error), has_ids ? "16 bytes" : "1 MiB") != NULL);
      gcs_error_free(error);
    }
  }
  CHECK_EQUAL(munmap(unreadable, page), 0);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(atomic_load(&seen.ends), 0);
  CHECK_EQUAL(atomic_load(&seen.drops), 0);
}

static void the_largest_key_is_taken(void) {
  const size_t largest = (size_t)1 << 20;
  char* const bytes = calloc(largest, 1);
  const gcs_bytes key = {bytes, largest};
  const gcs_client client = new_client();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  CHECK(bytes != NULL);
  CHECK_EQUAL(subscribe(client, "errors", key, &options, NULL, &seen), GCS_OK);
  free(bytes); /* it was copied */
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  wait_for(&seen.drops, 1);
  CHECK_EQUAL(atomic_load(&seen.status), GCS_CLOSED);
}

static void one_that_is_ended_says_so_once_and_is_dropped_behind_it(void) {
  const gcs_client client = new_client();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  uint64_t id = 0;
  CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, &id, &seen), GCS_OK);
  CHECK(id != 0);
  CHECK_EQUAL(gcs_subscription_credit(client, id, 10, 10), GCS_OK);
  CHECK_EQUAL(gcs_unsubscribe(client, id), GCS_OK);
  CHECK_EQUAL(gcs_unsubscribe(client, id), GCS_OK);
  wait_for(&seen.drops, 1);
  CHECK_EQUAL(atomic_load(&seen.ends_at_drop), 1);
  CHECK_EQUAL(atomic_load(&seen.status), GCS_CANCELLED);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(atomic_load(&seen.ends), 1);
  CHECK_EQUAL(atomic_load(&seen.drops), 1);
}

static void one_whose_time_is_over_ends_with_the_deadline(void) {
  const gcs_client client = new_client_at(mute_address(), NULL, NULL);
  Seen seen = {0};
  gcs_subscribe_options options = with_drop(&seen);
  options.timeout = MILLISECONDS(50);
  CHECK_EQUAL(subscribe(client, "nodes", NO_KEY, &options, NULL, &seen), GCS_OK);
  wait_for(&seen.drops, 1);
  CHECK_EQUAL(atomic_load(&seen.status), GCS_DEADLINE);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

static void the_client_ends_all_of_its_own(void) {
  enum { MANY = 100 };
  const gcs_client client = new_client();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  int i;
  for (i = 0; i < MANY; ++i)
    CHECK_EQUAL(subscribe(client, "errors", NO_KEY, &options, NULL, &seen), GCS_OK);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  wait_for(&seen.drops, MANY);
  CHECK_EQUAL(atomic_load(&seen.ends), MANY);
  CHECK_EQUAL(atomic_load(&seen.status), GCS_CLOSED);
}

static void a_queue_that_is_drained_drops_on_the_thread_that_drains(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  gcs_event* event = NULL;
  size_t count = 0;
  uint64_t id = 0;
  CHECK_EQUAL(
      gcs_subscribe(client, "logs", NO_KEY, &options, &id, gcs_queue_push, as_user(queue), NULL),
      GCS_OK);
  CHECK_EQUAL(gcs_unsubscribe(client, id), GCS_OK);
  CHECK_EQUAL(gcs_queue_wait(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
  CHECK_EQUAL(count, 1);
  CHECK_EQUAL(gcs_event_kind(event), GCS_EVENT_SUBSCRIPTION_END);
  CHECK_EQUAL(gcs_event_id(event), id);
  CHECK_EQUAL(gcs_event_status(event), GCS_CANCELLED);
  gcs_event_free(event);
  while (atomic_load(&seen.drops) == 0) {
    CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
    CHECK_EQUAL(count, 0);
  }
  CHECK_EQUAL(atomic_load(&seen.drops), 1);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
}

static void a_queue_that_is_closed_ends_and_drops_what_goes_there(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  Seen seen = {0};
  const gcs_subscribe_options options = with_drop(&seen);
  CHECK_EQUAL(
      gcs_subscribe(client, "logs", NO_KEY, &options, NULL, gcs_queue_push, as_user(queue), NULL),
      GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  wait_for(&seen.drops, 1);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(atomic_load(&seen.drops), 1);
}

int main(void) {
  begin();
  what_cannot_be_is_refused_and_nothing_is_dropped();
  a_key_that_is_too_large_is_refused_unread();
  the_largest_key_is_taken();
  one_that_is_ended_says_so_once_and_is_dropped_behind_it();
  one_whose_time_is_over_ends_with_the_deadline();
  the_client_ends_all_of_its_own();
  a_queue_that_is_drained_drops_on_the_thread_that_drains();
  a_queue_that_is_closed_ends_and_drops_what_goes_there();
  return 0;
}
