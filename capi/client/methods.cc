// SPDX-License-Identifier: Apache-2.0
#include "client/methods.h"

#include <iterator>

namespace gcs {
namespace {

constexpr Method kMethods[] = {
    {method::kGetClusterId, "/ray.rpc.NodeInfoGcsService/GetClusterId", true, 1},
    {method::kInternalKvGet, "/ray.rpc.InternalKVGcsService/InternalKVGet", true, 1},
    {method::kInternalKvMultiGet, "/ray.rpc.InternalKVGcsService/InternalKVMultiGet", true, 1},
    {method::kInternalKvPut, "/ray.rpc.InternalKVGcsService/InternalKVPut", false, 1},
    {method::kInternalKvDel, "/ray.rpc.InternalKVGcsService/InternalKVDel", false, 1},
    {method::kInternalKvExists, "/ray.rpc.InternalKVGcsService/InternalKVExists", true, 1},
    {method::kInternalKvKeys, "/ray.rpc.InternalKVGcsService/InternalKVKeys", true, 1},
    {method::kGetNextJobId, "/ray.rpc.JobInfoGcsService/GetNextJobID", false, 1},
    {method::kGetAllNodeInfo, "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo", true, 1},
    {method::kCheckAlive, "/ray.rpc.NodeInfoGcsService/CheckAlive", true, 1},
};

constexpr bool numbered_from_one() {
  for (std::size_t i = 0; i < std::size(kMethods); ++i) {
    if (kMethods[i].id != i + 1) return false;
  }
  return true;
}
static_assert(numbered_from_one());

}  // namespace

std::uint32_t method_count() noexcept {
  return std::size(kMethods);
}

const Method* find_method(std::uint32_t id) noexcept {
  return id >= 1 && id <= std::size(kMethods) ? &kMethods[id - 1] : nullptr;
}

const Method* find_method(std::string_view path) noexcept {
  for (const Method& method : kMethods) {
    if (path == method.path) return &method;
  }
  return nullptr;
}

}  // namespace gcs
