// SPDX-License-Identifier: Apache-2.0
#include "shim/refused_event.h"

#include "client/process.h"

namespace gcs::shim {
namespace {

// Some hundred bytes each.
constexpr std::uint64_t kMostUntaken = 100'000;

struct Untaken {
  RefusedEvent::Count count{0};
};

}  // namespace

RefusedEvent::Count& RefusedEvent::count() {
  return per_process<Untaken>().count;
}

bool RefusedEvent::too_many() {
  return count().load(std::memory_order_relaxed) >= kMostUntaken;
}

}  // namespace gcs::shim
