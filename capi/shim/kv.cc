// SPDX-License-Identifier: Apache-2.0
//
// The KV conveniences: arguments checked, then handed to the client's codec.
#include "client/kv.h"

#include <utility>
#include <vector>

#include "shim/boundary.h"
#include "shim/options.h"
#include "shim/submission.h"

using namespace gcs::shim;
using gcs::Refusal;
using gcs::Status;
using gcs::kv::Made;

namespace {

// What every function here is given.
struct Request {
  gcs_client client;
  const gcs_call_options* options;
  uint64_t* id;
  gcs_completion_fn fn;
  void* user;
  gcs_error** out_error;
};

bool is_view(const gcs_bytes& bytes) noexcept {
  return gcs::shim::is_view(bytes.data, bytes.size);
}

gcs::kv::Bytes view_of(const gcs_bytes& bytes) noexcept {
  return gcs::shim::view_of(bytes.data, bytes.size);
}

Made refused(Refusal refusal) {
  return {nullptr, std::move(refusal)};
}

constexpr char kNullBytes[] =
    "the data of a key, namespace, prefix or value is NULL, and its size is not 0";

// `make()` encodes the request, once it is known that it can be sent.
template <class Make>
gcs_status submit(const Request& request, gcs_bytes name_space, gcs_bytes key, gcs_bytes value,
                  uint32_t flags, uint32_t known_flags, Make&& make) {
  return guarded(request.out_error, [&]() -> Refusal {
    if (!is_view(name_space) || !is_view(key) || !is_view(value))
      return refuse_argument(kNullBytes);
    if ((flags & ~known_flags) != 0) {
      return refuse_argument("flags has bits that this function does not know");
    }
    CallOptions options;
    if (Refusal refusal = read_call_options(request.options, &options)) return refusal;
    return submit_one(
        request.client, options, request.id, request.fn, request.user,
        [&](const gcs::GcsClient& client) -> Made {
          if (Refusal refusal = check_size(client, name_space.size, key.size, value.size)) {
            return refused(std::move(refusal));
          }
          return make();
        });
  });
}

// The keys of a multi-get, as the codec wants them.
Refusal read_keys(const gcs::GcsClient& client, const gcs_bytes* keys, size_t count,
                  size_t name_size, std::vector<gcs::kv::Bytes>* out) {
  // A key takes two bytes at least, so that more than the limit's half cannot fit.
  if (Refusal refusal = check_size(client, name_size, count, count)) return refusal;
  size_t total = 0;
  out->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    if (!is_view(keys[i])) return refuse_argument(kNullBytes);
    if (Refusal refusal = check_size(client, name_size, total, keys[i].size)) return refusal;
    total += keys[i].size;
    out->push_back(view_of(keys[i]));
  }
  return {};
}

}  // namespace

gcs_status gcs_kv_get(gcs_client client, gcs_bytes name_space, gcs_bytes key,
                      const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn,
                      void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, key, {}, 0, 0,
                [&] { return gcs::kv::get(view_of(name_space), view_of(key)); });
}

gcs_status gcs_kv_multi_get(gcs_client client, gcs_bytes name_space, const gcs_bytes* keys,
                            size_t count, const gcs_call_options* options, uint64_t* id,
                            gcs_completion_fn fn, void* user, gcs_error** out_error) {
  return guarded(out_error, [&]() -> Refusal {
    if (!is_view(name_space) || (keys == nullptr && count != 0)) return refuse_argument(kNullBytes);
    CallOptions wanted;
    if (Refusal refusal = read_call_options(options, &wanted)) return refusal;
    return submit_one(client, wanted, id, fn, user, [&](const gcs::GcsClient& of) -> Made {
      std::vector<gcs::kv::Bytes> views;
      if (Refusal refusal = read_keys(of, keys, count, name_space.size, &views)) {
        return refused(std::move(refusal));
      }
      return gcs::kv::multi_get(view_of(name_space), views);
    });
  });
}

gcs_status gcs_kv_put(gcs_client client, gcs_bytes name_space, gcs_bytes key, gcs_bytes value,
                      uint32_t flags, const gcs_call_options* options, uint64_t* id,
                      gcs_completion_fn fn, void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, key, value, flags,
                GCS_KV_OVERWRITE, [&] {
                  return gcs::kv::put(view_of(name_space), view_of(key), view_of(value),
                                      (flags & GCS_KV_OVERWRITE) != 0);
                });
}

gcs_status gcs_kv_delete(gcs_client client, gcs_bytes name_space, gcs_bytes key,
                         const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn,
                         void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, key, {}, 0, 0,
                [&] { return gcs::kv::delete_key(view_of(name_space), view_of(key)); });
}

gcs_status gcs_kv_delete_prefix(gcs_client client, gcs_bytes name_space, gcs_bytes prefix,
                                uint32_t flags, const gcs_call_options* options, uint64_t* id,
                                gcs_completion_fn fn, void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, prefix, {}, flags,
                GCS_KV_ALL_NAMESPACES, [&] {
                  return gcs::kv::delete_prefix(view_of(name_space), view_of(prefix),
                                                (flags & GCS_KV_ALL_NAMESPACES) != 0);
                });
}

gcs_status gcs_kv_exists(gcs_client client, gcs_bytes name_space, gcs_bytes key,
                         const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn,
                         void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, key, {}, 0, 0,
                [&] { return gcs::kv::exists(view_of(name_space), view_of(key)); });
}

gcs_status gcs_kv_keys(gcs_client client, gcs_bytes name_space, gcs_bytes prefix, uint32_t flags,
                       const gcs_call_options* options, uint64_t* id, gcs_completion_fn fn,
                       void* user, gcs_error** out_error) {
  return submit({client, options, id, fn, user, out_error}, name_space, prefix, {}, flags,
                GCS_KV_ALL_NAMESPACES, [&] {
                  return gcs::kv::keys(view_of(name_space), view_of(prefix),
                                       (flags & GCS_KV_ALL_NAMESPACES) != 0);
                });
}
