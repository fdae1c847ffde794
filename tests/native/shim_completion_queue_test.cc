// SPDX-License-Identifier: Apache-2.0
//
// The completion queue: its descriptor and wake function say the truth whatever threads do, order
// is kept, and nothing is lost or freed twice.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "shim/completion_queue.h"
#include "shim/lent_body.h"
#include "shim/objects.h"

namespace gcs::shim {
namespace {

bool is_readable(int descriptor) {
  pollfd entry{descriptor, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

std::unique_ptr<Event> make_event(std::uint64_t id) {
  auto event = std::make_unique<Event>(EventKind::kCall);
  event->id = id;
  return event;
}

EventList make_run(std::uint64_t first, std::size_t count) {
  EventList run;
  for (std::size_t i = 0; i < count; ++i) run.push_back(make_event(first + i));
  return run;
}

// Takes up to `capacity` events and returns their ids.
std::vector<std::uint64_t> take(CompletionQueue& queue, std::size_t capacity, EventList* due) {
  std::vector<gcs_event*> events(capacity);
  events.resize(queue.take(events, due));
  std::vector<std::uint64_t> ids;
  for (gcs_event* event : events) {
    ids.push_back(gcs_event_id(event));
    gcs_event_free(event);
  }
  return ids;
}

std::vector<std::uint64_t> take(CompletionQueue& queue, std::size_t capacity) {
  EventList due;
  return take(queue, capacity, &due);
}

using Ids = std::vector<std::uint64_t>;

constexpr std::int64_t kPatience = 20'000'000'000;

TEST(CompletionQueue, IsReadableExactlyWhileItHoldsEvents) {
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  const int descriptor = queue->descriptor();
  EXPECT_FALSE(is_readable(descriptor));
  queue->deliver(make_run(1, 3));
  queue->deliver(make_run(4, 2));
  EXPECT_TRUE(is_readable(descriptor));
  EXPECT_EQ(take(*queue, 4), (Ids{1, 2, 3, 4}));
  EXPECT_TRUE(is_readable(descriptor));
  EXPECT_EQ(take(*queue, 4), (Ids{5}));
  EXPECT_FALSE(is_readable(descriptor));
  queue->deliver(EventList());
  EXPECT_FALSE(is_readable(descriptor));
  queue->close();
  EXPECT_TRUE(is_readable(descriptor));
  queue->deliver(make_run(6, 2));
  EXPECT_TRUE(take(*queue, 4).empty());
  EXPECT_TRUE(is_readable(descriptor));
}

TEST(CompletionQueue, StaysReadableWhileItsEventsAreBeingPacked) {
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  const int descriptor = queue->descriptor();
  EventList discarded;
  queue->deliver(make_run(1, 3));
  EventList taken = queue->take_all();
  EXPECT_EQ(taken.size(), 3u);
  EXPECT_TRUE(is_readable(descriptor));
  // What comes meanwhile goes behind what is given back.
  queue->deliver(make_run(4, 1));
  taken.pop_front();
  EXPECT_TRUE(queue->give_back(std::move(taken), &discarded));
  EXPECT_TRUE(is_readable(descriptor));
  EXPECT_EQ(take(*queue, 9), (Ids{2, 3, 4}));
  EXPECT_FALSE(is_readable(descriptor));
  queue->deliver(make_run(5, 1));
  queue->take_all().clear();
  EXPECT_FALSE(queue->give_back(EventList(), &discarded));
  EXPECT_FALSE(is_readable(descriptor));
  EXPECT_TRUE(discarded.empty());
}

TEST(CompletionQueue, TwoThatPackAtOnceLeaveTheDescriptorRight) {
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  EventList discarded;
  queue->deliver(make_run(1, 2));
  EventList first = queue->take_all();
  EventList second = queue->take_all();
  EXPECT_TRUE(second.empty());
  EXPECT_FALSE(queue->give_back(std::move(second), &discarded));
  EXPECT_FALSE(is_readable(queue->descriptor()));
  EXPECT_TRUE(queue->give_back(std::move(first), &discarded));
  EXPECT_TRUE(is_readable(queue->descriptor()));
  EXPECT_EQ(take(*queue, 9), (Ids{1, 2}));
}

TEST(CompletionQueue, WhatIsGivenBackToAClosedQueueIsDiscarded) {
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  EventList discarded;
  queue->deliver(make_run(1, 2));
  EventList taken = queue->take_all();
  queue->close();
  EXPECT_FALSE(queue->give_back(std::move(taken), &discarded));
  EXPECT_EQ(discarded.size(), 2u);
  EXPECT_TRUE(take(*queue, 9).empty());
  EXPECT_EQ(queue->wait(0), Status::kClosed);
}

TEST(CompletionQueue, OneArrivalWakesEveryThreadThatWaits) {
  for (const bool with_descriptor : {false, true}) {
    const auto queue = CompletionQueue::create(nullptr, nullptr);
    if (with_descriptor) {
      EXPECT_GE(queue->descriptor(), 0);
    }
    for (const Status expected : {Status::kOk, Status::kClosed}) {
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] { EXPECT_EQ(queue->wait(kPatience), expected); });
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (expected == Status::kOk) {
        queue->deliver(make_run(1, 1));
      } else {
        queue->close();
      }
      for (std::thread& thread : threads) thread.join();
      EXPECT_EQ(take(*queue, 9), expected == Status::kOk ? Ids{1} : Ids{});
    }
  }
}

// A wake-up that is lost would cost the whole patience.
TEST(CompletionQueue, NoArrivalIsMissedByAThreadThatIsAboutToWait) {
  constexpr std::uint64_t kRounds = 50'000;
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  std::atomic<std::uint64_t> taken{0};
  std::thread consumer([&] {
    while (taken < kRounds) {
      ASSERT_EQ(queue->wait(kPatience), Status::kOk);
      taken += take(*queue, 9).size();
    }
  });
  for (std::uint64_t round = 1; round <= kRounds; ++round) {
    queue->deliver(make_run(round, 1));
    while (taken < round && round % 3 != 0) std::this_thread::yield();
  }
  consumer.join();
  EXPECT_EQ(taken, kRounds);
}

void count_wake(void* user) {
  ++*static_cast<int*>(user);
}

TEST(CompletionQueue, WakesOncePerTurnFromEmptyToNonEmpty) {
  int wakes = 0;
  const auto queue = CompletionQueue::create(count_wake, &wakes);
  queue->deliver(make_run(1, 3));
  queue->deliver(make_run(4, 3));
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(take(*queue, 5).size(), 5u);
  queue->deliver(make_run(7, 1));
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(take(*queue, 5).size(), 2u);
  // A descriptor that is only made when somebody waits tells the same.
  EXPECT_EQ(queue->wait(0), Status::kDeadline);
  queue->deliver(make_run(8, 1));
  EXPECT_EQ(wakes, 2);
  EXPECT_EQ(queue->wait(-1), Status::kOk);
  EXPECT_EQ(take(*queue, 5), (Ids{8}));
  EXPECT_EQ(queue->wait(0), Status::kDeadline);
  queue->close();
  EXPECT_EQ(wakes, 2);
  EXPECT_EQ(queue->wait(-1), Status::kClosed);
}

TEST(CompletionQueue, TheGateOpensWithTheLastReference) {
  auto queue = CompletionQueue::create(nullptr, nullptr);
  const auto gate = queue->gate();
  auto pending = std::make_unique<SinkReference>(queue.get());
  queue->close();
  queue.reset();
  EXPECT_FALSE(gate->wait(0));
  pending.reset();
  EXPECT_TRUE(gate->wait(0));
  EXPECT_TRUE(gate->wait(-1));
}

struct Released {
  int count = 0;
  const void* data = nullptr;
  std::size_t size = 0;
};

void note_release(void* user, const void* data, std::size_t size) {
  auto& released = *static_cast<Released*>(user);
  ++released.count;
  released.data = data;
  released.size = size;
}

constexpr char kText[] = "request";

class LentBodies : public testing::Test {
 protected:
  // Lends kText; the result is what a call would hold.
  transport::SharedBytes lend(CompletionQueue* target, bool armed = true) {
    const gcs_body body{kText, sizeof kText, note_release, &released_};
    LentBody* lent = nullptr;
    auto bytes = LentBody::lend(body, target, &lent);
    if (armed) lent->arm();
    return bytes;
  }

  Released released_;
  CompletionQueue::Owner queue_ = CompletionQueue::create(nullptr, nullptr);
};

TEST_F(LentBodies, AreReleasedWhereTheLastReferenceGoesIfThereIsNoQueue) {
  auto bytes = lend(nullptr);
  auto copy = bytes;
  bytes.reset();
  EXPECT_EQ(released_.count, 0);
  EXPECT_EQ(copy.bytes().data(), static_cast<const void*>(kText));
  copy.reset();
  EXPECT_EQ(released_.count, 1);
  EXPECT_EQ(released_.data, kText);
  EXPECT_EQ(released_.size, sizeof kText);
}

TEST_F(LentBodies, WaitInTheQueueUntilItIsDrainedAndShowAsNoEvent) {
  queue_->deliver(make_run(1, 1));
  lend(queue_.get()).reset();
  queue_->deliver(make_run(2, 1));
  lend(queue_.get()).reset();
  EXPECT_EQ(released_.count, 0);
  EventList due;
  EXPECT_EQ(take(*queue_, 2, &due), (Ids{1, 2}));
  EXPECT_FALSE(is_readable(queue_->descriptor()));
  EXPECT_EQ(due.size(), 2u);
  run_releases(*queue_, std::move(due));
  EXPECT_EQ(released_.count, 2);
}

TEST_F(LentBodies, AloneMakeTheQueueReadable) {
  lend(queue_.get()).reset();
  EXPECT_TRUE(is_readable(queue_->descriptor()));
  EventList due;
  EXPECT_TRUE(take(*queue_, 0, &due).empty());
  EXPECT_FALSE(is_readable(queue_->descriptor()));
  EXPECT_EQ(released_.count, 0);
  run_releases(*queue_, std::move(due));
  EXPECT_EQ(released_.count, 1);
}

TEST_F(LentBodies, AreReleasedOnceByClosingAndAfterIt) {
  auto late = lend(queue_.get());
  lend(queue_.get()).reset();
  queue_->close();
  EXPECT_EQ(released_.count, 1);
  late.reset();
  EXPECT_EQ(released_.count, 2);
}

TEST_F(LentBodies, AreNotReleasedIfTheCallWasNotAccepted) {
  lend(queue_.get(), false).reset();
  lend(nullptr, false).reset();
  EXPECT_FALSE(is_readable(queue_->descriptor()));
  queue_->close();
  EXPECT_EQ(released_.count, 0);
}

TEST_F(LentBodies, PinTheirQueueWhileTheyArePending) {
  const auto gate = queue_->gate();
  auto bytes = lend(queue_.get());
  queue_->close();
  queue_.reset();
  EXPECT_FALSE(gate->wait(0));
  bytes.reset();
  EXPECT_TRUE(gate->wait(0));
  EXPECT_EQ(released_.count, 1);
}

// Producers deliver runs while consumers take, pack and give back. Every event must come out
// exactly once, each producer's in order if one consumer takes them; and when all is quiet the
// descriptor must be unreadable.
void hammer(int consumers) {
  constexpr int kProducers = 2;
  constexpr std::uint64_t kPerProducer = 20000;
  constexpr std::uint64_t kTotal = kProducers * kPerProducer;
  const auto queue = CompletionQueue::create(nullptr, nullptr);
  std::vector<std::atomic<int>> seen(kTotal);
  std::atomic<std::uint64_t> taken{0};
  std::vector<std::thread> threads;
  for (std::uint64_t p = 0; p < kProducers; ++p) {
    threads.emplace_back([&queue, p] {
      std::uint64_t next = p * kPerProducer;
      for (std::size_t size = 1; next < (p + 1) * kPerProducer; size = size % 7 + 1) {
        const std::size_t count = std::min<std::size_t>(size, (p + 1) * kPerProducer - next);
        queue->deliver(make_run(next, count));
        next += count;
      }
    });
  }
  for (int c = 0; c < consumers; ++c) {
    threads.emplace_back([&, c] {
      std::uint64_t last[kProducers] = {};
      for (int turn = c; taken < kTotal; ++turn) {
        // The last event may go to another consumer, so that waiting for ever could be for ever.
        const Status waited = queue->wait(10'000'000);
        ASSERT_TRUE(waited == Status::kOk || waited == Status::kDeadline);
        Ids ids;
        if (turn % 2 == 0) {
          ids = take(*queue, 5);
        } else {
          EventList discarded;
          EventList events = queue->take_all();
          for (int i = 0; i < 5 && !events.empty(); ++i) ids.push_back(events.pop_front()->id);
          queue->give_back(std::move(events), &discarded);
        }
        for (const std::uint64_t id : ids) {
          ++seen[id];
          ++taken;
          if (consumers != 1) continue;
          const std::uint64_t producer = id / kPerProducer;
          ASSERT_GE(id + 1, last[producer]);
          last[producer] = id + 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::uint64_t id = 0; id < kTotal; ++id) ASSERT_EQ(seen[id], 1) << id;
  EXPECT_FALSE(is_readable(queue->descriptor()));
}

TEST(CompletionQueue, OneConsumerGetsEveryEventOnceAndInOrder) {
  hammer(1);
}

TEST(CompletionQueue, ManyConsumersTogetherGetEveryEventOnce) {
  hammer(3);
}

TEST(CompletionQueue, ClosingAmongDeliveriesLosesAndKeepsNothing) {
  for (int round = 0; round < 200; ++round) {
    auto queue = CompletionQueue::create(nullptr, nullptr);
    const auto gate = queue->gate();
    const SinkReference reference(queue.get());
    std::thread producer([&reference] {
      for (std::uint64_t i = 0; i < 50; ++i) reference->deliver(make_run(i, 2));
    });
    std::thread closer([&queue] { queue->close(); });
    producer.join();
    closer.join();
    EXPECT_TRUE(is_readable(queue->descriptor()));
    EXPECT_TRUE(take(*queue, 9).empty());
    queue.reset();
    EXPECT_FALSE(gate->wait(0));
  }
}

}  // namespace
}  // namespace gcs::shim
