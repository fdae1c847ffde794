/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest in the process: writing to a connection that the peer has dropped raises no SIGPIPE, the
 * library's thread takes no signal that is meant for the application, and no handler is installed.
 */
#include "check.h"

static int listener = -1;

/* Takes connections, says just enough for the client to go on writing, and drops them with a reset.
 */
static void* drop_connections(void* user) {
  static const unsigned char settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
  (void)user;
  for (;;) {
    const int fd = accept(listener, NULL, NULL);
    struct linger reset;
    char bytes[64];
    if (fd < 0) return NULL;
    reset.l_onoff = 1;
    reset.l_linger = 0;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    if (send(fd, settings, sizeof settings, MSG_NOSIGNAL) == (ssize_t)sizeof settings) {
      (void)!recv(fd, bytes, sizeof bytes, 0);
    }
    close(fd);
  }
}

static const char* listen_somewhere(void) {
  static char address[32];
  listener = bound_socket(address);
  CHECK(listen(listener, 16) == 0);
  return address;
}

static void a_dropped_connection_raises_no_sigpipe(void) {
  gcs_client_options options;
  gcs_client client = 0;
  struct counter counter;
  pthread_t thread;
  struct sigaction action;
  const char* address = listen_somewhere();
  size_t i;
  /* The default: the process ends. */
  CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
  counter_init(&counter);
  CHECK(pthread_create(&thread, NULL, drop_connections, NULL) == 0);
  CHECK_EQUAL(gcs_client_options_init(&options, sizeof options), GCS_OK);
  options.address = address;
  options.token = "";
  options.cluster_id = "00112233445566778899aabbccddeeff00112233445566778899aabb";
  CHECK_EQUAL(gcs_client_create(&options, &client, NULL), GCS_OK);
  for (i = 0; i < 2000; ++i) {
    const gcs_call_options short_lived = with_timeout(MILLISECONDS(5));
    CHECK_EQUAL(gcs_kv_get(client, text_bytes("ns"), text_bytes("key"), &short_lived, NULL,
                           count_event, &counter, NULL),
                GCS_OK);
    if (i % 4 == 0) sleep_for(MILLISECONDS(1));
  }
  wait_for_count(&counter, 2000);
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
  CHECK(shutdown(listener, SHUT_RDWR) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  close(listener);
  CHECK(sigaction(SIGPIPE, NULL, &action) == 0);
  CHECK(action.sa_handler == SIG_DFL);
}

static pthread_t main_thread;
static volatile sig_atomic_t on_main_thread;
static volatile sig_atomic_t elsewhere;

static void note_thread(int number) {
  (void)number;
  if (pthread_equal(pthread_self(), main_thread)) {
    on_main_thread = 1;
  } else {
    elsewhere = 1;
  }
}

static void no_signal_is_taken_from_the_application(void) {
  struct sigaction action;
  struct counter counter;
  const gcs_client client = new_client();
  int i;
  counter_init(&counter);
  main_thread = pthread_self();
  memset(&action, 0, sizeof action);
  action.sa_handler = note_thread;
  CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
  expired_call(client, count_event, &counter);
  wait_for_count(&counter, 1);
  /* Were it not blocked in the library's thread, the kernel could choose that one while this has it
   * blocked. */
  for (i = 0; i < 20; ++i) {
    sigset_t set;
    sigset_t before;
    CHECK(sigemptyset(&set) == 0);
    CHECK(sigaddset(&set, SIGUSR2) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &before) == 0);
    CHECK(kill(getpid(), SIGUSR2) == 0);
    sleep_for(MILLISECONDS(2));
    CHECK_EQUAL(elsewhere, 0);
    on_main_thread = 0;
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK_EQUAL(on_main_thread, 1);
  }
  CHECK_EQUAL(gcs_client_destroy(client, SECONDS(20)), GCS_OK);
}

int main(void) {
  begin();
  a_dropped_connection_raises_no_sigpipe();
  no_signal_is_taken_from_the_application();
  CHECK_EQUAL(gcs_shutdown(SECONDS(20)), GCS_OK);
  return 0;
}
