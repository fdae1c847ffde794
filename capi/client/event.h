// SPDX-License-Identifier: Apache-2.0
//
// What the client hands back: one Event for each call that was accepted, and for changes of state
// and log records. A call is its own event: the object that carries the request becomes the one
// that carries the reply, so that nothing has to be allocated to say how a call ended.
//
// Ownership: an event has one owner at a time, as a unique_ptr or inside an EventList. It holds a
// reference to its sink until it is delivered, and never after: a queue that holds events must not
// be held by them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "client/status.h"

namespace gcs {

enum class EventKind : std::uint16_t {
  kCall = 1,
  kKvGet = 2,
  kKvMultiGet = 3,
  kKvPut = 4,
  kKvDelete = 5,
  kKvDeletePrefix = 6,
  kKvExists = 7,
  kKvKeys = 8,
  kConnect = 16,
  kState = 17,
  kClientClosed = 18,
  kLog = 19,
  kRelease = 20,
  kSubscribed = 32,
  kMessage = 33,
  kResync = 34,
  kSubscriptionEnd = 35,
};

class EventList;

// Where events go. Reference-counted, since calls in flight keep their sink alive.
class CompletionSink {
 public:
  CompletionSink() = default;
  CompletionSink(const CompletionSink&) = delete;
  CompletionSink& operator=(const CompletionSink&) = delete;

  // Called with no lock held, on the I/O thread outside of the loop's turn, except where a call is
  // refused at once. The events hold no reference to this sink any more; the caller holds one until
  // deliver() has returned.
  // Throws nothing, but is not noexcept: a callback may end its thread (pthread_exit), and that
  // unwinding must be able to pass.
  virtual void deliver(EventList events) = 0;

  // Whether a kMessage may hold a run of messages.
  virtual bool takes_runs() const noexcept { return false; }

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose();
  }

 protected:
  ~CompletionSink() = default;
  // The last reference is gone.
  virtual void dispose() noexcept = 0;

 private:
  std::atomic<std::uint64_t> references_{1};
};

class SinkReference {
 public:
  SinkReference() noexcept = default;
  explicit SinkReference(CompletionSink* sink) noexcept : sink_(sink) {
    if (sink_ != nullptr) sink_->retain();
  }
  SinkReference(const SinkReference& other) noexcept : SinkReference(other.sink_) {}
  SinkReference(SinkReference&& other) noexcept : sink_(std::exchange(other.sink_, nullptr)) {}
  SinkReference& operator=(SinkReference other) noexcept {
    std::swap(sink_, other.sink_);
    return *this;
  }
  ~SinkReference() {
    if (sink_ != nullptr) sink_->release();
  }
  CompletionSink* get() const noexcept { return sink_; }
  CompletionSink* operator->() const noexcept { return sink_; }
  explicit operator bool() const noexcept { return sink_ != nullptr; }

 private:
  CompletionSink* sink_ = nullptr;
};

class Event {
 public:
  explicit Event(EventKind event_kind) noexcept : kind(event_kind) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  virtual ~Event() = default;

  // "/package.Service/Method", or empty. Like message() and address() it is followed by a NUL
  // unless its data() is null.
  virtual std::string_view method() const noexcept { return {}; }
  virtual std::span<const std::uint8_t> body() const noexcept { return {}; }
  virtual std::string_view details() const noexcept { return {}; }
  // Of a published message.
  virtual std::span<const std::uint8_t> key() const noexcept { return {}; }

  std::string_view message() const noexcept {
    return text_ ? std::string_view(text_->message) : std::string_view();
  }
  std::string_view address() const noexcept {
    return text_ ? std::string_view(text_->address) : std::string_view();
  }
  // Without memory the event goes without text.
  void set_text(std::string_view message, std::string_view address) noexcept;
  void fail(Status why, std::uint32_t why_flags, std::string_view message,
            std::string_view address) noexcept {
    status = why;
    flags = why_flags;
    set_text(message, address);
  }

  // The application has it now.
  virtual void handed_over() noexcept {}
  // As if it had not ended yet.
  void forget_outcome() noexcept {
    status = Status::kOk;
    flags = 0;
    number = 0;
    text_.reset();
  }

  EventKind kind;
  Status status = Status::kOk;
  std::uint32_t flags = 0;
  std::uint64_t id = 0;
  std::int64_t number = 0;
  SinkReference sink;
  // For the sink: what it was told with the submission.
  void (*target_function)() = nullptr;
  void* target_user = nullptr;

 private:
  struct Text {
    std::string message;
    std::string address;
  };
  std::unique_ptr<Text> text_;
  Event* next_ = nullptr;
  friend class EventList;
};

// A chain of events, first in first out. Owns them.
class EventList {
 public:
  EventList() noexcept = default;
  EventList(EventList&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)),
        last_(std::exchange(other.last_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  EventList& operator=(EventList&& other) noexcept {
    if (this != &other) {
      clear();
      first_ = std::exchange(other.first_, nullptr);
      last_ = std::exchange(other.last_, nullptr);
      size_ = std::exchange(other.size_, 0);
    }
    return *this;
  }
  ~EventList() { clear(); }

  bool empty() const noexcept { return first_ == nullptr; }
  std::size_t size() const noexcept { return size_; }
  Event* front() const noexcept { return first_; }
  // nullptr in an empty list; and behind the last.
  Event* back() const noexcept { return last_; }
  static const Event* after(const Event& event) noexcept { return event.next_; }
  void push_back(std::unique_ptr<Event> event) noexcept {
    Event* raw = event.release();
    raw->next_ = nullptr;
    (last_ == nullptr ? first_ : last_->next_) = raw;
    last_ = raw;
    ++size_;
  }
  std::unique_ptr<Event> pop_front() noexcept {
    std::unique_ptr<Event> event(first_);
    if (event) {
      first_ = event->next_;
      if (first_ == nullptr) last_ = nullptr;
      event->next_ = nullptr;
      --size_;
    }
    return event;
  }
  void splice_back(EventList other) noexcept {
    if (other.empty()) return;
    (last_ == nullptr ? first_ : last_->next_) = other.first_;
    last_ = std::exchange(other.last_, nullptr);
    size_ += std::exchange(other.size_, 0);
    other.first_ = nullptr;
  }
  void clear() noexcept {
    while (pop_front()) {
    }
  }

 private:
  Event* first_ = nullptr;
  Event* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace gcs
