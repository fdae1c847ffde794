// SPDX-License-Identifier: Apache-2.0
//
// Subscriptions: arguments checked, then handed to the client as a call that gets many events.
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "client/pubsub_layout.h"
#include "client/subscription.h"
#include "shim/boundary.h"
#include "shim/handles.h"
#include "shim/lent_body.h"
#include "shim/options.h"
#include "shim/submission.h"

using namespace gcs::shim;
using gcs::Refusal;
using gcs::Status;

namespace {

Refusal read_topic(const char* channel, gcs_bytes key, gcs::SubscriptionOptions* out) {
  if (channel == nullptr || *channel == '\0') return refuse_argument("the channel has no name");
  if (!is_view(key.data, key.size)) {
    return refuse_argument("the data of the key is NULL, and its size is not 0");
  }
  out->channel = gcs::channel_enum_name(channel);
  constexpr std::size_t kLargestKey = std::size_t{1} << 20;
  const std::size_t size = gcs::channel_key_size(out->channel);
  if (size != 0 && key.size != 0 && key.size != size) {
    return refuse_argument("a key of the channel " + std::string(channel) + " has " +
                           std::to_string(size) + " bytes, and not " + std::to_string(key.size));
  }
  if (key.size > kLargestKey) return refuse_argument("the key has more than 1 MiB");
  out->key.assign(static_cast<const char*>(key.data), key.size);
  return {};
}

gcs_status subscribe(gcs_client client, const char* channel, gcs_bytes key,
                     const gcs_subscribe_options* options, uint64_t* id, gcs_completion_fn fn,
                     void* user, gcs_error** out_error) {
  return guarded(out_error, [&]() -> Refusal {
    gcs::SubscriptionOptions wanted;
    CallOptions call_options;
    gcs_body drop{};
    if (Refusal refusal = read_subscribe_options(options, &wanted, &call_options, &drop))
      return refusal;
    if (Refusal refusal = read_topic(channel, key, &wanted)) return refusal;
    Target target;
    if (Refusal refusal = resolve_target(fn, user, &target)) return refusal;
    PinnedClient pinned;
    if (const Status status = pinned.find(client); status != Status::kOk)
      return refuse_handle(status, "client");
    // The service is known when the server is; until then the newest's stands for it.
    const gcs::Method* const method =
        gcs::find_method(gcs::method::kControlPlanePubSubGcsSubscriberPoll);
    auto call = gcs::Call::make(gcs::EventKind::kSubscriptionEnd, *method);
    call->subscription = std::make_unique<gcs::Subscription>(std::move(wanted));
    std::unique_ptr<LentBody> after;
    if (drop.release != nullptr) after = LentBody::of(drop, target.queue);
    if (Refusal refusal = check_id(id)) return refusal;
    if (Refusal refusal = pinned->admit(*call)) return refusal;
    if (after) after->arm();
    call->after_end = std::move(after);
    target.apply_to(*call);
    hand_over(*pinned.shared(), std::move(call), call_options, id);
    target.submitted();
    return {};
  });
}

}  // namespace

gcs_status gcs_subscribe(gcs_client client, const char* channel, gcs_bytes key,
                         const gcs_subscribe_options* options, uint64_t* id, gcs_completion_fn fn,
                         void* user, gcs_error** out_error) {
  return subscribe(client, channel, key, options, id, fn, user, out_error);
}

gcs_status gcs_subscription_credit(gcs_client client, uint64_t id, uint64_t messages,
                                   uint64_t bytes) {
  return guarded([&] {
    PinnedClient pinned;
    if (const Status status = pinned.find(client); status != Status::kOk) return status;
    pinned->grant(id, messages, bytes);
    return Status::kOk;
  });
}

gcs_status gcs_unsubscribe(gcs_client client, uint64_t id) {
  return gcs_cancel(client, id);
}
