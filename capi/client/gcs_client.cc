// SPDX-License-Identifier: Apache-2.0
#include "client/gcs_client.h"

#include <chrono>
#include <utility>

#include "client/cancellation.h"
#include "client/core.h"
#include "client/credentials.h"
#include "client/discovery.h"
#include "client/outbox.h"
#include "client/request_guard.h"
#include "client/text.h"

namespace gcs {
namespace {

// So many calls are sent sooner than a thread wakes up; more are better sent by another one, while
// this one goes on.
constexpr std::size_t kFewCalls = 16;

constexpr std::size_t kClusterIdDigits = 56;

// nullopt unless it is 56 hex digits; lower case, as the server compares.
std::optional<std::string> normalized_cluster_id(std::string id) {
  for (char& c : id) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c + ('a' - 'A'));
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return std::nullopt;
  }
  if (id.size() != kClusterIdDigits) return std::nullopt;
  return id;
}

Refusal invalid(std::string message) {
  return {Status::kInvalidArgument, kFlagLocal, std::move(message)};
}

}  // namespace

class GcsClient::Epilogue final : public CompletionSink {
 public:
  static std::unique_ptr<Event> make_event() {
    auto event = std::make_unique<Event>(EventKind::kClientClosed);
    CompletionSink* const sink = std::make_unique<Epilogue>().release();
    event->sink = SinkReference(sink);
    sink->release();
    return event;
  }
  static void deliver_for(std::shared_ptr<GcsClient> client,
                          std::unique_ptr<Event> event) noexcept {
    static_cast<Epilogue&>(*event->sink.get()).client_ = std::move(client);
    EventList one;
    one.push_back(std::move(event));
    gcs::deliver(std::move(one));
  }

  void deliver(EventList) override {
    if (const auto client = std::move(client_)) client->last_event_delivered();
  }

 private:
  void dispose() noexcept override { std::unique_ptr<Epilogue>(this).reset(); }

  std::shared_ptr<GcsClient> client_;
};

const char* state_name(State state) noexcept {
  switch (state) {
    case State::kIdle:
      return "idle";
    case State::kConnecting:
      return "connecting";
    case State::kReady:
      return "ready";
    case State::kLost:
      return "lost";
    case State::kClosed:
      return "closed";
  }
  return "unknown";
}

std::shared_ptr<GcsClient> GcsClient::create(ClientOptions options, std::uint64_t event_id,
                                             Refusal* refusal, std::shared_ptr<Runtime> runtime) {
  transport::Address address;
  if ((*refusal = find_address(options.address, &address))) return nullptr;
  if (!options.cluster_id.empty()) {
    auto id = normalized_cluster_id(options.cluster_id);
    if (!id) {
      *refusal = invalid("the cluster id \"" + options.cluster_id + "\" is not 56 hex digits");
      return nullptr;
    }
    options.cluster_id = std::move(*id);
  }
  if (options.connect_timeout <= 0) {
    *refusal = invalid("connect_timeout must be above zero");
    return nullptr;
  }
  Credentials credentials(options.token);
  if ((*refusal = credentials.load())) return nullptr;
  std::shared_ptr<transport::TlsContext> tls;
  if ((*refusal = make_tls(options.tls, &tls))) return nullptr;
  const bool uses_tls = tls != nullptr;
  if (!runtime) runtime = Runtime::acquire();
  if (uses_tls) Runtime::park_before_tls_ends();
  auto client = std::make_shared<GcsClient>(Private{}, std::move(options), std::move(address),
                                            std::move(runtime));
  client->core_ = std::make_unique<Core>(client->runtime_->loop(), client->runtime_->connector(),
                                         client->options_, client->address_, std::move(credentials),
                                         std::move(tls), client->status_, event_id);
  client->uses_tls_ = uses_tls;
  client->epilogue_ = Epilogue::make_event();
  // Before others know of it: they may close it at once.
  client->alive_ = client;
  try {
    Runtime::add_client(client);
  } catch (...) {
    client->alive_.reset();
    throw;
  }
  return client;
}

GcsClient::GcsClient(Private, ClientOptions options, transport::Address address,
                     std::shared_ptr<Runtime> runtime)
    : options_(std::move(options)),
      address_(std::move(address)),
      address_text_(address_.text()),
      runtime_(std::move(runtime)),
      budget_(PendingBudget::create(options_.max_pending_calls, options_.max_pending_bytes)) {}

GcsClient::~GcsClient() = default;

Refusal GcsClient::admit(Call& call) noexcept {
  constexpr std::uint32_t kFlags = kFlagLocal | kFlagRetryable;
  if (Refusal refusal = guard_request(call)) return refusal;
  switch (call.count_in(*budget_)) {
    case PendingBudget::Verdict::kAdmitted:
      return {};
    case PendingBudget::Verdict::kTooManyCalls:
      return {Status::kLimit, kFlags,
              join({"the client's max_pending_calls, ", Digits(budget_->max_calls()),
                    ", are pending, those included whose events nobody has taken"})};
    case PendingBudget::Verdict::kTooManyBytes:
      // One that alone is larger will never fit.
      return {Status::kLimit, call.message.size() > budget_->max_bytes() ? kFlagLocal : kFlags,
              join({"with this request of ", Digits(call.message.size()),
                    " bytes more than the client's max_pending_bytes, ",
                    Digits(budget_->max_bytes()), ", would be pending"})};
  }
  return {};
}

void GcsClient::submit(EventList calls) noexcept {
  std::unique_lock lock(mutex_);
  const bool few = calls.size() <= kFewCalls;
  inbox_.calls.splice_back(std::move(calls));
  schedule(std::move(lock), few);
}

void GcsClient::cancel(std::uint64_t id) {
  std::unique_lock lock(mutex_);
  inbox_.cancels.push_back({id, inbox_.calls.size()});
  schedule(std::move(lock));
}

void GcsClient::cancel_calls_of(SinkReference sink) {
  std::unique_lock lock(mutex_);
  inbox_.sinks.push_back(std::move(sink));
  schedule(std::move(lock));
}

void GcsClient::grant(std::uint64_t id, std::uint64_t messages, std::uint64_t bytes) {
  std::unique_lock lock(mutex_);
  inbox_.grants.push_back({id, messages, bytes});
  schedule(std::move(lock), true);
}

void GcsClient::close() noexcept {
  std::unique_lock lock(mutex_);
  if (inbox_.close || ended_) return;
  inbox_.close = true;
  schedule(std::move(lock));
}

bool GcsClient::wait_closed(std::int64_t timeout) noexcept {
  std::unique_lock lock(mutex_);
  const auto is_closed = [this] { return closed_; };
  if (timeout < 0) {
    was_closed_.wait(lock, is_closed);
    return true;
  }
  return was_closed_.wait_for(lock, std::chrono::nanoseconds(timeout), is_closed);
}

void GcsClient::schedule(std::unique_lock<std::mutex> lock, bool here) noexcept {
  if (std::exchange(scheduled_, true)) return;
  if (!alive_) alive_ = shared_from_this();
  lock.unlock();
  if (here && runtime_->outbox() != nullptr) {
    run_here();
  } else {
    runtime_->loop().post(*this);
  }
}

void GcsClient::run_here() noexcept {
  // run() may drop the last reference.
  const std::shared_ptr<GcsClient> self = shared_from_this();
  transport::EventLoop& loop = runtime_->loop();
  Outbox& outbox = *runtime_->outbox();
  const CancellationDisabled uncancelled;  // nothing there can unwind
  if (!loop.try_enter()) {
    loop.post(*this);
    return;
  }
  {
    const Outbox::Scope scope(outbox);
    run();
  }
  loop.leave();
  // What ended here is delivered by the I/O thread.
  if (!outbox.empty()) schedule(std::unique_lock(mutex_));
}

void GcsClient::run() noexcept {
  // Outlives everything below: it may be the last reference.
  std::shared_ptr<GcsClient> self;
  Inbox inbox;
  {
    const std::lock_guard lock(mutex_);
    std::swap(inbox, inbox_);
    scheduled_ = false;
    if (ended_) self = std::move(alive_);
  }
  if (core_ == nullptr) {
    refuse_all(std::move(inbox.calls));
    return;
  }
  core_->begin_pass();
  // In the order of arrival: a cancel is nothing to a call that comes after it.
  std::size_t accepted = 0;
  for (const Cancel& cancel : inbox.cancels) {
    EventList before;
    for (; accepted < cancel.after; ++accepted) before.push_back(inbox.calls.pop_front());
    if (!before.empty()) core_->accept(std::move(before));
    core_->cancel(cancel.id);
  }
  core_->accept(std::move(inbox.calls));
  for (const Grant& grant : inbox.grants) core_->grant(grant.id, grant.messages, grant.bytes);
  for (const SinkReference& sink : inbox.sinks) core_->cancel_calls_of(sink.get());
  if (inbox.close) core_->close();
  core_->end_pass();
  if (!inbox.close) return;
  core_.reset();
  Epilogue::deliver_for(shared_from_this(), std::move(epilogue_));
  const std::lock_guard lock(mutex_);
  ended_ = true;
  if (!scheduled_) self = std::move(alive_);
}

void GcsClient::refuse_all(EventList calls) noexcept {
  EventList refused;
  while (auto event = calls.pop_front()) {
    event->fail(Status::kClosed, kFlagLocal, join({"the client of ", address_text_, " was closed"}),
                address_text_);
    refused.push_back(std::move(event));
  }
  deliver(std::move(refused));
}

void GcsClient::last_event_delivered() noexcept {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  was_closed_.notify_all();
}

}  // namespace gcs
