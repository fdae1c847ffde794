// SPDX-License-Identifier: Apache-2.0
//
// The calls of one client that have been accepted and have not ended, by id. Owns them.
//
// Ids come from one counter, so that their low bits spread them perfectly: a bucket array of chains
// that run through the calls themselves, which allocates only to grow.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "client/call.h"

namespace gcs {

class CallTable {
 public:
  CallTable() = default;
  CallTable(const CallTable&) = delete;
  CallTable& operator=(const CallTable&) = delete;
  ~CallTable();

  // Room for one more. Throws std::bad_alloc.
  void reserve_one();
  // After reserve_one(): cannot fail.
  void insert(std::unique_ptr<Call> call) noexcept;
  Call* find(std::uint64_t id) const noexcept;
  // The call must be inside.
  std::unique_ptr<Call> take(Call& call) noexcept;
  std::size_t size() const noexcept { return size_; }

  // Calls `visit(Call&)` for every call inside; visit may take that call out, and no other.
  template <class Visit>
  void for_each(Visit&& visit) {
    for (Call* call : buckets_) {
      while (call != nullptr) {
        Call* next = call->table_next;
        visit(*call);
        call = next;
      }
    }
  }

 private:
  std::size_t bucket(std::uint64_t id) const noexcept {
    return static_cast<std::size_t>(id) & (buckets_.size() - 1);
  }

  std::vector<Call*> buckets_;  // a power of two
  std::size_t size_ = 0;
};

}  // namespace gcs
