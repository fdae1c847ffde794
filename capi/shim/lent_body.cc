// SPDX-License-Identifier: Apache-2.0
#include "shim/lent_body.h"

#include <type_traits>
#include <utility>

#include "client/outbox.h"
#include "client/runtime.h"
#include "shim/callback.h"

namespace gcs::shim {
namespace {

// Where lent bodies go that no queue waits for.
class ReleaseSink final : public CompletionSink {
 public:
  static ReleaseSink& instance() noexcept {
    static ReleaseSink sink;
    return sink;
  }
  void deliver(EventList events) override { discard(std::move(events)); }

 private:
  void dispose() noexcept override {}
};
static_assert(std::is_trivially_destructible_v<ReleaseSink>);

void bytes_are_free(void* user, const std::uint8_t*, std::size_t) noexcept {
  std::unique_ptr<LentBody> lent(static_cast<LentBody*>(user));
  if (!lent->armed()) return;
  if (!lent->sink) lent->sink = SinkReference(&ReleaseSink::instance());
  EventList one;
  one.push_back(std::move(lent));
  deliver(std::move(one));
}

}  // namespace

transport::SharedBytes LentBody::lend(const gcs_body& body, CompletionQueue* queue,
                                      LentBody** lent) {
  auto made = std::make_unique<LentBody>(body);
  auto bytes = transport::SharedBytes::adopt(
      {static_cast<const std::uint8_t*>(body.data), body.size}, bytes_are_free, made.get());
  made->sink = SinkReference(queue);
  *lent = made.release();
  return bytes;
}

std::unique_ptr<LentBody> LentBody::of(const gcs_body& body, CompletionQueue* queue) {
  auto made = std::make_unique<LentBody>(body);
  made->sink = queue == nullptr ? SinkReference(&ReleaseSink::instance()) : SinkReference(queue);
  return made;
}

void LentBody::run() {
  if (!std::exchange(armed_, false)) return;
  const CallbackScope scope;
  body_.release(body_.user, body_.data, body_.size);
}

void run_releases(CompletionQueue& queue, EventList due) {
  struct Rest {
    CompletionQueue& queue;
    EventList due;
    ~Rest() {
      EventList discarded;
      if (!due.empty()) queue.give_back(std::move(due), &discarded);
    }
  } rest{queue, std::move(due)};
  while (const auto event = rest.due.pop_front()) static_cast<LentBody&>(*event).run();
}

void discard(EventList events) {
  RestOfRun rest(std::move(events), ReleaseSink::instance());
  while (rest.has_more()) {
    const auto event = rest.events.pop_front();
    if (event->kind == EventKind::kRelease) static_cast<LentBody&>(*event).run();
  }
}

}  // namespace gcs::shim
