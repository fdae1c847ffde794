// SPDX-License-Identifier: Apache-2.0
//
// The KV accessor: requests encoded and replies decoded here, since a KV get is what the hot path
// is made of. Pure functions of a call; nothing is locked.
//
// A key that begins with "@namespace_" and has no namespace would reach into Ray's own name spaces,
// and an empty prefix without a namespace means all of them: both are refused here.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "client/call.h"
#include "client/status.h"

namespace gcs::kv {

using Bytes = std::span<const std::uint8_t>;

struct Made {
  std::unique_ptr<Call> call;  // null if refused
  Refusal refusal;
};

Made get(Bytes name_space, Bytes key);
// Asks for a key that stands twice only once: a server on Redis never answers a request with
// duplicates.
Made multi_get(Bytes name_space, std::span<const Bytes> keys);
Made put(Bytes name_space, Bytes key, Bytes value, bool overwrite);
Made delete_key(Bytes name_space, Bytes key);
Made delete_prefix(Bytes name_space, Bytes prefix, bool all_namespaces);
Made exists(Bytes name_space, Bytes key);
Made keys(Bytes name_space, Bytes prefix, bool all_namespaces);

// Reads the reply of a call that ended with gRPC's OK: sets status, number and body of the event.
void decode(Call& call) noexcept;

// Walks the entries of a kKvKeys or kKvMultiGet event.
class Entries {
 public:
  explicit Entries(const Event& event) noexcept : Entries(event.kind, event.body()) {}
  // Goes on where another walk of an event of this kind stood.
  Entries(EventKind kind, Bytes rest) noexcept
      : rest_(rest), pairs_(kind == EventKind::kKvMultiGet) {}
  Bytes rest() const noexcept { return rest_; }
  // False past the last one. A key without a value has an empty one.
  bool next(Bytes* key, Bytes* value) noexcept;

 private:
  Bytes rest_;
  bool pairs_;
};

}  // namespace gcs::kv
