// SPDX-License-Identifier: Apache-2.0
//
// Calls by number and by path, one at a time, and what belongs to them: methods, ids, cancelling.
// Their requests are made in call_request.
#include <string>
#include <string_view>
#include <utility>

#include "client/methods.h"
#include "client/process.h"
#include "shim/boundary.h"
#include "shim/call_request.h"
#include "shim/handles.h"
#include "shim/options.h"
#include "shim/submission.h"

using namespace gcs::shim;
using gcs::Refusal;
using gcs::Status;

namespace {

// So that no number of reservations can bring the counter round to ids that were used.
constexpr uint64_t kMostIds = uint64_t{1} << 32;

gcs_status call(gcs_client client, const CallName& name, const gcs_body* request,
                const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn, void* user,
                gcs_error** out_error) {
  return guarded(out_error, [&]() -> Refusal {
    CallOptions wanted;
    if (Refusal refusal = read_call_options(options, &wanted)) return refusal;
    Target target;
    if (Refusal refusal = resolve_target(fn, user, &target)) return refusal;
    PinnedClient pinned;
    if (const Status status = pinned.find(client); status != Status::kOk) {
      return refuse_handle(status, "client");
    }
    const gcs_body none{};
    CallRequest made;
    if (Refusal refusal =
            made.make(*pinned.shared(), name, request == nullptr ? none : *request, target)) {
      return refusal;
    }
    if (Refusal refusal = check_id(id)) return refusal;
    if (Refusal refusal = pinned->admit(made.call())) return refusal;
    if (made.lent() != nullptr) made.lent()->arm();
    hand_over(*pinned.shared(), made.take(), wanted, id);
    target.submitted();
    return {};
  });
}

}  // namespace

gcs_status gcs_method_find(const char* path, uint32_t* out_method) {
  return guarded([&] {
    if (path == nullptr || out_method == nullptr) return Status::kInvalidArgument;
    const gcs::Method* method = gcs::find_method(std::string_view(path));
    *out_method = method == nullptr ? 0 : method->id;
    return method == nullptr ? Status::kNotFound : Status::kOk;
  });
}

const char* gcs_method_path(uint32_t method) {
  return guarded_value<const char*>(nullptr, [&]() -> const char* {
    const gcs::Method* found = gcs::find_method(method);
    return found == nullptr ? nullptr : found->path;
  });
}

uint64_t gcs_reserve_ids(uint64_t count) {
  return guarded_value<uint64_t>(0, [&]() -> uint64_t {
    return count == 0 || count > kMostIds ? 0 : gcs::reserve_ids(count);
  });
}

gcs_status gcs_call(gcs_client client, uint32_t method, const gcs_body* request,
                    const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn, void* user,
                    gcs_error** out_error) {
  return call(client, {method, {}}, request, options, id, fn, user, out_error);
}

gcs_status gcs_call_path(gcs_client client, const char* path, const gcs_body* request,
                         const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn,
                         void* user, gcs_error** out_error) {
  const std::string_view text(path == nullptr ? "" : path);
  return call(client, {0, text}, request, options, id, fn, user, out_error);
}

gcs_status gcs_cancel(gcs_client client, uint64_t id) {
  return guarded([&] {
    PinnedClient pinned;
    const Status status = pinned.find(client);
    if (status == Status::kOk) pinned->cancel(id);
    return status;
  });
}
