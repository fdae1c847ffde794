// SPDX-License-Identifier: Apache-2.0
//
// One call: the request, where it stands, and in the end the reply.
//
// Threads: whoever makes it owns it until GcsClient::submit(); then the loop's turn; then, as an
// Event, the sink.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "client/event.h"
#include "client/methods.h"
#include "client/pending_budget.h"
#include "transport/call.h"

namespace gcs {

inline constexpr std::int64_t kTimeoutNone = -1;
inline constexpr std::int64_t kTimeoutDefault = -2;

enum class Retry : std::uint8_t { kSafe, kNever, kAlways };

class Call;
class Link;
class Subscription;

// Who has a call of the client's own made, which ends there and not at a sink.
class Asker {
 public:
  // A cancelled call has no answer.
  virtual void answered(std::unique_ptr<Call> answer) noexcept = 0;

 protected:
  ~Asker() = default;
};

class Call final : public Event, public transport::UnaryCall {
 public:
  static constexpr std::size_t kInlineRequest = 256;

  using transport::UnaryCall::message;  // the request; what a failure says is Event::message()

  // A call of a known method; throws std::bad_alloc as every function that makes one.
  static std::unique_ptr<Call> make(EventKind kind, const Method& method) {
    return std::make_unique<Call>(kind, method);
  }
  // By path: "/package.Service/Method". A path of a known method is treated as that method.
  static std::unique_ptr<Call> make_by_path(std::string_view path);

  Call(EventKind kind, const Method& method);
  explicit Call(std::string_view unknown_path);
  ~Call() override;
  void handed_over() noexcept override { release_budget(); }

  // Room for a request of `size` bytes, to be written at once: inside the object when small, else
  // in a shared block.
  std::uint8_t* allocate_request(std::size_t size);
  void copy_request(std::span<const std::uint8_t> bytes);
  void lend_request(transport::SharedBytes bytes) noexcept;

  std::string_view method() const noexcept override { return path; }
  // Of a KV get the value, else the reply.
  std::span<const std::uint8_t> body() const noexcept override { return body_; }
  std::string_view details() const noexcept override { return result.details; }
  void set_body(std::span<const std::uint8_t> body) noexcept { body_ = body; }
  // Counts the call as pending. From then on it is until it is handed over, or destroyed.
  PendingBudget::Verdict count_in(PendingBudget& budget) noexcept;
  // The request is not needed any more; frees what it holds.
  void drop_request() noexcept;

  // What the caller asked for.
  std::int64_t timeout =
      kTimeoutDefault;  // nanoseconds from `started` on, or kTimeoutNone, kTimeoutDefault
  transport::TimePoint started = 0;  // 0: when it is submitted
  std::int8_t wait_for_ready = -1;   // -1: as the client
  Retry retry = Retry::kSafe;
  std::uint32_t ray_version = 0;  // of the server that it may be sent to; 0: any
  const Method* known = nullptr;  // nullptr: a path that has no number
  // A subscription is no call either: it is answered with many events, of which this is the last.
  std::unique_ptr<Subscription> subscription;
  std::unique_ptr<Event> after_end;  // delivered behind it
  Asker* asker = nullptr;            // not an application's
  bool long_poll = false;            // that it is not answered says nothing of the connection

  // Where it stands; the turn's.
  enum class Place : std::uint8_t {
    kNew,
    kWaiting,
    kPassive,      // held back: the GCS is passive
    kRefused,      // held back: the server has refused its stream
    kUnversioned,  // held back: the server's release of Ray is not known yet
    kInFlight,
    kWatching,
    kSubscribed,
    kEnded
  };
  Place place = Place::kNew;
  std::uint8_t may_have_run = 0;  // sendings that ended without an answer and may have run
  std::uint8_t rejections = 0;    // answers that said that the cluster or the token is another one
  bool refused = false;           // the server has refused its stream
  std::uint32_t token_version = 0;  // of the token that it was sent with
  bool internal = false;            // the client's own: not in the table, ends at the client
  Link* link = nullptr;
  std::size_t heap_index = 0;
  Call* table_next = nullptr;
  Call* waiting_previous = nullptr;
  Call* waiting_next = nullptr;

  // For whoever reads the entries of the reply: where the walk stands.
  std::size_t entries_read = 0;
  std::span<const std::uint8_t> entries_rest;

 private:
  void release_budget() noexcept {
    if (auto* const budget = std::exchange(budget_, nullptr)) budget->release(counted_bytes_);
  }

  std::span<const std::uint8_t> body_;
  PendingBudget* budget_ = nullptr;
  std::uint64_t counted_bytes_ = 0;
  std::string own_path_;
  std::array<std::uint8_t, kInlineRequest> inline_request_;
};

}  // namespace gcs
