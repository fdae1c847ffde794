// SPDX-License-Identifier: Apache-2.0
#include "client/link.h"

#include <utility>

namespace gcs {
namespace {

// An empty request.
std::unique_ptr<Call> make_question(std::uint32_t method) {
  auto question = Call::make(EventKind::kCall, *find_method(method));
  question->internal = true;
  question->copy_request({});
  return question;
}

}  // namespace

Link::Link(Owner& owner, transport::Connector& connector, const transport::Address& address,
           const transport::ConnectionOptions& options)
    : owner_(owner), connection_(connector.connect(address, options, *this)) {}

void Link::ask_identity(std::vector<transport::Header> metadata, std::uint32_t token_version) {
  question_ = make_question(method::kGetClusterId);
  question_->token_version = token_version;
  connection_->set_metadata(std::move(metadata));
  phase_ = Phase::kIdentifying;
  if (connection_->can_start()) start(*question_);
}

void Link::ask_version() {
  version_question_ = make_question(method::kCheckAlive);
  start_version_question();
}

void Link::start_version_question() noexcept {
  if (!version_question_ || version_question_->link != nullptr || !can_start()) return;
  version_question_->token_version = token_version_;
  start(*version_question_);
}

void Link::drop_version_question() noexcept {
  version_deadline = transport::kNever;
  drop(version_question_);
}

void Link::drop_questions() noexcept {
  identity_deadline = transport::kNever;
  drop(question_);
  drop_version_question();
}

void Link::drop(std::unique_ptr<Call>& question) noexcept {
  if (!question) return;
  if (question->link == this) cancel(*question);
  question.reset();
}

void Link::become_ready(std::vector<transport::Header> metadata, std::uint32_t token_version) {
  connection_->set_metadata(std::move(metadata));
  token_version_ = token_version;
  phase_ = Phase::kReady;
  was_ready_ = true;
  start_version_question();
}

void Link::on_ready() noexcept {
  owner_.link_connected(*this);
}

void Link::on_capacity() noexcept {
  if (phase_ == Phase::kIdentifying && question_ && question_->stream.stream_id == 0) {
    start(*question_);
    flush();
  } else if (phase_ == Phase::kReady) {
    // Its room would be taken by others.
    start_version_question();
    owner_.link_has_capacity(*this);
  }
}

void Link::on_calls_ended(transport::UnaryCall* first) noexcept {
  // A question is alone on the connection only the first time; later it may end together with
  // calls.
  std::unique_ptr<Call> identity;
  std::unique_ptr<Call> version;
  transport::UnaryCall** link = &first;
  while (*link != nullptr) {
    --calls_;
    transport::UnaryCall* const ended = *link;
    if (ended == question_.get()) {
      identity = std::move(question_);
    } else if (ended == version_question_.get()) {
      version = std::move(version_question_);
    } else {
      link = &ended->next;
      continue;
    }
    *link = std::exchange(ended->next, nullptr);
  }
  start_version_question();
  // Calls first, the identity last: what the owner does about them may destroy this link.
  Owner& owner = owner_;
  if (first != nullptr) owner.link_calls_ended(*this, first);
  if (version) owner.link_versioned(*this, *version);
  if (identity) owner.link_identified(*this, *identity);
}

void Link::on_draining(const std::string& reason) noexcept {
  phase_ = Phase::kDraining;
  owner_.link_draining(*this, reason);
}

void Link::on_closed(const transport::ConnectionError& error) noexcept {
  owner_.link_ended(*this, error);
}

}  // namespace gcs
