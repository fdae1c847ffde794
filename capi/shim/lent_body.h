// SPDX-License-Identifier: Apache-2.0
//
// A request body that the application lends, and the event that says that it is free.
//
// Invariants: release(user, data, size) runs exactly once if the call was accepted, and never if it
// was not: nothing runs before arm(), and whoever arms takes the answer for it. When the last
// reference to the bytes goes, the event is already allocated, so that running out of memory cannot
// lose it. With a queue it is queued there and runs on the thread that drains or closes the queue;
// without one, or when the queue is closed already, it runs where the reference went.
//
// Threads: armed and handed over by the thread that submits, then whoever drops the last reference
// has it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "client/event.h"
#include "gcs_capi.h"
#include "shim/completion_queue.h"
#include "transport/shared_bytes.h"

namespace gcs::shim {

class LentBody final : public Event {
 public:
  // `queue` may be null. Throws std::bad_alloc. *lent lives at least as long as the bytes.
  static transport::SharedBytes lend(const gcs_body& body, CompletionQueue* queue, LentBody** lent);

  // Without bytes: the event itself, to be delivered by whoever arms it.
  static std::unique_ptr<LentBody> of(const gcs_body& body, CompletionQueue* queue);

  explicit LentBody(const gcs_body& body) noexcept : Event(EventKind::kRelease), body_(body) {}
  ~LentBody() override { run(); }

  void arm() noexcept { armed_ = true; }
  void disarm() noexcept { armed_ = false; }
  bool armed() const noexcept { return armed_; }
  // Calls the release function, once, if armed.
  void run();

 private:
  const gcs_body body_;
  bool armed_ = false;
};

// Releases the lent bodies that were taken from `queue`, in order. If a release function ends its
// thread, those that are left go back to the queue.
void run_releases(CompletionQueue& queue, EventList due);

// Frees events that nobody will see, and releases the lent bodies among them.
void discard(EventList events);

}  // namespace gcs::shim
