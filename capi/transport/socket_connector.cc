// SPDX-License-Identifier: Apache-2.0
//
// A connection is HTTP/2 over a stream; which filters lie between it and the socket is decided
// here.
#include "transport/socket_connector.h"

#include <utility>

#include "transport/http2_connection.h"
#include "transport/socket_stream.h"
#include "transport/tls_context.h"
#include "transport/tls_stream.h"

namespace gcs::transport {

std::unique_ptr<Connection> SocketConnector::connect(const Address& address,
                                                     const ConnectionOptions& options,
                                                     Connection::Observer& observer) {
  std::unique_ptr<ByteStream> stream =
      std::make_unique<SocketStream>(loop_, look_up_, address, options);
  if (options.tls != nullptr) {
    stream =
        std::make_unique<TlsStream>(loop_, std::move(stream), options.tls->current(), address.host);
  }
  return std::make_unique<Http2Connection>(loop_, std::move(stream), address, options, observer);
}

}  // namespace gcs::transport
