// SPDX-License-Identifier: Apache-2.0
//
// An intrusive list of calls, linked through their StreamState: a call is on at most one list, and
// leaving it costs nothing. Owns no call.
#pragma once

#include <utility>

#include "transport/call.h"

namespace gcs::transport {

class CallList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  UnaryCall* first() const noexcept { return first_; }

  void push_back(UnaryCall& call) noexcept {
    call.stream.previous = last_;
    call.stream.following = nullptr;
    (last_ == nullptr ? first_ : last_->stream.following) = &call;
    last_ = &call;
  }

  void remove(UnaryCall& call) noexcept {
    UnaryCall* const before = std::exchange(call.stream.previous, nullptr);
    UnaryCall* const after = std::exchange(call.stream.following, nullptr);
    (before == nullptr ? first_ : before->stream.following) = after;
    (after == nullptr ? last_ : after->stream.previous) = before;
  }

  // Empties the list; its calls are then linked by `next`, in the same order.
  UnaryCall* take_chain() noexcept {
    for (UnaryCall* call = first_; call != nullptr; call = call->next) {
      call->next = call->stream.following;
      call->stream.previous = nullptr;
      call->stream.following = nullptr;
    }
    last_ = nullptr;
    return std::exchange(first_, nullptr);
  }

 private:
  UnaryCall* first_ = nullptr;
  UnaryCall* last_ = nullptr;
};

}  // namespace gcs::transport
