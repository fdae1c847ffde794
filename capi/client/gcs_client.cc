// SPDX-License-Identifier: Apache-2.0
#include "client/gcs_client.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "client/core.h"
#include "client/credentials.h"
#include "client/discovery.h"

namespace gcs {
namespace {

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
  if (!runtime) runtime = Runtime::acquire();
  auto client = std::make_shared<GcsClient>(Private{}, std::move(options), std::move(address),
                                            std::move(runtime));
  client->core_ = std::make_unique<Core>(client->runtime_->loop(), client->runtime_->connector(),
                                         client->options_, client->address_, std::move(credentials),
                                         client->status_, event_id);
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
      runtime_(std::move(runtime)) {}

GcsClient::~GcsClient() = default;

void GcsClient::submit(EventList calls) noexcept {
  std::unique_lock lock(mutex_);
  inbox_.calls.splice_back(std::move(calls));
  schedule(std::move(lock));
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

void GcsClient::close() noexcept {
  std::unique_lock lock(mutex_);
  if (inbox_.close || closed_) return;
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

void GcsClient::schedule(std::unique_lock<std::mutex> lock) noexcept {
  if (std::exchange(scheduled_, true)) return;
  if (!alive_) alive_ = shared_from_this();
  lock.unlock();
  runtime_->loop().post(*this);
}

void GcsClient::run() noexcept {
  // Outlives everything below: it may be the last reference.
  std::shared_ptr<GcsClient> self;
  Inbox inbox;
  bool was_open = false;
  {
    const std::lock_guard lock(mutex_);
    std::swap(inbox, inbox_);
    scheduled_ = false;
    was_open = !closed_;
    if (!was_open) self = std::move(alive_);
    inbox.close = inbox.close && was_open;
  }
  if (!was_open) {
    EventList refused;
    while (auto event = inbox.calls.pop_front()) {
      event->fail(Status::kClosed, kFlagLocal, "the client of " + address_text_ + " was closed",
                  address_text_);
      refused.push_back(std::move(event));
    }
    deliver(std::move(refused));
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
  for (const SinkReference& sink : inbox.sinks) core_->cancel_calls_of(sink.get());
  if (inbox.close) core_->close();
  core_->end_pass();
  if (!inbox.close) return;
  core_.reset();
  const std::lock_guard lock(mutex_);
  closed_ = true;
  if (!scheduled_) self = std::move(alive_);
  was_closed_.notify_all();
}

}  // namespace gcs
