// SPDX-License-Identifier: Apache-2.0
//
// The handle table: what a number finds, when an object goes, and that neither depends on luck
// among threads.
#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "shim/handle_table.h"

namespace gcs::shim {
namespace {

class Counted final : public HandleObject {
 public:
  explicit Counted(std::atomic<int>& alive) : alive_(alive) { alive_.fetch_add(1); }
  ~Counted() override {
    alive_.fetch_sub(1);
    canary_ = 0;
  }
  bool is_sound() const { return canary_ == kCanary; }

 private:
  static constexpr unsigned kCanary = 0x600dcafe;
  std::atomic<int>& alive_;
  volatile unsigned canary_ = kCanary;
};

std::uint64_t insert(HandleTable& table, std::atomic<int>& alive,
                     HandleType type = HandleType::kClient) {
  return table.reserve(type).publish(std::make_unique<Counted>(alive));
}

TEST(HandleTable, AnObjectLivesUntilItIsClosedAndItsLastPinIsGone) {
  std::atomic<int> alive{0};
  HandleTable table;
  const std::uint64_t handle = insert(table, alive);
  EXPECT_NE(handle, 0u);
  Pin first;
  Pin second;
  ASSERT_EQ(table.pin(HandleType::kClient, handle, &first), Status::kOk);
  ASSERT_EQ(table.pin(HandleType::kClient, handle, &second), Status::kOk);
  EXPECT_EQ(&first.object(), &second.object());
  {
    Pin closing;
    ASSERT_EQ(table.close(HandleType::kClient, handle, &closing), Status::kOk);
  }
  EXPECT_EQ(alive, 1);
  first = Pin();
  EXPECT_EQ(alive, 1);
  EXPECT_TRUE(static_cast<Counted&>(second.object()).is_sound());
  second = Pin();
  EXPECT_EQ(alive, 0);
}

TEST(HandleTable, AClosedHandleIsNeverFoundAgainThoughItsSlotServesOthers) {
  std::atomic<int> alive{0};
  HandleTable table;
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t handle = insert(table, alive);
    EXPECT_TRUE(seen.insert(handle).second);
    Pin pin;
    ASSERT_EQ(table.close(HandleType::kClient, handle, &pin), Status::kOk);
  }
  EXPECT_EQ(alive, 0);
  const std::uint64_t last = insert(table, alive);
  for (const std::uint64_t handle : seen) {
    Pin pin;
    EXPECT_EQ(table.pin(HandleType::kClient, handle, &pin), Status::kBadHandle);
    EXPECT_EQ(table.close(HandleType::kClient, handle, &pin), Status::kBadHandle);
    EXPECT_FALSE(pin);
  }
  Pin pin;
  EXPECT_EQ(table.pin(HandleType::kClient, last, &pin), Status::kOk);
}

TEST(HandleTable, EveryBitOfAHandleCounts) {
  std::atomic<int> alive{0};
  HandleTable table;
  const std::uint64_t handle = insert(table, alive, HandleType::kQueue);
  for (int bit = 0; bit < 64; ++bit) {
    for (const HandleType type : {HandleType::kClient, HandleType::kQueue}) {
      Pin pin;
      EXPECT_EQ(table.close(type, handle ^ (std::uint64_t{1} << bit), &pin), Status::kBadHandle);
    }
  }
  // The type's bits forged as well: the slot knows its own.
  Pin pin;
  const std::uint64_t as_client = (handle & ~(std::uint64_t{15} << 60)) | std::uint64_t{1} << 60;
  EXPECT_EQ(table.pin(HandleType::kClient, as_client, &pin), Status::kBadHandle);
  EXPECT_EQ(table.pin(HandleType::kQueue, handle, &pin), Status::kOk);
}

TEST(HandleTable, AReservedHandleIsFoundOnlyOnceItIsPublished) {
  std::atomic<int> alive{0};
  HandleTable table;
  std::uint64_t abandoned = 0;
  {
    auto reservation = table.reserve(HandleType::kClient);
    abandoned = reservation.handle();
    Pin pin;
    EXPECT_EQ(table.pin(HandleType::kClient, abandoned, &pin), Status::kBadHandle);
    EXPECT_EQ(table.close(HandleType::kClient, abandoned, &pin), Status::kBadHandle);
  }
  const std::uint64_t handle = insert(table, alive);
  EXPECT_NE(handle, abandoned);
  Pin pin;
  EXPECT_EQ(table.pin(HandleType::kClient, abandoned, &pin), Status::kBadHandle);
  EXPECT_EQ(table.pin(HandleType::kClient, handle, &pin), Status::kOk);
}

TEST(HandleTable, ASlotWhoseGenerationsAreUsedUpIsRetired) {
  std::atomic<int> alive{0};
  HandleTable table(std::numeric_limits<std::uint32_t>::max() - 1);
  const auto slot_of = [](std::uint64_t handle) { return handle >> 32; };
  std::set<std::uint64_t> handles;
  std::uint64_t first_slot = 0;
  for (int i = 0; i < 3; ++i) {
    const std::uint64_t handle = insert(table, alive);
    if (i == 0) first_slot = slot_of(handle);
    // Two generations are left; the third object finds another slot.
    EXPECT_EQ(slot_of(handle) == first_slot, i < 2);
    EXPECT_TRUE(handles.insert(handle).second);
    Pin pin;
    ASSERT_EQ(table.close(HandleType::kClient, handle, &pin), Status::kOk);
  }
  for (const std::uint64_t handle : handles) {
    Pin pin;
    EXPECT_EQ(table.pin(HandleType::kClient, handle, &pin), Status::kBadHandle);
  }
  EXPECT_EQ(alive, 0);
}

TEST(HandleTable, CloseAllClosesWhatIsOpenAndOfThatType) {
  std::atomic<int> alive{0};
  HandleTable table;
  std::vector<std::uint64_t> clients;
  for (int i = 0; i < 2000; ++i) clients.push_back(insert(table, alive));
  const std::uint64_t queue = insert(table, alive, HandleType::kQueue);
  {
    Pin pin;
    ASSERT_EQ(table.close(HandleType::kClient, clients[7], &pin), Status::kOk);
  }
  EXPECT_EQ(alive, 2000);
  table.close_all(HandleType::kClient);
  EXPECT_EQ(alive, 1);
  Pin pin;
  EXPECT_EQ(table.pin(HandleType::kQueue, queue, &pin), Status::kOk);
}

TEST(HandleTable, TooManyHandlesAreRefusedAndTheRestGoOn) {
  std::atomic<int> alive{0};
  HandleTable table;
  std::vector<std::uint64_t> handles;
  constexpr std::size_t kSlots = std::size_t{1} << 20;
  handles.reserve(kSlots);
  for (std::size_t i = 0; i < kSlots; ++i) handles.push_back(insert(table, alive));
  EXPECT_THROW(table.reserve(HandleType::kClient), std::bad_alloc);
  {
    Pin pin;
    ASSERT_EQ(table.close(HandleType::kClient, handles.front(), &pin), Status::kOk);
  }
  handles.front() = insert(table, alive);
  EXPECT_EQ(alive, static_cast<int>(kSlots));
  Pin pin;
  EXPECT_EQ(table.pin(HandleType::kClient, handles.back(), &pin), Status::kOk);
}

// Threads look the same few handles up, close them and put others in their place, all at once.
// Every pinned object must be whole, each close must have one winner, and in the end nothing is
// left.
TEST(HandleTable, ThreadsThatRaceNeverMeetADeadObjectAndEachCloseHasOneWinner) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20000;
  constexpr std::size_t kHandles = 8;
  std::atomic<int> alive{0};
  std::atomic<int> inserted{0};
  std::atomic<int> closed{0};
  std::atomic<int> found{0};
  HandleTable table;
  std::vector<std::atomic<std::uint64_t>> handles(kHandles);
  for (auto& handle : handles) {
    handle = insert(table, alive);
    ++inserted;
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      unsigned state = static_cast<unsigned>(t) * 2654435761u + 1;
      for (int i = 0; i < kRounds; ++i) {
        state = state * 1664525u + 1013904223u;
        auto& shared = handles[(state >> 16) % kHandles];
        const std::uint64_t handle = shared.load();
        Pin pin;
        if ((state >> 8) % 16 == 0) {
          if (table.close(HandleType::kClient, handle, &pin) != Status::kOk) continue;
          ++closed;
          shared = insert(table, alive);
          ++inserted;
        } else if (table.pin(HandleType::kClient, handle, &pin) == Status::kOk) {
          ASSERT_TRUE(static_cast<Counted&>(pin.object()).is_sound());
          ++found;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(found, 0);
  EXPECT_GT(closed, 0);
  EXPECT_EQ(alive, inserted - closed);
  table.close_all(HandleType::kClient);
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace gcs::shim
