/* SPDX-License-Identifier: Apache-2.0
 *
 * What the C programs share: checks that are always compiled in, an address where nothing listens,
 * and a completion target that counts. Every program ends by itself: an alarm kills one that hangs.
 */
#ifndef GCS_TESTS_BOUNDARY_CHECK_H
#define GCS_TESTS_BOUNDARY_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gcs_capi.h"

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      fprintf(stderr, "%s:%d: in %s: %s\n", __FILE__, __LINE__, __func__, #condition); \
      exit(1);                                                                         \
    }                                                                                  \
  } while (0)

#define CHECK_EQUAL(actual, expected)                                                             \
  do {                                                                                            \
    const long long check_actual = (long long)(actual);                                           \
    const long long check_expected = (long long)(expected);                                       \
    if (check_actual != check_expected) {                                                         \
      fprintf(stderr, "%s:%d: in %s: %s is %lld and not %s, which is %lld\n", __FILE__, __LINE__, \
              __func__, #actual, check_actual, #expected, check_expected);                        \
      exit(1);                                                                                    \
    }                                                                                             \
  } while (0)

#define SECONDS(count) ((int64_t)(count)*1000000000)
#define MILLISECONDS(count) ((int64_t)(count)*1000000)

static inline void begin(void) {
  alarm(100);
}

/* A socket on a port of our own on loopback, and its address: 32 bytes. */
static inline int bound_socket(char* address) {
  struct sockaddr_in name;
  socklen_t size = sizeof name;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0);
  memset(&name, 0, sizeof name);
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd, (struct sockaddr*)&name, size) == 0);
  CHECK(getsockname(fd, (struct sockaddr*)&name, &size) == 0);
  snprintf(address, 32, "127.0.0.1:%d", ntohs(name.sin_port));
  return fd;
}

/* A port that is ours and where nothing listens, so that connecting is refused. */
static inline const char* silent_address(void) {
  static char address[32];
  if (address[0] == '\0') bound_socket(address);
  return address;
}

/* A port that takes connections and never says a word. */
static inline const char* mute_address(void) {
  static char address[32];
  if (address[0] == '\0') CHECK(listen(bound_socket(address), 64) == 0);
  return address;
}

static inline gcs_client new_client_at(const char* address, gcs_completion_fn event_fn,
                                       void* event_user) {
  gcs_client_options options;
  gcs_client client = 0;
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = address;
  options.token = "";
  options.event_fn = event_fn;
  options.event_user = event_user;
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), GCS_OK);
  CHECK(client != 0);
  return client;
}

static inline gcs_client new_client_with(gcs_completion_fn event_fn, void* event_user) {
  return new_client_at(silent_address(), event_fn, event_user);
}

static inline gcs_client new_client(void) {
  return new_client_with(NULL, NULL);
}

static inline gcs_queue new_queue(void) {
  gcs_queue queue = 0;
  CHECK_EQUAL(gcs_queue_create(NULL, &queue, NULL), GCS_OK);
  CHECK(queue != 0);
  return queue;
}

static inline void* as_user(gcs_queue queue) {
  return (void*)(uintptr_t)queue;
}

static inline gcs_bytes text_bytes(const char* text) {
  gcs_bytes bytes;
  bytes.data = text;
  bytes.size = strlen(text);
  return bytes;
}

static inline gcs_call_options with_timeout(int64_t timeout) {
  gcs_call_options options;
  CHECK_EQUAL(gcs_call_options_init(&options, sizeof options), GCS_OK);
  options.timeout = timeout;
  return options;
}

static inline int is_readable(int fd) {
  struct pollfd descriptor;
  descriptor.fd = fd;
  descriptor.events = POLLIN;
  descriptor.revents = 0;
  return poll(&descriptor, 1, 0) == 1;
}

static inline int queue_fd(gcs_queue queue) {
  int32_t fd = -1;
  CHECK_EQUAL(gcs_queue_fd(queue, &fd), GCS_OK);
  CHECK(fd >= 0);
  return fd;
}

/* Waits for one event, and hands it over. */
static inline gcs_event* next_event(gcs_queue queue) {
  gcs_event* event = NULL;
  size_t count = 0;
  while (count == 0) {
    CHECK_EQUAL(gcs_queue_wait(queue, SECONDS(20)), GCS_OK);
    CHECK_EQUAL(gcs_queue_drain(queue, &event, 1, &count), GCS_OK);
  }
  CHECK(event != NULL);
  return event;
}

/* A call that expires at once: an event without any server. */
static inline uint64_t expired_call(gcs_client client, gcs_completion_fn fn, void* user) {
  const gcs_call_options options = with_timeout(0);
  uint64_t id = 0;
  CHECK_EQUAL(
      gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &options, &id, fn, user, NULL),
      GCS_OK);
  CHECK(id != 0);
  return id;
}

/* A completion target that counts. */
struct counter {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  size_t count;
  gcs_status last_status;
  int32_t last_kind;
  uint64_t last_id;
  pthread_t last_thread;
};

static inline void counter_init(struct counter* counter) {
  memset(counter, 0, sizeof *counter);
  CHECK(pthread_mutex_init(&counter->mutex, NULL) == 0);
  CHECK(pthread_cond_init(&counter->changed, NULL) == 0);
}

static inline void count_event(void* user, gcs_event* event) {
  struct counter* counter = user;
  pthread_mutex_lock(&counter->mutex);
  ++counter->count;
  counter->last_status = gcs_event_status(event);
  counter->last_kind = gcs_event_kind(event);
  counter->last_id = gcs_event_id(event);
  counter->last_thread = pthread_self();
  pthread_cond_broadcast(&counter->changed);
  pthread_mutex_unlock(&counter->mutex);
  gcs_event_free(event);
}

static inline void wait_for_count(struct counter* counter, size_t count) {
  pthread_mutex_lock(&counter->mutex);
  while (counter->count < count) pthread_cond_wait(&counter->changed, &counter->mutex);
  CHECK_EQUAL(counter->count, count);
  pthread_mutex_unlock(&counter->mutex);
}

static inline size_t count_now(struct counter* counter) {
  size_t count;
  pthread_mutex_lock(&counter->mutex);
  count = counter->count;
  pthread_mutex_unlock(&counter->mutex);
  return count;
}

static inline void sleep_for(int64_t nanoseconds) {
  struct timespec time;
  time.tv_sec = nanoseconds / 1000000000;
  time.tv_nsec = nanoseconds % 1000000000;
  while (nanosleep(&time, &time) != 0) {
  }
}

#endif /* GCS_TESTS_BOUNDARY_CHECK_H */
