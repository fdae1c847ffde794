// SPDX-License-Identifier: Apache-2.0
//
// From a made call to one that was accepted.
//
// Invariants:
// - Either nothing of a submission is accepted, or everything in it gets exactly one event:
//   whatever can fail is done while it is built, and handing over cannot fail.
// - Calls and cancels reach each client in the order in which they were added, with one hand-over
//   for a run of calls of the same client.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "client/call.h"
#include "client/event.h"
#include "client/kv.h"
#include "client/process.h"
#include "gcs_capi.h"
#include "shim/boundary.h"
#include "shim/handles.h"
#include "shim/options.h"
#include "shim/target.h"

namespace gcs::shim {

// An id that was given out, and not by the library itself just now.
inline bool is_reserved_id(std::uint64_t id) noexcept {
  return id != 0 && id < next_id();
}

// Bytes from C.
inline bool is_view(const void* data, std::size_t size) noexcept {
  return data != nullptr || size == 0;
}
inline kv::Bytes view_of(const void* data, std::size_t size) noexcept {
  return {static_cast<const std::uint8_t*>(data), size};
}

// kLimit when what is to be sent cannot fit into a message of the client.
Refusal check_size(const GcsClient& client, std::size_t name, std::size_t key, std::size_t body);

// *id as in gcs_call(): null, 0, or an id that was reserved.
Refusal check_id(const std::uint64_t* id);
// Hands one call to its client. The id was checked.
void hand_over(GcsClient& client, std::unique_ptr<Call> call, const CallOptions& options,
               std::uint64_t* id) noexcept;

// One call with everything that a function of the C API is given. `make(const GcsClient&)` returns
// a kv::Made.
template <class Make>
Refusal submit_one(gcs_client handle, const CallOptions& options, std::uint64_t* id,
                   gcs_completion_fn fn, void* user, Make&& make) {
  Target target;
  if (Refusal refusal = resolve_target(fn, user, &target)) return refusal;
  PinnedClient client;
  if (const Status status = client.find(handle); status != Status::kOk) {
    return refuse_handle(status, "client");
  }
  kv::Made made = make(*client.shared());
  if (!made.call) return std::move(made.refusal);
  if (Refusal refusal = check_id(id)) return refusal;
  if (Refusal refusal = client->admit(*made.call)) return refusal;
  target.apply_to(*made.call);
  hand_over(*client.shared(), std::move(made.call), options, id);
  target.submitted();
  return {};
}

// Many calls.
class Submission {
 public:
  Submission() = default;
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

  // The client of the calls and cancels added next; remembers the last one. kBadHandle; kForked.
  Status select(gcs_client handle);
  const GcsClient& client() const noexcept { return *steps_.back().client; }
  // Both throw std::bad_alloc. A call is refused beyond its client's limits.
  Refusal add(std::unique_ptr<Call> call);
  void cancel(std::uint64_t id);
  // Hands everything over. A cancel for which there is no memory is lost.
  void submit();

 private:
  struct Step {
    GcsClient* client;  // one of those pinned
    gcs_client handle = 0;
    EventList calls;
    std::uint64_t cancel_id = 0;  // after the calls; 0: none
  };
  std::vector<PinnedClient> pinned_;
  std::vector<Step> steps_;
};

}  // namespace gcs::shim
