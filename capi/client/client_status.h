// SPDX-License-Identifier: Apache-2.0
//
// What others may ask of a client: its state, its cluster, its counters.
//
// Threads: written in the loop's turn alone, read by any. Texts are locked; the rest is
// atomic, each value by itself, so that the counters of one snapshot need not add up.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "client/methods.h"
#include "client/text.h"

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
    void add(std::uint64_t count = 1) noexcept { set(get() + count); }
    void set(std::uint64_t value) noexcept { value_.store(value, std::memory_order_relaxed); }
    std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<std::uint64_t> value_{0};
  };
  // The calls of one method, by how they ended.
  struct MethodCounters {
    Counter ok;
    Counter failed;
    Counter cancelled;
    Counter expired;
    Counter sent_again;
  };
  // Counts of calls by the time from acceptance to end: four buckets for each doubling.
  class Latencies {
   public:
    static constexpr std::size_t kBuckets = 44 * 4;
    void add(std::int64_t nanoseconds) noexcept { buckets_[bucket_of(nanoseconds)].add(); }
    std::uint64_t count(std::size_t bucket) const noexcept { return buckets_[bucket].get(); }
    // What is in the bucket took less than this.
    static std::uint64_t bound(std::size_t bucket) noexcept {
      return (std::uint64_t{5} + bucket % 4) << (bucket / 4);
    }
    static std::size_t bucket_of(std::int64_t nanoseconds) noexcept {
      const auto time = static_cast<std::uint64_t>(std::max<std::int64_t>(nanoseconds, 4));
      const auto octave = static_cast<std::size_t>(std::bit_width(time)) - 3;
      return std::min(octave * 4 + ((time >> octave) & 3), kBuckets - 1);
    }

   private:
    std::array<Counter, kBuckets> buckets_;
  };

  // Throws std::bad_alloc.
  ClientStatus() : methods_(std::make_unique<MethodCounters[]>(method_count() + 1)) {}

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
  // Why the last connection that was ready was lost.
  std::string last_disconnect() const {
    const std::lock_guard lock(mutex_);
    return last_disconnect_;
  }
  void set_last_disconnect(std::string_view why) noexcept {
    const std::lock_guard lock(mutex_);
    assign(last_disconnect_, why);
  }
  // Why the last attempt to connect failed.
  std::string last_connect_error() const {
    const std::lock_guard lock(mutex_);
    return last_connect_error_;
  }
  void set_last_connect_error(std::string_view why) noexcept {
    const std::lock_guard lock(mutex_);
    assign(last_connect_error_, why);
  }

  // 0: all methods without a number.
  MethodCounters& method(std::uint32_t id) noexcept { return methods_[id]; }
  const MethodCounters& method(std::uint32_t id) const noexcept { return methods_[id]; }

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
  Counter waiting;    // for a connection, or for room on it
  Counter in_flight;  // sent, or being sent
  Counter sent_again;
  Counter connects;
  Counter disconnects;  // connections that were ready, and were lost
  Counter bytes_sent;
  Counter bytes_received;
  Latencies latencies;

 private:
  std::atomic<State> state_{State::kIdle};
  const std::unique_ptr<MethodCounters[]> methods_;
  mutable std::mutex mutex_;
  std::string cluster_id_;
  std::string last_disconnect_;
  std::string last_connect_error_;
};

}  // namespace gcs
