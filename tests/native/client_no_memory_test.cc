// SPDX-License-Identifier: Apache-2.0
//
// Memory that cannot be had while a server answers: the k-th allocation of the client's threads
// fails, for k = 1, 2, ... until none is left to fail. Then the process lives, every accepted call
// ends exactly once, with a status that says what happened, a call that follows succeeds on the
// same client, the client closes, and no descriptor is left behind.
//
// The peer is a part of the program: what it allocates does not count.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "environment.h"
#include "failing_allocator.h"
#include "gcs_peer.h"
#include "random_seed.h"

namespace gcs::test {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kMillisecond = 1'000'000;
// Whatever takes longer than this hangs.
constexpr auto kPatience = 10s;
constexpr std::int64_t kTimeout = 10'000 * kMillisecond;
constexpr long kNever = 1L << 40;

gcs_bytes bytes(std::string_view text) {
  return {text.data(), text.size()};
}

// What one life of a client is made with.
struct Setting {
  std::string host;
  const ServerTls::Options* server = nullptr;  // nullptr: without TLS
  std::string ca_file, cert_file, key_file;
};

// A call that may be accepted, and how it ended.
struct Asked {
  gcs_status accepted = GCS_CLOSED;
  std::uint64_t id = 0;
  Ending ending;
};

class Life {
 public:
  explicit Life(const Setting& setting)
      : setting_(setting), peer_(setting.server), large_(GcsPeer::kLargeValue, 'p') {
    gcs_call_options_init(&call_options_, sizeof call_options_);
    call_options_.timeout = kTimeout;
  }

  // Lives, while the k-th allocation fails. False if there were not so many.
  bool run(long k) {
    countdown = k;
    const bool made = create();
    if (made) use();
    const bool failed = countdown.exchange(0) <= 0;
    if (made) recover_and_close();
    // The next life has a thread of its own.
    EXPECT_EQ(gcs_shutdown(kTimeout), GCS_OK);
    return failed;
  }

 private:
  bool create() {
    const std::string address = peer_.address(setting_.host);
    gcs_client_options options;
    gcs_client_options_init(&options, sizeof options);
    options.address = address.c_str();
    options.token = "a-token-that-is-longer-than-what-a-string-holds-in-place";
    // An attempt that is not to end is given up after this.
    options.connect_timeout = 500 * kMillisecond;
    if (setting_.server != nullptr) {
      options.tls_ca_file = setting_.ca_file.c_str();
      options.tls_cert_file = setting_.cert_file.c_str();
      options.tls_key_file = setting_.key_file.c_str();
    }
    gcs_error* error = nullptr;
    gcs_status status = GCS_OK;
    {
      const InLibrary counts;
      status = gcs_client_create(&options, &client_, &error);
    }
    // The C library says EAGAIN when a thread cannot have memory.
    const bool expected = status == GCS_OK || status == GCS_NO_MEMORY || status == GCS_UNAVAILABLE;
    EXPECT_TRUE(expected) << gcs_status_name(status) << ": " << gcs_error_message(error);
    EXPECT_EQ(client_ != 0, status == GCS_OK);
    gcs_error_free(error);
    return status == GCS_OK;
  }

  void use() {
    {
      const InLibrary counts;
      watch_.accepted = gcs_client_watch(client_, &watch_.id, Ending::receive, &watch_.ending);
      connect_.accepted =
          gcs_client_connect(client_, kTimeout, &connect_.id, Ending::receive, &connect_.ending);
    }
    expect_ended(connect_, {GCS_OK});
    get("small", small_);
    expect_ended(small_, {GCS_OK});
    call_options_.ray_version = gcs_ray_version_number(GcsPeer::kRayVersion);
    get("small", versioned_);
    expect_ended(versioned_, {GCS_OK});
    call_options_.ray_version = 0;
    put("small", "value", put_);
    get("large", large_get_);
    put("large", large_, large_put_);
    get("absent", absent_);
    get("hold", held_);
    expect_ended(put_, {GCS_OK, GCS_CONNECTION_LOST});
    expect_ended(large_get_, {GCS_OK});
    expect_ended(large_put_, {GCS_OK, GCS_CONNECTION_LOST});
    expect_ended(absent_, {GCS_RAY_NOT_FOUND});
    // The cancellation is the one that may want memory.
    gcs_status cancelled = GCS_NO_MEMORY;
    for (int i = 0; i < 2 && cancelled == GCS_NO_MEMORY; ++i) {
      const InLibrary counts;
      cancelled = gcs_cancel(client_, held_.id);
    }
    EXPECT_EQ(cancelled, GCS_OK);
    expect_ended(held_, {GCS_CANCELLED});
    get("drop", dropped_);
    expect_ended(dropped_, {GCS_OK});
    get("end", ended_);
    expect_ended(ended_, {GCS_OK});
    gcs_buffer* json = nullptr;
    gcs_status told = GCS_OK;
    {
      const InLibrary counts;
      told = gcs_client_stats(client_, &json);
    }
    EXPECT_TRUE(told == GCS_OK || told == GCS_NO_MEMORY) << gcs_status_name(told);
    gcs_buffer_free(json);
  }

  void recover_and_close() {
    disarmed_ = true;
    Asked after;
    get("after", after);
    EXPECT_EQ(after.accepted, GCS_OK);
    expect_ended(after, {GCS_OK});
    EXPECT_EQ(gcs_client_destroy(client_, kTimeout), GCS_OK);
    for (Asked* asked : {&connect_, &small_, &versioned_, &put_, &large_get_, &large_put_, &absent_,
                         &held_, &dropped_, &ended_, &after}) {
      EXPECT_EQ(asked->ending.count(), asked->accepted == GCS_OK ? 1 : 0);
    }
    if (watch_.accepted == GCS_OK) {
      const gcs_status last = watch_.ending.status();
      EXPECT_TRUE(last == GCS_CLOSED || last == GCS_NO_MEMORY) << gcs_status_name(last);
    }
  }

  void get(std::string_view key, Asked& asked) {
    const InLibrary counts;
    asked.accepted = gcs_kv_get(client_, bytes("namespace"), bytes(key), &call_options_, &asked.id,
                                Ending::receive, &asked.ending, nullptr);
  }
  void put(std::string_view key, std::string_view value, Asked& asked) {
    const InLibrary counts;
    asked.accepted =
        gcs_kv_put(client_, bytes("namespace"), bytes(key), bytes(value), GCS_KV_OVERWRITE,
                   &call_options_, &asked.id, Ending::receive, &asked.ending, nullptr);
  }

  // A call may also end for want of memory, but it ends.
  void expect_ended(Asked& asked, std::initializer_list<gcs_status> expected) {
    if (asked.accepted != GCS_OK) {
      EXPECT_EQ(asked.accepted, GCS_NO_MEMORY) << gcs_status_name(asked.accepted);
      return;
    }
    ASSERT_TRUE(asked.ending.wait(kPatience)) << "a call does not end";
    const gcs_status status = asked.ending.status();
    // OpenSSL does not always say what it lacked: a handshake that fails in another way ends what
    // waits for it, and what was under way before is lost then.
    const bool no_handshake = status == GCS_UNAVAILABLE || status == GCS_CONNECTION_LOST;
    bool known =
        status == GCS_NO_MEMORY || (setting_.server != nullptr && !disarmed_ && no_handshake);
    for (const gcs_status one : expected) known |= status == one;
    EXPECT_TRUE(known) << gcs_status_name(status) << ": " << asked.ending.message();
  }

  const Setting& setting_;
  GcsPeer peer_;
  const std::string large_;
  gcs_call_options call_options_;
  gcs_client client_ = 0;
  bool disarmed_ = false;
  Asked watch_, connect_, small_, versioned_, put_, large_get_, large_put_, absent_, held_,
      dropped_, ended_;
};

class ClientNoMemory : public ::testing::Test {
 protected:
  // Sweeps over every `step`-th allocation.
  void sweep(const Setting& setting, long step) {
    const std::uint64_t seed = random_seed();
    SCOPED_TRACE(seed_text(seed));
    gcs_log_set_level(GCS_LOG_OFF);
    // What the libraries set up once per process, and never again if that fails, is there now.
    live(setting, kNever);
    const std::size_t descriptors = open_descriptors();
    long k = 1 + static_cast<long>(seed % static_cast<std::uint64_t>(step));
    long lives = 0;
    // Threads make the number vary a little.
    for (int without = 0; without < 3 && !HasFailure(); k += step, ++lives) {
      without = live(setting, k) ? 0 : without + 1;
    }
    std::printf("%ld allocations, %ld lives\n", k, lives);
    live(setting, kNever);
    EXPECT_EQ(open_descriptors(), descriptors);
  }

 private:
  static bool live(const Setting& setting, long k) {
    SCOPED_TRACE("allocation " + std::to_string(k));
    const auto life = std::make_unique<Life>(setting);
    return life->run(k);
  }

  ScopedEnvironment environment_;
};

TEST_F(ClientNoMemory, InTheClearEveryAllocationMayFail) {
  sweep({"localhost", nullptr, {}, {}, {}}, 1);
}

TEST_F(ClientNoMemory, ThroughTlsAnyAllocationMayFail) {
  const TemporaryFolder folder;
  const Identity authority({.common_name = "test CA", .is_authority = true});
  const Identity identity({.common_name = "gcs"}, &authority);
  const Identity own({.common_name = "client"}, &authority);
  ServerTls::Options server;
  server.identity = &identity;
  server.client_authority = &authority;
  Setting setting{"127.0.0.1", &server, {}, {}, {}};
  setting.ca_file = folder.write("ca.pem", authority.certificate_pem());
  setting.cert_file = folder.write("cert.pem", own.certificate_pem());
  setting.key_file = folder.write("key.pem", own.key_pem());
  // There are some 20 000; each run takes others. GCS_TEST_STEP=1 takes all, in ten minutes.
  const char* const step = std::getenv("GCS_TEST_STEP");
  sweep(setting, step == nullptr ? 83 : std::atol(step));
}

}  // namespace
}  // namespace gcs::test
