// SPDX-License-Identifier: Apache-2.0
#include "client/call_table.h"

namespace gcs {

CallTable::~CallTable() {
  for_each([](Call& call) { std::unique_ptr<Call>{&call}; });
}

void CallTable::reserve_one() {
  constexpr std::size_t kSmallest = 64;
  if (size_ < buckets_.size()) return;
  std::vector<Call*> larger(buckets_.empty() ? kSmallest : buckets_.size() * 2, nullptr);
  buckets_.swap(larger);
  for (Call* call : larger) {
    while (call != nullptr) {
      Call* next = call->table_next;
      Call*& head = buckets_[bucket(call->id)];
      call->table_next = head;
      head = call;
      call = next;
    }
  }
}

void CallTable::insert(std::unique_ptr<Call> call) noexcept {
  Call*& head = buckets_[bucket(call->id)];
  call->table_next = head;
  head = call.release();
  ++size_;
}

Call* CallTable::find(std::uint64_t id) const noexcept {
  if (buckets_.empty()) return nullptr;
  Call* call = buckets_[bucket(id)];
  while (call != nullptr && call->id != id) call = call->table_next;
  return call;
}

std::unique_ptr<Call> CallTable::take(Call& call) noexcept {
  Call** link = &buckets_[bucket(call.id)];
  while (*link != &call) link = &(*link)->table_next;
  *link = call.table_next;
  call.table_next = nullptr;
  --size_;
  return std::unique_ptr<Call>(&call);
}

}  // namespace gcs
