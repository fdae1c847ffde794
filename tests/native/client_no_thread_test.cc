// SPDX-License-Identifier: Apache-2.0
//
// Threads that cannot be started: making a client says so, and what to do; a look-up that gets none
// is a failed attempt to connect, which is made again; and when threads can be had again the same
// client works.
//
// pthread_create() is this program's, and stands before the C library's, in libstdc++ too.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <limits>
#include <string_view>

#include "starved_client_test.h"

namespace {

// Threads that this one, and those that it starts, may still have before none can be started; and
// how often that is said then. The peer's threads are not among them.
constinit std::atomic<int> granted{std::numeric_limits<int>::max()};
constinit std::atomic<int> refused{0};
constinit std::atomic<int> refusals{0};
constinit thread_local bool is_peer = false;

struct ThreadStart {
  void* (*function)(void*);
  void* argument;
  bool is_peer;
};

void* run_thread(void* user) {
  const std::unique_ptr<ThreadStart> start(static_cast<ThreadStart*>(user));
  is_peer = start->is_peer;
  return start->function(start->argument);
}

bool is_refused() noexcept {
  if (is_peer || granted.fetch_sub(1) > 0) return false;
  if (refused.fetch_sub(1) <= 0) return false;
  ++refusals;
  return true;
}

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*function)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
  if (is_refused()) return EAGAIN;
  auto start = std::make_unique<ThreadStart>(ThreadStart{function, argument, is_peer});
  const int error = create(thread, attributes, run_thread, start.get());
  if (error == 0) static_cast<void>(start.release());
  return error;
}

namespace gcs::test {
namespace {

using namespace std::chrono_literals;

constexpr int kForEver = std::numeric_limits<int>::max();

// From now on `first` threads can be started, then none `count` times, then any.
void refuse_threads(int first, int count) {
  refusals = 0;
  refused = count;
  granted = first;
}

void grant_threads() {
  refused = 0;
  granted = kForEver;
}

class ClientNoThread : public StarvedClientTest {
 protected:
  ClientNoThread() {
    is_peer = true;
    peer_ = std::make_unique<GcsPeer>();
    is_peer = false;
  }
  ~ClientNoThread() override { grant_threads(); }

  gcs_status create(const std::string& host) {
    return StarvedClientTest::create(peer_->address(host));
  }
  static void expect_advice(const std::string& message) {
    EXPECT_NE(message.find("thread"), std::string::npos) << message;
    EXPECT_NE(message.find("esource temporarily unavailable"), std::string::npos) << message;
    EXPECT_NE(message.find("ulimit -u"), std::string::npos) << message;
  }
  void expect_not_made() {
    EXPECT_EQ(create("localhost"), GCS_UNAVAILABLE) << message_;
    EXPECT_EQ(flags_, static_cast<std::uint32_t>(GCS_FLAG_LOCAL | GCS_FLAG_RETRYABLE));
    EXPECT_EQ(client_, 0u);
    expect_advice(message_);
  }

  std::unique_ptr<GcsPeer> peer_;
};

TEST_F(ClientNoThread, AClientThatCannotHaveOneIsNotMadeAndTheNextOneIs) {
  const std::size_t open = open_descriptors();
  refuse_threads(0, 3);
  for (int i = 0; i < 3; ++i) expect_not_made();
  EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
  EXPECT_EQ(open_descriptors(), open);
  Ending ending;
  ASSERT_EQ(create("localhost"), GCS_OK) << message_;
  get("key", ending);
  expect_value(ending);
  destroy();
}

TEST_F(ClientNoThread, ALifeGoesOnWhicheverThreadIsRefused) {
  int threads = 0;
  for (;; ++threads) {
    SCOPED_TRACE(threads);
    ASSERT_LT(threads, 20);
    refuse_threads(threads, 1);
    gcs_status status = create("localhost");
    if (status != GCS_OK) {
      EXPECT_EQ(status, GCS_UNAVAILABLE) << message_;
      status = create("localhost");
    }
    ASSERT_EQ(status, GCS_OK) << message_;
    Ending first, ended;
    get("key", first);
    expect_value(first);
    get(threads % 2 == 0 ? "end" : "drop", ended);
    expect_value(ended);
    const bool was_refused = refusals > 0;
    destroy();
    grant_threads();
    if (!was_refused) break;
  }
  // The I/O thread, and a look-up at the least.
  EXPECT_GE(threads, 2);
}

TEST_F(ClientNoThread, ALookUpThatGetsNoneIsAFailedAttemptThatIsMadeAgain) {
  ASSERT_EQ(create("localhost"), GCS_OK);
  refuse_threads(0, kForEver);
  Ending waiting;
  get("key", waiting);
  Ending connect;
  ASSERT_EQ(gcs_client_connect(client_, 200 * kMillisecond, nullptr, Ending::receive, &connect),
            GCS_OK);
  ASSERT_TRUE(connect.wait());
  EXPECT_EQ(connect.status(), GCS_UNAVAILABLE);
  EXPECT_NE(connect.flags() & GCS_FLAG_RETRYABLE, 0u);
  expect_advice(connect.message());
  Ending impatient;
  get("key", impatient, 0);
  ASSERT_TRUE(impatient.wait());
  EXPECT_EQ(impatient.status(), GCS_UNAVAILABLE) << impatient.message();
  EXPECT_EQ(waiting.count(), 0);
  EXPECT_GT(refusals, 1);
  grant_threads();
  expect_value(waiting);
  destroy();
}

TEST_F(ClientNoThread, AnIoThreadThatACallbackHasEndedIsReplacedAsSoonAsOneCanBe) {
  ASSERT_EQ(create("127.0.0.1"), GCS_OK);
  Ending before;
  get("key", before);
  expect_value(before);
  const auto end_thread = [](void*, gcs_event* event) {
    gcs_event_free(event);
    refuse_threads(0, 5);
    pthread_exit(nullptr);
  };
  ASSERT_EQ(
      gcs_kv_get(client_, {"n", 1}, {"key", 3}, nullptr, nullptr, end_thread, nullptr, nullptr),
      GCS_OK);
  while (refusals == 0) std::this_thread::sleep_for(1ms);
  Ending after;
  get("key", after);
  expect_value(after);
  EXPECT_EQ(refusals, 5);
  destroy();
}

}  // namespace
}  // namespace gcs::test
