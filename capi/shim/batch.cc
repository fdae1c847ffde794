// SPDX-License-Identifier: Apache-2.0
//
// Many calls in one hand-over, each with a completion target of its own.
//
// Invariant: nothing is accepted before everything that can fail is done. A refused item's event
// goes the way that an accepted one's goes: to its queue, or by the I/O thread to its function,
// never from inside the submitting call. Its lent body is released, too, since the return value
// does not tell which items were refused.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shim/boundary.h"
#include "shim/call_request.h"
#include "shim/callback_sink.h"
#include "shim/options.h"
#include "shim/refused_event.h"
#include "shim/sized.h"
#include "shim/submission.h"
#include "shim/target.h"

using namespace gcs::shim;
using gcs::EventList;
using gcs::Refusal;
using gcs::Status;

namespace {

class Batch {
 public:
  // Throws std::bad_alloc; nothing is accepted until accept(). kLimit: too many refusals are
  // waiting already where one would have to go.
  Status add(const gcs_call_item& item) {
    Target target;
    Refusal refusal = resolve_target(item.fn, item.user, &target);
    if (refusal) {
      // A queue that was closed. The I/O thread pushes the event there, where it is freed.
      target = callback_target(item.fn, item.user);
    } else {
      refusal = make_call(item, target);
    }
    return refusal ? add_refused(item, target, refusal) : Status::kOk;
  }

  // Throws std::bad_alloc or std::system_error, and then has accepted nothing. After that `queued`
  // may be delivered.
  void accept(EventList* queued) {
    for (LentBody* lent : lent_) lent->arm();
    if (!called_back_.empty()) {
      try {
        call_back_later(called_back_);
      } catch (const std::exception&) {
        for (LentBody* lent : lent_) lent->disarm();
        throw;
      }
    }
    submission_.submit();
    for (const Target& target : queues_) target.submitted();
    *queued = std::move(queued_);
  }

 private:
  Refusal make_call(const gcs_call_item& item, const Target& target) {
    if (item.id <= last_id_ || !is_reserved_id(item.id)) {
      return refuse_argument("ids come from gcs_reserve_ids() and increase within a batch; " +
                             std::to_string(item.id) + " does not");
    }
    last_id_ = item.id;
    if (item.reserved != 0) return refuse_argument("reserved of gcs_call_item is not 0");
    CallOptions options;
    if (Refusal refusal = read_call_options(item.options, &options)) return refusal;
    const Status status = submission_.select(item.client);
    if (status != Status::kOk) return refuse_handle(status, "client");
    const CallName name{item.method, item.path == nullptr ? std::string_view() : item.path};
    CallRequest request;
    if (Refusal refusal = request.make(submission_.client(), name, item.request, target)) {
      return refusal;
    }
    LentBody* const lent = request.lent();
    std::unique_ptr<gcs::Call> call = request.take();
    call->id = item.id;
    options.apply_to(*call);
    if (target.queue != nullptr && (queues_.empty() || queues_.back().queue != target.queue))
      queues_.push_back(target);
    if (Refusal refusal = submission_.add(std::move(call))) return refusal;
    if (lent != nullptr) lent_.push_back(lent);
    return {};
  }

  Status add_refused(const gcs_call_item& item, const Target& target, const Refusal& refusal) {
    std::shared_ptr<RefusedCount> count = refused_count(target);
    // Those of this batch are as many as the caller has room for: they do not count.
    const bool is_new = std::find(counts_.begin(), counts_.end(), count) == counts_.end();
    if (is_new && count->is_full()) return Status::kLimit;
    if (is_new) counts_.push_back(count);
    auto event =
        std::make_unique<RefusedEvent>(gcs::EventKind::kCall, item.id, refusal, std::move(count));
    if (item.request.release != nullptr) {
      LentBody* lent = nullptr;
      event->keep(LentBody::lend(item.request, target.queue, &lent));
      lent_.push_back(lent);
    }
    target.apply_to(*event);
    (target.queue == nullptr ? called_back_ : queued_).push_back(std::move(event));
    return Status::kOk;
  }

  Submission submission_;
  EventList called_back_;
  EventList queued_;
  std::vector<LentBody*> lent_;  // each lives in a call or in an event above
  std::vector<Target> queues_;   // where accepted calls end; neighbours differ
  std::vector<std::shared_ptr<RefusedCount>> counts_;  // where refusals go
  std::uint64_t last_id_ = 0;
};

Status check_array(const gcs_call_item* items, size_t count) {
  if (count == 0) return Status::kOk;
  if (items == nullptr) return Status::kInvalidArgument;
  const size_t stride = items->struct_size;
  if (const Status status = check_struct_size<gcs_call_item>(stride); status != Status::kOk) {
    return status;
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(items);
  for (size_t i = 0; i < count; ++i, bytes += stride) {
    size_t size = 0;
    std::memcpy(&size, bytes, sizeof size);
    if (size != stride) return Status::kAbi;
    gcs_call_item item{};
    if (const Status status = read_struct(bytes, size, &item); status != Status::kOk) return status;
    if (item.fn == nullptr) return Status::kInvalidArgument;
  }
  return Status::kOk;
}

}  // namespace

gcs_status gcs_call_batch(const gcs_call_item* items, size_t count) {
  EventList queued;
  const gcs_status status = guarded([&] {
    if (const Status refused = check_array(items, count); refused != Status::kOk) return refused;
    Batch batch;
    const auto* bytes = reinterpret_cast<const unsigned char*>(items);
    for (size_t i = 0; i < count; ++i, bytes += items->struct_size) {
      gcs_call_item item{};
      read_struct(bytes, items->struct_size, &item);
      if (const Status refused = batch.add(item); refused != Status::kOk) return refused;
    }
    batch.accept(&queued);
    return Status::kOk;
  });
  while (auto event = queued.pop_front()) {
    const gcs::SinkReference sink = std::move(event->sink);
    EventList one;
    one.push_back(std::move(event));
    sink->deliver(std::move(one));
  }
  return status;
}
