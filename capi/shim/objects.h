// SPDX-License-Identifier: Apache-2.0
//
// The opaque types of the C API. gcs_event, gcs_buffer and gcs_error are all a gcs::Event seen in
// three roles, so that an event turns into the buffer of its body, or a refusal into an error,
// without an allocation that could fail.
//
// Ownership: a pointer handed out is owned by the caller, who gives it back to one of the free
// functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "client/event.h"
#include "gcs_capi.h"

namespace gcs::shim {

inline Event* from_c(gcs_event* event) noexcept {
  return reinterpret_cast<Event*>(event);
}
inline Event* from_c(gcs_buffer* buffer) noexcept {
  return reinterpret_cast<Event*>(buffer);
}
inline Event* from_c(gcs_error* error) noexcept {
  return reinterpret_cast<Event*>(error);
}
inline const Event* from_c(const gcs_event* event) noexcept {
  return reinterpret_cast<const Event*>(event);
}
inline const Event* from_c(const gcs_buffer* buffer) noexcept {
  return reinterpret_cast<const Event*>(buffer);
}
inline const Event* from_c(const gcs_error* error) noexcept {
  return reinterpret_cast<const Event*>(error);
}
inline gcs_event* event_to_c(std::unique_ptr<Event> event) noexcept {
  if (event) event->handed_over();
  return reinterpret_cast<gcs_event*>(event.release());
}
inline gcs_buffer* buffer_to_c(std::unique_ptr<Event> event) noexcept {
  if (event) event->handed_over();
  return reinterpret_cast<gcs_buffer*>(event.release());
}
inline gcs_error* error_to_c(std::unique_ptr<Event> event) noexcept {
  return reinterpret_cast<gcs_error*>(event.release());
}

// A text of an event as C wants it: ended by a NUL, and never null.
inline const char* c_text(std::string_view text) noexcept {
  return text.data() == nullptr ? "" : text.data();
}

inline gcs_bytes c_bytes(std::span<const std::uint8_t> bytes) noexcept {
  return {bytes.data(), bytes.size()};
}

inline gcs_status c_status(Status status) noexcept {
  return static_cast<gcs_status>(status);
}

// A buffer that was no event before.
class TextBuffer final : public Event {
 public:
  explicit TextBuffer(std::string text) noexcept
      : Event(EventKind::kCall), text_(std::move(text)) {}
  std::span<const std::uint8_t> body() const noexcept override {
    return {reinterpret_cast<const std::uint8_t*>(text_.data()), text_.size()};
  }

 private:
  const std::string text_;
};

}  // namespace gcs::shim
