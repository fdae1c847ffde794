// SPDX-License-Identifier: Apache-2.0
#include "shim/call_request.h"

#include <algorithm>
#include <string>
#include <utility>

#include "client/methods.h"
#include "shim/boundary.h"
#include "shim/submission.h"

namespace gcs::shim {
namespace {

// Two names after slashes, in characters that an HTTP/2 header can carry.
bool is_path(std::string_view path) noexcept {
  constexpr std::size_t kLongest = 1024;
  const std::size_t second = path.find('/', 1);
  if (path.size() > kLongest || !path.starts_with('/') || second == std::string_view::npos) {
    return false;
  }
  if (second == 1 || second + 1 == path.size()) return false;
  return std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

Refusal make_call(const CallName& name, std::unique_ptr<Call>* call) {
  if (name.method == 0) {
    if (!is_path(name.path)) {
      return refuse_argument(
          "the path of a method looks like \"/package.Service/Method\", in printable ASCII");
    }
    *call = Call::make_by_path(name.path);
    return {};
  }
  const Method* method = find_method(name.method);
  if (method == nullptr) {
    return refuse_argument("no method has the number " + std::to_string(name.method) +
                           "; gcs_method_find() tells the numbers, gcs_call_path() needs none");
  }
  *call = Call::make(EventKind::kCall, *method);
  return {};
}

Refusal CallRequest::make(const GcsClient& client, const CallName& name, const gcs_body& body,
                          const Target& target) {
  if (!is_view(body.data, body.size)) {
    return refuse_argument("the request's data is NULL, and its size is not 0");
  }
  if (Refusal refusal = check_size(client, 0, 0, body.size)) return refusal;
  if (Refusal refusal = make_call(name, &call_)) return refusal;
  if (body.release == nullptr) {
    call_->copy_request(view_of(body.data, body.size));
  } else {
    call_->lend_request(LentBody::lend(body, target.queue, &lent_));
  }
  target.apply_to(*call_);
  return {};
}

}  // namespace gcs::shim
