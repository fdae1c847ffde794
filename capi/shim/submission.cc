// SPDX-License-Identifier: Apache-2.0
#include "shim/submission.h"

#include <string>

namespace gcs::shim {

Refusal check_size(const GcsClient& client, std::size_t name, std::size_t key, std::size_t body) {
  const std::uint64_t limit = client.options().max_send_message;
  if (name <= limit && key <= limit - name && body <= limit - name - key) return {};
  return refuse(Status::kLimit, "the request (namespace, key and body of " + std::to_string(name) +
                                    ", " + std::to_string(key) + " and " + std::to_string(body) +
                                    " bytes) is larger than max_send_message, which is " +
                                    std::to_string(limit) + " bytes; nothing was sent");
}

Refusal check_id(const std::uint64_t* id) {
  if (id == nullptr || *id == 0 || is_reserved_id(*id)) return {};
  return refuse_argument("the id " + std::to_string(*id) +
                         " was not reserved; take ids from gcs_reserve_ids()");
}

void hand_over(GcsClient& client, std::unique_ptr<Call> call, const CallOptions& options,
               std::uint64_t* id) noexcept {
  call->id = id == nullptr || *id == 0 ? reserve_ids(1) : *id;
  options.apply_to(*call);
  // First, since the event can arrive before submit() returns.
  if (id != nullptr) *id = call->id;
  EventList one;
  one.push_back(std::move(call));
  client.submit(std::move(one));
}

Status Submission::select(gcs_client handle) {
  if (!steps_.empty() && steps_.back().handle == handle) return Status::kOk;
  PinnedClient client;
  if (const Status status = client.find(handle); status != Status::kOk) return status;
  GcsClient* const found = client.shared().get();
  pinned_.push_back(std::move(client));
  steps_.push_back({found, handle, {}, 0});
  return Status::kOk;
}

Refusal Submission::add(std::unique_ptr<Call> call) {
  if (Refusal refusal = steps_.back().client->admit(*call)) return refusal;
  if (const Step& last = steps_.back(); last.cancel_id != 0) {
    steps_.push_back({last.client, last.handle, {}, 0});
  }
  steps_.back().calls.push_back(std::move(call));
  return {};
}

void Submission::cancel(std::uint64_t id) {
  if (const Step& last = steps_.back(); last.cancel_id != 0) {
    steps_.push_back({last.client, last.handle, {}, 0});
  }
  steps_.back().cancel_id = id;
}

void Submission::submit() {
  for (Step& step : steps_) {
    if (!step.calls.empty()) step.client->submit(std::move(step.calls));
    if (step.cancel_id == 0) continue;
    caught([&step]() -> Refusal {
      step.client->cancel(step.cancel_id);
      return {};
    });
  }
}

}  // namespace gcs::shim
