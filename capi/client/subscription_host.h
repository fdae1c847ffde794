// SPDX-License-Identifier: Apache-2.0
//
// What subscriptions need of the client that they belong to: a connection, calls of their own, and
// a way to their consumers.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "client/call.h"
#include "client/event.h"
#include "transport/event_loop.h"

namespace gcs {

class SubscriptionHost {
 public:
  virtual transport::TimePoint now() const noexcept = 0;
  // A connection that is ready; Subscriptions::connected() follows when there is another one.
  virtual bool is_ready() const noexcept = 0;
  virtual void want_connection() noexcept = 0;
  // Makes a call, which has an asker; its answer comes in a later pass, or at the end of this one.
  virtual void ask(std::unique_ptr<Call> call) noexcept = 0;
  // It will not be answered.
  virtual void drop_question(std::uint64_t id) noexcept = 0;
  // No answer comes to this asker any more, whatever has ended.
  virtual void forget(const Asker& asker) noexcept = 0;
  // Events for consumers go to its end, in order.
  virtual EventList& out() noexcept = 0;
  // The server has the subscription: its timeout is over.
  virtual void subscribed(Call& subscription) noexcept = 0;
  // The terminal event. The subscription is removed from everything meanwhile.
  virtual void fail(Call& subscription, Status status, std::uint32_t flags,
                    std::string_view message) noexcept = 0;

 protected:
  ~SubscriptionHost() = default;
};

// What a server that lives has time for.
inline constexpr std::int64_t kAnswerTimeout = 20'000'000'000;
// For so long a server may refuse what it once took before the subscriptions end with its error.
inline constexpr std::int64_t kRefusalPatience = 60'000'000'000;

// A call of the client's own, which waits for a connection. Throws std::bad_alloc.
std::unique_ptr<Call> make_question(Asker& asker, std::uint32_t method, std::string_view request,
                                    std::int64_t timeout);
// Whether another attempt may go better: the server was away, or could not be asked.
bool is_transient(const Call& answer) noexcept;

}  // namespace gcs
