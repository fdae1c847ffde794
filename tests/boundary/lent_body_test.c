/* SPDX-License-Identifier: Apache-2.0
 *
 * Lent bodies: released exactly once if the call was accepted, on the thread that was promised, and
 * never if it was not.
 */
#include "check.h"

struct lent {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  size_t releases;
  pthread_t thread;
  const void* data;
  size_t size;
};

static void on_release(void* user, const void* data, size_t size) {
  struct lent* lent = user;
  pthread_mutex_lock(&lent->mutex);
  ++lent->releases;
  lent->thread = pthread_self();
  lent->data = data;
  lent->size = size;
  pthread_cond_broadcast(&lent->changed);
  pthread_mutex_unlock(&lent->mutex);
}

static void lent_init(struct lent* lent) {
  memset(lent, 0, sizeof *lent);
  CHECK(pthread_mutex_init(&lent->mutex, NULL) == 0);
  CHECK(pthread_cond_init(&lent->changed, NULL) == 0);
}

static size_t releases_of(struct lent* lent) {
  size_t releases;
  pthread_mutex_lock(&lent->mutex);
  releases = lent->releases;
  pthread_mutex_unlock(&lent->mutex);
  return releases;
}

static void wait_for_release(struct lent* lent) {
  pthread_mutex_lock(&lent->mutex);
  while (lent->releases == 0) pthread_cond_wait(&lent->changed, &lent->mutex);
  pthread_mutex_unlock(&lent->mutex);
}

static const char kText[] = "the request";

static gcs_body lend(struct lent* lent) {
  gcs_body body;
  body.data = kText;
  body.size = sizeof kText;
  body.release = on_release;
  body.user = lent;
  return body;
}

static void call_with(gcs_client client, struct lent* lent, int64_t timeout, gcs_completion_fn fn,
                      void* user) {
  const gcs_call_options options = with_timeout(timeout);
  const gcs_body body = lend(lent);
  CHECK_EQUAL(gcs_call_path(client, "/some.Service/Method", &body, &options, NULL, fn, user, NULL),
              GCS_OK);
}

static void a_body_for_a_callback_is_released_once(void) {
  const gcs_client client = new_client();
  struct counter counter;
  struct lent lent;
  counter_init(&counter);
  lent_init(&lent);
  call_with(client, &lent, 0, count_event, &counter);
  wait_for_release(&lent);
  CHECK(lent.data == kText);
  CHECK_EQUAL(lent.size, sizeof kText);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  wait_for_count(&counter, 1);
  CHECK_EQUAL(releases_of(&lent), 1);
}

static void wait_until_readable(gcs_queue queue) {
  CHECK_EQUAL(gcs_queue_wait(queue, SECONDS(20)), GCS_OK);
}

static void a_body_for_a_queue_is_released_by_whoever_drains(int packed) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  struct counter marker;
  struct lent lent;
  size_t events = 0;
  counter_init(&marker);
  lent_init(&lent);
  call_with(client, &lent, 0, gcs_queue_push, as_user(queue));
  /* Later calls of the same client have ended: so has this one. */
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
  CHECK_EQUAL(releases_of(&lent), 0);
  while (events == 0 || releases_of(&lent) == 0) {
    wait_until_readable(queue);
    if (packed) {
      static char arena[GCS_PACKED_ARENA_MIN];
      gcs_packed_event event;
      gcs_packed_drain drain;
      CHECK_EQUAL(gcs_queue_drain_packed(queue, 0, &event, 1, arena, sizeof arena, &drain), GCS_OK);
      if (drain.count != 0) CHECK_EQUAL(event.kind, GCS_EVENT_CALL);
      events += drain.count;
    } else {
      gcs_event* event = NULL;
      size_t count = 0;
      CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
      if (count != 0) CHECK_EQUAL(gcs_event_kind(event), GCS_EVENT_CALL);
      gcs_event_free(event);
      events += count;
    }
  }
  CHECK_EQUAL(events, 1);
  CHECK_EQUAL(releases_of(&lent), 1);
  CHECK(pthread_equal(lent.thread, pthread_self()));
  CHECK(!is_readable(queue_fd(queue)));
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(releases_of(&lent), 1);
}

static void closing_the_queue_releases_what_is_queued_and_what_is_pending(void) {
  enum { BODIES = 100 };
  static struct lent queued[BODIES];
  static struct lent pending[BODIES];
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  struct counter marker;
  int i;
  counter_init(&marker);
  for (i = 0; i < BODIES; ++i) {
    lent_init(&queued[i]);
    lent_init(&pending[i]);
    call_with(client, &queued[i], 0, gcs_queue_push, as_user(queue));
    call_with(client, &pending[i], GCS_TIMEOUT_NONE, gcs_queue_push, as_user(queue));
  }
  expired_call(client, count_event, &marker);
  wait_for_count(&marker, 1);
  CHECK_EQUAL(gcs_queue_close(queue), GCS_OK);
  for (i = 0; i < BODIES; ++i) {
    /* What had come due is released by the time that close() returns. */
    CHECK_EQUAL(releases_of(&queued[i]), 1);
    CHECK(pthread_equal(queued[i].thread, pthread_self()));
    wait_for_release(&pending[i]);
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  for (i = 0; i < BODIES; ++i) {
    CHECK_EQUAL(releases_of(&queued[i]), 1);
    CHECK_EQUAL(releases_of(&pending[i]), 1);
  }
}

static void a_body_that_was_not_accepted_is_not_released(void) {
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  struct counter never;
  struct lent lent;
  gcs_body body;
  uint64_t unreserved = UINT64_MAX;
  gcs_call_options bad = with_timeout(-5);
  gcs_call_item item;
  counter_init(&never);
  lent_init(&lent);
  body = lend(&lent);
  CHECK_EQUAL(gcs_call(client, 1, &body, NULL, &unreserved, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call(client, 1, &body, NULL, &unreserved, gcs_queue_push, as_user(queue), NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call(client, 1, &body, &bad, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call(0, 1, &body, NULL, NULL, count_event, &never, NULL), GCS_BAD_HANDLE);
  CHECK_EQUAL(gcs_call(client, 1, &body, NULL, NULL, NULL, NULL, NULL), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_call_path(client, "x", &body, NULL, NULL, count_event, &never, NULL),
              GCS_INVALID_ARGUMENT);
  memset(&item, 0, sizeof item);
  item.struct_size = sizeof item;
  item.client = client;
  item.id = gcs_reserve_ids(1);
  item.method = 1;
  item.request = body;
  CHECK_EQUAL(gcs_call_batch(&item, 1), GCS_INVALID_ARGUMENT);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(releases_of(&lent), 0);
  CHECK_EQUAL(count_now(&never), 0);
}

static void a_batch_releases_every_body_whether_refused_or_not(void) {
  enum { ITEMS = 4 };
  const gcs_client client = new_client();
  const gcs_queue queue = new_queue();
  const gcs_queue closed = new_queue();
  const gcs_call_options at_once = with_timeout(0);
  const uint64_t first = gcs_reserve_ids(ITEMS);
  struct counter counter;
  struct lent lent[ITEMS];
  gcs_call_item items[ITEMS];
  size_t i;
  counter_init(&counter);
  memset(items, 0, sizeof items);
  CHECK_EQUAL(gcs_queue_close(closed), GCS_OK);
  for (i = 0; i < ITEMS; ++i) {
    lent_init(&lent[i]);
    items[i].struct_size = sizeof items[i];
    items[i].client = i == 0 ? client : 0;
    items[i].id = first + i;
    items[i].method = 1;
    items[i].request = lend(&lent[i]);
    items[i].options = &at_once;
    items[i].fn = i < 2 ? count_event : gcs_queue_push;
    items[i].user = i < 2 ? (void*)&counter : as_user(i == 2 ? queue : closed);
  }
  CHECK_EQUAL(gcs_call_batch(items, ITEMS), GCS_OK);
  wait_for_count(&counter, 2);
  gcs_event_free(next_event(queue));
  /* The refused one keeps its body until its event is freed; then the queue hears of it. */
  for (i = 0; i < ITEMS; ++i) {
    while (releases_of(&lent[i]) == 0) {
      gcs_event* event = NULL;
      size_t count = 0;
      CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
      CHECK_EQUAL(count, 0);
      sleep_for(MILLISECONDS(1));
    }
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  for (i = 0; i < ITEMS; ++i) CHECK_EQUAL(releases_of(&lent[i]), 1);
}

static void destroy_inside(void* user, const void* data, size_t size) {
  gcs_queue* queue = user;
  (void)data;
  (void)size;
  CHECK_EQUAL(gcs_queue_destroy(*queue, GCS_TIMEOUT_NONE), GCS_WOULD_DEADLOCK);
  CHECK_EQUAL(gcs_queue_close(*queue), GCS_OK);
  *queue = 0;
}

static void a_release_function_may_close_the_queue(void) {
  const gcs_client client = new_client();
  gcs_queue queue = new_queue();
  const gcs_queue drained = queue;
  const gcs_call_options options = with_timeout(0);
  const gcs_body body = {kText, sizeof kText, destroy_inside, &queue};
  CHECK_EQUAL(gcs_call(client, 1, &body, &options, NULL, gcs_queue_push, as_user(queue), NULL),
              GCS_OK);
  while (queue != 0) {
    gcs_event* event = NULL;
    size_t count = 0;
    CHECK_EQUAL(gcs_queue_drain(drained, &event, 1, &count), GCS_OK);
    gcs_event_free(event);
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

int main(void) {
  begin();
  a_body_for_a_callback_is_released_once();
  a_body_for_a_queue_is_released_by_whoever_drains(0);
  a_body_for_a_queue_is_released_by_whoever_drains(1);
  closing_the_queue_releases_what_is_queued_and_what_is_pending();
  a_body_that_was_not_accepted_is_not_released();
  a_batch_releases_every_body_whether_refused_or_not();
  a_release_function_may_close_the_queue();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
