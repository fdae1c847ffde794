// SPDX-License-Identifier: Apache-2.0
//
// Where events go whose completion target is a function of the application: the function and its
// `user` stand in the event. One sink serves all of them; it lives for ever.
//
// Threads: the I/O thread's. The function may end that thread; what is left of the run then goes
// back to the I/O thread that takes its place.
#pragma once

#include "client/event.h"

namespace gcs::shim {

class CallbackSink final : public CompletionSink {
 public:
  static CallbackSink& instance() noexcept;
  void deliver(EventList events) override;

 private:
  void dispose() noexcept override {}
};

// For events that may arise anywhere, deep inside the client too: hands them to the I/O thread,
// which calls the function.
class DeferredCallbackSink final : public CompletionSink {
 public:
  static DeferredCallbackSink& instance() noexcept;
  void deliver(EventList events) override;

 private:
  void dispose() noexcept override {}
};

// Has the I/O thread call the functions that stand in the events. Throws std::bad_alloc or
// std::system_error, and then has not taken them.
void call_back_later(EventList& events);

}  // namespace gcs::shim
