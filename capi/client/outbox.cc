// SPDX-License-Identifier: Apache-2.0
#include "client/outbox.h"

#include <cstdint>
#include <utility>

#include "client/process.h"

namespace gcs {
namespace {

thread_local Outbox* of_this_thread = nullptr;
// Of the process that the thread was in then: the child of a fork has no use for the parent's.
thread_local std::uint32_t generation = 0;

EventList pop_run(EventList& events, SinkReference* sink) noexcept {
  EventList run;
  if (events.empty()) return run;
  *sink = std::move(events.front()->sink);
  run.push_back(events.pop_front());
  while (!events.empty() && events.front()->sink.get() == sink->get()) {
    events.front()->sink = SinkReference();
    run.push_back(events.pop_front());
  }
  return run;
}

}  // namespace

Outbox::Scope::Scope(Outbox& outbox) noexcept : before_(std::exchange(of_this_thread, &outbox)) {
  generation = fork_generation();
}

Outbox::Scope::~Scope() {
  of_this_thread = before_;
}

Outbox* Outbox::current() noexcept {
  return generation == fork_generation() ? of_this_thread : nullptr;
}

void Outbox::add(EventList events) noexcept {
  if (events.empty()) return;
  const std::lock_guard lock(mutex_);
  events_.splice_back(std::move(events));
  empty_.store(false, std::memory_order_release);
}

void Outbox::put_back(EventList events) noexcept {
  if (events.empty()) return;
  const std::lock_guard lock(mutex_);
  events.splice_back(std::move(events_));
  events_ = std::move(events);
  empty_.store(false, std::memory_order_release);
}

EventList Outbox::take_run(SinkReference* sink) noexcept {
  const std::lock_guard lock(mutex_);
  EventList run = pop_run(events_, sink);
  empty_.store(events_.empty(), std::memory_order_release);
  return run;
}

void Outbox::hand_over() {
  const std::uint32_t here = fork_generation();
  while (here == fork_generation() && !empty()) {
    SinkReference sink;
    EventList run = take_run(&sink);
    if (sink) sink->deliver(std::move(run));
  }
}

void deliver(EventList events) {
  if (Outbox* outbox = Outbox::current(); outbox != nullptr) {
    outbox->add(std::move(events));
    return;
  }
  while (!events.empty()) {
    SinkReference sink;
    EventList run = pop_run(events, &sink);
    if (sink) sink->deliver(std::move(run));
  }
}

}  // namespace gcs
