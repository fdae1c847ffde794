// SPDX-License-Identifier: Apache-2.0
//
// The calls that wait for a connection or for room on it, first come first served. A call in the
// middle leaves without a search when it is cancelled or expires. Owns nothing.
//
// Threads: whoever has the loop's turn.
#pragma once

#include "client/call.h"

namespace gcs {

class WaitingList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  Call* front() const noexcept { return first_; }
  void push_back(Call& call) noexcept { insert(call, last_, nullptr); }
  // Before `before`; nullptr: at the end.
  void insert_before(Call& call, Call* before) noexcept {
    insert(call, before == nullptr ? last_ : before->waiting_previous, before);
  }
  void erase(Call& call) noexcept {
    (call.waiting_previous == nullptr ? first_ : call.waiting_previous->waiting_next) =
        call.waiting_next;
    (call.waiting_next == nullptr ? last_ : call.waiting_next->waiting_previous) =
        call.waiting_previous;
    call.waiting_previous = call.waiting_next = nullptr;
    --size_;
  }

 private:
  void insert(Call& call, Call* previous, Call* next) noexcept {
    call.waiting_previous = previous;
    call.waiting_next = next;
    (previous == nullptr ? first_ : previous->waiting_next) = &call;
    (next == nullptr ? last_ : next->waiting_previous) = &call;
    ++size_;
  }

  Call* first_ = nullptr;
  Call* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gcs
