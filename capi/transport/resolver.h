// SPDX-License-Identifier: Apache-2.0
//
// Host names to endpoints.
//
// Invariants:
// - A look-up runs on a detached thread of its own that blocks all signals and owns everything it
//   touches. A look-up that never ends delays nobody: its Lookup can be destroyed, the loop can go,
//   the process can exit.
// - The handler is called on the loop's thread, at most once, and not after the Lookup is
//   destroyed.
// - At most kMaxThreads look-ups are under way for one loop, so that a resolver that hangs cannot
//   use up the threads.
//
// Threads: a Lookup belongs to the loop's thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/asio_event_loop.h"

namespace gcs::transport {

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t length = 0;
  std::string text() const;  // "1.2.3.4:6379", "[::1]:6379"
};

struct LookupResult {
  std::vector<Endpoint> endpoints;
  std::string error;  // set when there are none
};

// Blocks. The real one is look_up_host; tests put another in its place.
using LookupFunction = LookupResult (*)(const std::string& host, std::uint16_t port);
LookupResult look_up_host(const std::string& host, std::uint16_t port);

// nullopt when `host` is a name.
std::optional<Endpoint> numeric_endpoint(const std::string& host, std::uint16_t port);

class Lookup {
 public:
  static constexpr int kMaxThreads = 64;

  class Handler {
   public:
    virtual void on_resolved(LookupResult result) noexcept = 0;

   protected:
    ~Handler() = default;
  };

  // Throws std::bad_alloc. A thread that cannot be started is an error result.
  Lookup(AsioEventLoop& loop, LookupFunction function, const std::string& host, std::uint16_t port,
         Handler& handler);
  ~Lookup();
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace gcs::transport
