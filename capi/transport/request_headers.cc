// SPDX-License-Identifier: Apache-2.0
//
// HPACK's table takes every header that repeats. Left out of it: the timeout, whose changing values
// would push the others out, and, by nghttp2 itself, :path and authorization: these travel
// literally with each call.
#include "transport/request_headers.h"

#include <utility>

namespace gcs::transport {
namespace {

constexpr std::size_t kPathField = 2;
constexpr std::size_t kFixedFields = 8;
constexpr std::uint8_t kNoCopy = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

std::uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_nv field(std::string_view name, std::string_view value, std::uint8_t flags = kNoCopy) {
  return {bytes_of(name), bytes_of(value), name.size(), value.size(), flags};
}

// The zone of a link-local address means something on this machine only.
std::string authority_of(Address address) {
  if (const std::size_t zone = address.host.find('%'); zone != std::string::npos) {
    address.host.resize(zone);
  }
  return address.text();
}

}  // namespace

RequestHeaders::RequestHeaders(const Address& address, std::string_view scheme,
                               std::string user_agent)
    : authority_(authority_of(address)), user_agent_(std::move(user_agent)) {
  fields_ = {field(":method", "POST"),
             field(":scheme", scheme),
             field(":path", ""),
             field(":authority", authority_),
             field("te", "trailers"),
             field("content-type", "application/grpc"),
             field("user-agent", user_agent_),
             field("grpc-accept-encoding", "identity"),
             nghttp2_nv{}};
}

void RequestHeaders::set_metadata(std::vector<Header> metadata) {
  std::vector<nghttp2_nv> fields;
  fields.reserve(kFixedFields + metadata.size() + 1);
  fields.assign(fields_.begin(), fields_.begin() + kFixedFields);
  for (const Header& header : metadata) fields.push_back(field(header.name, header.value));
  fields.push_back(nghttp2_nv{});
  replaced_.reserve(replaced_.size() + 1);
  replaced_.push_back(std::move(metadata_));
  metadata_ = std::move(metadata);
  fields_ = std::move(fields);
}

std::span<const nghttp2_nv> RequestHeaders::for_call(std::string_view path,
                                                     const TimeoutText* timeout) noexcept {
  fields_[kPathField].value = bytes_of(path);
  fields_[kPathField].valuelen = path.size();
  const std::span<const nghttp2_nv> all(fields_);
  if (timeout == nullptr) return all.first(all.size() - 1);
  fields_.back() = field("grpc-timeout", timeout->view(),
                         NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_INDEX);
  return all;
}

}  // namespace gcs::transport
