// SPDX-License-Identifier: Apache-2.0
//
// The functions of a client as a whole. The handle is there before the client is, since it is the
// id of the client's own events; it opens when the client has been made.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "client/process.h"
#include "client/runtime.h"
#include "shim/boundary.h"
#include "shim/handles.h"
#include "shim/objects.h"
#include "shim/options.h"
#include "shim/stats_json.h"
#include "shim/submission.h"

using namespace gcs::shim;
using gcs::Refusal;
using gcs::Status;

namespace {

void close_clients() {
  caught([]() -> Refusal {
    HandleTable::current().close_all(HandleType::kClient);
    return {};
  });
}

// A handle that is left open at exit keeps the I/O thread alive, for which the client's own handler
// waits. That one was registered before this, and so runs after it.
void close_clients_at_exit(const gcs::GcsClient& client) {
  static std::atomic<bool> registered{false};
  if (!registered.exchange(true)) static_cast<void>(std::atexit(close_clients));
  // The first client with TLS has registered that handler once more.
  static std::atomic<bool> registered_for_tls{false};
  if (client.uses_tls() && !registered_for_tls.exchange(true)) {
    static_cast<void>(std::atexit(close_clients));
  }
}

// Hands out a text about a client.
template <class Text>
gcs_status client_text(gcs_client client, gcs_buffer** out, Text&& text) {
  if (out != nullptr) *out = nullptr;
  return guarded([&] {
    if (out == nullptr) return Status::kInvalidArgument;
    PinnedClient pinned;
    if (const Status status = pinned.find(client); status != Status::kOk) return status;
    *out = buffer_to_c(std::make_unique<TextBuffer>(text(*pinned.shared())));
    return Status::kOk;
  });
}

}  // namespace

gcs_status gcs_client_create(const gcs_client_options* options, gcs_client* out_client,
                             gcs_error** out_error) {
  if (out_client != nullptr) *out_client = 0;
  return guarded(out_error, [&]() -> Refusal {
    if (out_client == nullptr) return refuse_argument("out_client is NULL");
    gcs::ClientOptions wanted;
    if (Refusal refusal = read_client_options(options, &wanted)) return refusal;
    HandleTable::Reservation reservation = HandleTable::current().reserve(HandleType::kClient);
    Refusal refusal;
    auto client = gcs::GcsClient::create(std::move(wanted), reservation.handle(), &refusal);
    if (client == nullptr) return refusal;
    close_clients_at_exit(*client);
    auto object = std::make_unique<ClientHandle>(std::move(client));
    *out_client = reservation.publish(std::move(object));
    return {};
  });
}

gcs_status gcs_client_connect(gcs_client client, int64_t timeout, uint64_t* id,
                              gcs_completion_fn fn, void* user) {
  return guarded([&] {
    if (!is_timeout(timeout)) return Status::kInvalidArgument;
    CallOptions options;
    options.timeout = timeout;
    options.wait_for_ready = 1;
    return submit_one(client, options, id, fn, user,
                      [](const gcs::GcsClient&) -> gcs::kv::Made {
                        const gcs::Method* method = gcs::find_method(gcs::method::kGetClusterId);
                        return {gcs::Call::make(gcs::EventKind::kConnect, *method), {}};
                      })
        .status;
  });
}

gcs_status gcs_client_watch(gcs_client client, uint64_t* id, gcs_completion_fn fn, void* user) {
  return guarded([&] {
    CallOptions options;
    options.timeout = GCS_TIMEOUT_NONE;
    return submit_one(client, options, id, fn, user,
                      [](const gcs::GcsClient&) -> gcs::kv::Made {
                        const gcs::Method* method = gcs::find_method(gcs::method::kGetClusterId);
                        return {gcs::Call::make(gcs::EventKind::kState, *method), {}};
                      })
        .status;
  });
}

gcs_status gcs_client_state(gcs_client client, int32_t* out_state) {
  return guarded([&] {
    if (out_state == nullptr) return Status::kInvalidArgument;
    PinnedClient pinned;
    const Status status = pinned.find(client);
    if (status == Status::kOk) *out_state = static_cast<int32_t>(pinned->state());
    return status;
  });
}

gcs_status gcs_client_address(gcs_client client, gcs_buffer** out_address) {
  return client_text(client, out_address, [](const gcs::GcsClient& of) { return of.address(); });
}

gcs_status gcs_client_cluster_id(gcs_client client, gcs_buffer** out_cluster_id) {
  return client_text(client, out_cluster_id,
                     [](const gcs::GcsClient& of) { return of.cluster_id(); });
}

gcs_status gcs_client_stats(gcs_client client, gcs_buffer** out_json) {
  return client_text(client, out_json, [](const gcs::GcsClient& of) { return stats_json(of); });
}

gcs_status gcs_client_close(gcs_client client) {
  return guarded([&] {
    PinnedClient pinned;
    return pinned.close(client);
  });
}

gcs_status gcs_client_destroy(gcs_client client, int64_t timeout) {
  return guarded([&] {
    if (!is_timeout(timeout)) return Status::kInvalidArgument;
    if (gcs::Runtime::on_library_thread()) return Status::kWouldDeadlock;
    std::shared_ptr<gcs::GcsClient> closing;
    {
      PinnedClient pinned;
      if (const Status status = pinned.close(client); status != Status::kOk) return status;
      closing = pinned.shared();
    }
    const std::int64_t patience =
        timeout == GCS_TIMEOUT_DEFAULT ? closing->options().timeout : timeout;
    return closing->wait_closed(patience) ? Status::kOk : Status::kDeadline;
  });
}

gcs_status gcs_shutdown(int64_t timeout) {
  return guarded([&] {
    if (!is_waiting_time(timeout)) return Status::kInvalidArgument;
    if (gcs::Runtime::on_library_thread()) return Status::kWouldDeadlock;
    close_clients();
    return gcs::Runtime::shutdown(timeout) ? Status::kOk : Status::kDeadline;
  });
}
