// SPDX-License-Identifier: Apache-2.0
//
// Reading and freeing events. An event belongs to one thread at a time; nothing here is locked.
#include <cstddef>
#include <memory>
#include <utility>

#include "client/call.h"
#include "client/kv.h"
#include "shim/boundary.h"
#include "shim/objects.h"

using namespace gcs::shim;
using gcs::Status;

namespace {

// What has entries; null for any other event.
template <class SomeEvent, class SomeCall>
SomeCall* call_with_entries(SomeEvent* event) noexcept {
  if (event == nullptr || event->status != Status::kOk) return nullptr;
  const bool has_entries =
      event->kind == gcs::EventKind::kKvKeys || event->kind == gcs::EventKind::kKvMultiGet;
  return has_entries ? dynamic_cast<SomeCall*>(event) : nullptr;
}

}  // namespace

int32_t gcs_event_kind(const gcs_event* event) {
  return guarded_value<int32_t>(
      0, [&] { return event == nullptr ? 0 : static_cast<int32_t>(from_c(event)->kind); });
}

uint64_t gcs_event_id(const gcs_event* event) {
  return guarded_value<uint64_t>(0, [&] { return event == nullptr ? 0 : from_c(event)->id; });
}

gcs_status gcs_event_status(const gcs_event* event) {
  return guarded(
      [&] { return event == nullptr ? Status::kInvalidArgument : from_c(event)->status; });
}

uint32_t gcs_event_flags(const gcs_event* event) {
  return guarded_value<uint32_t>(0, [&] { return event == nullptr ? 0 : from_c(event)->flags; });
}

int64_t gcs_event_number(const gcs_event* event) {
  return guarded_value<int64_t>(0, [&] { return event == nullptr ? 0 : from_c(event)->number; });
}

const char* gcs_event_message(const gcs_event* event) {
  return guarded_value("",
                       [&] { return event == nullptr ? "" : c_text(from_c(event)->message()); });
}

const char* gcs_event_method(const gcs_event* event) {
  return guarded_value("", [&] { return event == nullptr ? "" : c_text(from_c(event)->method()); });
}

const char* gcs_event_address(const gcs_event* event) {
  return guarded_value("",
                       [&] { return event == nullptr ? "" : c_text(from_c(event)->address()); });
}

gcs_bytes gcs_event_details(const gcs_event* event) {
  return guarded_value(gcs_bytes{}, [&] {
    if (event == nullptr) return gcs_bytes{};
    const std::string_view details = from_c(event)->details();
    return gcs_bytes{details.data(), details.size()};
  });
}

gcs_bytes gcs_event_key(const gcs_event* event) {
  return guarded_value(
      gcs_bytes{}, [&] { return event == nullptr ? gcs_bytes{} : c_bytes(from_c(event)->key()); });
}

gcs_bytes gcs_event_body(const gcs_event* event) {
  return guarded_value(
      gcs_bytes{}, [&] { return event == nullptr ? gcs_bytes{} : c_bytes(from_c(event)->body()); });
}

size_t gcs_event_entry_count(const gcs_event* event) {
  return guarded_value<size_t>(0, [&]() -> size_t {
    const auto* call = call_with_entries<const gcs::Event, const gcs::Call>(from_c(event));
    return call == nullptr ? 0 : static_cast<size_t>(call->number);
  });
}

gcs_status gcs_event_entry(gcs_event* event, size_t index, gcs_bytes* out_key,
                           gcs_bytes* out_value) {
  return guarded([&] {
    if (out_key == nullptr) return Status::kInvalidArgument;
    auto* call = call_with_entries<gcs::Event, gcs::Call>(from_c(event));
    if (call == nullptr || index >= static_cast<size_t>(call->number)) return Status::kNotFound;
    if (call->entries_read == 0 || index < call->entries_read) {
      call->entries_read = 0;
      call->entries_rest = call->body();
    }
    gcs::kv::Entries entries(call->kind, call->entries_rest);
    gcs::kv::Bytes key;
    gcs::kv::Bytes value;
    for (size_t next = call->entries_read; next <= index; ++next) {
      if (!entries.next(&key, &value)) return Status::kNotFound;
    }
    call->entries_read = index + 1;
    call->entries_rest = entries.rest();
    *out_key = c_bytes(key);
    if (out_value != nullptr) *out_value = c_bytes(value);
    return Status::kOk;
  });
}

gcs_buffer* gcs_event_take_body(gcs_event* event) {
  return guarded_value<gcs_buffer*>(
      nullptr, [&] { return buffer_to_c(std::unique_ptr<gcs::Event>(from_c(event))); });
}

void gcs_event_free(gcs_event* event) {
  std::unique_ptr<gcs::Event>(from_c(event)).reset();
}
