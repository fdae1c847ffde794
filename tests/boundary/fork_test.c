/* SPDX-License-Identifier: Apache-2.0
 *
 * Fork: in the child every handle from before gives GCS_FORKED and touches nothing of the parent's;
 * a client of the child's own works; the parent goes on as if nothing had happened.
 */
#include "check.h"

/* The allocators of the sanitizers do not survive a fork in the middle of another thread's
 * malloc(), as libc's does: there only the library's own thread is left running beside the one that
 * forks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LOAD_THREADS = 0 };
#else
enum { LOAD_THREADS = 2 };
#endif

/* With the last thread the process exits, and runs its atexit() handlers there: for ThreadSanitizer
 * that thread has ended already. */
#if defined(__SANITIZE_THREAD__)
enum { LAST_THREAD_MAY_END = 0 };
#else
enum { LAST_THREAD_MAY_END = 1 };
#endif

static gcs_client client;
static gcs_queue queue;

static void inherited_handles_are_refused(void) {
  static char arena[GCS_PACKED_ARENA_MIN];
  const gcs_bytes key = text_bytes("key");
  gcs_packed_event slot;
  gcs_packed_drain drain;
  gcs_buffer* buffer = NULL;
  gcs_event* event = NULL;
  gcs_error* error = NULL;
  size_t count = 0;
  int32_t number = 0;
  CHECK_EQUAL(gcs_client_state(client, &number), GCS_FORKED);
  CHECK_EQUAL(gcs_client_address(client, &buffer), GCS_FORKED);
  CHECK_EQUAL(gcs_client_stats(client, &buffer), GCS_FORKED);
  CHECK_EQUAL(gcs_client_connect(client, 0, NULL, gcs_queue_push, as_user(queue)), GCS_FORKED);
  CHECK_EQUAL(gcs_kv_get(client, key, key, NULL, NULL, gcs_queue_push, as_user(queue), &error),
              GCS_FORKED);
  CHECK(strstr(gcs_error_message(error), "fork") != NULL);
  gcs_error_free(error);
  CHECK_EQUAL(gcs_cancel(client, 1), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_fd(queue, &number), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_wait(queue, SECONDS(5)), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_drain_packed(queue, SECONDS(5), &slot, 1, arena, sizeof arena, &drain),
              GCS_FORKED);
  CHECK_EQUAL(gcs_call_batch_packed(queue, NULL, 0), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_close(queue), GCS_FORKED);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(5)), GCS_FORKED);
  CHECK_EQUAL(gcs_client_close(client), GCS_FORKED);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(5)), GCS_FORKED);
}

static void a_new_client_works(void) {
  const gcs_client own = new_client();
  const gcs_queue own_queue = new_queue();
  gcs_call_options options = with_timeout(SECONDS(20));
  gcs_event* event;
  CHECK(own != client);
  CHECK(own_queue != queue);
  options.wait_for_ready = 0;
  CHECK_EQUAL(gcs_kv_get(own, text_bytes("ns"), text_bytes("key"), &options, NULL, gcs_queue_push,
                         as_user(own_queue), NULL),
              GCS_OK);
  event = next_event(own_queue);
  CHECK_EQUAL(gcs_event_status(event), GCS_UNAVAILABLE);
  gcs_event_free(event);
  CHECK_EQUAL(gcs_client_destroy(own, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(own_queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
}

static void expect_success(pid_t child) {
  int status = 0;
  CHECK(child > 0);
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK_EQUAL(WEXITSTATUS(status), 0);
}

static pid_t fork_child(void) {
  pid_t child;
  fflush(NULL);
  if (LOAD_THREADS == 0) sleep_for(MILLISECONDS(50));
  child = fork();
  if (child == 0) {
    begin();
    inherited_handles_are_refused();
    a_new_client_works();
    inherited_handles_are_refused();
  }
  return child;
}

static void a_child_and_its_child_have_their_own(void) {
  const pid_t child = fork_child();
  if (child == 0) {
    const pid_t grandchild = fork_child();
    if (grandchild == 0) _exit(0);
    expect_success(grandchild);
    _exit(0);
  }
  expect_success(child);
}

/* A pending call, and with it every part of the runtime, survives what a child does. */
static void the_parent_goes_on(void) {
  const gcs_call_options options = with_timeout(GCS_TIMEOUT_NONE);
  uint64_t id = 0;
  gcs_event* event;
  int i;
  CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, &id, gcs_queue_push,
                         as_user(queue), NULL),
              GCS_OK);
  for (i = 0; i < 3; ++i) {
    a_child_and_its_child_have_their_own();
    CHECK(!is_readable(queue_fd(queue)));
    expired_call(client, gcs_queue_push, as_user(queue));
    event = next_event(queue);
    CHECK_EQUAL(gcs_event_status(event), GCS_DEADLINE);
    gcs_event_free(event);
  }
  CHECK_EQUAL(gcs_cancel(client, id), GCS_OK);
  event = next_event(queue);
  CHECK_EQUAL(gcs_event_id(event), id);
  gcs_event_free(event);
}

struct load {
  pthread_mutex_t mutex;
  int stop;
};

static void* make_load(void* user) {
  struct load* load = user;
  for (;;) {
    struct counter counter;
    int stop;
    counter_init(&counter);
    expired_call(client, count_event, &counter);
    wait_for_count(&counter, 1);
    pthread_mutex_lock(&load->mutex);
    stop = load->stop;
    pthread_mutex_unlock(&load->mutex);
    if (stop) return NULL;
  }
}

/* Forks while other threads hold whatever locks there are. */
static void a_fork_in_the_middle_of_things_hangs_nobody(void) {
  struct load load;
  pthread_t threads[LOAD_THREADS + 1];
  int i;
  memset(&load, 0, sizeof load);
  CHECK(pthread_mutex_init(&load.mutex, NULL) == 0);
  for (i = 0; i < LOAD_THREADS; ++i)
    CHECK(pthread_create(&threads[i], NULL, make_load, &load) == 0);
  for (i = 0; i < 20; ++i) {
    const pid_t child = fork_child();
    if (child == 0) _exit(0);
    expect_success(child);
  }
  pthread_mutex_lock(&load.mutex);
  load.stop = 1;
  pthread_mutex_unlock(&load.mutex);
  for (i = 0; i < LOAD_THREADS; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
}

#if defined(__SANITIZE_ADDRESS__)
/* What the child inherits is given up in it, not freed: no look for leaks there. */
static void end_child(void) {
  _exit(0);
}
#endif

struct forking {
  struct counter counter;
  int returns;
  pid_t child;
};

static void fork_in_callback(void* user, gcs_event* event) {
  struct forking* forking = user;
  const pid_t child = fork();
  if (child == 0) {
    begin();
#if defined(__SANITIZE_ADDRESS__)
    CHECK(atexit(end_child) == 0);
#endif
    if (forking->returns) return;
    inherited_handles_are_refused();
    a_new_client_works();
    _exit(0);
  }
  forking->child = child;
  count_event(&forking->counter, event);
}

/* In the child nothing of the parent's goes on: a callback that returns there ends the process's
 * only thread. */
static void a_callback_may_fork(void) {
  int i;
  for (i = 0; i < 6; ++i) {
    struct forking forking;
    gcs_event* event;
    memset(&forking, 0, sizeof forking);
    counter_init(&forking.counter);
    forking.returns = LAST_THREAD_MAY_END && i % 2;
    fflush(NULL);
    expired_call(client, fork_in_callback, &forking);
    wait_for_count(&forking.counter, 1);
    expired_call(client, gcs_queue_push, as_user(queue));
    event = next_event(queue);
    CHECK_EQUAL(gcs_event_status(event), GCS_DEADLINE);
    gcs_event_free(event);
    expect_success(forking.child);
  }
}

#if defined(__SANITIZE_THREAD__)
const char* __tsan_default_options(void);
const char* __tsan_default_options(void) {
  return "die_after_fork=0";
}
#endif

int main(void) {
  begin();
  /* Connects once, and then waits in vain: not again and again. */
  client = new_client_at(mute_address(), NULL, NULL);
  queue = new_queue();
  the_parent_goes_on();
  a_callback_may_fork();
  a_fork_in_the_middle_of_things_hangs_nobody();
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_queue_destroy(queue, SECONDS(20)), GCS_OK);
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
