// SPDX-License-Identifier: Apache-2.0
//
// Reading and freeing buffers and errors, which are events in another role.
#include <memory>

#include "shim/boundary.h"
#include "shim/objects.h"

using namespace gcs::shim;
using gcs::Status;

const void* gcs_buffer_data(const gcs_buffer* buffer) {
  return guarded_value<const void*>(nullptr, [&]() -> const void* {
    return buffer == nullptr ? nullptr : from_c(buffer)->body().data();
  });
}

size_t gcs_buffer_size(const gcs_buffer* buffer) {
  return guarded_value<size_t>(
      0, [&] { return buffer == nullptr ? size_t{0} : from_c(buffer)->body().size(); });
}

void gcs_buffer_free(gcs_buffer* buffer) {
  std::unique_ptr<gcs::Event>(from_c(buffer)).reset();
}

gcs_status gcs_error_status(const gcs_error* error) {
  return guarded([&] { return error == nullptr ? Status::kOk : from_c(error)->status; });
}

uint32_t gcs_error_flags(const gcs_error* error) {
  return guarded_value<uint32_t>(0, [&] { return error == nullptr ? 0 : from_c(error)->flags; });
}

const char* gcs_error_message(const gcs_error* error) {
  return guarded_value("",
                       [&] { return error == nullptr ? "" : c_text(from_c(error)->message()); });
}

void gcs_error_free(gcs_error* error) {
  std::unique_ptr<gcs::Event>(from_c(error)).reset();
}
