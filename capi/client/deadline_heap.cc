// SPDX-License-Identifier: Apache-2.0
#include "client/deadline_heap.h"

namespace gcs {

void DeadlineHeap::insert(Call& call) noexcept {
  heap_.push_back(&call);
  sift_up(heap_.size() - 1, &call);
}

void DeadlineHeap::erase(Call& call) noexcept {
  if (call.heap_index == 0) return;
  const std::size_t hole = call.heap_index - 1;
  call.heap_index = 0;
  Call* last = heap_.back();
  heap_.pop_back();
  if (last == &call) return;
  if (hole > 0 && last->deadline < heap_[(hole - 1) / 2]->deadline) {
    sift_up(hole, last);
  } else {
    sift_down(hole, last);
  }
}

void DeadlineHeap::sift_up(std::size_t index, Call* call) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->deadline <= call->deadline) break;
    put(index, heap_[parent]);
    index = parent;
  }
  put(index, call);
}

void DeadlineHeap::sift_down(std::size_t index, Call* call) noexcept {
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline < heap_[child]->deadline) ++child;
    if (call->deadline <= heap_[child]->deadline) break;
    put(index, heap_[child]);
    index = child;
  }
  put(index, call);
}

}  // namespace gcs
