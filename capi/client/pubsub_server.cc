// SPDX-License-Identifier: Apache-2.0
#include "client/pubsub_server.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "client/ray_version.h"
#include "client/reply.h"
#include "client/text.h"
#include "transport/grpc_text.h"

namespace gcs {
namespace {

constexpr std::uint32_t kConfigOfKvSince = 2'038'000;
constexpr std::int64_t kMillisecond = 1'000'000;

}  // namespace

void PubsubServer::forget() noexcept {
  for (std::uint64_t& id : ids_) host_.drop_question(std::exchange(id, 0));
  host_.drop_question(std::exchange(config_id_, 0));
  host_.forget(*this);
  for (auto& answer : answers_) answer.reset();
  open_ = 0;
  layout_.reset();
  ray_version_ = 0;
  ray_version_text_.clear();
}

std::unique_ptr<Call> PubsubServer::question(std::uint32_t method, std::string_view request) {
  return make_question(*this, method, request, kAnswerTimeout);
}

void PubsubServer::ask() noexcept {
  if (open_ > 0 || layout_) return;
  try {
    std::array<std::unique_ptr<Call>, kQuestions> calls;
    calls[kVersion] = question(method::kCheckAlive, {});
    calls[kServices] = question(method::kServerReflectionInfo, list_services_request());
    calls[kFiles] =
        question(method::kServerReflectionInfo, file_of_symbol_request("ray.rpc.PubMessage"));
    open_ = kQuestions;
    for (std::size_t i = 0; i < kQuestions; ++i) {
      ids_[i] = calls[i]->id;
      host_.ask(std::move(calls[i]));
    }
  } catch (const std::bad_alloc&) {
    owner_.server_failed(Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
  }
}

void PubsubServer::answered(std::unique_ptr<Call> answer) noexcept {
  if (answer->id == config_id_) {
    config_id_ = 0;
    read_config(*answer);
    return;
  }
  const auto at = std::find(ids_.begin(), ids_.end(), answer->id);
  if (at == ids_.end()) return;
  *at = 0;
  answers_[static_cast<std::size_t>(at - ids_.begin())] = std::move(answer);
  if (--open_ > 0) return;
  try {
    conclude();
  } catch (const std::bad_alloc&) {
    forget();
    owner_.server_failed(Status::kNoMemory, kFlagLocal | kFlagRetryable, {});
  }
  for (auto& each : answers_) each.reset();
}

void PubsubServer::conclude() {
  for (const auto& each : answers_) {
    if (!is_transient(*each)) continue;
    owner_.server_failed(each->status, each->flags, static_cast<const Event&>(*each).message());
    return;
  }
  const Call& version = *answers_[kVersion];
  if (version.status != Status::kOk) {
    owner_.server_failed(version.status, version.flags,
                         static_cast<const Event&>(version).message());
    return;
  }
  if (auto text = read_ray_version(version.body())) {
    ray_version_ = gcs::ray_version_number(*text);
    ray_version_text_ = transport::printable(text->substr(0, 100));
  }
  std::optional<PubsubLayout> layout;
  if (answers_[kServices]->status == Status::kOk && answers_[kFiles]->status == Status::kOk) {
    layout = PubsubLayout::from_descriptors(answers_[kServices]->body(), answers_[kFiles]->body());
  }
  if (!layout) layout = PubsubLayout::of_release(ray_version_);
  if (layout) layout_ = std::make_shared<const PubsubLayout>(std::move(*layout));
  if (!layout_) {
    owner_.server_failed(
        Status::kUnsupported, kFlagLocal,
        join({"the server (Ray ", ray_version_text_.empty() ? "of no release" : ray_version_text_,
              ") does not say how it lays out pub/sub, and its release is not known"}));
    return;
  }
  ask_config(ray_version_ == 0 || ray_version_ >= kConfigOfKvSince
                 ? method::kInternalKVGetInternalConfig
                 : method::kNodeInfoGetInternalConfig);
  owner_.server_known();
}

void PubsubServer::ask_config(std::uint32_t method) {
  auto call = question(method, {});
  config_id_ = call->id;
  host_.ask(std::move(call));
}

// A server with another timeout than the usual one has it in its configuration, or in its
// environment, of which nothing tells but the polls that it answers with nothing.
void PubsubServer::read_config(const Call& answer) noexcept {
  if (answer.status != Status::kOk) return;
  if (const auto milliseconds = read_subscriber_timeout_ms(answer.body())) {
    constexpr std::int64_t kLongest = std::int64_t{1} << 40;
    subscriber_timeout_ = std::clamp(*milliseconds, std::int64_t{100}, kLongest) * kMillisecond;
  }
}

void PubsubServer::note_empty_poll(std::int64_t after) noexcept {
  constexpr std::int64_t kShortest = 100 * kMillisecond;
  subscriber_timeout_ = std::min(subscriber_timeout_, std::max(after / 2, kShortest));
}

}  // namespace gcs
