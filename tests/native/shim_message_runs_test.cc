// SPDX-License-Identifier: Apache-2.0
//
// Published messages on their way to a queue: several in one event, in whatever pieces they are
// taken, come out as they went in, in their order, and in no more memory than there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "client/subscription.h"
#include "native/random_seed.h"
#include "shim/completion_queue.h"
#include "shim/objects.h"
#include "shim/packed_format.h"

namespace gcs::shim {
namespace {

struct Published {
  std::uint64_t id = 0;
  std::string key;
  std::string body;
  bool operator==(const Published&) const = default;
};
using Messages = std::vector<Published>;

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class MessageRuns : public testing::Test {
 protected:
  MessageRuns() : queue(CompletionQueue::create(nullptr, nullptr)) {}

  // As a client does it.
  void publish(const Published& message) {
    auto& made = subscriptions_[message.id];
    if (!made) {
      made = std::make_unique<Subscription>(
          SubscriptionOptions{"c", "", Policy::kWait, kUnlimitedCredit, kUnlimitedCredit, 0, 0});
    }
    Event listener(EventKind::kSubscriptionEnd);
    listener.id = message.id;
    listener.sink = SinkReference(queue.get());
    made->take(listener, bytes_of(message.key), bytes_of(message.body), ++sequence_id_, out);
    went_in.push_back(message);
  }
  // What is in `out` goes to the queue.
  void deliver() {
    EventList events;
    while (auto event = out.pop_front()) {
      event->sink = SinkReference();
      events.push_back(std::move(event));
    }
    queue->deliver(std::move(events));
  }

  // A drain into so many slots and bytes. Returns how many events there were.
  std::size_t drain(std::size_t slots, std::size_t arena_size) {
    constexpr std::size_t kFence = 64;
    std::vector<gcs_packed_event> events(slots);
    std::vector<std::uint8_t> arena(arena_size + kFence, 0xa5);
    EventList taken = queue->take_all();
    EventList due;
    EventPacker packer(events, {arena.data(), arena_size});
    packer.pack(taken, due);
    EventList discarded;
    queue->give_back(std::move(taken), &discarded);
    EXPECT_TRUE(std::all_of(arena.begin() + static_cast<std::ptrdiff_t>(packer.arena_used()),
                            arena.end(), [](std::uint8_t byte) { return byte == 0xa5; }));
    for (std::size_t i = 0; i < packer.count(); ++i) {
      gcs_packed_event& event = events[i];
      EXPECT_EQ(event.kind, GCS_EVENT_MESSAGE);
      EXPECT_EQ(event.status, GCS_OK);
      EXPECT_EQ(event.flags, 0);
      if (event.buffer == nullptr) {
        EXPECT_LE(event.offset + event.size, packer.arena_used());
        unpack(event.id, event.number, {arena.data() + event.offset, event.size});
      } else {
        EXPECT_EQ(event.number, 1);
        unpack(event.id, 1, {from_c(event.buffer)->body()});
        std::unique_ptr<Event>(from_c(event.buffer)).reset();
      }
      largest_run = std::max(largest_run, event.number);
    }
    return packer.count();
  }
  void unpack(std::uint64_t id, std::int64_t count, std::span<const std::uint8_t> run) {
    std::size_t begin = static_cast<std::size_t>(count) * 2 * sizeof(std::uint32_t);
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      std::array<std::uint32_t, 2> ends{};
      ASSERT_LE((i + 1) * sizeof ends, run.size());
      std::memcpy(ends.data(), run.data() + i * sizeof ends, sizeof ends);
      ASSERT_LE(begin, ends[0]);
      ASSERT_LE(ends[0], ends[1]);
      ASSERT_LE(ends[1], run.size());
      came_out.push_back({id, text_of(run.subspan(begin, ends[0] - begin)),
                          text_of(run.subspan(ends[0], ends[1] - ends[0]))});
      begin = ends[1];
    }
    EXPECT_EQ(begin, run.size());
  }
  // Events of one message each. Returns how many there were.
  std::size_t take(std::size_t capacity) {
    std::vector<gcs_event*> events(capacity);
    EventList due;
    const std::size_t count = queue->take(events, &due);
    for (std::size_t i = 0; i < count; ++i) {
      const std::unique_ptr<Event> event(from_c(events[i]));
      EXPECT_EQ(event->kind, EventKind::kMessage);
      EXPECT_FALSE(event->sink);
      EXPECT_GT(event->number, last_number_);
      last_number_ = event->number;
      came_out.push_back({event->id, text_of(event->key()), text_of(event->body())});
    }
    return count;
  }

  CompletionQueue::Owner queue;
  EventList out;
  Messages went_in;
  Messages came_out;
  std::int64_t largest_run = 0;

 private:
  std::map<std::uint64_t, std::unique_ptr<Subscription>> subscriptions_;
  std::int64_t sequence_id_ = 0;
  std::int64_t last_number_ = 0;
};

TEST_F(MessageRuns, SeveralMessagesOfAReplyAreOneEvent) {
  for (int i = 0; i < 50; ++i) publish({7, "key", "message " + std::to_string(i)});
  EXPECT_EQ(out.size(), 1u);
  deliver();
  EXPECT_EQ(drain(8, GCS_PACKED_ARENA_MIN), 1u);
  EXPECT_EQ(largest_run, 50);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, EachSubscriptionHasItsOwn) {
  for (std::uint64_t i = 0; i < 12; ++i) publish({1 + i / 4, "", std::to_string(i)});
  EXPECT_EQ(out.size(), 3u);
  deliver();
  EXPECT_EQ(drain(8, GCS_PACKED_ARENA_MIN), 3u);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, ThoseThatCameApartGoTogetherWhenTheyAreTakenTogether) {
  for (int i = 0; i < 10; ++i) {
    publish({7, "k", std::to_string(i)});
    deliver();
  }
  EXPECT_EQ(drain(8, GCS_PACKED_ARENA_MIN), 1u);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, OneByOneTheyComeWithTheirNumbers) {
  for (int i = 0; i < 5; ++i) publish({7, "k" + std::to_string(i), std::to_string(i)});
  deliver();
  EXPECT_EQ(take(2), 2u);
  EXPECT_EQ(queue->wait(0), Status::kOk);
  EXPECT_EQ(take(8), 3u);
  EXPECT_EQ(queue->wait(0), Status::kDeadline);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, AMessageThatIsTooLargeForTheArenaIsABufferAndItsNeighboursAreNot) {
  publish({7, "k", "before"});
  publish({7, "key", std::string(EventPacker::kLargestCopied + 1, 'x')});
  publish({7, "k", "after"});
  deliver();
  EXPECT_EQ(drain(8, GCS_PACKED_ARENA_MIN), 3u);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, WithoutRoomTheRestComesWithTheNextDrain) {
  for (int i = 0; i < 20; ++i) publish({7, "k", std::string(1000, static_cast<char>('a' + i))});
  deliver();
  std::size_t drains = 0;
  for (; came_out.size() < went_in.size() && drains < 20; ++drains) EXPECT_EQ(drain(1, 3000), 1u);
  EXPECT_EQ(drains, 10u);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, EmptyMessagesAndKeysAreMessages) {
  for (int i = 0; i < 3; ++i) publish({7, "", ""});
  deliver();
  drain(1, GCS_PACKED_ARENA_MIN);
  EXPECT_EQ(came_out, went_in);
}

TEST_F(MessageRuns, HoweverTheyAreTakenTheSameComesOut) {
  const std::uint64_t seed = gcs::test::random_seed();
  SCOPED_TRACE(gcs::test::seed_text(seed));
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
  };
  const auto any_size = [&] {
    constexpr std::array<std::size_t, 6> kBounds{1, 10, 150, 1000, 17'000, 40'000};
    return below(kBounds[below(below(8) == 0 ? 6 : 4)] + 1);
  };
  for (int round = 0; round < 2000; ++round) {
    for (std::size_t i = below(40); i > 0; --i) {
      publish({1 + below(8) / 7, std::string(below(30), 'k'),
               std::string(any_size(), static_cast<char>('a' + below(26)))});
    }
    deliver();
    if (below(4) == 0) {
      take(below(50));
    } else {
      drain(below(6), GCS_PACKED_ARENA_MIN + below(100'000));
    }
    ASSERT_LE(came_out.size(), went_in.size());
    ASSERT_TRUE(std::equal(came_out.begin(), came_out.end(), went_in.begin()));
    went_in.erase(went_in.begin(), went_in.begin() + static_cast<std::ptrdiff_t>(came_out.size()));
    came_out.clear();
  }
  while (drain(10, GCS_PACKED_ARENA_MIN) > 0) {
  }
  EXPECT_EQ(came_out, went_in);
  EXPECT_GT(largest_run, 20);
}

}  // namespace
}  // namespace gcs::shim
