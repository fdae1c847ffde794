// SPDX-License-Identifier: Apache-2.0
//
// Many calls out of one block of bytes, all of which end at one queue. The hot path of an event
// loop: one allocation for each call and a handful for the batch.
//
// Invariant: nothing is accepted before the whole batch was understood and every call and refusal
// was made. Refusals go to the queue from here, since a queue is no callback; that is done last,
// and outside guarded(), as it may call the queue's wake function.
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/kv.h"
#include "shim/boundary.h"
#include "shim/call_request.h"
#include "shim/clock.h"
#include "shim/handles.h"
#include "shim/options.h"
#include "shim/packed_format.h"
#include "shim/refused_event.h"
#include "shim/submission.h"

using namespace gcs::shim;
using gcs::Call;
using gcs::EventKind;
using gcs::EventList;
using gcs::Refusal;
using gcs::Status;
using gcs::kv::Made;

namespace {

constexpr std::uint16_t kCallFlags = GCS_PACKED_NO_WAIT | GCS_PACKED_WAIT | GCS_PACKED_RETRY_NEVER |
                                     GCS_PACKED_RETRY_ALWAYS | GCS_PACKED_BODY_POINTER;

bool has(const PackedRecord& record, unsigned flag) noexcept {
  return (record.head.flags & flag) != 0;
}

Made refused(std::string message) {
  return {nullptr, refuse_argument(std::move(message))};
}

std::string_view text(gcs::kv::Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a kind of record may have. A value where none is looked at would be a mistake of the
// caller's.
struct Shape {
  bool key;
  bool body;
  std::uint16_t flags;  // beside those of every call
};

bool shape_of(std::uint16_t kind, Shape* shape) noexcept {
  switch (kind) {
    case GCS_EVENT_CALL:
      *shape = {false, true, 0};
      return true;
    case GCS_EVENT_KV_PUT:
      *shape = {true, true, GCS_PACKED_OVERWRITE};
      return true;
    case GCS_EVENT_KV_GET:
    case GCS_EVENT_KV_MULTI_GET:
    case GCS_EVENT_KV_DELETE:
    case GCS_EVENT_KV_EXISTS:
      *shape = {true, false, 0};
      return true;
    case GCS_EVENT_KV_DELETE_PREFIX:
    case GCS_EVENT_KV_KEYS:
      *shape = {true, false, GCS_PACKED_ALL_NAMESPACES};
      return true;
    default:
      return false;
  }
}

Refusal check_record(const PackedRecord& record) {
  const gcs_packed_call& head = record.head;
  Shape shape{};
  if (!shape_of(head.kind, &shape)) {
    return refuse_argument("a packed record has the unknown kind " + std::to_string(head.kind));
  }
  if ((head.flags & ~(kCallFlags | shape.flags)) != 0) {
    return refuse_argument("a packed record has flags that its kind does not know");
  }
  if ((has(record, GCS_PACKED_WAIT) && has(record, GCS_PACKED_NO_WAIT)) ||
      (has(record, GCS_PACKED_RETRY_NEVER) && has(record, GCS_PACKED_RETRY_ALWAYS))) {
    return refuse_argument("a packed record has flags that contradict each other");
  }
  if ((!shape.key && !record.key.empty()) || (!shape.body && !record.body.empty()) ||
      (head.method != 0 && (head.kind != GCS_EVENT_CALL || !record.name.empty()))) {
    return refuse_argument("a packed record has bytes or a method that its kind does not know");
  }
  if (!is_view(record.body.data(), record.body.size())) {
    return refuse_argument("a packed record's body is NULL, and its size is not 0");
  }
  if (!is_timeout(head.timeout)) {
    return refuse_argument("timeout is negative, and neither GCS_TIMEOUT_NONE nor _DEFAULT");
  }
  if (head.reserved != 0) return refuse_argument("reserved of a packed record is not 0");
  if (head.started < 0) return refuse_argument("started is not a time of gcs_now()");
  return {};
}

Made make_generic(const PackedRecord& record) {
  Made made;
  if (Refusal refusal = make_call({record.head.method, text(record.name)}, &made.call)) {
    return {nullptr, std::move(refusal)};
  }
  made.call->copy_request(record.body);
  return made;
}

Made make_multi_get(const PackedRecord& record) {
  std::vector<gcs::kv::Bytes> keys;
  if (!read_packed_keys(record.key, &keys)) {
    return refused("the keys of a packed multi-get do not fit into key_size");
  }
  return gcs::kv::multi_get(record.name, keys);
}

// The record was checked.
Made make(const PackedRecord& record) {
  const bool all = has(record, GCS_PACKED_ALL_NAMESPACES);
  switch (record.head.kind) {
    case GCS_EVENT_KV_GET:
      return gcs::kv::get(record.name, record.key);
    case GCS_EVENT_KV_MULTI_GET:
      return make_multi_get(record);
    case GCS_EVENT_KV_PUT:
      return gcs::kv::put(record.name, record.key, record.body, has(record, GCS_PACKED_OVERWRITE));
    case GCS_EVENT_KV_DELETE:
      return gcs::kv::delete_key(record.name, record.key);
    case GCS_EVENT_KV_DELETE_PREFIX:
      return gcs::kv::delete_prefix(record.name, record.key, all);
    case GCS_EVENT_KV_EXISTS:
      return gcs::kv::exists(record.name, record.key);
    case GCS_EVENT_KV_KEYS:
      return gcs::kv::keys(record.name, record.key, all);
    default:
      return make_generic(record);
  }
}

class PackedBatch {
 public:
  explicit PackedBatch(CompletionQueue& queue) : sink_(&queue), refused_count_(queue.refused()) {}

  // Throws std::bad_alloc; nothing is accepted until accept().
  void add(const PackedRecord& record) {
    if (record.head.kind == GCS_PACKED_CANCEL) {
      add_cancel(record);
      return;
    }
    // Without memory for the call there may be enough for saying so.
    Refusal refusal = caught([&] { return add_call(record); });
    if (refusal) {
      // An event of a kind that is no call's would be taken for what it is not.
      Shape shape{};
      const bool known = shape_of(record.head.kind, &shape);
      const auto kind = known ? static_cast<EventKind>(record.head.kind) : EventKind::kCall;
      refused_.push_back(
          std::make_unique<RefusedEvent>(kind, record.head.id, refusal, refused_count_));
    }
  }

  EventList accept() {
    submission_.submit();
    return std::move(refused_);
  }

 private:
  void add_cancel(const PackedRecord& record) {
    if (submission_.select(record.head.client) == Status::kOk) submission_.cancel(record.head.id);
  }

  Refusal add_call(const PackedRecord& record) {
    const gcs_packed_call& head = record.head;
    if (head.id <= last_id_ || !is_reserved_id(head.id)) {
      return refuse_argument("ids come from gcs_reserve_ids() and increase within a batch; " +
                             std::to_string(head.id) + " does not");
    }
    last_id_ = head.id;
    if (Refusal refusal = check_record(record)) return refusal;
    const Status status = submission_.select(head.client);
    if (status != Status::kOk) return refuse_handle(status, "client");
    if (Refusal refusal = check_size(submission_.client(), record.name.size(), record.key.size(),
                                     record.body.size())) {
      return refusal;
    }
    Made made = make(record);
    if (!made.call) return std::move(made.refusal);
    Call& call = *made.call;
    call.id = head.id;
    call.timeout = head.timeout;
    call.ray_version = head.ray_version;
    call.started = head.started > latest_start() ? 0 : head.started;
    if (has(record, GCS_PACKED_WAIT)) call.wait_for_ready = 1;
    if (has(record, GCS_PACKED_NO_WAIT)) call.wait_for_ready = 0;
    if (has(record, GCS_PACKED_RETRY_NEVER)) call.retry = gcs::Retry::kNever;
    if (has(record, GCS_PACKED_RETRY_ALWAYS)) call.retry = gcs::Retry::kAlways;
    call.sink = sink_;
    return submission_.add(std::move(made.call));
  }

  // A call cannot have been made later than now: that would lengthen its time.
  std::int64_t latest_start() noexcept {
    if (now_ == 0) now_ = monotonic_now();
    return now_;
  }

  const gcs::SinkReference sink_;
  const std::shared_ptr<RefusedCount> refused_count_;
  Submission submission_;
  EventList refused_;
  std::uint64_t last_id_ = 0;
  std::int64_t now_ = 0;
};

}  // namespace

gcs_status gcs_call_batch_packed(gcs_queue queue, const void* batch, size_t size) {
  PinnedQueue pinned;
  EventList refused;
  const gcs_status status = guarded([&] {
    if (batch == nullptr && size != 0) return Status::kInvalidArgument;
    if (const Status bad = pinned.find(queue); bad != Status::kOk) return bad;
    const gcs::kv::Bytes bytes = view_of(batch, size);
    if (!is_well_formed(bytes)) return Status::kInvalidArgument;
    if (pinned->refused()->is_full()) return Status::kLimit;
    PackedBatch made(*pinned);
    PackedReader reader(bytes);
    PackedRecord record;
    while (reader.next(&record) == PackedReader::Outcome::kRecord) made.add(record);
    refused = made.accept();
    pinned->cancel_if_closed();
    return Status::kOk;
  });
  if (!refused.empty()) pinned->deliver(std::move(refused));
  return status;
}
