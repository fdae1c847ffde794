// SPDX-License-Identifier: Apache-2.0
//
// Several threads that drain one queue, in packed form and not: nobody is given an event after a
// later one, and each event is given once.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "gcs_capi.h"
#include "shim/objects.h"

namespace gcs::shim {
namespace {

constexpr std::uint64_t kEvents = 100'000;

class DrainingThreads : public testing::Test {
 protected:
  DrainingThreads() { EXPECT_EQ(gcs_queue_create(nullptr, &queue_, nullptr), GCS_OK); }
  ~DrainingThreads() override { EXPECT_EQ(gcs_queue_destroy(queue_, GCS_TIMEOUT_NONE), GCS_OK); }

  void push_all() {
    void* const user = reinterpret_cast<void*>(static_cast<std::uintptr_t>(queue_));
    for (std::uint64_t id = 1; id <= kEvents; ++id) {
      auto event = std::make_unique<TextBuffer>("body");
      event->id = id;
      gcs_queue_push(user, event_to_c(std::move(event)));
      if (id % 500 == 0) std::this_thread::yield();
    }
  }
  bool wait() {
    return given_ < kEvents && gcs_queue_wait(queue_, std::int64_t{20'000'000}) != GCS_CLOSED;
  }
  void drain() {
    for (std::uint64_t last = 0; wait();) {
      gcs_event* event = nullptr;
      std::size_t count = 0;
      ASSERT_EQ(gcs_queue_drain(queue_, &event, 1, &count), GCS_OK);
      if (count == 0) continue;
      give(gcs_event_id(event), &last);
      gcs_event_free(event);
    }
  }
  void drain_packed(std::size_t capacity) {
    std::vector<gcs_packed_event> events(capacity);
    std::vector<std::uint8_t> arena(1 << 20);
    for (std::uint64_t last = 0; wait();) {
      gcs_packed_drain drained{};
      ASSERT_EQ(gcs_queue_drain_packed(queue_, 0, events.data(), capacity, arena.data(),
                                       arena.size(), &drained),
                GCS_OK);
      for (std::uint64_t i = 0; i < drained.count; ++i) give(events[i].id, &last);
    }
  }
  void give(std::uint64_t id, std::uint64_t* last) {
    ++given_;
    if (id <= *last) ++misplaced_;
    *last = id;
    if (seen_[id].exchange(true)) ++doubled_;
  }

  std::atomic<std::uint64_t> given_{0}, misplaced_{0}, doubled_{0};
  std::vector<std::atomic<bool>> seen_ = std::vector<std::atomic<bool>>(kEvents + 1);

 private:
  gcs_queue queue_ = 0;
};

TEST_F(DrainingThreads, NobodyIsGivenAnEventAfterALaterOne) {
  std::vector<std::thread> threads;
  threads.emplace_back([this] { drain(); });
  for (const std::size_t capacity : {1u, 2u, 32u})
    threads.emplace_back([this, capacity] { drain_packed(capacity); });
  push_all();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(given_, kEvents);
  EXPECT_EQ(misplaced_, 0u);
  EXPECT_EQ(doubled_, 0u);
}

}  // namespace
}  // namespace gcs::shim
