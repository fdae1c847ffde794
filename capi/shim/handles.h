// SPDX-License-Identifier: Apache-2.0
//
// What stands behind the handles, and the look-ups of them.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "client/cancellation.h"
#include "client/gcs_client.h"
#include "gcs_capi.h"
#include "shim/boundary.h"
#include "shim/completion_queue.h"
#include "shim/handle_table.h"

namespace gcs::shim {

// The client is closed when nobody uses its handle any more: whoever submits holds a pin, so that a
// client's last event comes behind everything that was accepted.
class ClientHandle final : public HandleObject {
 public:
  explicit ClientHandle(std::shared_ptr<GcsClient> client) noexcept : client_(std::move(client)) {}
  ~ClientHandle() override {
    const CancellationDisabled uncancelled;
    client_->close();
  }
  const std::shared_ptr<GcsClient>& client() const noexcept { return client_; }

 private:
  const std::shared_ptr<GcsClient> client_;
};

class QueueHandle final : public HandleObject {
 public:
  explicit QueueHandle(CompletionQueue::Owner queue) noexcept : queue_(std::move(queue)) {}
  CompletionQueue& queue() const noexcept { return *queue_; }

 private:
  const CompletionQueue::Owner queue_;
};

// A client that cannot go away meanwhile.
class PinnedClient {
 public:
  Status find(gcs_client handle) {
    return HandleTable::current().pin(HandleType::kClient, handle, &pin_);
  }
  Status close(gcs_client handle) {
    return HandleTable::current().close(HandleType::kClient, handle, &pin_);
  }
  explicit operator bool() const noexcept { return static_cast<bool>(pin_); }
  const std::shared_ptr<GcsClient>& shared() const noexcept {
    return static_cast<ClientHandle&>(pin_.object()).client();
  }
  GcsClient* operator->() const noexcept { return shared().get(); }

 private:
  Pin pin_;
};

class PinnedQueue {
 public:
  Status find(gcs_queue handle) {
    return HandleTable::current().pin(HandleType::kQueue, handle, &pin_);
  }
  Status close(gcs_queue handle) {
    return HandleTable::current().close(HandleType::kQueue, handle, &pin_);
  }
  explicit operator bool() const noexcept { return static_cast<bool>(pin_); }
  CompletionQueue& operator*() const noexcept {
    return static_cast<QueueHandle&>(pin_.object()).queue();
  }
  CompletionQueue* operator->() const noexcept { return &**this; }

 private:
  Pin pin_;
};

// Why a look-up failed, for people.
inline Refusal refuse_handle(Status status, const char* what) {
  if (status == Status::kForked) {
    return refuse(status, std::string("the ") + what +
                              " was made before this process was forked; make a new one here");
  }
  return refuse(status, std::string("this is no open ") + what +
                            ": the handle is zero, was closed, or never was one");
}

}  // namespace gcs::shim
