// SPDX-License-Identifier: Apache-2.0
//
// The heap of deadlines against a model that sorts.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "client/deadline_heap.h"
#include "random_seed.h"

namespace gcs {
namespace {

std::unique_ptr<Call> call_due(transport::TimePoint deadline) {
  auto call = Call::make(EventKind::kCall, *find_method(method::kCheckAlive));
  call->deadline = deadline;
  return call;
}

TEST(DeadlineHeap, IsEmptyAtFirst) {
  const DeadlineHeap heap;
  EXPECT_EQ(heap.earliest(), nullptr);
  EXPECT_EQ(heap.size(), 0u);
}

TEST(DeadlineHeap, ErasingACallThatIsNotInsideDoesNothing) {
  DeadlineHeap heap;
  const auto inside = call_due(1);
  const auto outside = call_due(2);
  heap.reserve_one();
  heap.insert(*inside);
  heap.erase(*outside);
  EXPECT_EQ(heap.size(), 1u);
  heap.erase(*inside);
  heap.erase(*inside);
  EXPECT_EQ(heap.size(), 0u);
  EXPECT_EQ(heap.earliest(), nullptr);
}

TEST(DeadlineHeap, GivesTheDeadlinesInOrder) {
  DeadlineHeap heap;
  std::vector<std::unique_ptr<Call>> calls;
  for (const transport::TimePoint deadline : {5, 3, 9, 3, 1, 7, 1}) {
    calls.push_back(call_due(deadline));
    heap.reserve_one();
    heap.insert(*calls.back());
  }
  std::vector<transport::TimePoint> order;
  while (Call* call = heap.earliest()) {
    order.push_back(call->deadline);
    heap.erase(*call);
    EXPECT_EQ(call->heap_index, 0u);
  }
  EXPECT_EQ(order, (std::vector<transport::TimePoint>{1, 1, 3, 3, 5, 7, 9}));
}

TEST(DeadlineHeap, AgreesWithAModelWhateverIsDoneToIt) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  DeadlineHeap heap;
  std::vector<std::unique_ptr<Call>> inside;
  for (int step = 0; step < 20'000; ++step) {
    // Grows and shrinks in waves.
    const bool insert = inside.empty() || random() % 100 < (step / 2'000 % 2 == 0 ? 60u : 40u);
    if (insert) {
      auto call = call_due(static_cast<transport::TimePoint>(random() % 50));
      heap.reserve_one();
      heap.insert(*call);
      inside.push_back(std::move(call));
    } else {
      const std::size_t index = random() % inside.size();
      heap.erase(*inside[index]);
      ASSERT_EQ(inside[index]->heap_index, 0u) << "step " << step;
      std::swap(inside[index], inside.back());
      inside.pop_back();
    }
    ASSERT_EQ(heap.size(), inside.size()) << "step " << step;
    const auto least =
        std::min_element(inside.begin(), inside.end(),
                         [](const auto& a, const auto& b) { return a->deadline < b->deadline; });
    if (least == inside.end()) {
      ASSERT_EQ(heap.earliest(), nullptr) << "step " << step;
    } else {
      ASSERT_NE(heap.earliest(), nullptr) << "step " << step;
      ASSERT_EQ(heap.earliest()->deadline, (*least)->deadline) << "step " << step;
    }
  }
}

}  // namespace
}  // namespace gcs
