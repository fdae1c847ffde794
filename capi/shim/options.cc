// SPDX-License-Identifier: Apache-2.0
#include "shim/options.h"

#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "shim/boundary.h"
#include "shim/sized.h"
#include "shim/target.h"

namespace gcs::shim {
namespace {

// The length prefix of a gRPC message has 32 bits.
constexpr std::uint64_t kLargestMessage = std::numeric_limits<std::uint32_t>::max();

Refusal refuse_struct(Status status, const char* name) {
  if (status == Status::kAbi) {
    return refuse(status, std::string("struct_size of ") + name +
                              " is one that no release has; fill it in with sizeof");
  }
  return refuse(status, std::string(name) +
                            " asks for something that this library is too old for; update it");
}

Refusal check_choices(const gcs_client_options& options) {
  if (options.on_cluster_change != GCS_CLUSTER_CHANGE_ERROR &&
      options.on_cluster_change != GCS_CLUSTER_CHANGE_ADOPT) {
    return refuse_argument("on_cluster_change is none of GCS_CLUSTER_CHANGE_*");
  }
  if (options.wait_for_ready != 0 && options.wait_for_ready != 1) {
    return refuse_argument("wait_for_ready of a client is 0 or 1");
  }
  if (options.max_send_message == 0 || options.max_send_message > kLargestMessage ||
      options.max_receive_message == 0 || options.max_receive_message > kLargestMessage) {
    return refuse_argument(
        "max_send_message and max_receive_message are at least 1 byte and below 4 GiB");
  }
  if (options.max_pending_calls == 0 || options.max_pending_bytes == 0) {
    return refuse_argument("max_pending_calls and max_pending_bytes are at least 1");
  }
  if (options.tls < -1 || options.tls > 1) return refuse_argument("tls is -1, 0 or 1");
  if (options.reserved != 0) return refuse_argument("reserved is 0");
  return {};
}

void read_text(const char* given, std::optional<std::string>* out) {
  if (given != nullptr) *out = given;
}

void read_tls(const gcs_client_options& options, TlsOptions* out) {
  if (options.tls >= 0) out->enabled = options.tls == 1;
  read_text(options.tls_ca_file, &out->ca_file);
  read_text(options.tls_cert_file, &out->cert_file);
  read_text(options.tls_key_file, &out->key_file);
  read_text(options.tls_server_name, &out->server_name);
}

Refusal read_times(const gcs_client_options& options, ClientOptions* out) {
  if (options.connect_timeout != GCS_TIMEOUT_DEFAULT) {
    if (options.connect_timeout <= 0) {
      return refuse_argument("connect_timeout is a number of nanoseconds above 0");
    }
    out->connect_timeout = options.connect_timeout;
  }
  if (!is_timeout(options.timeout)) {
    return refuse_argument("timeout is negative, and neither GCS_TIMEOUT_NONE nor _DEFAULT");
  }
  if (options.timeout != GCS_TIMEOUT_DEFAULT) out->timeout = options.timeout;
  if (!is_timeout(options.tcp_user_timeout)) {
    return refuse_argument(
        "tcp_user_timeout is negative, and neither GCS_TIMEOUT_NONE nor _DEFAULT");
  }
  if (options.tcp_user_timeout == GCS_TIMEOUT_NONE) {
    out->tcp_user_timeout = 0;
  } else if (options.tcp_user_timeout != GCS_TIMEOUT_DEFAULT) {
    out->tcp_user_timeout = options.tcp_user_timeout;
  }
  return {};
}

Refusal read_patience(std::int64_t timeout, std::int32_t wait_for_ready, CallOptions* out) {
  if (!is_timeout(timeout)) {
    return refuse_argument("timeout is negative, and neither GCS_TIMEOUT_NONE nor _DEFAULT");
  }
  if (wait_for_ready < -1 || wait_for_ready > 1) {
    return refuse_argument("wait_for_ready of a call is -1, 0 or 1");
  }
  out->timeout = timeout;
  out->wait_for_ready = static_cast<std::int8_t>(wait_for_ready);
  return {};
}

}  // namespace

gcs_client_options default_client_options() noexcept {
  const ClientOptions defaults;
  gcs_client_options options{};
  options.struct_size = sizeof(options);
  options.connect_timeout = defaults.connect_timeout;
  options.timeout = defaults.timeout;
  options.on_cluster_change = static_cast<std::int32_t>(defaults.on_cluster_change);
  options.wait_for_ready = defaults.wait_for_ready ? 1 : 0;
  options.max_send_message = defaults.max_send_message;
  options.max_receive_message = defaults.max_receive_message;
  options.tcp_user_timeout = defaults.tcp_user_timeout;
  options.max_pending_calls = defaults.max_pending_calls;
  options.max_pending_bytes = defaults.max_pending_bytes;
  options.tls = -1;
  return options;
}

gcs_call_options default_call_options() noexcept {
  return {sizeof(gcs_call_options), GCS_TIMEOUT_DEFAULT, -1, GCS_RETRY_DEFAULT, 0, 0};
}

gcs_subscribe_options default_subscribe_options() noexcept {
  constexpr std::uint64_t kBytes = std::uint64_t{64} << 20;
  return {sizeof(gcs_subscribe_options),
          GCS_TIMEOUT_DEFAULT,
          -1,
          GCS_POLICY_WAIT,
          1000,
          kBytes,
          10'000,
          kBytes,
          nullptr,
          nullptr};
}

Refusal read_client_options(const gcs_client_options* given, ClientOptions* out) {
  gcs_client_options options = default_client_options();
  if (given != nullptr) {
    const Status status = read_struct(given, given->struct_size, &options);
    if (status != Status::kOk) return refuse_struct(status, "gcs_client_options");
  }
  if (Refusal refusal = check_choices(options)) return refusal;
  if (Refusal refusal = read_times(options, out)) return refusal;
  read_text(options.address, &out->address);
  if (options.cluster_id != nullptr) out->cluster_id = options.cluster_id;
  read_text(options.token, &out->token);
  read_tls(options, &out->tls);
  out->on_cluster_change = static_cast<OnClusterChange>(options.on_cluster_change);
  out->wait_for_ready = options.wait_for_ready == 1;
  out->max_send_message = options.max_send_message;
  out->max_receive_message = options.max_receive_message;
  out->max_pending_calls = options.max_pending_calls;
  out->max_pending_bytes = options.max_pending_bytes;
  if (options.event_fn != nullptr) {
    Target target;
    if (Refusal refusal = resolve_target(options.event_fn, options.event_user, &target)) {
      return refusal;
    }
    out->event_sink = std::move(target.sink);
    out->event_function = target.function;
    out->event_user = target.user;
  }
  return {};
}

Refusal read_call_options(const gcs_call_options* given, CallOptions* out) {
  if (given == nullptr) return {};
  gcs_call_options options = default_call_options();
  const Status status = read_struct(given, given->struct_size, &options);
  if (status != Status::kOk) return refuse_struct(status, "gcs_call_options");
  if (Refusal refusal = read_patience(options.timeout, options.wait_for_ready, out)) return refusal;
  if (options.reserved != 0) return refuse_argument("reserved of gcs_call_options is not 0");
  out->ray_version = options.ray_version;
  switch (options.retry) {
    case GCS_RETRY_DEFAULT:
    case GCS_RETRY_SAFE:
      out->retry = Retry::kSafe;
      return {};
    case GCS_RETRY_NEVER:
      out->retry = Retry::kNever;
      return {};
    case GCS_RETRY_ALWAYS:
      out->retry = Retry::kAlways;
      return {};
    default:
      return refuse_argument("retry is none of GCS_RETRY_*");
  }
}

Refusal read_subscribe_options(const gcs_subscribe_options* given, SubscriptionOptions* out,
                               CallOptions* call, gcs_body* drop) {
  gcs_subscribe_options options = default_subscribe_options();
  if (given != nullptr) {
    const Status status = read_struct(given, given->struct_size, &options);
    if (status != Status::kOk) return refuse_struct(status, "gcs_subscribe_options");
  }
  if (Refusal refusal = read_patience(options.timeout, options.wait_for_ready, call))
    return refusal;
  if (options.policy < GCS_POLICY_WAIT || options.policy > GCS_POLICY_DROP_NEWEST) {
    return refuse_argument("policy is none of GCS_POLICY_*");
  }
  out->policy = static_cast<Policy>(options.policy);
  out->credit_messages = options.credit_messages;
  out->credit_bytes = options.credit_bytes;
  out->max_messages = options.max_messages;
  out->max_bytes = options.max_bytes;
  *drop = {nullptr, 0, options.drop, options.drop_user};
  return {};
}

}  // namespace gcs::shim

using namespace gcs::shim;

gcs_status gcs_client_options_init(gcs_client_options* options, size_t struct_size) {
  return guarded([&] {
    if (options == nullptr) return gcs::Status::kInvalidArgument;
    return init_struct(options, struct_size, default_client_options());
  });
}

gcs_status gcs_call_options_init(gcs_call_options* options, size_t struct_size) {
  return guarded([&] {
    if (options == nullptr) return gcs::Status::kInvalidArgument;
    return init_struct(options, struct_size, default_call_options());
  });
}

gcs_status gcs_subscribe_options_init(gcs_subscribe_options* options, size_t struct_size) {
  return guarded([&] {
    if (options == nullptr) return gcs::Status::kInvalidArgument;
    return init_struct(options, struct_size, default_subscribe_options());
  });
}
