// SPDX-License-Identifier: Apache-2.0
//
// The headers of requests: one array per connection, in which a call changes the path and the
// timeout alone.
//
// Invariants: what for_call() returns stays valid until its next call or set_metadata(). Names and
// values that nghttp2 does not copy (all but the timeout) live until the connection ends, or, for
// metadata that was replaced, until release_replaced() says that no request still waits to be
// framed.
//
// Threads: the event loop's thread.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/connection.h"
#include "transport/grpc_text.h"

namespace gcs::transport {

class RequestHeaders {
 public:
  // Throws std::bad_alloc. `scheme` must outlive this.
  RequestHeaders(const Address& address, std::string_view scheme, std::string user_agent);
  RequestHeaders(const RequestHeaders&) = delete;
  RequestHeaders& operator=(const RequestHeaders&) = delete;

  // Throws std::bad_alloc, and then has changed nothing.
  void set_metadata(std::vector<Header> metadata);
  // nullptr: no timeout. The text must live until the request is submitted.
  std::span<const nghttp2_nv> for_call(std::string_view path, const TimeoutText* timeout) noexcept;

  bool has_replaced() const noexcept { return !replaced_.empty(); }
  void release_replaced() noexcept { replaced_.clear(); }

 private:
  std::string authority_;
  std::string user_agent_;
  std::vector<Header> metadata_;
  std::vector<std::vector<Header>> replaced_;
  // Fixed headers, metadata, and a last place for the timeout.
  std::vector<nghttp2_nv> fields_;
};

}  // namespace gcs::transport
