// SPDX-License-Identifier: Apache-2.0
#include "client/event.h"

#include <new>

namespace gcs {

void Event::set_text(std::string message, std::string address) noexcept {
  try {
    if (!text_) text_ = std::make_unique<Text>();
    text_->message = std::move(message);
    text_->address = std::move(address);
  } catch (const std::bad_alloc&) {
  }
}

void deliver(EventList events) noexcept {
  while (!events.empty()) {
    const SinkReference sink = std::move(events.front()->sink);
    EventList run;
    run.push_back(events.pop_front());
    while (!events.empty() && events.front()->sink.get() == sink.get()) {
      events.front()->sink = SinkReference();
      run.push_back(events.pop_front());
    }
    if (sink) sink->deliver(std::move(run));
  }
}

}  // namespace gcs
