// SPDX-License-Identifier: Apache-2.0
//
// The deadlines of the calls of one client: a binary heap in which each call knows its place, so
// that a call that ends is taken out without a search. One timer watches the top.
//
// Invariant: heap_[call->heap_index - 1] == call for every call inside; heap_index is 0 outside.
// Room for a call is reserved before it is accepted, so that insert() cannot fail.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstddef>
#include <vector>

#include "client/call.h"

namespace gcs {

class DeadlineHeap {
 public:
  // Throws std::bad_alloc.
  void reserve_one() { heap_.reserve(grown(heap_.size() + 1)); }
  void insert(Call& call) noexcept;
  // Does nothing for a call that is not inside.
  void erase(Call& call) noexcept;
  // nullptr when empty.
  Call* earliest() const noexcept { return heap_.empty() ? nullptr : heap_.front(); }
  std::size_t size() const noexcept { return heap_.size(); }

 private:
  std::size_t grown(std::size_t needed) const noexcept {
    return needed <= heap_.capacity() ? heap_.capacity() : heap_.capacity() * 2 + needed;
  }
  void put(std::size_t index, Call* call) noexcept {
    heap_[index] = call;
    call->heap_index = index + 1;
  }
  void sift_up(std::size_t index, Call* call) noexcept;
  void sift_down(std::size_t index, Call* call) noexcept;

  std::vector<Call*> heap_;
};

}  // namespace gcs
