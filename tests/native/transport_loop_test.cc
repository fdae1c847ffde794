// SPDX-License-Identifier: Apache-2.0
//
// The event loop: posting, timers, stopping, and its end.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "transport/asio_event_loop.h"

namespace gcs::transport {
namespace {

using namespace std::chrono_literals;

struct Doing final : Task {
  explicit Doing(std::function<void()> function) : what(std::move(function)) {}
  void run() noexcept override { what(); }
  std::function<void()> what;
};

class LoopTest : public ::testing::Test {
 protected:
  AsioEventLoop loop;
  Doing stop{[this] { loop.stop(); }};
};

TEST_F(LoopTest, TasksRunInTheOrderInWhichTheyWerePostedAndNeverInsideThePost) {
  std::vector<int> order;
  Doing first{[&] { order.push_back(1); }};
  Doing nested{[&] { order.push_back(3); }};
  Doing second{[&] {
    loop.post(nested);
    order.push_back(2);
  }};
  loop.post(first);
  loop.post(second);
  EXPECT_TRUE(order.empty());
  Doing last{[&] { loop.post(stop); }};
  loop.post(last);
  loop.run();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(LoopTest, TasksFromManyThreadsAllRun) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::thread runner([this] { loop.run(); });
  std::atomic<int> ran{0};
  std::vector<std::deque<Doing>> tasks(kThreads);
  std::vector<std::thread> posters;
  for (std::deque<Doing>& own : tasks) {
    posters.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        loop.post(own.emplace_back([&ran] { ++ran; }));
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  loop.post(stop);
  runner.join();
  EXPECT_EQ(ran, kThreads * kRounds);
}

TEST_F(LoopTest, ATaskMayPostOrDestroyItself) {
  int left = 100;
  std::unique_ptr<Doing> again;
  again = std::make_unique<Doing>([&] {
    if (--left > 0) {
      loop.post(*again);
    } else {
      loop.post(stop);
      again.reset();
    }
  });
  loop.post(*again);
  loop.run();
  EXPECT_EQ(left, 0);
  EXPECT_EQ(again, nullptr);
}

TEST_F(LoopTest, AStopBeforeRunEndsTheNextRunAtOnceAndOnlyThatOne) {
  loop.stop();
  loop.run();
  int ran = 0;
  Doing task{[&] { ++ran; }};
  loop.post(task);
  loop.post(stop);
  loop.run();
  EXPECT_EQ(ran, 1);
}

TEST_F(LoopTest, TasksLeftAtAStopRunInTheNextRun) {
  int ran = 0;
  Doing task{[&] { ++ran; }};
  loop.stop();
  loop.post(task);
  loop.run();
  loop.post(stop);
  loop.run();
  EXPECT_EQ(ran, 1);
}

TEST_F(LoopTest, TheClockIsMonotonicAndInNanoseconds) {
  const TimePoint before = loop.now();
  std::this_thread::sleep_for(20ms);
  const TimePoint passed = loop.now() - before;
  EXPECT_GE(passed, 20'000'000);
  EXPECT_LT(passed, 5'000'000'000);
}

TEST_F(LoopTest, ATimerFiresOnceAndNotBeforeItsTime) {
  int fired = 0;
  TimePoint when = 0;
  Doing task{[&] {
    ++fired;
    EXPECT_GE(loop.now(), when);
  }};
  const auto timer = loop.make_timer(task);
  when = loop.now() + 30'000'000;
  timer->set(when);
  loop.context().run_for(200ms);
  EXPECT_EQ(fired, 1);
}

TEST_F(LoopTest, ATimeThatHasPassedFiresOnTheNextTurn) {
  int fired = 0;
  Doing task{[&] { ++fired; }};
  const auto timer = loop.make_timer(task);
  timer->set(loop.now() - 1);
  EXPECT_EQ(fired, 0);
  loop.context().run_for(50ms);
  EXPECT_EQ(fired, 1);
}

TEST_F(LoopTest, ATimerMovedLaterFiresLaterAndMovedEarlierEarlier) {
  std::vector<TimePoint> fired;
  Doing task{[&] { fired.push_back(loop.now()); }};
  const auto timer = loop.make_timer(task);
  const TimePoint begin = loop.now();
  timer->set(begin + 20'000'000);
  timer->set(begin + 100'000'000);
  loop.context().run_for(60ms);
  EXPECT_TRUE(fired.empty());
  loop.context().restart();
  loop.context().run_for(200ms);
  ASSERT_EQ(fired.size(), 1u);
  EXPECT_GE(fired[0], begin + 100'000'000);

  const TimePoint again = loop.now();
  timer->set(again + 60'000'000'000);
  timer->set(again + 20'000'000);
  loop.context().restart();
  loop.context().run_for(300ms);
  ASSERT_EQ(fired.size(), 2u);
  EXPECT_LT(fired[1], again + 5'000'000'000);
}

TEST_F(LoopTest, ADisarmedOrDestroyedTimerDoesNotFire) {
  int fired = 0;
  Doing task{[&] { ++fired; }};
  auto disarmed = loop.make_timer(task);
  auto destroyed = loop.make_timer(task);
  disarmed->set(loop.now() + 10'000'000);
  destroyed->set(loop.now() + 10'000'000);
  disarmed->set(kNever);
  destroyed.reset();
  loop.context().run_for(60ms);
  EXPECT_EQ(fired, 0);
  // A timer that has expired and whose handler is queued is destroyed before it runs.
  auto queued = loop.make_timer(task);
  queued->set(loop.now() - 1);
  Doing destroy{[&] { queued.reset(); }};
  loop.post(destroy);
  loop.context().restart();
  loop.context().run_for(50ms);
  EXPECT_LE(fired, 1);
}

TEST_F(LoopTest, ATimerMayBeSetAndDestroyedInItsOwnHandler) {
  int fired = 0;
  std::unique_ptr<Timer> timer;
  Doing task{[&] {
    if (++fired < 3) {
      timer->set(loop.now() + 1'000'000);
    } else {
      timer.reset();
      loop.stop();
    }
  }};
  timer = loop.make_timer(task);
  timer->set(loop.now());
  loop.run();
  EXPECT_EQ(fired, 3);
}

TEST_F(LoopTest, NothingOfTheLoopRunsWhileAnotherThreadHasItsTurn) {
  std::atomic<int> ran{0};
  Doing task{[&] { ++ran; }};
  Doing late{[&] { ++ran; }};
  const auto timer = loop.make_timer(late);
  ASSERT_TRUE(loop.try_enter());
  std::thread runner([&] { loop.context().run_for(400ms); });
  loop.post(task);
  timer->set(loop.now());
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(ran, 0);
  loop.leave();
  runner.join();
  EXPECT_EQ(ran, 2);
}

TEST_F(LoopTest, TheTurnIsNeverWaitedForNorTakenTwice) {
  bool inside = true;
  bool elsewhere = true;
  Doing task{[&] {
    inside = loop.try_enter();
    std::thread([&] { elsewhere = loop.try_enter(); }).join();
    loop.stop();
  }};
  loop.post(task);
  loop.run();
  EXPECT_FALSE(inside);
  EXPECT_FALSE(elsewhere);
  ASSERT_TRUE(loop.try_enter());
  EXPECT_FALSE(loop.try_enter());
  loop.leave();
}

TEST(LoopEndTest, ALoopWithQueuedTasksAndArmedTimersCanBeDestroyed) {
  int ran = 0;
  Doing task{[&] { ++ran; }};
  {
    auto loop = std::make_unique<AsioEventLoop>();
    loop->post(task);
    auto timer = loop->make_timer(task);
    timer->set(loop->now() + 1'000'000);
    timer.reset();
    loop.reset();
  }
  EXPECT_EQ(ran, 0);
}

TEST(LoopEndTest, WhatWasPostedAndHasNotRunIsDroppedWithTheLoop) {
  struct Note final : Task {
    void run() noexcept override { ++runs; }
    void drop() noexcept override { ++drops; }
    int runs = 0;
    int drops = 0;
  };
  Note first;
  Note second;
  {
    AsioEventLoop loop;
    loop.post(first);
    loop.post(second);
  }
  EXPECT_EQ(first.runs + second.runs, 0);
  EXPECT_EQ(first.drops, 1);
  EXPECT_EQ(second.drops, 1);
}

TEST(LoopEndTest, TheGateRefusesOnceTheLoopIsGone) {
  auto loop = std::make_unique<AsioEventLoop>();
  const auto gate = loop->gate();
  int ran = 0;
  EXPECT_TRUE(gate->post([&] { ++ran; }));
  loop->context().run_for(20ms);
  EXPECT_EQ(ran, 1);
  loop.reset();
  EXPECT_FALSE(gate->post([&] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(LoopEndTest, AnExceptionInAHandlerDoesNotEndTheLoop) {
  AsioEventLoop loop;
  int ran = 0;
  asio::post(loop.context(), [] { throw std::bad_alloc(); });
  asio::post(loop.context(), [&] {
    ++ran;
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace gcs::transport
