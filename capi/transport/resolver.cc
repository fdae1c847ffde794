// SPDX-License-Identifier: Apache-2.0
//
// The detached look-up threads. Such a thread may end after everything else of the library has: it
// touches its own State, and through the gate the loop, if that is still there.
#include "transport/resolver.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "transport/address.h"
#include "transport/signals_blocked.h"
#include "transport/system_error.h"

namespace gcs::transport {
namespace {

std::string lookup_error_text(int code, int error_number) {
  // Without descriptors the files that name hosts are not found, which is no reason to the C
  // library.
  const bool descriptors = error_number == EMFILE || error_number == ENFILE;
  if (descriptors || code == EAI_SYSTEM) {
    return "the look-up failed: " + system_error_text(error_number) +
           (descriptors ? system_error_advice(error_number) : "");
  }
  const std::string reason = gai_strerror(code);
  if (code == EAI_NONAME) return "no such host: " + reason;
  return "the look-up failed: " + reason;
}

}  // namespace

std::string Endpoint::text() const {
  char host[NI_MAXHOST] = "?";
  char port[NI_MAXSERV] = "?";
  getnameinfo(reinterpret_cast<const sockaddr*>(&storage), length, host, sizeof host, port,
              sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  const bool bracketed = storage.ss_family == AF_INET6;
  return (bracketed ? "[" : "") + std::string(host) + (bracketed ? "]:" : ":") + port;
}

LookupResult look_up_host(const std::string& host, std::uint16_t port) {
  LookupResult result;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  errno = 0;
  const int code = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (code != 0) {
    result.error = lookup_error_text(code, errno);
    return result;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Endpoint endpoint;
    std::memcpy(&endpoint.storage, entry->ai_addr, entry->ai_addrlen);
    endpoint.length = entry->ai_addrlen;
    result.endpoints.push_back(endpoint);
  }
  if (result.endpoints.empty()) result.error = "no such host: it has no address";
  return result;
}

std::optional<Endpoint> numeric_endpoint(const std::string& host, std::uint16_t port) {
  asio::error_code error;
  const asio::ip::address address = asio::ip::make_address(host, error);
  if (error) return std::nullopt;
  Endpoint endpoint;
  if (address.is_v4()) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    const auto bytes = address.to_v4().to_bytes();
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&endpoint.storage, &v4, sizeof v4);
    endpoint.length = sizeof v4;
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    const auto bytes = address.to_v6().to_bytes();
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    v6.sin6_scope_id = static_cast<std::uint32_t>(address.to_v6().scope_id());
    std::memcpy(&endpoint.storage, &v6, sizeof v6);
    endpoint.length = sizeof v6;
  }
  return endpoint;
}

struct Lookup::State {
  // Written before the thread starts.
  std::shared_ptr<AsioEventLoop::Gate> gate;
  LookupFunction function = nullptr;
  std::string host;
  std::uint16_t port = 0;
  // The thread's, until it posts; then the loop's.
  LookupResult result;
  // The loop's.
  Handler* handler = nullptr;

  static void deliver(const std::shared_ptr<State>& state) {
    state->gate->post([state] {
      if (state->handler == nullptr) return;
      std::exchange(state->handler, nullptr)->on_resolved(std::move(state->result));
    });
  }

  static void run(const std::shared_ptr<State>& state) noexcept {
    try {
      state->result = state->function(state->host, state->port);
    } catch (...) {
      state->result = {};
    }
    state->gate->lookups.fetch_sub(1, std::memory_order_relaxed);
    try {
      if (state->result.endpoints.empty() && state->result.error.empty()) {
        state->result.error = "the look-up failed: out of memory";
      }
      deliver(state);
    } catch (...) {
      // Not even the result can be handed over: the connect timeout reports it.
    }
  }
};

Lookup::Lookup(AsioEventLoop& loop, LookupFunction function, const std::string& host,
               std::uint16_t port, Handler& handler)
    : state_(std::make_shared<State>()) {
  state_->gate = loop.gate();
  state_->function = function;
  state_->host = host;
  state_->port = port;
  state_->handler = &handler;
  std::atomic<int>& lookups = state_->gate->lookups;
  if (lookups.fetch_add(1, std::memory_order_relaxed) >= kMaxThreads) {
    lookups.fetch_sub(1, std::memory_order_relaxed);
    state_->result.error =
        "the look-up was not started: " + std::to_string(kMaxThreads) + " others do not end";
    State::deliver(state_);
    return;
  }
  try {
    const SignalsBlocked blocked;
    std::thread([state = state_] { State::run(state); }).detach();
  } catch (const std::system_error& error) {
    lookups.fetch_sub(1, std::memory_order_relaxed);
    state_->result.error =
        "the look-up was not started: no thread: " + system_error_text(error.code().value()) +
        system_error_advice(error.code().value());
    State::deliver(state_);
  } catch (...) {
    lookups.fetch_sub(1, std::memory_order_relaxed);
    throw;
  }
}

Lookup::~Lookup() {
  state_->handler = nullptr;
}

}  // namespace gcs::transport
