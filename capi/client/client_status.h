// SPDX-License-Identifier: Apache-2.0
//
// What others may ask of a client: its state, its cluster, its counters.
//
// Threads: written in the loop's turn alone, read by any. The cluster's id is locked; the rest is
// atomic, each value by itself, so that the counters of one snapshot need not add up.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace gcs {

enum class State : std::int32_t { kIdle = 0, kConnecting = 1, kReady = 2, kLost = 3, kClosed = 4 };

const char* state_name(State state) noexcept;

struct ClientStats {
  State state = State::kIdle;
  std::uint64_t started = 0;    // calls accepted
  std::uint64_t completed = 0;  // ended with a reply
  std::uint64_t failed = 0;     // ended in any other way
  std::uint64_t pending = 0;
  std::uint64_t connects = 0;  // connections that became ready
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
};

class ClientStatus {
 public:
  // A counter with one writer needs no locked instruction.
  class Counter {
   public:
    void add(std::uint64_t count = 1) noexcept {
      value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
    }
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<std::uint64_t> value_{0};
  };

  State state() const noexcept { return state_.load(std::memory_order_acquire); }
  void set_state(State state) noexcept { state_.store(state, std::memory_order_release); }

  std::string cluster_id() const {
    const std::lock_guard lock(mutex_);
    return cluster_id_;
  }
  void set_cluster_id(const std::string& id) {
    const std::lock_guard lock(mutex_);
    cluster_id_ = id;
  }

  ClientStats stats() const noexcept {
    ClientStats stats;
    stats.state = state();
    stats.completed = completed.get();
    stats.failed = failed.get();
    stats.started = started.get();
    const std::uint64_t ended = stats.completed + stats.failed;
    stats.pending = stats.started > ended ? stats.started - ended : 0;
    stats.connects = connects.get();
    stats.bytes_sent = bytes_sent.get();
    stats.bytes_received = bytes_received.get();
    return stats;
  }

  Counter started;
  Counter completed;
  Counter failed;
  Counter connects;
  Counter bytes_sent;
  Counter bytes_received;

 private:
  std::atomic<State> state_{State::kIdle};
  mutable std::mutex mutex_;
  std::string cluster_id_;
};

}  // namespace gcs
