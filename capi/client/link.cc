// SPDX-License-Identifier: Apache-2.0
#include "client/link.h"

#include <utility>

namespace gcs {

Link::Link(Owner& owner, transport::Connector& connector, const transport::Address& address,
           const transport::ConnectionOptions& options)
    : owner_(owner), connection_(connector.connect(address, options, *this)) {}

void Link::ask_identity(std::vector<transport::Header> metadata, std::uint32_t token_version) {
  question_ = Call::make(EventKind::kCall, *find_method(method::kGetClusterId));
  question_->internal = true;
  question_->token_version = token_version;
  question_->copy_request({});
  connection_->set_metadata(std::move(metadata));
  phase_ = Phase::kIdentifying;
  if (connection_->can_start()) start(*question_);
}

void Link::drop_question() noexcept {
  identity_deadline = transport::kNever;
  if (!question_) return;
  if (question_->link == this) cancel(*question_);
  question_.reset();
}

void Link::become_ready(std::vector<transport::Header> metadata, std::uint32_t token_version) {
  connection_->set_metadata(std::move(metadata));
  token_version_ = token_version;
  phase_ = Phase::kReady;
  was_ready_ = true;
}

void Link::on_ready() noexcept {
  owner_.link_connected(*this);
}

void Link::on_capacity() noexcept {
  if (phase_ == Phase::kIdentifying && question_ && question_->stream.stream_id == 0) {
    start(*question_);
    flush();
  } else if (phase_ == Phase::kReady) {
    owner_.link_has_capacity(*this);
  }
}

void Link::on_calls_ended(transport::UnaryCall* first) noexcept {
  // The question is alone on the connection only the first time; later it may end together with
  // calls.
  transport::UnaryCall* answer = nullptr;
  transport::UnaryCall** link = &first;
  while (*link != nullptr) {
    --calls_;
    if (*link == question_.get()) {
      answer = *link;
      *link = answer->next;
      answer->next = nullptr;
    } else {
      link = &(*link)->next;
    }
  }
  const std::unique_ptr<Call> question = answer == nullptr ? nullptr : std::move(question_);
  if (question) {
    // Calls first: the answer may make the owner destroy this link.
    Owner& owner = owner_;
    if (first != nullptr) owner.link_calls_ended(*this, first);
    owner.link_identified(*this, *question);
    return;
  }
  owner_.link_calls_ended(*this, first);
}

void Link::on_draining(const std::string& reason) noexcept {
  phase_ = Phase::kDraining;
  owner_.link_draining(*this, reason);
}

void Link::on_closed(const transport::ConnectionError& error) noexcept {
  owner_.link_ended(*this, error);
}

}  // namespace gcs
