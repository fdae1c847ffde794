// SPDX-License-Identifier: Apache-2.0
#include "client/log.h"

#include <atomic>
#include <mutex>

#include "client/outbox.h"
#include "client/process.h"

namespace gcs::log {
namespace {

constexpr std::size_t kKept = 256;

struct State {
  std::mutex mutex;
  EventList kept;
  SinkReference sink;
  void (*function)() = nullptr;
  void* user = nullptr;
};

std::atomic<std::int32_t> minimum{static_cast<std::int32_t>(Level::kWarning)};
std::atomic<bool> any_kept{false};

}  // namespace

void set_level(Level level) noexcept {
  minimum.store(static_cast<std::int32_t>(level), std::memory_order_relaxed);
}

bool enabled(Level level) noexcept {
  return static_cast<std::int32_t>(level) >= minimum.load(std::memory_order_relaxed);
}

void write(Level level, std::string text) noexcept {
  if (!enabled(level)) return;
  try {
    auto event = std::make_unique<Event>(EventKind::kLog);
    event->number = static_cast<std::int64_t>(level);
    event->set_text(std::move(text), {});
    State& state = per_process<State>();
    {
      const std::lock_guard lock(state.mutex);
      if (state.sink) {
        event->sink = state.sink;
        event->target_function = state.function;
        event->target_user = state.user;
      } else {
        if (state.kept.size() >= kKept) state.kept.pop_front();
        state.kept.push_back(std::move(event));
        any_kept.store(true, std::memory_order_relaxed);
        return;
      }
    }
    EventList one;
    one.push_back(std::move(event));
    deliver(std::move(one));
  } catch (const std::exception&) {
  }
}

void set_target(SinkReference sink, void (*function)(), void* user) noexcept {
  try {
    State& state = per_process<State>();
    EventList kept;
    SinkReference previous;
    {
      const std::lock_guard lock(state.mutex);
      previous = std::exchange(state.sink, sink);
      state.function = function;
      state.user = user;
      if (sink) {
        kept = std::move(state.kept);
        any_kept.store(false, std::memory_order_relaxed);
      }
    }
    EventList marked;
    while (auto event = kept.pop_front()) {
      event->sink = sink;
      event->target_function = function;
      event->target_user = user;
      marked.push_back(std::move(event));
    }
    deliver(std::move(marked));
  } catch (const std::exception&) {
  }
}

bool waiting() noexcept {
  return any_kept.load(std::memory_order_relaxed);
}

EventList take(std::size_t limit) noexcept {
  EventList taken;
  try {
    State& state = per_process<State>();
    const std::lock_guard lock(state.mutex);
    while (taken.size() < limit && !state.kept.empty()) taken.push_back(state.kept.pop_front());
    any_kept.store(!state.kept.empty(), std::memory_order_relaxed);
  } catch (const std::exception&) {
  }
  return taken;
}

}  // namespace gcs::log
