// SPDX-License-Identifier: Apache-2.0
#include "shim/callback_sink.h"

#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "client/runtime.h"
#include "shim/callback.h"
#include "shim/objects.h"

namespace gcs::shim {
// A destructor that did something would run at exit, under the feet of the I/O thread.
static_assert(std::is_trivially_destructible_v<CallbackSink>);
static_assert(std::is_trivially_destructible_v<DeferredCallbackSink>);

CallbackSink& CallbackSink::instance() noexcept {
  static CallbackSink sink;
  return sink;
}

void CallbackSink::deliver(EventList events) {
  RestOfRun rest(std::move(events), *this);
  while (rest.has_more()) {
    auto event = rest.events.pop_front();
    const auto function = reinterpret_cast<gcs_completion_fn>(event->target_function);
    void* const user = event->target_user;
    const CallbackScope scope;
    function(user, event_to_c(std::move(event)));
  }
}

DeferredCallbackSink& DeferredCallbackSink::instance() noexcept {
  static DeferredCallbackSink sink;
  return sink;
}

void DeferredCallbackSink::deliver(EventList events) {
  try {
    call_back_later(events);
  } catch (const std::exception&) {
    // Without memory or a thread these events, log records, are lost.
  }
}

void call_back_later(EventList& events) {
  const std::shared_ptr<Runtime> runtime = Runtime::acquire();
  EventList marked;
  while (auto event = events.pop_front()) {
    event->sink = SinkReference(&CallbackSink::instance());
    marked.push_back(std::move(event));
  }
  events = std::move(marked);
  runtime->deliver_later(events);
}

}  // namespace gcs::shim
