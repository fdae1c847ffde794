// SPDX-License-Identifier: Apache-2.0
//
// The consumer's side of one subscription: what it is told, how much of it may be outstanding, and
// what becomes of the rest.
//
// Invariants:
// - Events leave in order: what was published, with a resync wherever something may be missing.
// - Each message and each resync takes one message of credit, a message its bytes too: it may leave
//   while there is some of both left, so that one larger than all the credit is not held for ever.
// - Under kWait nothing is kept here but a resync. Under the other policies max_messages and
//   max_bytes are kept at most, and what is dropped is counted in a resync at its place.
// - A resync is a mark until it leaves, so that any number of them between two messages is one.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/event.h"

namespace gcs {

class Call;
class Subscriber;

// What becomes of messages that the consumer does not take in time.
enum class Policy : std::int32_t { kWait = 0, kDropOldest = 1, kDropNewest = 2 };

// Why messages may be missing; of several reasons the larger is told.
enum class ResyncReason : std::uint32_t {
  kNone = 0,
  kDropped = 1,      // here, by the policy or for lack of memory
  kReconnected = 2,  // the connection was lost, and the channel is a table, of which all is wanted
  kTooLarge = 3,     // a reply was over max_receive_message
  kExpired = 4,      // for longer than the server keeps a subscriber that does not poll, none did
  kRestarted = 5,    // another publisher: the GCS has restarted
};

inline constexpr std::uint64_t kUnlimitedCredit = std::numeric_limits<std::uint64_t>::max();

struct SubscriptionOptions {
  std::string channel;  // as the server's ChannelType names it
  std::string key;      // empty: all of the channel
  Policy policy = Policy::kWait;
  std::uint64_t credit_messages = 0;
  std::uint64_t credit_bytes = 0;
  std::uint64_t max_messages = 0;
  std::uint64_t max_bytes = 0;
};

// Something that a subscription is told: it is its own, with copies of the messages. Of a kMessage
// there is one, or a run of several where the sink takes runs; the event shows the first of them.
class SubscriptionEvent final : public Event {
 public:
  static constexpr std::size_t kInline = 192;
  // A run of more than one has no more.
  static constexpr std::size_t kLargestRun = 16384;

  // A message as it lies here. `bytes` are where the key ends and where the message ends, counted
  // from their beginning, each as uint32_t, then the key and the message.
  struct Item {
    std::int64_t sequence_id = 0;
    std::uint32_t key_end = 0;
    std::span<const std::uint8_t> bytes;
  };
  static constexpr std::size_t kItemHead = 2 * sizeof(std::uint32_t);

  // Goes through the messages of an event.
  class Items {
   public:
    explicit Items(const SubscriptionEvent& event) noexcept
        : rest_(event.rest()), left_(event.count_) {}
    bool next(Item* item) noexcept;

   private:
    std::span<const std::uint8_t> rest_;
    std::size_t left_;
  };

  // A message. Throws std::bad_alloc.
  static std::unique_ptr<SubscriptionEvent> make(std::span<const std::uint8_t> key,
                                                 std::span<const std::uint8_t> payload,
                                                 std::int64_t sequence_id);
  explicit SubscriptionEvent(EventKind event_kind) noexcept : Event(event_kind) {}

  // Adds a message to the others. False without room or memory.
  bool append(std::span<const std::uint8_t> key, std::span<const std::uint8_t> payload,
              std::int64_t sequence_id) noexcept;
  std::size_t count() const noexcept { return count_; }
  // The first of several becomes an event of its own. Throws std::bad_alloc.
  std::unique_ptr<SubscriptionEvent> take_first();
  // The first `count` go; one at least stays.
  void drop(std::size_t count) noexcept;

  std::span<const std::uint8_t> key() const noexcept override;
  std::span<const std::uint8_t> body() const noexcept override;
  // Of a single message: its key and itself.
  std::size_t size() const noexcept;
  // From now on body() is all of the item's bytes.
  void show_all() noexcept { shows_all_ = true; }

 private:
  static constexpr std::size_t kPrefix = sizeof(std::int64_t) + kItemHead;

  Item first() const noexcept;
  std::span<const std::uint8_t> rest() const noexcept {
    return {(large_ ? large_.get() : inline_) + begin_, end_ - begin_};
  }
  // Throws std::bad_alloc.
  void reserve(std::size_t size);
  void put(std::span<const std::uint8_t> key, std::span<const std::uint8_t> payload,
           std::int64_t sequence_id) noexcept;

  std::size_t count_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = kInline;
  bool shows_all_ = false;
  std::unique_ptr<std::uint8_t[]> large_;
  std::uint8_t inline_[kInline];
};

class Subscription {
 public:
  // Throws std::bad_alloc.
  explicit Subscription(SubscriptionOptions options);
  Subscription(const Subscription&) = delete;
  Subscription& operator=(const Subscription&) = delete;
  ~Subscription() = default;

  const SubscriptionOptions& options() const noexcept { return options_; }
  bool waits() const noexcept { return options_.policy == Policy::kWait; }
  // The channel, a NUL, and the key.
  const std::string& topic() const noexcept { return topic_; }

  // The server has it: said once, before anything else.
  void announce(const Event& listener, EventList& out) noexcept;
  bool announced() const noexcept { return announcement_ == nullptr; }

  // Under kWait: whether a message may leave now.
  bool can_take() const noexcept { return has_credit() && mark_.empty(); }
  // A message was published. Under kWait only after can_take().
  void take(const Event& listener, std::span<const std::uint8_t> key,
            std::span<const std::uint8_t> payload, std::int64_t sequence_id,
            EventList& out) noexcept;
  // From here on something may be missing.
  void resync(const Event& listener, ResyncReason reason, std::uint64_t lost,
              EventList& out) noexcept;
  // More may be outstanding.
  void grant(const Event& listener, std::uint64_t messages, std::uint64_t bytes,
             EventList& out) noexcept;

  // The subscriber's.
  Subscriber* subscriber = nullptr;
  bool fresh = false;  // announced since the subscriber was established anew

 private:
  struct Mark {
    ResyncReason reason = ResyncReason::kNone;
    std::uint64_t lost = 0;
    bool empty() const noexcept { return reason == ResyncReason::kNone; }
    void add(const Mark& other) noexcept;
  };

  bool has_credit() const noexcept { return messages_ > 0 && bytes_ > 0; }
  void spend(std::size_t size) noexcept;
  void keep(std::unique_ptr<SubscriptionEvent> event) noexcept;
  bool fits(std::size_t size) const noexcept;
  void drop_first() noexcept;
  void take_marks_out() noexcept;
  // Adds a message to the run that `out` ends with, if it is this subscription's.
  static bool join_run(const Event& listener, std::span<const std::uint8_t> key,
                       std::span<const std::uint8_t> payload, std::int64_t sequence_id,
                       EventList& out) noexcept;
  void emit(const Event& listener, std::unique_ptr<SubscriptionEvent> event,
            EventList& out) noexcept;
  // Throws std::bad_alloc.
  static std::unique_ptr<SubscriptionEvent> event_of(const Mark& mark);
  bool emit_mark(const Event& listener, Mark& mark, EventList& out) noexcept;
  void emit_kept(const Event& listener, EventList& out) noexcept;

  SubscriptionOptions options_;
  std::string topic_;
  std::unique_ptr<SubscriptionEvent> announcement_;
  std::int64_t messages_;
  std::int64_t bytes_;
  // In this order: first_, what is kept (a mark stands in it as an event), mark_.
  Mark first_;
  EventList kept_;
  std::uint64_t kept_messages_ = 0;
  std::uint64_t kept_bytes_ = 0;
  Mark mark_;
};

// For people.
std::string_view resync_text(ResyncReason reason) noexcept;

}  // namespace gcs
