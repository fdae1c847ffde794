// SPDX-License-Identifier: Apache-2.0
//
// A call of a method whose request the application has serialized, between being made and being
// accepted: a lent body must be released if and only if the call was accepted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "client/call.h"
#include "client/gcs_client.h"
#include "client/status.h"
#include "gcs_capi.h"
#include "shim/lent_body.h"
#include "shim/target.h"

namespace gcs::shim {

// Which method: a number, or with 0 a path.
struct CallName {
  std::uint32_t method = 0;
  std::string_view path;
};

// kInvalidArgument: no such number, or a path that cannot be one.
Refusal make_call(const CallName& name, std::unique_ptr<Call>* call);

class CallRequest {
 public:
  // Throws std::bad_alloc.
  Refusal make(const GcsClient& client, const CallName& name, const gcs_body& body,
               const Target& target);
  // Null unless the body is lent. To be armed before the call is handed over.
  LentBody* lent() const noexcept { return lent_; }
  Call& call() const noexcept { return *call_; }
  std::unique_ptr<Call> take() noexcept { return std::move(call_); }

 private:
  std::unique_ptr<Call> call_;
  LentBody* lent_ = nullptr;
};

}  // namespace gcs::shim
