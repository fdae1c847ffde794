// SPDX-License-Identifier: Apache-2.0
//
// Connections that do not come about: each says what was seen, in time, and nothing hangs or spins.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/times.h>
#include <unistd.h>

#include <condition_variable>
#include <thread>

#include "transport/resolver.h"
#include "transport_fixture.h"

namespace gcs::test {
namespace {

using transport::LookupResult;
using transport::SocketConnector;

class ConnectTest : public TransportTest {
 protected:
  bool says(std::string_view text) const {
    return notes.error.message.find(text) != std::string::npos;
  }
  bool run_until_closed(std::chrono::milliseconds limit = 20s) {
    return run_until([this] { return notes.closed == 1; }, limit);
  }
};

// Look-ups that tests put in the place of the real one. A function pointer carries no state, so
// this does.
struct Stuck {
  std::mutex mutex;
  std::condition_variable changed;
  bool released = false;
  std::atomic<int> waiting{0};
  int done = 0;

  void wait() {
    std::unique_lock lock(mutex);
    ++waiting;
    changed.notify_all();
    changed.wait(lock, [this] { return released; });
    ++done;
    changed.notify_all();
  }
  void release_and_join(int count) {
    std::unique_lock lock(mutex);
    released = true;
    changed.notify_all();
    changed.wait(lock, [&] { return done >= count; });
  }
};
Stuck* stuck = nullptr;

LookupResult hanging_look_up(const std::string&, std::uint16_t) {
  stuck->wait();
  return {{}, "too late"};
}

LookupResult two_addresses(const std::string&, std::uint16_t port) {
  // 127.0.0.2 refuses, since peers listen on 127.0.0.1 alone.
  return {{*transport::numeric_endpoint("127.0.0.2", port),
           *transport::numeric_endpoint("127.0.0.1", port)},
          {}};
}

LookupResult failing_look_up(const std::string&, std::uint16_t) {
  return {{}, "no such host: Name or service not known"};
}

LookupResult throwing_look_up(const std::string&, std::uint16_t) {
  throw std::bad_alloc();
}

TEST_F(ConnectTest, NothingListens) {
  connect(free_port());
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kConnect);
  EXPECT_EQ(notes.error.message, "connection refused");
  EXPECT_FALSE(notes.error.is_misconfiguration());
}

TEST_F(ConnectTest, NothingIsToldInsideConnect) {
  const std::uint16_t port = free_port();
  connect(port);
  EXPECT_EQ(notes.closed, 0);
  ASSERT_TRUE(run_until_closed());
}

TEST_F(ConnectTest, LocalhostIsLookedUp) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  connect(peer.port(), "localhost");
  ASSERT_TRUE(run_until([this] { return notes.ready + notes.closed > 0; }));
  EXPECT_EQ(notes.ready, 1) << notes.error.message;
}

TEST_F(ConnectTest, TheHostDoesNotExist) {
  connection =
      SocketConnector(loop, failing_look_up).connect({"nowhere.invalid", 6379}, options, notes);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kResolve);
  EXPECT_EQ(notes.error.message, "no such host: Name or service not known");
}

TEST_F(ConnectTest, TheRealResolverSaysThatAHostDoesNotExist) {
  const LookupResult result = transport::look_up_host("nowhere.invalid", 1);
  EXPECT_TRUE(result.endpoints.empty());
  // "no such host", or, where no name server answers, "the look-up failed".
  EXPECT_TRUE(result.error.find("no such host") == 0 ||
              result.error.find("the look-up failed") == 0)
      << result.error;
}

TEST_F(ConnectTest, ALookUpThatRunsOutOfMemoryIsAnError) {
  connection = SocketConnector(loop, throwing_look_up).connect({"name", 6379}, options, notes);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kResolve);
}

TEST_F(ConnectTest, ALookUpThatHangsEndsWithTheConnectTimeout) {
  Stuck state;
  stuck = &state;
  options.connect_timeout = 200'000'000;
  const auto begin = std::chrono::steady_clock::now();
  connection =
      SocketConnector(loop, hanging_look_up).connect({"slow.example", 6379}, options, notes);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kTimeout);
  EXPECT_EQ(notes.error.message, "the look-up of 'slow.example' did not end within 0.2 s");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  connection.reset();
  state.release_and_join(1);
}

TEST_F(ConnectTest, ALookUpThatHangsDelaysNeitherCloseNorTheLoopsEndNorOthers) {
  Stuck state;
  stuck = &state;
  auto own_loop = std::make_unique<AsioEventLoop>();
  Notes own_notes;
  const auto begin = std::chrono::steady_clock::now();
  auto hanging =
      SocketConnector(*own_loop, hanging_look_up).connect({"slow.example", 1}, options, own_notes);
  for (int i = 0; i < 500 && state.waiting == 0; ++i) own_loop->context().run_for(10ms);

  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  connect(peer.port(), "localhost");
  ASSERT_TRUE(run_until([this] { return notes.ready == 1; }));

  hanging.reset();
  own_loop.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  // The look-up ends after the loop that asked for it is gone.
  state.release_and_join(1);
  EXPECT_EQ(own_notes.closed, 0);
}

TEST_F(ConnectTest, HangingLookUpsAreBounded) {
  Stuck state;
  stuck = &state;
  std::deque<Notes> all(transport::Lookup::kMaxThreads + 1);
  std::vector<std::unique_ptr<Connection>> connections;
  for (Notes& each : all) {
    connections.push_back(
        SocketConnector(loop, hanging_look_up).connect({"slow.example", 1}, options, each));
  }
  ASSERT_TRUE(run_until([&] { return all.back().closed == 1; }));
  EXPECT_EQ(all.back().error.kind, ConnectionError::Kind::kResolve);
  EXPECT_NE(all.back().error.message.find("64 others"), std::string::npos)
      << all.back().error.message;
  connections.clear();
  state.release_and_join(transport::Lookup::kMaxThreads);
}

TEST_F(ConnectTest, ANumericAddressSkipsTheResolver) {
  const std::uint16_t port = free_port();
  for (const char* host : {"127.0.0.1", "::1"}) {
    notes = Notes();
    connection = SocketConnector(loop, failing_look_up).connect({host, port}, options, notes);
    ASSERT_TRUE(run_until_closed());
    EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kConnect) << notes.error.message;
  }
}

TEST_F(ConnectTest, EveryAddressOfAHostIsTried) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  connection =
      SocketConnector(loop, two_addresses).connect({"two.example", peer.port()}, options, notes);
  ASSERT_TRUE(run_until([this] { return notes.ready + notes.closed > 0; }));
  EXPECT_EQ(notes.ready, 1) << notes.error.message;
}

TEST_F(ConnectTest, TheLastAddressesFailureIsReported) {
  const std::uint16_t port = free_port();
  connection = SocketConnector(loop, two_addresses).connect({"two.example", port}, options, notes);
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.message,
            "connection refused (127.0.0.1:" + std::to_string(port) + ", the last of 2 addresses)");
}

// A listener whose queue of connections is full takes no more, and answers nothing.
class FullListener {
 public:
  FullListener() {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address_), size), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size), 0);
    EXPECT_EQ(::listen(fd_, 0), 0);
    for (int& filler : fillers_) {
      filler = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      ::connect(filler, reinterpret_cast<sockaddr*>(&address_), sizeof address_);
    }
  }
  ~FullListener() {
    for (const int filler : fillers_) ::close(filler);
    ::close(fd_);
  }
  FullListener(const FullListener&) = delete;
  FullListener& operator=(const FullListener&) = delete;
  std::uint16_t port() const { return ntohs(address_.sin_port); }

 private:
  int fd_ = -1;
  int fillers_[4] = {-1, -1, -1, -1};
  sockaddr_in address_{};
};

TEST_F(ConnectTest, AHostThatDoesNotAnswerIsNamedAtTheTimeout) {
  FullListener listener;
  options.connect_timeout = 300'000'000;
  connect(listener.port());
  ASSERT_TRUE(run_until_closed());
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kTimeout);
  EXPECT_EQ(notes.error.message, "nothing answered the connection attempt to 127.0.0.1:" +
                                     std::to_string(listener.port()) + " within 0.3 s");
}

std::uint16_t silent_port = 0;
LookupResult a_silent_and_a_good_address(const std::string&, std::uint16_t port) {
  return {{*transport::numeric_endpoint("127.0.0.1", silent_port),
           *transport::numeric_endpoint("127.0.0.1", port)},
          {}};
}

TEST_F(ConnectTest, AnAddressThatDoesNotAnswerLeavesTimeForTheNext) {
  FullListener listener;
  silent_port = listener.port();
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  options.connect_timeout = 1'000'000'000;
  connection = SocketConnector(loop, a_silent_and_a_good_address)
                   .connect({"two.example", peer.port()}, options, notes);
  ASSERT_TRUE(run_until([this] { return notes.ready + notes.closed > 0; }));
  EXPECT_EQ(notes.ready, 1) << notes.error.message;
}

TEST_F(ConnectTest, APeerThatSpeaksHttp1) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.read_some();
    self.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    self.wait_for_end();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kNotHttp2);
  EXPECT_NE(error.message.find("the peer speaks HTTP/1.1"), std::string::npos) << error.message;
  EXPECT_TRUE(error.is_misconfiguration());
}

TEST_F(ConnectTest, APeerThatSpeaksTls) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.read_some();
    self.write(std::string_view("\x15\x03\x03\x00\x02\x02\x46", 7));
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kNotHttp2);
  EXPECT_NE(error.message.find("the peer speaks TLS"), std::string::npos) << error.message;
}

TEST_F(ConnectTest, APeerThatSendsNoise) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.write("SSH-2.0-OpenSSH_9.2\r\n");
    self.wait_for_end();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kNotHttp2);
  EXPECT_NE(error.message.find("not HTTP/2"), std::string::npos) << error.message;
}

TEST_F(ConnectTest, APeerThatSendsNoiseBehindASettingsHeader) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.write(frame_bytes(NGHTTP2_SETTINGS, 0, 0, "12345"));
    self.wait_for_end();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kNotHttp2);
  EXPECT_NE(error.message.find("FRAME_SIZE_ERROR"), std::string::npos) << error.message;
}

TEST_F(ConnectTest, ASilentPeerEndsWithTheConnectTimeoutAndCostsNoProcessorTime) {
  options.connect_timeout = 300'000'000;
  rusage before{}, after{};
  getrusage(RUSAGE_THREAD, &before);
  const ConnectionError error = failure_of([](PeerConnection& self) { self.wait_for_end(); });
  getrusage(RUSAGE_THREAD, &after);
  EXPECT_EQ(error.kind, ConnectionError::Kind::kTimeout);
  EXPECT_EQ(error.message,
            "the peer accepted the connection but sent no HTTP/2 SETTINGS within 0.3 s");
  EXPECT_FALSE(error.is_misconfiguration());
  const auto microseconds = [](const timeval& time) {
    return time.tv_sec * 1'000'000 + time.tv_usec;
  };
  EXPECT_LT(microseconds(after.ru_utime) - microseconds(before.ru_utime), 100'000);
}

TEST_F(ConnectTest, APeerThatStopsInsideItsSettingsEndsWithTheConnectTimeout) {
  options.connect_timeout = 300'000'000;
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.write(std::string_view("\0\0\x06\x04\0\0\0\0\0\0\3", 11));
    self.wait_for_end();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kTimeout);
}

TEST_F(ConnectTest, APeerThatClosesAtOnce) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.read_some();
    self.close();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kEndOfFile);
  EXPECT_EQ(error.message,
            "the peer closed the connection before it sent HTTP/2 SETTINGS; does it want TLS?");
}

TEST_F(ConnectTest, APeerThatResetsAtOnce) {
  const ConnectionError error = failure_of([](PeerConnection& self) {
    self.read_some();
    self.reset();
  });
  EXPECT_EQ(error.kind, ConnectionError::Kind::kLost);
  EXPECT_EQ(error.message, "the peer reset the connection before the peer sent HTTP/2 SETTINGS");
}

TEST_F(ConnectTest, FirstBytesThatComeOneByOneAreTakenTogether) {
  ScriptedPeer peer([](PeerConnection& self) {
    for (const char c : frame_bytes(NGHTTP2_SETTINGS, 0, 0, {})) {
      self.write(std::string_view(&c, 1));
      std::this_thread::sleep_for(2ms);
    }
    self.wait_for_end();
  });
  EXPECT_TRUE(connect_to(peer));
}

TEST_F(ConnectTest, ClosingWhileConnectingIsReported) {
  Stuck state;
  stuck = &state;
  connection = SocketConnector(loop, hanging_look_up).connect({"slow.example", 1}, options, notes);
  ASSERT_TRUE(run_until([&] { return state.waiting == 1; }));
  connection->close();
  EXPECT_EQ(notes.closed, 0);
  ASSERT_TRUE(run_until_closed(2s));
  EXPECT_EQ(notes.error.kind, ConnectionError::Kind::kClosed);
  connection->close();
  run_for(20ms);
  EXPECT_EQ(notes.closed, 1);
  connection.reset();
  state.release_and_join(1);
}

TEST_F(ConnectTest, DroppingAConnectionWhileItIsMadeReportsNothing) {
  ScriptedPeer peer([](PeerConnection& self) { self.wait_for_end(); });
  connect(peer.port());
  connection.reset();
  connect(peer.port());
  run_for(20ms);
  connection.reset();
  run_for(20ms);
  EXPECT_EQ(notes.ready + notes.closed, 0);
}

TEST_F(ConnectTest, SocketsAreCloseOnExecAndHaveTheirOptionsSet) {
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  options.tcp_user_timeout = 7'000'000'000;
  ASSERT_TRUE(connect_to(peer));
  int found = 0;
  for (int fd = 3; fd < 200; ++fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        ntohs(address.sin_port) != peer.port()) {
      continue;
    }
    ++found;
    const auto option = [fd](int level, int name) {
      int value = 0;
      socklen_t length = sizeof value;
      EXPECT_EQ(::getsockopt(fd, level, name, &value, &length), 0);
      return value;
    };
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 7000);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(ConnectTest, ConnectionsLeaveNoDescriptorsBehind) {
  const auto open_descriptors = [] {
    int count = 0;
    for (int fd = 0; fd < 1000; ++fd) count += ::fcntl(fd, F_GETFD) != -1 ? 1 : 0;
    return count;
  };
  const std::uint16_t refused = free_port();
  ScriptedPeer peer([](PeerConnection& self) {
    if (self.greet()) self.echo();
  });
  int before = 0;
  for (int i = 0; i < 20; ++i) {
    notes = Notes();
    ASSERT_TRUE(connect_to(peer));
    connection.reset();
    notes = Notes();
    connect(refused);
    ASSERT_TRUE(run_until_closed());
    connection.reset();
    run_for(10ms);
    if (i == 4) before = open_descriptors();
  }
  EXPECT_TRUE(run_until([&] { return open_descriptors() <= before + 1; }, 5s))
      << open_descriptors();
}

}  // namespace
}  // namespace gcs::test
