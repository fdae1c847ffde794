// SPDX-License-Identifier: Apache-2.0
#include "client/call.h"

#include <cstring>

#include "client/subscription.h"

namespace gcs {

Call::Call(EventKind event_kind, const Method& method) : Event(event_kind), known(&method) {
  path = method.path;
}

Call::Call(std::string_view unknown_path) : Event(EventKind::kCall), own_path_(unknown_path) {
  path = own_path_;
}

Call::~Call() {
  release_budget();
}

std::unique_ptr<Call> Call::make_by_path(std::string_view path) {
  if (const Method* method = find_method(path)) return make(EventKind::kCall, *method);
  return std::make_unique<Call>(path);
}

std::uint8_t* Call::allocate_request(std::size_t size) {
  if (size <= kInlineRequest) {
    message = {inline_request_.data(), size};
    return inline_request_.data();
  }
  std::uint8_t* room = nullptr;
  lend_request(transport::SharedBytes::allocate(size, &room));
  return room;
}

void Call::copy_request(std::span<const std::uint8_t> bytes) {
  std::uint8_t* room = allocate_request(bytes.size());
  if (!bytes.empty()) std::memcpy(room, bytes.data(), bytes.size());
}

void Call::lend_request(transport::SharedBytes bytes) noexcept {
  message = bytes.bytes();
  message_owner = std::move(bytes);
}

PendingBudget::Verdict Call::count_in(PendingBudget& budget) noexcept {
  const std::uint64_t bytes = message.size() > kInlineRequest ? message.size() : 0;
  const PendingBudget::Verdict verdict = budget.admit(bytes);
  if (verdict == PendingBudget::Verdict::kAdmitted) {
    budget_ = &budget;
    counted_bytes_ = bytes;
  }
  return verdict;
}

void Call::drop_request() noexcept {
  message = {};
  message_owner.reset();
}

}  // namespace gcs
