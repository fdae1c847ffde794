// SPDX-License-Identifier: Apache-2.0
//
// Makes connections over TCP. Holds nothing but references: it may go before its connections do.
//
// Threads: the event loop's thread.
#pragma once

#include <memory>

#include "transport/asio_event_loop.h"
#include "transport/connection.h"
#include "transport/resolver.h"

namespace gcs::transport {

class SocketConnector final : public Connector {
 public:
  // The loop outlives every connection. `look_up` is what resolves names.
  explicit SocketConnector(AsioEventLoop& loop, LookupFunction look_up = &look_up_host) noexcept
      : loop_(loop), look_up_(look_up) {}

  std::unique_ptr<Connection> connect(const Address& address, const ConnectionOptions& options,
                                      Connection::Observer& observer) override;

 private:
  AsioEventLoop& loop_;
  const LookupFunction look_up_;
};

}  // namespace gcs::transport
