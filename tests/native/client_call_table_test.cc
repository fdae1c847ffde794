// SPDX-License-Identifier: Apache-2.0
//
// Where calls are kept: the table by id, the list of those that wait, and the ids themselves.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "client/call_table.h"
#include "client/process.h"
#include "client/waiting_list.h"
#include "random_seed.h"

namespace gcs {
namespace {

std::unique_ptr<Call> call_with_id(std::uint64_t id) {
  auto call = Call::make(EventKind::kCall, *find_method(method::kCheckAlive));
  call->id = id;
  return call;
}

Call& insert(CallTable& table, std::uint64_t id) {
  auto call = call_with_id(id);
  Call& inside = *call;
  table.reserve_one();
  table.insert(std::move(call));
  return inside;
}

TEST(CallTable, FindsNothingWhenEmpty) {
  const CallTable table;
  EXPECT_EQ(table.find(1), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(CallTable, FindsWhatIsInsideAndGivesItBack) {
  CallTable table;
  Call& call = insert(table, 42);
  EXPECT_EQ(table.find(42), &call);
  EXPECT_EQ(table.find(43), nullptr);
  EXPECT_EQ(table.find(42 + 64), nullptr) << "an id of the same bucket";
  const std::unique_ptr<Call> taken = table.take(call);
  EXPECT_EQ(taken.get(), &call);
  EXPECT_EQ(table.find(42), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(CallTable, EveryCallIsVisitedOnceEvenIfVisitsTakeThemOut) {
  CallTable table;
  for (std::uint64_t id = 1; id <= 1'000; ++id) insert(table, id * 7);
  std::set<std::uint64_t> visited;
  table.for_each([&](Call& call) {
    EXPECT_TRUE(visited.insert(call.id).second) << call.id;
    if (call.id % 2 == 0) table.take(call);
  });
  EXPECT_EQ(visited.size(), 1'000u);
  EXPECT_EQ(table.size(), 500u);
}

TEST(CallTable, AgreesWithAModelWhateverIsDoneToIt) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  CallTable table;
  std::map<std::uint64_t, Call*> model;
  std::uint64_t next = random();
  for (int step = 0; step < 20'000; ++step) {
    const unsigned action = static_cast<unsigned>(random() % 10);
    if (action < 6) {
      // Mostly one after the other, as they are handed out; now and then from elsewhere.
      next += random() % 20 == 0 ? random() % 100'000 : 1;
      if (!model.contains(next)) model[next] = &insert(table, next);
    } else if (!model.empty()) {
      auto at = model.lower_bound(next - random() % 1'000);
      if (at == model.end()) at = model.begin();
      ASSERT_EQ(table.find(at->first), at->second) << "step " << step;
      const std::unique_ptr<Call> taken = table.take(*at->second);
      ASSERT_EQ(taken->id, at->first) << "step " << step;
      model.erase(at);
    }
    ASSERT_EQ(table.size(), model.size()) << "step " << step;
    const std::uint64_t absent = random();
    ASSERT_EQ(table.find(absent), model.contains(absent) ? model[absent] : nullptr)
        << "step " << step;
  }
  for (const auto& [id, call] : model) ASSERT_EQ(table.find(id), call);
}

std::vector<Call*> contents(const WaitingList& list) {
  std::vector<Call*> calls;
  for (Call* call = list.front(); call != nullptr; call = call->waiting_next) calls.push_back(call);
  return calls;
}

TEST(WaitingList, KeepsTheOrder) {
  WaitingList list;
  EXPECT_TRUE(list.empty());
  const auto a = call_with_id(1), b = call_with_id(2), c = call_with_id(3), d = call_with_id(4);
  list.push_back(*a);
  list.push_back(*c);
  list.insert_before(*b, c.get());
  list.insert_before(*d, nullptr);
  EXPECT_EQ(contents(list), (std::vector<Call*>{a.get(), b.get(), c.get(), d.get()}));
  list.erase(*b);
  list.erase(*a);
  list.erase(*d);
  EXPECT_EQ(contents(list), (std::vector<Call*>{c.get()}));
  list.erase(*c);
  EXPECT_TRUE(list.empty());
  list.insert_before(*a, nullptr);
  EXPECT_EQ(contents(list), (std::vector<Call*>{a.get()}));
}

TEST(WaitingList, AgreesWithAModelWhateverIsDoneToIt) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  std::vector<std::unique_ptr<Call>> calls;
  for (std::uint64_t id = 0; id < 50; ++id) calls.push_back(call_with_id(id));
  WaitingList list;
  std::deque<Call*> model;
  for (int step = 0; step < 20'000; ++step) {
    Call* call = calls[random() % calls.size()].get();
    const auto inside = std::find(model.begin(), model.end(), call);
    if (inside != model.end()) {
      list.erase(*call);
      model.erase(inside);
    } else if (random() % 2 == 0 || model.empty()) {
      list.push_back(*call);
      model.push_back(call);
    } else {
      const auto before = model.begin() + static_cast<std::ptrdiff_t>(random() % model.size());
      list.insert_before(*call, *before);
      model.insert(before, call);
    }
    ASSERT_EQ(contents(list), std::vector<Call*>(model.begin(), model.end())) << "step " << step;
    std::vector<Call*> backwards;
    Call* last = model.empty() ? nullptr : model.back();
    for (; last != nullptr; last = last->waiting_previous) backwards.push_back(last);
    ASSERT_EQ(backwards, std::vector<Call*>(model.rbegin(), model.rend())) << "step " << step;
  }
}

TEST(CallIds, ComeInBlocksThatNeverOverlapAndNeverAreZero) {
  const std::uint64_t first = reserve_ids(10);
  EXPECT_NE(first, 0u);
  EXPECT_GE(reserve_ids(1), first + 10);
  EXPECT_GE(next_id(), first + 11);
}

}  // namespace
}  // namespace gcs
