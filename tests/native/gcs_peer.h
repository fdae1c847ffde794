// SPDX-License-Identifier: Apache-2.0
//
// A scripted peer that answers as a GCS does: one cluster, and a KV whose keys say what is to come:
//   "hold"    no answer at all
//   "absent"  there is no such key, says the GCS in many words
//   "large"   a value of 100 KiB
//   "drop"    the connection is reset, the first time that the key is asked for; later a value
//   "end"     as "drop", but the connection is closed
// Any other key has a short value, and every put is of a new key.
//
// Beside it what a test of the C functions needs to see how a call ends.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "gcs_capi.h"
#include "scripted_peer.h"

namespace gcs::test {

class GcsPeer {
 public:
  static constexpr char kRayVersion[] = "2.60.0";
  static constexpr std::size_t kLargeValue = std::size_t{100} << 10;

  explicit GcsPeer(const ServerTls::Options* tls = nullptr);

  std::string address(const std::string& host = "127.0.0.1") const {
    return host + ":" + std::to_string(peer_.port());
  }
  std::uint16_t port() const { return peer_.port(); }

 private:
  void serve(PeerConnection& self);

  const ServerTls::Options* const tls_;
  std::atomic<bool> has_dropped_{false};
  std::atomic<bool> has_ended_{false};
  ScriptedPeer peer_;
};

// A completion target for one call, which remembers how it ended. Allocates nothing.
class Ending {
 public:
  static void receive(void* user, gcs_event* event);

  // False if nothing came in time.
  bool wait(std::chrono::milliseconds patience = std::chrono::seconds(20));
  int count();
  // Of the last event.
  gcs_status status();
  std::uint32_t flags();
  std::size_t size();
  std::string message();

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  int count_ = 0;
  gcs_status status_ = GCS_OK;
  std::uint32_t flags_ = 0;
  std::size_t size_ = 0;
  char message_[512] = {};
};

// How many descriptors this process has open.
std::size_t open_descriptors();

}  // namespace gcs::test
