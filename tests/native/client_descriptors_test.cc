// SPDX-License-Identifier: Apache-2.0
//
// Descriptors that have run out: what cannot be made or connected without them says so, and says
// what to do; nothing of it is left behind; and with descriptors again the same client connects,
// and what waited for it succeeds.
//
// The peer is a process of its own, which has its own descriptors.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string_view>
#include <vector>

#include "starved_client_test.h"

namespace gcs::test {
namespace {

using namespace std::chrono_literals;

void must(bool done) {
  if (done) return;
  std::perror("a test's own descriptors");
  std::abort();
}

// A GcsPeer in a child, which lives as long as this.
class PeerProcess {
 public:
  PeerProcess() {
    std::array<int, 2> port_pipe{};
    std::array<int, 2> life_pipe{};
    must(::pipe2(port_pipe.data(), O_CLOEXEC) == 0 && ::pipe2(life_pipe.data(), O_CLOEXEC) == 0);
    child_ = ::fork();
    must(child_ >= 0);
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::close(life_pipe[1]);
      serve(port_pipe[1], life_pipe[0]);
    }
    ::close(port_pipe[1]);
    ::close(life_pipe[0]);
    life_ = life_pipe[1];
    must(::read(port_pipe[0], &port_, sizeof port_) == sizeof port_);
    ::close(port_pipe[0]);
  }
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;
  ~PeerProcess() {
    ::close(life_);
    ::waitpid(child_, nullptr, 0);
  }
  std::string address(const std::string& host) const { return host + ":" + std::to_string(port_); }

 private:
  [[noreturn]] static void serve(int port_pipe, int life_pipe) {
    {
      const GcsPeer peer;
      const std::uint16_t port = peer.port();
      must(::write(port_pipe, &port, sizeof port) == sizeof port);
      char end = 0;
      must(::read(life_pipe, &end, 1) == 0);
    }
    ::_exit(0);
  }

  pid_t child_ = 0;
  int life_ = -1;
  std::uint16_t port_ = 0;
};

// While it lives, no descriptor from `limit` on can be had; those that are open stay so.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    must(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit lower{limit, before_.rlim_max};
    must(::setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { must(::setrlimit(RLIMIT_NOFILE, &before_) == 0); }

  // With which exactly `count` more can be had.
  static rlim_t leaving(std::size_t count) {
    std::vector<int> opened;
    for (std::size_t i = 0; i <= count; ++i) {
      opened.push_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      must(opened.back() >= 0);
    }
    for (const int fd : opened) ::close(fd);
    return static_cast<rlim_t>(opened.back());
  }

 private:
  rlimit before_{};
};

class ClientDescriptors : public StarvedClientTest {
 protected:
  gcs_status create() { return StarvedClientTest::create(peer_.address(host_)); }
  static void expect_advice(const std::string& message) {
    EXPECT_NE(message.find("oo many open files"), std::string::npos) << message;
    EXPECT_NE(message.find("ulimit -n"), std::string::npos) << message;
  }
  // connect() fails, and says why.
  void expect_no_connection() {
    Ending connect;
    ASSERT_EQ(gcs_client_connect(client_, 200 * kMillisecond, nullptr, Ending::receive, &connect),
              GCS_OK);
    ASSERT_TRUE(connect.wait());
    EXPECT_EQ(connect.status(), GCS_UNAVAILABLE);
    EXPECT_NE(connect.flags() & GCS_FLAG_RETRYABLE, 0u);
    expect_advice(connect.message());
  }

  PeerProcess peer_;
  std::string host_ = "127.0.0.1";
};

TEST_F(ClientDescriptors, AClientThatCannotBeMadeSaysSoAndOneThatCanConnectsLater) {
  ASSERT_EQ(create(), GCS_OK);
  destroy();
  const std::size_t open = open_descriptors();
  bool was_refused = false;
  for (std::size_t spare = 0; spare < 20; ++spare) {
    SCOPED_TRACE(spare);
    Ending waiting;
    gcs_status status = GCS_OK;
    {
      const DescriptorLimit limit(DescriptorLimit::leaving(spare));
      status = create();
      if (status == GCS_OK) {
        // All that it has got is taken.
        const DescriptorLimit none(0);
        get("key", waiting);
        expect_no_connection();
        EXPECT_EQ(waiting.count(), 0);
      }
    }
    if (status == GCS_OK) {
      expect_value(waiting);
      destroy();
      EXPECT_EQ(open_descriptors(), open);
      break;
    }
    was_refused = true;
    EXPECT_EQ(status, GCS_UNAVAILABLE) << message_;
    EXPECT_EQ(flags_, static_cast<std::uint32_t>(GCS_FLAG_LOCAL | GCS_FLAG_RETRYABLE));
    expect_advice(message_);
    EXPECT_EQ(client_, 0u);
    EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
    EXPECT_EQ(open_descriptors(), open);
  }
  EXPECT_TRUE(was_refused);
}

TEST_F(ClientDescriptors, ALostConnectionIsMadeAgainWhenThereAreDescriptors) {
  const std::size_t open = open_descriptors();
  ASSERT_EQ(create(), GCS_OK);
  Ending first;
  get("key", first);
  expect_value(first);
  Ending lost;
  {
    // Not even the one that the lost connection has had.
    const DescriptorLimit none(0);
    get("drop", lost);
    EXPECT_FALSE(lost.wait(100ms)) << lost.message();
    expect_no_connection();
    int32_t state = 0;
    EXPECT_EQ(gcs_client_state(client_, &state), GCS_OK);
    EXPECT_EQ(state, GCS_STATE_LOST);
    Ending impatient;
    get("key", impatient, 0);
    ASSERT_TRUE(impatient.wait());
    EXPECT_EQ(impatient.status(), GCS_UNAVAILABLE);
    expect_advice(impatient.message());
  }
  expect_value(lost);
  destroy();
  EXPECT_EQ(open_descriptors(), open);
}

TEST_F(ClientDescriptors, ANameIsLookedUpWhenThereAreDescriptors) {
  host_ = "localhost";
  const std::size_t open = open_descriptors();
  ASSERT_EQ(create(), GCS_OK);
  Ending waiting;
  {
    const DescriptorLimit none(0);
    get("key", waiting);
    Ending connect;
    ASSERT_EQ(gcs_client_connect(client_, 200 * kMillisecond, nullptr, Ending::receive, &connect),
              GCS_OK);
    ASSERT_TRUE(connect.wait());
    EXPECT_EQ(connect.status(), GCS_UNAVAILABLE);
    EXPECT_EQ(waiting.count(), 0);
    expect_advice(connect.message());
  }
  expect_value(waiting);
  destroy();
  EXPECT_EQ(open_descriptors(), open);
}

TEST_F(ClientDescriptors, AQueueNeedsOneForItsDescriptorAlone) {
  const std::size_t open = open_descriptors();
  gcs_queue queue = 0;
  std::int32_t descriptor = 0;
  {
    const DescriptorLimit none(0);
    ASSERT_EQ(gcs_queue_create(nullptr, &queue, nullptr), GCS_OK);
    EXPECT_EQ(gcs_queue_wait(queue, 0), GCS_DEADLINE);
    EXPECT_EQ(gcs_queue_fd(queue, &descriptor), GCS_UNAVAILABLE);
    EXPECT_EQ(descriptor, -1);
  }
  EXPECT_EQ(open_descriptors(), open);
  EXPECT_EQ(gcs_queue_fd(queue, &descriptor), GCS_OK);
  EXPECT_GE(descriptor, 0);
  EXPECT_EQ(gcs_queue_destroy(queue, kTimeout), GCS_OK);
  EXPECT_EQ(open_descriptors(), open);
}

}  // namespace
}  // namespace gcs::test
