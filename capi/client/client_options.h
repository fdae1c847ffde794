// SPDX-License-Identifier: Apache-2.0
//
// What a client is made with. Plain values; times in nanoseconds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/event.h"
#include "client/tls.h"

namespace gcs {

enum class OnClusterChange : std::int32_t { kError = 0, kAdopt = 1 };

struct ClientOptions {
  std::optional<std::string> address;  // none: found as Ray's own tools leave it
  std::string cluster_id;              // 56 hex digits; empty: asked of the server
  std::optional<std::string> token;    // none: found as Ray finds it; empty: none is sent
  std::int64_t connect_timeout = 5'000'000'000;
  std::int64_t timeout = 60'000'000'000;  // or kTimeoutNone
  OnClusterChange on_cluster_change = OnClusterChange::kError;
  bool wait_for_ready = true;
  std::uint64_t max_send_message = std::uint64_t{512} << 20;
  std::uint64_t max_receive_message = std::uint64_t{512} << 20;
  std::int64_t tcp_user_timeout = 20'000'000'000;
  // From acceptance until the event was taken.
  std::uint64_t max_pending_calls = 1'000'000;
  std::uint64_t max_pending_bytes = std::uint64_t{4} << 30;  // of requests
  TlsOptions tls;
  // Gets state events and the terminal one; may be empty. The function and the user are for the
  // sink.
  SinkReference event_sink;
  void (*event_function)() = nullptr;
  void* event_user = nullptr;
};

}  // namespace gcs
